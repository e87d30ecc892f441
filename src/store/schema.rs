//! The schema of the state file: its steps from the first version on, how a file is brought up to date, and what columns a schema has.

use std::collections::BTreeSet;

use rusqlite::{Connection, TransactionBehavior};

use super::file::Problem;

/// The schema that this program writes.
pub fn of_today() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Applies what is missing, all in one transaction together with the number: a crash leaves the old schema or this one.
pub fn migrate(connection: &mut Connection, found: i64) -> Result<(), rusqlite::Error> {
    // An up-to-date file takes its lock here, so that a second process is refused now and not at its first write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let done = usize::try_from(found).unwrap_or(0);
    for sql in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(sql)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "user_version", of_today())?;
    }
    transaction.commit()
}

/// Every column as `table.column TYPE`, and every index as `index.NAME`.
pub fn columns(connection: &Connection) -> Result<BTreeSet<String>, Problem> {
    let sql = "SELECT t.name || '.' || c.name || ' ' || c.type FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
               UNION ALL SELECT 'index.' || name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let columns = statement.query_map([], |row| row.get(0))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

/// The schema, step by step. A step is never changed once it was released; a new one is added.
pub const MIGRATIONS: [&str; 3] = ["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE slots (subject TEXT PRIMARY KEY, status TEXT NOT NULL, seen_at INTEGER) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_key TEXT NOT NULL,
        receiver TEXT NOT NULL,
        notice TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        delivered_at INTEGER,
        channel TEXT,
        UNIQUE (alert_key, receiver)
    );
    CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_at IS NULL;
    CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
", "
    CREATE TABLE ways (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_key TEXT NOT NULL,
        incident TEXT NOT NULL,
        receiver TEXT NOT NULL,
        route TEXT NOT NULL DEFAULT '',
        notice TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        delivered_at INTEGER,
        channel TEXT,
        tried_at INTEGER,
        UNIQUE (alert_key, receiver, route)
    );
    -- Mail was the only way; what was about to leave stays tied to its mail. A key without its last two parts is its incident's; one that
    -- has no two parts to leave out is its own. What is cut away by rtrim are all characters after the last slash.
    INSERT INTO ways
        SELECT id, alert_key,
               CASE WHEN cut > 0 THEN substr(alert_key, 1, cut - 1) ELSE alert_key END, receiver,
               CASE WHEN delivered_at IS NULL AND message IS NULL THEN '' ELSE 'mail' END,
               notice, made_at, message, attempts, failure, delivered_at, channel, NULL
        FROM (SELECT *, length(rtrim(head, replace(head, '/', ''))) AS cut
              FROM (SELECT *, substr(alert_key, 1, length(rtrim(alert_key, replace(alert_key, '/', ''))) - 1) AS head
                    FROM outbox));
    -- Numbers go on counting up, even where the last of them were forgotten.
    DELETE FROM sqlite_sequence WHERE name = 'ways';
    INSERT INTO sqlite_sequence (name, seq) SELECT 'ways', seq FROM sqlite_sequence WHERE name = 'outbox';
    DROP TABLE outbox;
    ALTER TABLE ways RENAME TO outbox;
    CREATE INDEX outbox_pending ON outbox (receiver, route, id) WHERE delivered_at IS NULL;
    CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
    CREATE INDEX outbox_channel ON outbox (channel, delivered_at) WHERE delivered_at IS NOT NULL;
    CREATE INDEX outbox_incident ON outbox (incident, receiver, route, id);
    CREATE TABLE incidents (
        key TEXT PRIMARY KEY,
        subject TEXT NOT NULL,
        began_at INTEGER NOT NULL,
        ended_at INTEGER,
        record TEXT NOT NULL
    );
    CREATE INDEX incidents_open ON incidents (key) WHERE ended_at IS NULL;
    CREATE INDEX incidents_subject ON incidents (subject, began_at);
    CREATE INDEX incidents_began ON incidents (began_at);
    CREATE INDEX incidents_ended ON incidents (ended_at) WHERE ended_at IS NOT NULL;
    CREATE TABLE answers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        at INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX answers_subject ON answers (subject, id);
    -- What is open began before anybody kept a history.
    INSERT OR IGNORE INTO incidents (key, subject, began_at, record)
        SELECT subject || '/' || thread || '.' || number || '.g' || generation || '.' || opened_at, subject, opened_at,
               json_object('incident', json(incident))
        FROM (SELECT subject, open.value AS incident,
                     open.value ->> 'number' AS number,
                     open.value ->> 'generation' AS generation,
                     open.value ->> 'opened_at' AS opened_at,
                     CASE open.value ->> 'reason'
                         WHEN 'expiring' THEN 'expiry' WHEN 'expired' THEN 'expiry'
                         WHEN 'revoked' THEN 'revoked' WHEN 'unreadable' THEN 'unreadable'
                         WHEN 'data_access_expiring' THEN 'data-access' WHEN 'data_access_expired' THEN 'data-access'
                         WHEN 'expiry_unknown' THEN 'expiry-unknown'
                         WHEN 'scope_missing' THEN 'scope' WHEN 'target_missing' THEN 'target'
                         WHEN 'app_fault' THEN 'app' WHEN 'blind' THEN 'blind' WHEN 'source_unreadable' THEN 'source'
                     END AS thread
              FROM slots, json_each(CASE WHEN json_valid(status) THEN status ELSE '{}' END,
                                    CASE WHEN subject LIKE 'app/%' THEN '$.app.incidents' ELSE '$.token.incidents' END) AS open)
        WHERE thread IS NOT NULL;
",
"
    -- Runs of renewals and replacements, with their secrets sealed (base64 by what they are); and those that ended.
    CREATE TABLE runs (subject TEXT PRIMARY KEY, run TEXT NOT NULL, sealed TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE renewals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        at INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX renewals_subject ON renewals (subject, id);
"];
