//! Durable state, and the contract that every store keeps.
//!
//! 1. **One truth.** A status and the notices that follow from it are stored in one transaction: after a crash both are there, or
//!    neither is.
//! 2. **A key is told once.** A notice whose key and receiver are known, delivered or not, is not put into the outbox again.
//! 3. **Order.** `pending` gives rows in the order in which they were committed.
//! 4. **A sealed row keeps its message** until it is settled or reopened, over any number of restarts.
//! 5. **Nothing is dropped.** A row leaves the outbox by `settle` only. `prune` forgets what was delivered long ago, never what was not.
//! 6. **One process.** A second process is refused, with a clear message. A state of a newer version is refused and left untouched.
//! 7. **No secrets.** What is stored was redacted before, and fingerprints are keyed.
//! 8. **A failure is an error.** Disk full and read-only folders come back as [`crate::ports::StoreError`]; the store stays usable.
//!
//! The suite in `tests/it/store.rs` holds any store against these sentences.

mod codec;
mod sqlite;

pub use sqlite::Sqlite;
