//! The state of a daemon that does not run, or a backup of one: to be copied or verified.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::copy::copy;
use super::file::{self, io_words};
use super::verify::Verification;
use crate::ports::{StateReport, StoreError};

/// The state of a daemon that does not run, or a backup. It is held for as long as this lives, and brought up to no other schema.
#[derive(Debug)]
pub struct Stopped {
    connection: Connection,
    shown: String,
}

impl Stopped {
    /// Opens the file that is there.
    ///
    /// # Errors
    /// When it is not there, a daemon holds it, or it is no database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |problem: String| file::unopened(path, problem);
        let refused = |error: rusqlite::Error| file::refused(path, &error);
        // The library would say only that it cannot.
        File::open(path).map_err(|error| fail(io_words(&error)))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| fail(error.to_string()))?;
        file::hold(&connection).map_err(refused)?;
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'slots', 'outbox')";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(refused)?;
        if tables != 3 {
            return Err(StoreError::Foreign(path.display().to_string()));
        }
        Ok(Self { connection, shown: path.display().to_string() })
    }

    /// Writes a copy into a file that is not there yet, durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is left of it.
    pub fn copy(&self, to: &Path) -> Result<(), StoreError> {
        copy(&self.connection, to).map_err(|problem| StoreError::Failed(format!("{}: {problem}", self.shown)))
    }

    /// Reads all of it.
    pub fn verify(&self) -> StateReport {
        let mut reading = Verification::new(true);
        while !reading.is_done() {
            reading = reading.step(&self.connection);
        }
        reading.report
    }
}
