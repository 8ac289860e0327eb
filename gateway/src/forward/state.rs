//! What a sink remembers: `<data>/forward/<sink>.db`. Its place in the journal and in the totals, the gaps it still has to
//! fill, and dead letters. SQLite, WAL.
//!
//! One commit per batch, after the sink acknowledged it. Commits are not synced one by one: after a power cut the state
//! is one of a moment before, whole, and what was sent since is sent again, which sinks take as the same values. Losing
//! the file means that everything is sent again.

use std::path::Path;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, UtcMillis};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::store::StoreError;

/// Dead letters kept; beyond it the oldest goes. The record still has its value.
pub const DEAD_LETTERS_MAX: u64 = 10_000;
/// Gaps that wait to be filled; beyond it the two oldest become one, which sends what lies between once more.
const GAPS_MAX: usize = 64;

/// What each format added to the one before; the format of a file is the number of steps it has taken. A step that was
/// released is never changed.
const STEPS: &[&str] = &[
    "
CREATE TABLE item (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE gap (
    id INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    end INTEGER NOT NULL,
    point INTEGER NOT NULL DEFAULT 0,
    time INTEGER NOT NULL DEFAULT (-9223372036854775807 - 1));
CREATE TABLE dead_letter (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, line BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE total_sent (point INTEGER NOT NULL, level INTEGER NOT NULL, start INTEGER NOT NULL, PRIMARY KEY (point, level)) WITHOUT ROWID;
CREATE TABLE superseded (
    id INTEGER PRIMARY KEY AUTOINCREMENT, point INTEGER NOT NULL, level INTEGER NOT NULL, start INTEGER NOT NULL,
    UNIQUE (point, level, start) ON CONFLICT REPLACE);
",
    "
-- Which totals changed is among the facts.
DROP TABLE total_sent;
DROP TABLE superseded;
",
];

const CURSOR: &str = "cursor";
const TOTALS: &str = "totals";
const PROBE: &str = "probe";

/// Journal entries `[first, end)` that have to be sent from blocks, and how far that has come: every point below `point`
/// is done, and of `point` every sample with a record time before `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its number.
    pub id: i64,
    /// First entry.
    pub first: Sequence,
    /// First entry behind it.
    pub end: Sequence,
    /// See above.
    pub point: PointId,
    /// See above.
    pub time: UtcMillis,
}

/// What changes with a batch that the sink has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The journal entry to go on with.
    pub cursor: Option<Sequence>,
    /// Entries that the journal could not give: `[first, end)` each.
    pub gaps: Vec<(Sequence, Sequence)>,
    /// A gap is filled so far.
    pub filled: Option<(i64, PointId, UtcMillis)>,
    /// A gap is filled.
    pub closed: Option<i64>,
    /// Where to go on with the totals.
    pub totals: Option<u64>,
}

/// A line that the sink will not take.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeadLetter {
    /// When it was given up.
    pub time: UtcMillis,
    /// The line, without its line feed.
    pub line: String,
    /// The sink's words.
    pub reason: String,
}

/// The state of one sink. Calls block on file I/O.
#[derive(Debug)]
pub struct State {
    connection: Connection,
}

impl State {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When SQLite refuses, or the file is of a newer format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })?;
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        let format = format_of(&connection, path)?;
        for (step, format) in STEPS.iter().zip(1..).skip(format) {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {format}; COMMIT;"))?;
        }
        Ok(Self { connection })
    }

    /// Opens the file for reading, beside a gateway that writes.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        format_of(&connection, path)?;
        Ok(Self { connection })
    }

    fn number(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let value: Option<i64> =
            self.connection.prepare_cached("SELECT value FROM item WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?;
        Ok(value.and_then(|value| u64::try_from(value).ok()))
    }

    /// The journal entry to go on with; `None` for a sink that never sent.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cursor(&self) -> Result<Option<Sequence>, StoreError> {
        Ok(self.number(CURSOR)?.map(Sequence))
    }

    /// Where to go on with the totals; `None` for a sink that was never asked.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn totals(&self) -> Result<Option<u64>, StoreError> {
        self.number(TOTALS)
    }

    /// The last line that the sink took.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn probe(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM item WHERE key = ?1")?;
        Ok(statement.query_row([PROBE], |row| row.get(0)).optional()?)
    }

    /// Gaps that wait, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn gaps(&self) -> Result<Vec<Gap>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT id, first, end, point, time FROM gap ORDER BY id")?;
        let gaps = statement.query_map([], |row| {
            Ok(Gap {
                id: row.get(0)?,
                first: Sequence(row.get::<_, i64>(1)?.unsigned_abs()),
                end: Sequence(row.get::<_, i64>(2)?.unsigned_abs()),
                point: PointId(row.get(3)?),
                time: UtcMillis(row.get(4)?),
            })
        })?;
        Ok(gaps.collect::<Result<_, _>>()?)
    }

    /// Notes a batch that the sink has: all of it, or nothing.
    ///
    /// # Errors
    /// When it cannot be written; the batch then has to be sent again.
    pub fn commit(&mut self, moves: &Moves, dead: &[DeadLetter], probe: Option<&[u8]>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        {
            let mut set = transaction.prepare_cached("INSERT OR REPLACE INTO item (key, value) VALUES (?1, ?2)")?;
            if let Some(Sequence(cursor)) = moves.cursor {
                set.execute(params![CURSOR, signed(cursor)])?;
            }
            if let Some(totals) = moves.totals {
                set.execute(params![TOTALS, signed(totals)])?;
            }
            if let Some(probe) = probe {
                set.execute(params![PROBE, probe])?;
            }
            for (first, end) in &moves.gaps {
                transaction
                    .prepare_cached("INSERT INTO gap (first, end) VALUES (?1, ?2)")?
                    .execute(params![signed(first.0), signed(end.0)])?;
            }
            if let Some((id, point, time)) = moves.filled {
                transaction.prepare_cached("UPDATE gap SET point = ?2, time = ?3 WHERE id = ?1")?.execute(params![id, point.0, time.0])?;
            }
            if let Some(id) = moves.closed {
                transaction.prepare_cached("DELETE FROM gap WHERE id = ?1")?.execute([id])?;
            }
            for letter in dead {
                transaction.prepare_cached("INSERT INTO dead_letter (time, line, reason) VALUES (?1, ?2, ?3)")?.execute(params![
                    letter.time.0,
                    letter.line,
                    letter.reason
                ])?;
            }
            if !dead.is_empty() {
                transaction
                    .prepare_cached("DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - ?1")?
                    .execute([signed(DEAD_LETTERS_MAX)])?;
            }
        }
        transaction.commit()?;
        self.join_gaps()
    }

    /// Keeps the list of gaps short.
    fn join_gaps(&mut self) -> Result<(), StoreError> {
        let gaps = self.gaps()?;
        if let [one, other, ..] = gaps.as_slice()
            && gaps.len() > GAPS_MAX
        {
            let (first, end) = (one.first.min(other.first), one.end.max(other.end));
            let transaction = self.connection.transaction()?;
            transaction.execute("DELETE FROM gap WHERE id IN (?1, ?2)", [one.id, other.id])?;
            transaction.execute("INSERT INTO gap (first, end) VALUES (?1, ?2)", [signed(first.0), signed(end.0)])?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Dead letters, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT time, line, reason FROM dead_letter ORDER BY id")?;
        let letters =
            statement.query_map([], |row| Ok(DeadLetter { time: UtcMillis(row.get(0)?), line: row.get(1)?, reason: row.get(2)? }))?;
        Ok(letters.collect::<Result<_, _>>()?)
    }
}

fn format_of(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match usize::try_from(format) {
        Ok(format) if format <= STEPS.len() => Ok(format),
        _ => Err(StoreError::Version(format!(
            "{} has format {format}, this program knows formats up to {}; use the newer program",
            path.display(),
            STEPS.len()
        ))),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forward/hq.db");
        let letter = |number: u64| DeadLetter { time: UtcMillis(5), line: format!("line {number}"), reason: "bad".into() };
        {
            let mut state = State::open(&path).unwrap();
            assert_eq!((state.cursor().unwrap(), state.totals().unwrap(), state.probe().unwrap()), (None, None, None));
            let moves = Moves {
                cursor: Some(Sequence(8)),
                totals: Some(3),
                gaps: vec![(Sequence(1), Sequence(4)), (Sequence(6), Sequence(7))],
                ..Moves::default()
            };
            state.commit(&moves, &[letter(1)], Some(b"probe\n")).unwrap();
            state.commit(&Moves { filled: Some((1, PointId(9), UtcMillis(-7))), closed: Some(2), ..Moves::default() }, &[], None).unwrap();
        }
        let state = State::open_read_only(&path).unwrap();
        assert_eq!((state.cursor().unwrap(), state.totals().unwrap()), (Some(Sequence(8)), Some(3)));
        assert_eq!(state.probe().unwrap().as_deref(), Some(b"probe\n".as_slice()));
        let gap = Gap { id: 1, first: Sequence(1), end: Sequence(4), point: PointId(9), time: UtcMillis(-7) };
        assert_eq!(state.gaps().unwrap(), [gap]);
        assert_eq!(state.dead_letters().unwrap(), [letter(1)]);
    }

    #[test]
    fn lists_stay_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(&folder.path().join("hq.db")).unwrap();
        let dead: Vec<DeadLetter> = (0..DEAD_LETTERS_MAX + 5)
            .map(|number| DeadLetter { time: UtcMillis(0), line: number.to_string(), reason: String::new() })
            .collect();
        state.commit(&Moves::default(), &dead, None).unwrap();
        let kept = state.dead_letters().unwrap();
        assert_eq!((kept.len() as u64, kept[0].line.as_str()), (DEAD_LETTERS_MAX, "5"));
        for number in 0..100 {
            let gaps = vec![(Sequence(number * 10 + 1), Sequence(number * 10 + 3))];
            state.commit(&Moves { gaps, ..Moves::default() }, &[], None).unwrap();
        }
        let gaps = state.gaps().unwrap();
        assert_eq!(gaps.len(), GAPS_MAX);
        assert!((0..100).all(|number| gaps.iter().any(|gap| gap.first.0 <= number * 10 + 1 && gap.end.0 >= number * 10 + 3)));
    }

    #[test]
    fn a_file_of_the_first_format_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hq.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&format!("{} PRAGMA user_version = 1; INSERT INTO item VALUES ('cursor', 9)", STEPS[0])).unwrap();
        drop(connection);
        assert_eq!(State::open_read_only(&path).unwrap().cursor().unwrap(), Some(Sequence(9)));
        assert_eq!(State::open(&path).unwrap().cursor().unwrap(), Some(Sequence(9)));
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hq.db");
        State::open(&path).unwrap().connection.execute_batch("PRAGMA user_version = 3").unwrap();
        assert!(matches!(State::open(&path), Err(StoreError::Version(_))));
        assert!(matches!(State::open_read_only(&path), Err(StoreError::Version(_))));
    }
}
