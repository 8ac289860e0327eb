//! One consistent picture of a data directory, held open until it is copied.
//!
//! Every SQLite file is held in a read transaction, every other file by its open handle, so that what the gateway writes,
//! merges and deletes meanwhile is not seen. In this order: files that are not SQLite (the normaliser's state is never
//! ahead of the journal), SQLite files with history's `state.db` first, then the last durable entry is asked for, then the
//! journal's segments are opened. They are cut behind that entry: what lies up to it does not change any more. So the
//! picture is the record as of that entry, and no cursor in it is ahead. When history was committed anew in between, the
//! journal let go of a segment, or points were registered, another picture is taken: entries behind the state of history
//! or of the normaliser may be missing from this one.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parkgate_collector::journal::{Sequence, inspect};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::store::{self, Object, Objects};
use super::{Ask, AskGateway, BackupError, Step, failed, sqlite_failed};
use crate::store::{DataDirectory, Facts, directory};

/// Attempts at a picture; what makes it fail happens every few minutes.
const ATTEMPTS: usize = 20;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 8;
/// First bytes of every SQLite file.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// Length of the header that is put in order.
const SQLITE_HEADER_BYTES: usize = 100;

/// See the module.
pub(super) struct Picture {
    pub(super) sources: Vec<Source>,
    pub(super) park: Option<String>,
    pub(super) version: u32,
    pub(super) position: Option<Sequence>,
    pub(super) warnings: Vec<String>,
    /// Nobody starts a gateway meanwhile.
    _lock: Option<DataDirectory>,
}

/// One file to be copied.
pub(super) struct Source {
    /// Path in the data directory, with `/`.
    pub(super) name: String,
    path: PathBuf,
    content: Content,
}

enum Content {
    /// In a read transaction. With an empty log the file itself is what the transaction sees, and nobody may write to it.
    /// The handle is closed after the connection: closing it first would let go of the connection's locks.
    Sqlite {
        connection: Connection,
        file: Option<File>,
    },
    Plain {
        file: File,
        bytes: u64,
    },
}

impl Picture {
    /// Takes it.
    pub(super) fn take(data: &Path, ask: AskGateway<'_>) -> Result<Self, BackupError> {
        let mut ask_first = Ask::Checkpoint;
        for _ in 0..ATTEMPTS {
            let running = ask(std::mem::replace(&mut ask_first, Ask::Durable))?;
            DataDirectory::open_read_only(data)?;
            let lock = if running.is_none() { Some(DataDirectory::open_exclusive(data)?) } else { None };
            match Self::attempt(data, lock, ask) {
                Ok(Some(picture)) => return Ok(picture),
                Ok(None) => {}
                // Gone or replaced while it was looked at.
                Err(BackupError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err(BackupError::Restless)
    }

    /// `None` when the directory changed in a way that matters.
    fn attempt(data: &Path, lock: Option<DataDirectory>, ask: AskGateway<'_>) -> Result<Option<Self>, BackupError> {
        let directory = DataDirectory::open_read_only(data)?;
        let mut picture =
            Self { sources: Vec::new(), park: None, version: directory::VERSION, position: None, warnings: Vec::new(), _lock: lock };
        let state_path = directory.history().join("state.db");
        // Before anything is opened: the normaliser's state goes on with entries that are in the journal now.
        let before = (registered(&directory)?, committed(&state_path)?, oldest(&directory)?);
        let mut databases = Vec::new();
        let mut paths = Vec::new();
        list(data, &directory.journal(), DEPTH_MAX, &mut paths)?;
        for path in paths {
            let mut file = File::open(&path).map_err(failed(&path))?;
            if is_sqlite(&mut file).map_err(failed(&path))? {
                // By the path alone from here on, see `Content::Sqlite`: no connection has it open yet.
                databases.push(path);
            } else {
                let name = name_of(data, &path);
                picture.sources.push(Source { name, path, content: Content::Plain { file, bytes: u64::MAX } });
            }
        }
        databases.sort_by_key(|path| (*path != state_path, path.clone()));
        for path in databases {
            let name = name_of(data, &path);
            match pin(&path) {
                Ok((connection, file)) => {
                    picture.sources.push(Source { name, path, content: Content::Sqlite { connection, file } });
                }
                Err(BackupError::Sqlite { error, .. })
                    if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
                {
                    picture.warnings.push(format!("{name} is damaged ({error}) and copied as it lies"));
                    let file = File::open(&path).map_err(failed(&path))?;
                    picture.sources.push(Source { name, path, content: Content::Plain { file, bytes: u64::MAX } });
                }
                Err(error) => return Err(error),
            }
        }
        if picture._lock.is_none() {
            match ask(Ask::Durable)? {
                Some(position) => picture.position = Some(position),
                None => return Ok(None),
            }
        }
        let upto = picture.position.unwrap_or(Sequence(u64::MAX));
        let segments = inspect::segments(&directory.journal()).map_err(failed(&directory.journal()))?;
        let lasts = segments.iter().skip(1).map(|(first, _)| Some(*first)).chain([None]);
        for ((first, path), next) in segments.iter().zip(lasts).filter(|((first, _), _)| *first <= upto) {
            let file = File::open(path).map_err(failed(path))?;
            let whole = picture.position.is_none() || next.is_some_and(|next| next <= upto);
            let bytes = if whole { u64::MAX } else { inspect::bytes_upto(Arc::new(file.try_clone().map_err(failed(path))?), *first, upto) };
            let name = name_of(data, path);
            picture.sources.push(Source { name, path: path.clone(), content: Content::Plain { file, bytes } });
        }
        if directory.facts().exists() {
            let park = Facts::open_read_only(&directory.facts())?.item("park")?;
            picture.park = park.map(|park| String::from_utf8_lossy(&park).into_owned());
        }
        let same = (registered(&directory)?, committed(&state_path)?, segments.first().map(|(first, _)| *first)) == before;
        Ok(same.then_some(picture))
    }
}

/// First entry of the oldest segment of the journal.
fn oldest(directory: &DataDirectory) -> Result<Option<Sequence>, BackupError> {
    let segments = inspect::segments(&directory.journal()).map_err(failed(&directory.journal()))?;
    Ok(segments.first().map(|(first, _)| *first))
}

/// How many points have numbers.
fn registered(directory: &DataDirectory) -> Result<usize, BackupError> {
    if !directory.facts().exists() {
        return Ok(0);
    }
    Ok(Facts::open_read_only(&directory.facts())?.identities()?.len())
}

/// What history is committed by, as its bytes.
fn committed(state: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    if !state.exists() {
        return Ok(None);
    }
    let read = || -> rusqlite::Result<Option<Vec<u8>>> {
        let connection = Connection::open_with_flags(state, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.query_row("SELECT max(data) FROM commitment", [], |row| row.get(0))
    };
    match read() {
        // Damaged, or of another shape: copied as it lies, nothing to compare.
        Err(error) if !matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::DatabaseBusy)) => Ok(None),
        result => result.map_err(sqlite_failed(state)),
    }
}

/// The files of a folder but for those that are another's business or come and go.
fn list(folder: &Path, journal: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let mut entries = fs::read_dir(folder).map_err(failed(folder))?.collect::<io::Result<Vec<_>>>().map_err(failed(folder))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let passing = ["-wal", "-shm", "-journal", ".tmp", ".gone"].iter().any(|end| name.ends_with(end));
        let top = name == "lock" || name == "lost+found" || name.starts_with("backup-");
        if passing || top || path == journal {
            continue;
        }
        // Through links: history may lie on another disk.
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() && depth > 0 {
            list(&path, journal, depth - 1, paths)?;
        } else if found.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn name_of(data: &Path, path: &Path) -> String {
    path.strip_prefix(data).unwrap_or(path).to_string_lossy().into_owned()
}

fn is_sqlite(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(magic == SQLITE_MAGIC)
}

/// A connection in a read transaction, and the file itself when that is all the transaction sees.
fn pin(path: &Path) -> Result<(Connection, Option<File>), BackupError> {
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA cache_size = -512; BEGIN;")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    let connection = open().map_err(sqlite_failed(path))?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let empty = match fs::metadata(&log) {
        Ok(found) => found.len() == 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(path)(error)),
    };
    let file = if empty { Some(File::open(path).map_err(failed(path))?) } else { None };
    Ok((connection, file))
}

impl Source {
    /// Copies it unless that content is there already; whether it was copied, and under which hash it is.
    pub(super) fn copy(self, objects: &Objects, step: Step<'_>) -> Result<(bool, Object), BackupError> {
        match self.content {
            Content::Plain { file, bytes } => copy_file(objects, &self.path, &file, None, bytes, step),
            Content::Sqlite { connection, file: Some(file) } => {
                let header = ordered_header(&file).map_err(failed(&self.path))?;
                let copied = copy_file(objects, &self.path, &file, Some(&header), u64::MAX, step);
                drop(connection);
                drop(file);
                copied
            }
            Content::Sqlite { connection, file: None } => copy_online(objects, &self.path, &connection, step),
        }
    }
}

fn copy_file(
    objects: &Objects,
    path: &Path,
    file: &File,
    head: Option<&[u8]>,
    bytes: u64,
    step: Step<'_>,
) -> Result<(bool, Object), BackupError> {
    let object = store::digest(file, head, bytes).map_err(failed(path))?;
    if objects.find(&object) {
        return Ok((false, object));
    }
    step("copy")?;
    let temporary = objects.temporary();
    let object = store::copy(file, head, bytes, &temporary).map_err(failed(&temporary))?;
    step("name")?;
    objects.add(&object)?;
    Ok((true, object))
}

/// By SQLite's own way of copying, where part of the content is in its log.
fn copy_online(objects: &Objects, path: &Path, connection: &Connection, step: Step<'_>) -> Result<(bool, Object), BackupError> {
    let temporary = objects.temporary();
    step("online")?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&temporary)(error)),
        _ => {}
    }
    {
        let mut target = Connection::open(&temporary).map_err(sqlite_failed(&temporary))?;
        // Synced as a whole below.
        target.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;").map_err(sqlite_failed(&temporary))?;
        let backup = rusqlite::backup::Backup::new(connection, &mut target).map_err(sqlite_failed(path))?;
        backup.run_to_completion(1024, std::time::Duration::ZERO, None).map_err(sqlite_failed(&temporary))?;
    }
    let file = File::options().read(true).write(true).open(&temporary).map_err(failed(&temporary))?;
    let header = ordered_header(&file).map_err(failed(&temporary))?;
    std::os::unix::fs::FileExt::write_all_at(&file, &header, 0).and_then(|()| file.sync_all()).map_err(failed(&temporary))?;
    let object = store::digest(&file, None, u64::MAX).map_err(failed(&temporary))?;
    drop(file);
    if objects.find(&object) {
        fs::remove_file(&temporary).map_err(failed(&temporary))?;
        return Ok((false, object));
    }
    step("name")?;
    objects.add(&object)?;
    Ok((true, object))
}

/// The header of a SQLite file with what changes although the content does not put to fixed values: change counter, schema
/// cookie, the change that the size is valid for, the version of SQLite that wrote last. Other processes tell by them that
/// a file changed; a file that nobody has open may have any.
fn ordered_header(file: &File) -> io::Result<Vec<u8>> {
    let mut header = vec![0; SQLITE_HEADER_BYTES];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut header, 0)?;
    for (at, value) in [(24, 1u32), (40, 1), (92, 1), (96, 0)] {
        if let Some(field) = header.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
    Ok(header)
}
