//! Looks at the places where secrets stand: who may read a file, whether git has it, and whether the machine shows a secret to everybody.
//!
//! It tells facts; the words for people are found elsewhere. It changes nothing, and no secret is ever in what it returns.

mod exposed;
mod privacy;
mod tool;
mod tracking;
mod way;

pub use exposed::{Exposed, Place, exposed_processes, exposed_units, is_searched_for};
pub use privacy::{Privacy, Readers, Who, privacy};
pub use tracking::{Tracking, tracking};
