//! A reading of all of a state that says whether it is whole: the file, the schema, and every row as this program would read it.

use std::collections::{BTreeSet, VecDeque};

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::codec;
use super::file::Problem;
use super::schema::{self, MIGRATIONS, columns};
use super::sqlite::lane;
use crate::domain::time::Timestamp;
use crate::ports::{RunReport, StateReport};

/// A reading of all of a state, a part at a time, so that whoever shares its connection gets a turn in between.
#[derive(Debug)]
pub struct Verification {
    /// What was found so far.
    pub report: StateReport,
    whole: bool,
    next: VecDeque<Part>,
}

/// A part of the reading.
#[derive(Debug)]
enum Part {
    /// The schema's number, its tables and columns.
    Shape,
    /// What the database says of its file, or of one table.
    Pages(Option<&'static str>),
    /// So many rows of a table, after that key.
    Rows(&'static Table, Option<Value>),
    /// Counts.
    Facts,
}

impl Verification {
    /// One that begins; `whole` asks about the file as a whole, which takes a while in one go.
    pub fn new(whole: bool) -> Self {
        let report = StateReport { known: schema::of_today(), ..StateReport::default() };
        Self { report, whole, next: VecDeque::from([Part::Shape]) }
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.next.is_empty()
    }

    /// Reads the next part. What cannot be read is a fault of the state.
    pub fn step(mut self, connection: &Connection) -> Self {
        let Some(part) = self.next.pop_front() else { return self };
        let (what, done) = match part {
            Part::Shape => ("schema".to_owned(), self.shape(connection)),
            Part::Pages(table) => (table.unwrap_or("file").to_owned(), self.pages(connection, table)),
            Part::Rows(table, after) => (format!("table {}", table.name), self.rows(connection, table, after)),
            Part::Facts => ("counts".to_owned(), self.facts(connection)),
        };
        if let Err(problem) = done {
            self.report.fault(format!("{what}: {problem}"));
        }
        self
    }

    fn shape(&mut self, connection: &Connection) -> Result<(), Problem> {
        self.report.schema = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let there = columns(connection)?;
        if (1..=self.report.known).contains(&self.report.schema) {
            let model = Connection::open_in_memory()?;
            for sql in MIGRATIONS.iter().take(usize::try_from(self.report.schema).unwrap_or(0)) {
                model.execute_batch(sql)?;
            }
            let wanted = columns(&model)?;
            for column in wanted.difference(&there) {
                self.report.fault(format!("schema {}: {column} is missing", self.report.schema));
            }
        } else if self.report.schema < 1 {
            self.report.fault("it has no schema number".to_owned());
        }
        let tables: BTreeSet<&str> = there.iter().filter_map(|column| column.split('.').next()).collect();
        let known = || TABLES.iter().filter(|table| tables.contains(table.name));
        if self.whole {
            self.next.push_back(Part::Pages(None));
        } else {
            self.next.extend(known().map(|table| Part::Pages(Some(table.name))));
        }
        self.next.extend(known().map(|table| Part::Rows(table, None)));
        self.next.push_back(Part::Facts);
        Ok(())
    }

    fn pages(&mut self, connection: &Connection, table: Option<&str>) -> Result<(), Problem> {
        let sql = table.map_or_else(
            || "PRAGMA integrity_check".to_owned(),
            |table| format!("PRAGMA integrity_check(\"{table}\")"),
        );
        let mut statement = connection.prepare(&sql)?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        for line in lines {
            let line = line?;
            if line != "ok" {
                self.report.fault(format!("{}: {line}", table.unwrap_or("file")));
            }
        }
        Ok(())
    }

    fn rows(&mut self, connection: &Connection, table: &'static Table, after: Option<Value>) -> Result<(), Problem> {
        let first = after.is_none();
        // The first schema had one way to each receiver.
        let columns =
            if self.report.schema < 2 { table.columns.replace("route", "''") } else { table.columns.to_owned() };
        let (name, key) = (table.name, table.key);
        let start = if first { "?1 IS NULL".to_owned() } else { format!("{key} > ?1") };
        let sql = format!("SELECT {key}, {columns} FROM {name} WHERE {start} ORDER BY {key} LIMIT {ROWS_AT_ONCE}");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([after.unwrap_or(Value::Null)])?;
        let (mut count, mut last) = (0_u64, None);
        while let Some(row) = rows.next()? {
            let key: Value = row.get(0)?;
            match (table.read)(row) {
                Ok(Some(run)) => self.report.runs.push(run),
                Ok(None) => {}
                Err(problem) => self.report.fault(format!("{name} {}: {problem}", in_words(&key))),
            }
            (count, last) = (count + 1, Some(key));
        }
        *self.report.rows.entry(name.to_owned()).or_default() += count;
        if count == ROWS_AT_ONCE {
            self.next.push_front(Part::Rows(table, last));
        }
        Ok(())
    }

    fn facts(&mut self, connection: &Connection) -> Result<(), Problem> {
        let waiting = "SELECT count(*), min(made_at) FROM outbox WHERE delivered_at IS NULL";
        let (count, oldest): (i64, Option<i64>) =
            connection.query_row(waiting, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.report.waiting = u64::try_from(count).unwrap_or(0);
        self.report.oldest_waiting = oldest.map(Timestamp::from_unix);
        if self.report.rows.contains_key("incidents") {
            let open = "SELECT count(*) FROM incidents WHERE ended_at IS NULL";
            let open: i64 = connection.query_row(open, [], |row| row.get(0))?;
            self.report.open_incidents = u64::try_from(open).unwrap_or(0);
        }
        Ok(())
    }
}

/// A table, and how a row of it is read.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// What its rows are ordered by.
    key: &'static str,
    columns: &'static str,
    /// Reads a row; the first column is the key.
    read: fn(&Row<'_>) -> Result<Option<RunReport>, Problem>,
}

/// Every table that holds more than numbers and names.
static TABLES: [Table; 7] = [
    Table { name: "meta", key: "name", columns: "value", read: read_meta },
    Table { name: "slots", key: "subject", columns: "status", read: read_slot },
    Table { name: "outbox", key: "id", columns: "receiver, route, notice", read: read_notice },
    Table { name: "incidents", key: "key", columns: "subject, record, ended_at", read: read_incident },
    Table { name: "answers", key: "id", columns: "subject, record, at", read: read_answer },
    Table { name: "runs", key: "subject", columns: "run, sealed", read: read_run },
    Table { name: "renewals", key: "id", columns: "subject, record", read: read_renewal },
];

fn read_meta(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    let name: String = row.get(0)?;
    if name == "fingerprint_key" {
        let _: [u8; 32] = row.get(1)?;
    }
    Ok(None)
}

fn read_slot(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(0)?)?;
    codec::decode_status(&row.get::<_, String>(1)?)?;
    Ok(None)
}

fn read_notice(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    lane(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?;
    codec::decode_notice(&row.get::<_, String>(3)?)?;
    Ok(None)
}

fn read_incident(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_incident(&row.get::<_, String>(2)?, row.get(3)?)?;
    Ok(None)
}

fn read_answer(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_answer(&row.get::<_, String>(2)?, row.get(3)?)?;
    Ok(None)
}

fn read_run(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    let subject: String = row.get(0)?;
    codec::decode_subject(&subject)?;
    let run = codec::decode_run(&row.get::<_, String>(1)?)?;
    let sealed = codec::decode_sealed(&row.get::<_, String>(2)?)?.len();
    Ok(Some(RunReport { subject, phase: run.phase.as_str().to_owned(), sealed }))
}

fn read_renewal(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_ended(&row.get::<_, String>(2)?)?;
    Ok(None)
}

fn in_words(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Null | Value::Real(_) | Value::Blob(_) => "?".to_owned(),
    }
}

/// For so many rows the connection is held at a time.
const ROWS_AT_ONCE: u64 = 1_000;
