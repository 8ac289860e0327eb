//! `alarms.db`: events in order, what is on, the state of every alarm, and how far readers have come. SQLite, WAL, synced at
//! each commit of events: an event and the state that made it are kept together or not at all, so a crash neither loses an
//! alarm nor tells it under two numbers.
//!
//! It is no view: acknowledgements and what was told to whom are not in the record. Without the file alarms begin anew, in
//! a new epoch.

use std::path::Path;

use parkgate_collector::journal::Sequence;
use parkgate_rules::alarm::UtcMillis;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::event::{Event, EventKind, Standing, Track};
use crate::store::StoreError;

/// Events kept; beyond it the oldest go, but never those of compliance.
const EVENTS_MAX: u64 = 1_000_000;
/// So many events are deleted at once.
const EVENTS_TRIMMED: u64 = 1_000;
/// Refused events kept per receiver.
const DROPPED_MAX: u64 = 1_000;

/// What each format added to the one before. A step that was released is never changed.
const STEPS: &[&str] = &["
CREATE TABLE item (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, time INTEGER NOT NULL, track TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX event_of ON event (fingerprint, seq);
CREATE INDEX event_compliance ON event (seq) WHERE track = 'compliance';
CREATE TABLE standing (fingerprint TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE alarm (rule TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (rule, subject)) WITHOUT ROWID;
CREATE TABLE target (id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dropped (id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, reason TEXT NOT NULL);
"];

const EPOCH: &str = "epoch";
const JOURNAL: &str = "journal";
const INBOX: &str = "inbox";
const BOOT: &str = "boot";

/// What is kept together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New events, numbered.
    pub events: Vec<Event>,
    /// Alarms that changed, by rule and subject; `None`: it is no more.
    pub states: Vec<(String, String, Option<String>)>,
    /// The next journal entry to read.
    pub journal: Option<Sequence>,
    /// The last entry of the facts that was taken in.
    pub inbox: Option<i64>,
    /// The run of the program that the last samples came by.
    pub boot: Option<u64>,
}

/// See the module. Calls block on file I/O.
#[derive(Debug)]
pub struct Outbox {
    connection: Connection,
    epoch: String,
}

impl Outbox {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When SQLite refuses, or the file is of a newer format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        let format = format_of(&connection, path)?;
        for (step, format) in STEPS.iter().zip(1..).skip(format) {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {format}; COMMIT;"))?;
        }
        let fresh = format!("{:016x}", fastrand::u64(..));
        connection.execute("INSERT OR IGNORE INTO item (key, value) VALUES (?1, ?2)", params![EPOCH, fresh])?;
        let epoch = epoch_of(&connection)?;
        Ok(Self { connection, epoch })
    }

    /// Opens the file for a reader of events that keeps its own place in it. What it writes is not synced: after a power cut
    /// it may be a little behind, and tells some events again.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_target(path: &Path) -> Result<Self, StoreError> {
        let outbox = Self::open(path)?;
        outbox.connection.execute_batch("PRAGMA synchronous = NORMAL;")?;
        Ok(outbox)
    }

    /// Opens the file for reading, beside a gateway that writes.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        format_of(&connection, path)?;
        let epoch = epoch_of(&connection)?;
        Ok(Self { connection, epoch })
    }

    /// The epoch.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Begins a new epoch: numbers of events may be used again, as after the way back from a backup.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn renew_epoch(&mut self) -> Result<(), StoreError> {
        self.epoch = format!("{:016x}", fastrand::u64(..));
        self.connection.execute("UPDATE item SET value = ?2 WHERE key = ?1", params![EPOCH, self.epoch])?;
        Ok(())
    }

    fn number(&self, key: &str) -> Result<Option<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM item WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    /// The next journal entry to read; `None` in a new file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn journal(&self) -> Result<Option<Sequence>, StoreError> {
        Ok(self.number(JOURNAL)?.map(|number| Sequence(number.unsigned_abs())))
    }

    /// The last entry of the facts that was taken in.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inbox(&self) -> Result<i64, StoreError> {
        Ok(self.number(INBOX)?.unwrap_or(0))
    }

    /// The run of the program that the last samples came by.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn boot(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.number(BOOT)?.map(i64::cast_unsigned))
    }

    /// States of alarms, by rule and subject.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn states(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT rule, subject, state FROM alarm")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Alarms that are on, shelved ones included: the last event of each.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn standing(&self) -> Result<Vec<Event>, StoreError> {
        self.events_of("SELECT body FROM standing", [])
    }

    /// Events after a number, at most `limit`, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.events_of("SELECT body FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2", [signed(after), limit])
    }

    /// The last events of compliance, at most `limit`, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn compliance(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut events = self.events_of("SELECT body FROM event WHERE track = 'compliance' ORDER BY seq DESC LIMIT ?1", [limit])?;
        events.reverse();
        Ok(events)
    }

    /// The last event of an alarm.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_of(&self, fingerprint: &str) -> Result<Option<Event>, StoreError> {
        Ok(self.events_of("SELECT body FROM event WHERE fingerprint = ?1 ORDER BY seq DESC LIMIT 1", [fingerprint])?.pop())
    }

    /// Events made since a time with a number up to `upto`, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events_since(&self, time: UtcMillis, upto: u64) -> Result<Vec<Event>, StoreError> {
        // Newest first until one is older: there is no index by time.
        let mut statement = self.connection.prepare_cached("SELECT time, body FROM event WHERE seq <= ?1 ORDER BY seq DESC")?;
        let mut rows = statement.query([signed(upto)])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(0)? < time.0 {
                break;
            }
            events.push(self.parsed(&row.get::<_, String>(1)?)?);
        }
        events.reverse();
        Ok(events)
    }

    fn events_of(&self, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query(parameters)?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.push(self.parsed(&row.get::<_, String>(0)?)?);
        }
        Ok(events)
    }

    /// An event as it is kept; those of an epoch before go by the present one.
    fn parsed(&self, body: &str) -> Result<Event, StoreError> {
        let event: Event = serde_json::from_str(body).map_err(|error| StoreError::Damaged(format!("an event of alarms.db: {error}")))?;
        Ok(Event { epoch: self.epoch.clone(), ..event })
    }

    /// The oldest and the newest event there are; 0 when there is none, and of the newest the last there ever was.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn bounds(&self) -> Result<(u64, u64), StoreError> {
        let oldest: Option<i64> = self.connection.query_row("SELECT min(seq) FROM event", [], |row| row.get(0))?;
        let mut newest = self.connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'event'")?;
        let newest: Option<i64> = newest.query_row([], |row| row.get(0)).optional()?;
        Ok((oldest.map_or(0, i64::unsigned_abs), newest.map_or(0, i64::unsigned_abs)))
    }

    /// Keeps a batch, all of it or nothing; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO event (seq, fingerprint, time, track, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let mut stand = transaction.prepare_cached("INSERT OR REPLACE INTO standing (fingerprint, body) VALUES (?1, ?2)")?;
            let mut fall = transaction.prepare_cached("DELETE FROM standing WHERE fingerprint = ?1")?;
            for event in &batch.events {
                let body = serde_json::to_string(event).map_err(|error| StoreError::Damaged(error.to_string()))?;
                let track = match event.track {
                    Track::Operator => "operator",
                    Track::Compliance => "compliance",
                };
                insert.execute(params![signed(event.seq), event.fingerprint, event.time.0, track, body])?;
                if event.ends() {
                    fall.execute([&event.fingerprint])?;
                } else if stands(event) {
                    stand.execute(params![event.fingerprint, body])?;
                }
            }
            let mut keep = transaction.prepare_cached("INSERT OR REPLACE INTO alarm (rule, subject, state) VALUES (?1, ?2, ?3)")?;
            let mut forget = transaction.prepare_cached("DELETE FROM alarm WHERE rule = ?1 AND subject = ?2")?;
            for (rule, subject, state) in &batch.states {
                match state {
                    Some(state) => keep.execute(params![rule, subject, state])?,
                    None => forget.execute(params![rule, subject])?,
                };
            }
            let mut set = transaction.prepare_cached("INSERT OR REPLACE INTO item (key, value) VALUES (?1, ?2)")?;
            let items = [
                (JOURNAL, batch.journal.map(|sequence| signed(sequence.0))),
                (INBOX, batch.inbox),
                (BOOT, batch.boot.map(u64::cast_signed)),
            ];
            for (key, value) in items {
                if let Some(value) = value {
                    set.execute(params![key, value])?;
                }
            }
            if let Some(last) = batch.events.last().filter(|last| last.seq > EVENTS_MAX && last.seq.is_multiple_of(EVENTS_TRIMMED)) {
                transaction
                    .prepare_cached("DELETE FROM event WHERE seq <= ?1 AND track = 'operator'")?
                    .execute([signed(last.seq.saturating_sub(EVENTS_MAX))])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The last event that a receiver has; `None` for a new one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn target(&self, id: &str) -> Result<Option<u64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT seq FROM target WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get::<_, i64>(0)).optional()?.map(i64::unsigned_abs))
    }

    /// Notes the last event that a receiver has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_target(&self, id: &str, seq: u64) -> Result<(), StoreError> {
        self.connection.prepare_cached("INSERT OR REPLACE INTO target (id, seq) VALUES (?1, ?2)")?.execute(params![id, signed(seq)])?;
        Ok(())
    }

    /// Notes an event that a receiver does not accept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn drop_for(&self, id: &str, seq: u64, now: UtcMillis, reason: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached("INSERT INTO dropped (target, seq, time, reason) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            id,
            signed(seq),
            now.0,
            reason
        ])?;
        self.connection
            .prepare_cached("DELETE FROM dropped WHERE id <= (SELECT max(id) FROM dropped) - ?1")?
            .execute([signed(DROPPED_MAX)])?;
        Ok(())
    }
}

/// Whether an event leaves its alarm on.
pub(super) fn stands(event: &Event) -> bool {
    match event.kind {
        EventKind::Raised | EventKind::Acknowledged | EventKind::ReAlarmed | EventKind::Amended => true,
        // Of one that is on.
        EventKind::Shelved | EventKind::Unshelved => event.state == Standing::Firing || !event.suppressed,
        EventKind::Noted => event.state == Standing::Firing,
        EventKind::Resolved | EventKind::Gone | EventKind::Withdrawn => false,
    }
}

fn epoch_of(connection: &Connection) -> Result<String, StoreError> {
    Ok(connection.query_row("SELECT value FROM item WHERE key = ?1", [EPOCH], |row| row.get(0))?)
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
    use super::super::event::fingerprint;
    use super::*;

    fn event(seq: u64, name: &str, kind: EventKind, state: Standing) -> Event {
        let labels = [("alertname".to_owned(), name.to_owned())].into();
        Event {
            epoch: "e".into(),
            seq,
            time: UtcMillis(i64::try_from(seq).unwrap() * 1_000),
            kind,
            track: if name == "law" { Track::Compliance } else { Track::Operator },
            state,
            fingerprint: fingerprint(&labels),
            starts_at: UtcMillis(500),
            ends_at: None,
            late: false,
            suppressed: false,
            labels,
            annotations: [("value".to_owned(), "1".to_owned())].into(),
        }
    }

    #[test]
    fn events_states_and_places_are_kept_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alarms.db");
        let epoch = {
            let mut outbox = Outbox::open(&path).unwrap();
            assert_eq!((outbox.journal().unwrap(), outbox.inbox().unwrap(), outbox.bounds().unwrap()), (None, 0, (0, 0)));
            let events = vec![
                event(1, "a", EventKind::Raised, Standing::Firing),
                event(2, "b", EventKind::Raised, Standing::Firing),
                event(3, "law", EventKind::Raised, Standing::Firing),
                event(4, "a", EventKind::Resolved, Standing::Resolved),
            ];
            let states = vec![("r".into(), "p".into(), Some("{}".into())), ("r".into(), "q".into(), Some("{}".into()))];
            let batch = Batch { events, states, journal: Some(Sequence(9)), inbox: Some(3), boot: Some(u64::MAX) };
            outbox.commit(&batch).unwrap();
            outbox.commit(&Batch { states: vec![("r".into(), "q".into(), None)], ..Batch::default() }).unwrap();
            outbox.epoch().to_owned()
        };
        let outbox = Outbox::open_read_only(&path).unwrap();
        assert_eq!((outbox.epoch(), outbox.bounds().unwrap()), (epoch.as_str(), (1, 4)));
        assert_eq!((outbox.journal().unwrap(), outbox.inbox().unwrap(), outbox.boot().unwrap()), (Some(Sequence(9)), 3, Some(u64::MAX)));
        assert_eq!(outbox.states().unwrap(), [("r".to_owned(), "p".to_owned(), "{}".to_owned())]);
        let seqs = |events: Vec<Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!((seqs(outbox.events(1, 2).unwrap()), seqs(outbox.compliance(5).unwrap())), (vec![2, 3], vec![3]));
        assert_eq!(seqs(outbox.events_since(UtcMillis(2_000), 3).unwrap()), [2, 3]);
        let mut standing = seqs(outbox.standing().unwrap());
        standing.sort_unstable();
        assert_eq!(standing, [2, 3]);
        let last = outbox.last_of(&event(1, "a", EventKind::Raised, Standing::Firing).fingerprint).unwrap().unwrap();
        assert_eq!((last.seq, last.kind), (4, EventKind::Resolved));
        // A number is never given twice.
        Outbox::open(&path).unwrap().commit(&Batch { events: vec![last], ..Batch::default() }).unwrap_err();
    }

    #[test]
    fn receivers_keep_their_places_and_the_epoch_can_be_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alarms.db");
        let mut outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.target("am").unwrap(), None);
        outbox.set_target("am", 7).unwrap();
        outbox.drop_for("am", 8, UtcMillis(1), "bad").unwrap();
        let before = outbox.epoch().to_owned();
        outbox.renew_epoch().unwrap();
        let again = Outbox::open_for_target(&path).unwrap();
        assert_eq!(again.target("am").unwrap(), Some(7));
        assert!(again.epoch() == outbox.epoch() && again.epoch() != before);
        again.connection.execute_batch("PRAGMA user_version = 9").unwrap();
        assert!(matches!(Outbox::open(&path), Err(StoreError::Version(_))));
    }
}
