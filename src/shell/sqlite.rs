//! The log in a file: SQLite, and as little of it as will do.
//!
//! One table has the messages that histories keep, one the floors of channels that have forgotten something, one
//! row the newest id that was ever given. A commit returns when the kernel says that the disk has it (WAL,
//! `synchronous = FULL`). As long as a server runs, nobody else can open the file.
//!
//! Knows: statements, one folder. Never learns who publishes, or which thread it is on.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use crate::engine::{Engine, Socket, Unstored};
use crate::kit::clock::Now;
use crate::log::Ids;
use crate::wire::json::Publication;

use super::ServeError;

/// The file in the folder. SQLite puts others beside it.
const FILE: &str = "encke.db";

/// Says in the file's head whose it is: "enck".
const APPLICATION: i64 = 0x656e_636b;

/// Which layout it has. Another one than ours is left alone.
const LAYOUT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE message (id INTEGER PRIMARY KEY, channel TEXT NOT NULL, event TEXT, data TEXT NOT NULL) STRICT;
    CREATE INDEX message_by_channel ON message (channel, id);
    CREATE TABLE floor (channel TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE log (head INTEGER NOT NULL, floor INTEGER NOT NULL) STRICT;";

/// Channels whose floors are kept; the lowest of any more become one, which is everybody's. As many as the hub remembers.
const FLOORS_MAX: i64 = 10_000;

/// The log, opened by this process alone.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    ids: Ids,
    /// Floors that were written since there were last looked whether there are too many.
    floors_written: i64,
}

impl Sqlite {
    /// Opens the log in a folder; makes both if they are not there.
    pub(super) fn open(folder: &Path, now: Now) -> Result<Self, ServeError> {
        let path = folder.join(FILE);
        if !folder.is_dir() {
            // What was said is for those who may listen, and not for everybody who has an account.
            DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
                ServeError(format!("cannot make the data folder {}: {error}", folder.display()))
            })?;
        }
        let (connection, head) = connect(&path, now)?;
        let mut ids = Ids::new(now);
        if head > ids.head() {
            ids.give(head);
        }
        // Subscribers are told of it as a cursor before anything is stored: it must not lie in the future of the next
        // server, whatever the clock says then.
        let kept = connection.execute("UPDATE log SET head = ?1", [ids.head()]);
        kept.map_err(|error| complaint(&path, &error))?;
        Ok(Sqlite { connection, path, ids, floors_written: 0 })
    }

    /// Tells the engine everything that it has, and keeps its log from then on.
    pub(super) fn recall<S: Socket>(&mut self, engine: &mut Engine<S>, now: Now) -> Result<(), ServeError> {
        let messages = self.fold_floors().and_then(|()| self.recall_all(engine, now));
        let messages = messages.map_err(|error| complaint(&self.path, &error))?;
        log::info!(file = self.path.display().to_string(), messages = messages; "the log is kept here");
        Ok(())
    }

    fn recall_all<S: Socket>(&self, engine: &mut Engine<S>, now: Now) -> rusqlite::Result<u64> {
        let floor: u64 = self.connection.query_row("SELECT floor FROM log", [], |row| row.get(0))?;
        engine.log_elsewhere(self.ids.head(), floor);
        let mut floors = self.connection.prepare("SELECT channel, id FROM floor ORDER BY id")?;
        let mut rows = floors.query([])?;
        while let Some(row) = rows.next()? {
            engine.recall_floor(row.get_ref(0)?.as_str()?, row.get(1)?);
        }
        let mut messages = self
            .connection
            .prepare("SELECT id, channel, event, data FROM message WHERE id > 0 AND id <= ?1 ORDER BY id")?;
        let mut rows = messages.query([self.ids.head()])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let publication = Publication { channel: row.get(1)?, event: row.get(2)?, data: row.get(3)? };
            engine.recall(publication, row.get(0)?, now);
            count += 1;
        }
        Ok(count)
    }

    /// Stores all of it, or nothing; and forgets, of each of these channels, everything up to the id beside it. Returns
    /// the first id of each. When this returns, the disk has it.
    pub(super) fn store(
        &mut self,
        all: &[Unstored],
        outdated: &HashMap<String, u64>,
        now: Now,
    ) -> rusqlite::Result<Vec<u64>> {
        let mut next = self.ids.next(now);
        let mut first_ids = Vec::with_capacity(all.len());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction
                .prepare("INSERT INTO message (id, channel, event, data) VALUES (?1, ?2, ?3, ?4)")?;
            let mut forget = transaction.prepare("DELETE FROM message WHERE channel = ?1 AND id <= ?2")?;
            let mut raise = transaction.prepare(
                "INSERT INTO floor (channel, id) VALUES (?1, ?2) \
                 ON CONFLICT (channel) DO UPDATE SET id = max(id, excluded.id)",
            )?;
            for one in all {
                first_ids.push(next);
                for Publication { channel, event, data } in &one.publications {
                    if one.deletes {
                        forget.execute(params![channel, next])?;
                        raise.execute(params![channel, next])?;
                    } else {
                        insert.execute(params![next, channel, event, data])?;
                    }
                    next += 1;
                }
            }
            for (channel, floor) in outdated {
                forget.execute(params![channel, floor])?;
                raise.execute(params![channel, floor])?;
            }
        }
        if !all.is_empty() {
            transaction.execute("UPDATE log SET head = ?1", [next - 1])?;
        }
        transaction.commit()?;
        if !all.is_empty() {
            self.ids.give(next - 1);
        }
        self.floors_written += outdated.len() as i64;
        if self.floors_written > FLOORS_MAX {
            // What was asked for is stored, whatever becomes of this; it is tried again.
            let _ = self.fold_floors();
        }
        Ok(first_ids)
    }

    /// Keeps the table of floors from growing with every name that somebody has ever thought of.
    fn fold_floors(&mut self) -> rusqlite::Result<()> {
        self.floors_written = 0;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "UPDATE log SET floor = max(floor, coalesce(\
             (SELECT id FROM floor ORDER BY id DESC LIMIT 1 OFFSET ?1), 0))",
            [FLOORS_MAX],
        )?;
        transaction.execute("DELETE FROM floor WHERE id <= (SELECT floor FROM log)", [])?;
        transaction.commit()
    }
}

/// Opens the file for this process alone. Returns the newest id that was ever given.
fn connect(path: &Path, now: Now) -> Result<(Connection, u64), ServeError> {
    let prepare = || -> rusqlite::Result<(Connection, i64, i64)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        let (application, layout) = (number("application_id")?, number("user_version")?);
        Ok((connection, application, layout))
    };
    let (mut connection, application, layout) = prepare().map_err(|error| complaint(path, &error))?;
    match (application, layout) {
        (0, 0) => make_tables(&mut connection, now).map_err(|error| complaint(path, &error))?,
        (APPLICATION, LAYOUT) => {}
        (APPLICATION, layout) => {
            return Err(ServeError(format!(
                "{} has layout {layout}, and this encke knows layout {LAYOUT}; use the encke that wrote it, or another folder",
                path.display()
            )));
        }
        _ => {
            return Err(ServeError(format!(
                "{} is a database of some other program; name another folder with --data",
                path.display()
            )));
        }
    }
    // The lock is taken by the first transaction, and kept.
    let head = connection.query_row("SELECT head FROM log", [], |row| row.get(0));
    let head = head.map_err(|error| complaint(path, &error))?;
    Ok((connection, head))
}

/// A log that begins now: whatever was said before is not its own.
fn make_tables(connection: &mut Connection, now: Now) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("INSERT INTO log (head, floor) VALUES (?1, ?1)", [now.unix_us])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()
}

fn complaint(path: &Path, error: &rusqlite::Error) -> ServeError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ServeError(format!(
            "the log {path} is in use by another process; stop that one, or give each a folder of its own with --data"
        )),
        _ => ServeError(format!("cannot keep the log in {path}: {error}")),
    }
}
