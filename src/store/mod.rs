//! Durable state, and the contract that every store keeps.
//!
//! 1. **One truth.** A status, the notices that follow from it and what is kept for the history are stored in one transaction: after a crash
//!    all of it is there, or none.
//! 2. **A key is told once.** A notice that a receiver has by any way, delivered or not, is not put into the outbox for them again. It begins
//!    in their lane without a route.
//! 3. **Order.** Each lane has its own queue, and `pending` gives its rows in the order in which they were committed. Numbers count up and
//!    are never given twice.
//! 4. **A sealed row keeps its message** until it is settled, untied or handed to another lane, over any number of restarts. A row that could
//!    not be delivered keeps the last failure as well.
//! 5. **Nothing is dropped.** A row leaves the outbox by `settle`, or by `assign` when the lanes it goes to have its notice; with no lane to go
//!    to it stays. The first settlement stands.
//! 6. **No lane is told twice.** `assign` leaves a row in its own lane when that is one of the new ones, moves it to the first of them when
//!    not, and copies it to the others, in the order of the rows; a lane that has the notice is left out. On another lane it is a new letter:
//!    neither message nor failure comes along.
//! 7. **What is counted is true.** `lanes` and `outbox` count what waits. `messages` counts messages, not the notices in them, and only such
//!    as left; what reached nobody or was handed on did not.
//! 8. **The last word.** `firing` gives, of each incident that is open, the last notice that went by a lane or waits in it, and nothing of
//!    those that ended.
//! 9. **The history is one subject's**, the newest first, at most so much of each sort. An incident that comes again takes the place of what was
//!    kept of it. `activity` counts what began and what ended.
//! 10. **Only the past is forgotten.** `prune` forgets by age, and the oldest where there are too many: deliveries, incidents that ended,
//!     answers, renewals, slots nobody looks at. Never what waits, what is open, the slot of what is open, or the last word on it; nor a run,
//!     or its slot.
//! 11. **One process.** A second process is refused, with a clear message. A state of a newer version is refused and left untouched; one of
//!     an older version is brought up to date and loses nothing.
//! 12. **No secrets.** What is stored was redacted before, and fingerprints are keyed.
//! 13. **A failure is an error.** Disk full and read-only folders come back as [`crate::ports::StoreError`]; the store stays usable.
//! 14. **A run is never lost.** It is where it was noted last, over any number of restarts, with what was sealed then; it begins and ends with
//!     its status. `journal` returns when its entry would outlive a power cut. What is sealed of a run that was set aside is kept for the next
//!     one, unless that one brings a secret of its own; the end removes all of it. Nothing is noted of a run where a later one is;
//!     what it sealed goes to that one.
//! 15. **A copy is of one moment.** `snapshot` holds what was committed when it was made, all of it and nothing later, readable by its owner
//!     only. `verify` reads every row as this program would, and changes nothing.
//!
//! The suite in `tests/it/store.rs` holds any store against these sentences.

mod codec;
mod copy;
mod file;
mod schema;
mod sqlite;
mod stopped;
mod verify;

pub use copy::sync_folder;
pub use sqlite::Sqlite;
pub use stopped::Stopped;
