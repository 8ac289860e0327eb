//! Backup of a data directory, while the gateway runs or not, and the way back.
//!
//! [`make`] copies, [`verify`] checks a copy against its hashes, [`restore`] makes a data directory of it. [`manifest`]
//! the list of what a backup holds; [`source`] one consistent picture of a data directory; [`store`] copies under their
//! hashes. Nothing in the data directory is changed.
//!
//! # Layout of a backup, format 1
//!
//! | file | what |
//! |---|---|
//! | `manifest.json` | the list of files, written last; without it there is no backup |
//! | `objects/<SHA-256>` | the content of a file, named by its hash and never changed |
//! | `objects/*.tmp` | what an interrupted backup left; removed by the next |
//! | `lock` | held while a backup is made |
//!
//! So a month that is the same as last time is not copied again, an interrupted backup leaves the one before as it was,
//! and a changed byte is found. What no list names any more goes after the new list is there.

pub mod manifest;
mod source;
mod store;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use parkgate_collector::journal::Sequence;
use parkgate_collector::journal::file::{self, Disk};
use parkgate_collector::model::UtcMillis;
use thiserror::Error;

pub use self::manifest::{Entry, Manifest};
use self::source::Picture;
use self::store::Objects;
use crate::store::{DirectoryError, StoreError};

/// Backup or restore did not work. The backup made before is as it was.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file could not be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The disk is full.
    #[error("{path}: no space left; what was there before is untouched: make room or name a folder on another disk")]
    NoSpace {
        /// What was being written.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("{path}: {error}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: rusqlite::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The registry of points cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway could not be asked.
    #[error("the running gateway could not be asked: {0}")]
    Gateway(String),
    /// It kept changing.
    #[error("the data directory changes faster than a picture of it can be taken; try again")]
    Restless,
    /// One lies in the other.
    #[error("{inner} lies in {outer}: a backup must be apart from what it backs up")]
    Inside {
        /// The folder within.
        inner: PathBuf,
        /// The folder around it.
        outer: PathBuf,
    },
    /// The folder holds something else.
    #[error("{0} is not empty and holds no backup of parkgate; name an empty or a new folder")]
    Foreign(PathBuf),
    /// The backup is of another park.
    #[error("{folder} holds backups of park `{found}`, this is park `{wanted}`; name another folder")]
    OtherPark {
        /// The folder.
        folder: PathBuf,
        /// Its park.
        found: String,
        /// The park of the data directory.
        wanted: String,
    },
    /// Another backup is being made.
    #[error("another backup into {0} is under way")]
    Busy(PathBuf),
    /// There is no complete backup.
    #[error("{0} holds no complete backup: there is no manifest.json; make one with `parkgate backup`")]
    Incomplete(PathBuf),
    /// Made by a newer program.
    #[error("{path} has format {found}, this program knows format {known}; use the newer program")]
    Newer {
        /// The list.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The list itself is damaged.
    #[error("{path} is damaged ({reason}); take another copy of the backup")]
    Manifest {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Files are not what they were.
    #[error("the backup is damaged, nothing was restored:\n{}", .0.join("\n"))]
    Damaged(Vec<String>),
    /// The target of a restore holds something.
    #[error("{0} is not empty; restore into an empty or a new folder")]
    NotEmpty(PathBuf),
}

/// What the gateway that writes to the data directory is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To make a checkpoint, so that little of the journal is to be copied, and for the last durable entry.
    Checkpoint,
    /// For the last durable entry.
    Durable,
}

/// Asks the gateway; `None` when none runs.
pub type AskGateway<'a> = &'a dyn Fn(Ask) -> Result<Option<Sequence>, BackupError>;

/// Called before each step with its name; an error ends the work there, as a crash would. For tests.
pub(crate) type Step<'a> = &'a dyn Fn(&'static str) -> Result<(), BackupError>;

/// What a backup did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The list as written.
    pub manifest: Manifest,
    /// Files that were copied.
    pub copied: usize,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Odd things for a person.
    pub warnings: Vec<String>,
}

/// Backs `data` up into `to`.
///
/// With a gateway running, all that was acknowledged before the call is in it, and nothing waits for it. Without one
/// nobody else may write to the directory meanwhile. Blocks for as long as copying takes.
///
/// # Errors
/// The backup made before, if there is one, is then still there.
pub fn make(data: &Path, to: &Path, now: UtcMillis, ask: AskGateway<'_>) -> Result<Report, BackupError> {
    make_with(data, to, now, ask, &|_| Ok(()))
}

pub(crate) fn make_with(data: &Path, to: &Path, now: UtcMillis, ask: AskGateway<'_>, step: Step<'_>) -> Result<Report, BackupError> {
    apart(data, to)?;
    let mut picture = Picture::take(data, ask)?;
    let previous = prepare(to)?;
    let _lock = lock(to)?;
    if let Some(previous) = &previous
        && let (Some(found), Some(wanted)) = (&previous.park, &picture.park)
        && found != wanted
    {
        return Err(BackupError::OtherPark { folder: to.to_owned(), found: found.clone(), wanted: wanted.clone() });
    }
    let objects = Objects::open(to)?;
    let mut report = Report {
        manifest: Manifest::new(picture.park.clone(), now, picture.version, picture.position),
        copied: 0,
        copied_bytes: 0,
        warnings: std::mem::take(&mut picture.warnings),
    };
    for source in picture.sources {
        step("file")?;
        let name = source.name.clone();
        let (copied, object) = source.copy(&objects, step)?;
        if copied {
            report.copied += 1;
            report.copied_bytes += object.bytes;
        }
        report.manifest.files.push(Entry { path: name, bytes: object.bytes, sha256: object.sha256 });
    }
    report.manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    objects.sync()?;
    step("manifest")?;
    let path = to.join(manifest::NAME);
    file::replace(&Disk, &path, &report.manifest.to_bytes()).map_err(failed(&path))?;
    step("tidy up")?;
    objects.keep_only(&report.manifest)?;
    Ok(report)
}

/// Reads the list of a backup and checks every file against it; what is wrong, file by file. Blocks.
///
/// # Errors
/// There is no list, or it cannot be used.
pub fn verify(backup: &Path) -> Result<(Manifest, Vec<String>), BackupError> {
    let manifest = Manifest::read(backup)?;
    let problems = Objects::existing(backup).check(&manifest);
    Ok((manifest, problems))
}

/// Makes the data directory `to` of a backup, once every file was found to be what it was. Complete or not there.
///
/// # Errors
/// Nothing is in `to` then.
pub fn restore(backup: &Path, to: &Path) -> Result<Manifest, BackupError> {
    apart(backup, to)?;
    let (manifest, problems) = verify(backup)?;
    if !problems.is_empty() {
        return Err(BackupError::Damaged(problems));
    }
    if manifest.data_version > crate::store::directory::VERSION {
        let (found, known) = (manifest.data_version, crate::store::directory::VERSION);
        return Err(BackupError::Newer { path: backup.join(manifest::NAME), found, known });
    }
    if to.exists() && fs::read_dir(to).map_err(failed(to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let name = to.file_name().map(|name| format!("{}.restoring", name.to_string_lossy())).unwrap_or_default();
    let unfinished = to.with_file_name(name);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed(&unfinished))?;
    }
    Objects::existing(backup).restore(&manifest, &unfinished)?;
    // Numbers of alarm events are going to be given again, to other events.
    crate::alarm::restored(&unfinished)?;
    fs::rename(&unfinished, to).map_err(failed(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed(parent))?;
    Ok(manifest)
}

/// Refuses folders of which one is in the other.
fn apart(one: &Path, other: &Path) -> Result<(), BackupError> {
    let (a, b) = (real(one)?, real(other)?);
    match (a.starts_with(&b), b.starts_with(&a)) {
        (true, _) => Err(BackupError::Inside { inner: one.to_owned(), outer: other.to_owned() }),
        (_, true) => Err(BackupError::Inside { inner: other.to_owned(), outer: one.to_owned() }),
        _ => Ok(()),
    }
}

/// The path without links and dots; of what is not there, that of the nearest folder above and the rest.
fn real(path: &Path) -> Result<PathBuf, BackupError> {
    let absolute = std::path::absolute(path).map_err(failed(path))?;
    for above in absolute.ancestors() {
        if let Ok(found) = above.canonicalize() {
            let rest = absolute.strip_prefix(above).unwrap_or(Path::new(""));
            return Ok(found.join(rest));
        }
    }
    Ok(absolute)
}

/// Makes the folder of a backup; the list of the one that is there.
fn prepare(to: &Path) -> Result<Option<Manifest>, BackupError> {
    if !to.exists() {
        fs::create_dir_all(to).map_err(failed(to))?;
        // Facts hold what lets people in.
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).map_err(failed(to))?;
    }
    match Manifest::read(to) {
        Ok(manifest) => return Ok(Some(manifest)),
        Err(BackupError::Incomplete(_)) => {}
        // A damaged list: the new one takes its place.
        Err(BackupError::Manifest { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    let ours = |name: &str| matches!(name, "objects" | "lock" | "lost+found" | "manifest.tmp") || name.starts_with('.');
    for entry in fs::read_dir(to).map_err(failed(to))? {
        if !ours(&entry.map_err(failed(to))?.file_name().to_string_lossy()) {
            return Err(BackupError::Foreign(to.to_owned()));
        }
    }
    Ok(None)
}

fn lock(to: &Path) -> Result<File, BackupError> {
    let path = to.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy(to.to_owned())),
        Err(TryLockError::Error(error)) => Err(BackupError::Io { path, error }),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::NoSpace { path: path.to_owned() },
        _ => BackupError::Io { path: path.to_owned(), error },
    }
}

fn sqlite_failed(path: &Path) -> impl Fn(rusqlite::Error) -> BackupError {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => BackupError::NoSpace { path: path.to_owned() },
        _ => BackupError::Sqlite { path: path.to_owned(), error },
    }
}
