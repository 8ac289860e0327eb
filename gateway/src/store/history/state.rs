//! `state.db`: what a checkpoint is committed by. Number of the last checkpoint, journal position, latest samples and
//! floors of all points, and the open windows in pieces. Written last, in one transaction: month files are ahead of it
//! or at it, and what they are ahead is undone at start.
//!
//! A damaged file is never mended in place. All that is known goes to a new one ([`replace`]): at start what can be read
//! ([`salvage`]), while running what is in memory. Until that is whole and synced, the damaged one stays where it is, so
//! a crash on the way costs nothing that was there before.

use std::path::{Path, PathBuf};

use parkgate_collector::journal::Sequence;
use parkgate_collector::journal::file::{Disk, sync_parent};
use parkgate_collector::model::{PointId, Sample, Status, UtcMillis};
use rusqlite::{Connection, params};

use super::block::{seal, unseal};
use super::files::{commitment, open_for_making, open_for_reading, open_for_writing, set_commitment};
use super::head::{Head, Slot, no_sample};
use crate::store::StoreError;

/// `commitment.data` is the number of the checkpoint and the position in the journal. `piece.data` and `point.data` end in a CRC-32 as blocks do. A piece is a run (see `run.rs`). `point.data` is floor,
/// value, record time, received time (8 bytes each, little endian), status (2), source time given (1), source time (8).
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS point (point INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS piece (
    point INTEGER NOT NULL,
    late INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (point, late, piece)) WITHOUT ROWID;
";

/// Points in a row of which nothing can be read, after which salvage ends: points are numbered densely.
const SALVAGE_GAP: u32 = 1 << 12;

/// Opens the file; one that is missing is damage, only [`replace`] makes it.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Damaged(format!("{} is missing", path.display())));
    }
    open_for_writing(path, SCHEMA)
}

/// Makes a file of what `fill` writes and puts it in the place of the one at `path`; that one, if there is one, is kept
/// beside. A crash before any of the steps that `step` is told leaves the one or the other, whole, for [`settle`].
///
/// No connection may have the old one open.
pub(super) fn replace(
    path: &Path,
    step: impl Fn(&'static str) -> Result<(), StoreError>,
    fill: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    let (part, new) = (beside(path, PART), beside(path, NEW));
    remove(&part)?;
    {
        let mut connection = open_for_making(&part, SCHEMA)?;
        let transaction = connection.transaction()?;
        fill(&transaction)?;
        transaction.commit()?;
    }
    let synced = std::fs::File::open(&part).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::Io { path: part.clone(), error })?;
    step("state made")?;
    rename(&part, &new)?;
    step("state aside")?;
    super::put_aside(path)?;
    // Only then the name is taken again: a log of the old file must not meet the new one.
    sync_parent(&Disk, path).map_err(|error| StoreError::Io { path: path.to_owned(), error })?;
    step("state rename")?;
    rename(&new, path)?;
    step("state open")?;
    open(path)
}

/// Ends a [`replace`] that a crash or an error interrupted; to be called before the file is opened.
pub(super) fn settle(path: &Path) -> Result<(), StoreError> {
    let new = beside(path, NEW);
    remove(&beside(path, PART))?;
    if new.exists() {
        super::put_aside(path)?;
        sync_parent(&Disk, path).map_err(|error| StoreError::Io { path: path.to_owned(), error })?;
        rename(&new, path)?;
    }
    Ok(())
}

/// A file that is being made, and one that is whole but not yet in its place.
const PART: &str = ".part";
const NEW: &str = ".new";

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Renames and makes it durable.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).and_then(|()| sync_parent(&Disk, to)).map_err(|error| StoreError::Io { path: from.to_owned(), error })
}

/// Removes a file that is being made, and its journal, where they are.
fn remove(path: &Path) -> Result<(), StoreError> {
    for path in [path.to_owned(), beside(path, "-journal")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::Io { path, error }),
            _ => {}
        }
    }
    Ok(())
}

/// Number of the last checkpoint and position in the journal.
pub(super) fn position(connection: &Connection) -> Result<(u64, Sequence), StoreError> {
    let Some([checkpoint, sequence]) = commitment::<2>(connection)? else {
        return Err(StoreError::Damaged("commitment row of the state is missing".into()));
    };
    Ok((checkpoint, Sequence(sequence)))
}

/// Reads the whole file past the pages that its writer keeps in memory.
///
/// # Errors
/// Damage, where there is some.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Err(StoreError::Damaged(format!("{} is missing", path.display())));
    }
    let connection = open_for_reading(path)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Damaged(found));
    }
    position(&connection)?;
    for table in ["point", "piece"] {
        let mut statement = connection.prepare(&format!("SELECT point, data FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let point = PointId(row.get(0)?);
            if unseal(point, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?).is_none() {
                return Err(StoreError::Damaged(format!("row of point {point} in table {table}")));
            }
        }
    }
    Ok(())
}

/// Fills the head; the number of rows that were damaged and left out.
pub(super) fn load(connection: &Connection, head: &mut Head, compliance: &dyn Fn(PointId) -> bool) -> Result<u64, StoreError> {
    let mut damaged = 0;
    (head.checkpoint, head.position) = position(connection)?;
    head.committed = head.position;
    head.version = 1;
    let mut statement = connection.prepare("SELECT point, data FROM point")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let point = PointId(row.get(0)?);
        let (floor, latest) = unseal(point, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)
            .and_then(|bytes| point_from(point, bytes))
            .unwrap_or_else(|| {
                damaged += 1;
                (UtcMillis(i64::MIN), no_sample(point))
            });
        if point.index() < super::POINTS_MAX {
            head.restore(point, Slot { version: 1, ..Slot::new(compliance(point), floor, latest) });
        }
    }
    let mut statement = connection.prepare("SELECT point, late, data FROM piece ORDER BY point, late, piece")?;
    let mut rows = statement.query([])?;
    let mut window: Option<(PointId, bool)> = None;
    let (mut bytes, mut pieces) = (Vec::new(), 0);
    loop {
        let row = rows.next()?;
        let next = match row {
            Some(row) => Some((PointId(row.get(0)?), row.get(1)?)),
            None => None,
        };
        if next != window
            && let Some((point, late)) = window.replace(next.unwrap_or((PointId(0), false)))
            && !head.restore_window(point, late, std::mem::take(&mut bytes), std::mem::take(&mut pieces))
        {
            damaged += 1;
        }
        let (Some(row), Some((point, _))) = (row, next) else { break };
        pieces += 1;
        match unseal(point, row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?) {
            Some(piece) => bytes.extend_from_slice(piece),
            None => damaged += 1,
        }
    }
    Ok(damaged)
}

/// Fills the head with what a damaged file still has, point by point; the number of points that lost something. Points
/// of which nothing can be read are not known, so not in that number. Position and checkpoint are left at 0.
pub(super) fn salvage(path: &Path, head: &mut Head, compliance: &dyn Fn(PointId) -> bool) -> Result<u64, StoreError> {
    let connection = Connection::open(path)?;
    let mut state = connection.prepare("SELECT data FROM point WHERE point = ?1")?;
    let mut pieces = connection.prepare("SELECT data FROM piece WHERE point = ?1 AND late = ?2 AND piece = ?3")?;
    head.version = 1;
    let (mut lost, mut gap) = (0, 0);
    for point in (0..super::POINTS_MAX as u32).map(PointId) {
        let mut damaged = false;
        // `None` where there is no row, or none that can be read.
        let mut read = |statement: &mut rusqlite::Statement<'_>, parameters: &[&dyn rusqlite::ToSql]| {
            let data = statement.query_row(parameters, |row| row.get::<_, Vec<u8>>(0)).map(|data| unseal(point, &data).map(<[u8]>::to_vec));
            damaged |= !matches!(data, Ok(Some(_)) | Err(rusqlite::Error::QueryReturnedNoRows));
            data.ok().flatten()
        };
        let found = read(&mut state, params![point.0]);
        let mut windows = [Vec::new(), Vec::new()];
        for (late, bytes) in windows.iter_mut().enumerate() {
            for piece in 0..super::head::PIECES_MAX {
                bytes.extend(read(&mut pieces, params![point.0, late as i64, piece]).into_iter().flatten());
            }
        }
        if found.is_none() && windows.iter().all(Vec::is_empty) {
            gap += 1;
            if gap == SALVAGE_GAP {
                break;
            }
            continue;
        }
        gap = 0;
        let (floor, latest) = found.and_then(|bytes| point_from(point, &bytes)).unwrap_or_else(|| (UtcMillis(i64::MIN), no_sample(point)));
        head.restore(point, Slot { version: 1, dirty: true, ..Slot::new(compliance(point), floor, latest) });
        for (late, bytes) in windows.into_iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            damaged |= !head.restore_window(point, late == 1, bytes, 0);
        }
        lost += u64::from(damaged);
    }
    Ok(lost)
}

/// Writes all points and open windows of a head to a new file, with its checkpoint and position.
pub(super) fn store(connection: &Connection, head: &mut Head) -> Result<(), StoreError> {
    let (checkpoint, position) = (head.checkpoint, head.position);
    for slot in head.slots_mut() {
        put_point(connection, slot.floor, &slot.latest)?;
        for window in slot.windows_mut() {
            put_piece(connection, window.point, window.late, 0, &window.bytes)?;
            (window.written, window.pieces) = (window.bytes.len(), 1);
        }
    }
    put_position(connection, checkpoint, position)
}

/// Writes a point's floor and latest sample.
pub(super) fn put_point(connection: &Connection, floor: UtcMillis, latest: &Sample) -> Result<(), StoreError> {
    let mut data = Vec::with_capacity(64);
    for number in [floor.0, latest.value, latest.record_time.0, latest.received_time.0] {
        data.extend_from_slice(&number.to_le_bytes());
    }
    data.extend_from_slice(&latest.status.bits().to_le_bytes());
    data.push(u8::from(latest.source_time.is_some()));
    data.extend_from_slice(&latest.source_time.unwrap_or_default().0.to_le_bytes());
    seal(latest.point, &mut data);
    connection.prepare_cached("INSERT OR REPLACE INTO point (point, data) VALUES (?1, ?2)")?.execute(params![latest.point.0, data])?;
    Ok(())
}

fn point_from(point: PointId, bytes: &[u8]) -> Option<(UtcMillis, Sample)> {
    let (numbers, rest) = bytes.split_at_checked(32)?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    let (floor, value) = (UtcMillis(numbers.next()?), numbers.next()?);
    let (record_time, received_time) = (UtcMillis(numbers.next()?), UtcMillis(numbers.next()?));
    let (status, rest) = rest.split_first_chunk::<2>()?;
    let (&given, source) = rest.split_first()?;
    let source = UtcMillis(i64::from_le_bytes(source.try_into().ok()?));
    let status = Status::from_bits(u16::from_le_bytes(*status))?;
    Some((floor, Sample { point, status, value, source_time: (given == 1).then_some(source), received_time, record_time }))
}

/// Writes a piece of an open window.
pub(super) fn put_piece(connection: &Connection, point: PointId, late: bool, piece: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let mut data = Vec::with_capacity(bytes.len() + 4);
    data.extend_from_slice(bytes);
    seal(point, &mut data);
    connection
        .prepare_cached("INSERT OR REPLACE INTO piece (point, late, piece, data) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![point.0, late, piece, data])?;
    Ok(())
}

/// Removes the pieces of a point's window.
pub(super) fn delete_pieces(connection: &Connection, point: PointId, late: bool) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM piece WHERE point = ?1 AND late = ?2")?.execute(params![point.0, late])?;
    Ok(())
}

/// Last statements of a checkpoint's transaction.
pub(super) fn put_position(connection: &Connection, checkpoint: u64, position: Sequence) -> Result<(), StoreError> {
    set_commitment(connection, &[checkpoint, position.0])
}
