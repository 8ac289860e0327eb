//! The data directory: who may write to it, and which version its layout has.
//!
//! Whoever writes holds the lock on the file `lock` for as long as it lives; the operating system lets go of it when
//! the process ends, however it ends. The file `VERSION` holds the layout's number as text with a line feed. A newer
//! one is refused by name; an older one is backed up file by file into `backup-<version>` and then migrated. Read-only
//! commands open the directory beside the one that writes and change nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parkgate_collector::journal::file::{self, Disk};
use thiserror::Error;

use crate::access::who;

/// Version of the layout that this program writes.
pub const VERSION: u32 = 1;

/// Turns the layout of one version into that of the next. Everything it touches was backed up; it must stand being
/// begun again after a crash.
type Migration = fn(&Path) -> std::io::Result<()>;

/// From version 0 (a directory without the file `VERSION`, of an early trial) on: the entry at `n` makes `n + 1`.
const MIGRATIONS: &[Migration] = &[version_1];

/// An open data directory. Keeps the lock while it lives, when opened for writing.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked; the lock goes with the file.
    _lock: Option<File>,
}

/// The data directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Another process has the lock.
    #[error("data directory {path} is in use by process {holder}; stop it first, or use a command that only reads")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process id that it wrote into the lock file, or `unknown`.
        holder: String,
    },
    /// Its layout is newer than this program.
    #[error("data directory {path} has version {found}, this program knows versions up to {VERSION}; use the newer program")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// Its layout is older and it was opened for reading only.
    #[error("data directory {path} has version {found}; start the gateway once to bring it to version {VERSION}")]
    Older {
        /// The directory.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// It holds other things than a record.
    #[error("{path} is not empty and is no data directory of parkgate; name an empty or a new folder")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The file `VERSION` holds no number.
    #[error("{path} holds `{text}` instead of a version number; put back the number of your backup")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// It is another user's, and the superuser opens it: files made in it would be out of that user's reach.
    #[error("data directory {path} is that of user {owner}: run this as that user, for instance by: runuser -u {owner} -- parkgate ...")]
    OfAnother {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// There is no such directory.
    #[error("there is no data directory {path}")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be used.
    #[error("{path}: {error}; the user that runs parkgate must be able to write there, or choose another data_directory")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl DataDirectory {
    /// Opens the directory for writing, creating it when it is not there; brings an older layout up to date.
    pub fn open_exclusive(path: &Path) -> Result<Self, DirectoryError> {
        Self::open_with(path, MIGRATIONS)
    }

    /// Opens the directory for reading, beside a process that writes.
    pub fn open_read_only(path: &Path) -> Result<Self, DirectoryError> {
        if !path.is_dir() {
            return Err(DirectoryError::Missing { path: path.to_owned() });
        }
        refuse_of_another(path)?;
        match read_version(path)? {
            Some(VERSION) => Ok(Self { path: path.to_owned(), _lock: None }),
            Some(found) if found > VERSION => Err(DirectoryError::Newer { path: path.to_owned(), found }),
            None if !path.join("journal").is_dir() => Err(DirectoryError::Foreign { path: path.to_owned() }),
            found => Err(DirectoryError::Older { path: path.to_owned(), found: found.unwrap_or(0) }),
        }
    }

    fn open_with(path: &Path, migrations: &[Migration]) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io(path))?;
        refuse_of_another(path)?;
        let lock = lock(path)?;
        let target = u32::try_from(migrations.len()).expect("a short list");
        let found = match read_version(path)? {
            Some(found) => found,
            None if is_empty(path)? => {
                write_version(path, target)?;
                target
            }
            None if !path.join("journal").is_dir() => return Err(DirectoryError::Foreign { path: path.to_owned() }),
            None => 0,
        };
        if found > target {
            return Err(DirectoryError::Newer { path: path.to_owned(), found });
        }
        if found < target {
            back_up(path, found)?;
        }
        for (version, migration) in (0u32..).zip(migrations) {
            if version >= found {
                migration(path).map_err(io(path))?;
                tracing::info!(path = %path.display(), from = version, to = version + 1, "data directory migrated");
                write_version(path, version + 1)?;
            }
        }
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Journal segments.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Month files and state of history.
    pub fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// The database of facts.
    pub fn facts(&self) -> PathBuf {
        self.path.join("facts.db")
    }

    /// The database of totals, a view of the record.
    pub fn totals(&self) -> PathBuf {
        self.path.join("totals.db")
    }

    /// The database of emission figures, a view of the record and of what was entered.
    pub fn emission(&self) -> PathBuf {
        self.path.join("emission.db")
    }

    /// The database of alarms: events, what is on, who got what.
    pub fn alarms(&self) -> PathBuf {
        self.path.join("alarms.db")
    }

    /// What Modbus devices refused when it was read along with their points.
    pub fn learned(&self) -> PathBuf {
        self.path.join("modbus.learned")
    }

    /// What MQTT sessions may have subscribed.
    pub fn subscribed(&self) -> PathBuf {
        self.path.join("mqtt.subscribed")
    }

    /// The ring of rejected input.
    pub fn rejects(&self) -> PathBuf {
        self.path.join("rejects")
    }

    /// The normaliser's state.
    pub fn normalise_state(&self) -> PathBuf {
        self.path.join("normalise.state")
    }
}

/// Refuses the superuser a record of another user: what it made there that user could not write to, and the gateway would
/// not start. Everybody else has the modes of the files.
fn refuse_of_another(directory: &Path) -> Result<(), DirectoryError> {
    let owner = fs::metadata(directory.join("VERSION")).map_or(0, |file| file.uid());
    if owner == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(DirectoryError::OfAnother { path: directory.to_owned(), owner: who::name(owner) })
}

fn lock(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut holder);
            let holder = holder.trim();
            let known = !holder.is_empty() && holder.bytes().all(|byte| byte.is_ascii_digit());
            let holder = if known { holder } else { "unknown" }.to_owned();
            return Err(DirectoryError::Locked { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(DirectoryError::Io { path, error }),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .and_then(|()| file.sync_all());
    // On a full disk the lock holds all the same; only its holder's number is missing.
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), error = %error, "process id not written into the lock file");
    }
    Ok(file)
}

fn write_version(directory: &Path, version: u32) -> Result<(), DirectoryError> {
    let path = directory.join("VERSION");
    file::replace(&Disk, &path, format!("{version}\n").as_bytes()).map_err(io(&path))
}

fn read_version(directory: &Path) -> Result<Option<u32>, DirectoryError> {
    let path = directory.join("VERSION");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DirectoryError::Io { path, error }),
    };
    let text = String::from_utf8_lossy(&bytes);
    match text.trim().parse() {
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(DirectoryError::Unreadable { path, text: text.trim().chars().take(40).collect() }),
    }
}

/// Whether nothing of ours is in the directory yet: the lock file, hidden files and `lost+found` do not count.
fn is_empty(directory: &Path) -> Result<bool, DirectoryError> {
    for entry in fs::read_dir(directory).map_err(io(directory))? {
        let name = entry.map_err(io(directory))?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && name != "lost+found" && name != "VERSION.tmp" && !name.starts_with('.') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies everything into `backup-<version>`, complete or not there at all. An existing one is kept: it was made before
/// a migration that did not come to its end.
fn back_up(directory: &Path, version: u32) -> Result<(), DirectoryError> {
    let backup = directory.join(format!("backup-{version}"));
    if backup.exists() {
        return Ok(());
    }
    let unfinished = directory.join(format!("backup-{version}.new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(io(&unfinished))?;
    }
    copy_folder(directory, &unfinished, true).map_err(io(&unfinished))?;
    fs::rename(&unfinished, &backup).and_then(|()| file::sync_parent(&Disk, &backup)).map_err(io(&backup))?;
    tracing::info!(backup = %backup.display(), "data directory backed up before its migration");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path, top: bool) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if top && (text == "lock" || text.starts_with("backup-")) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(&name), false)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name))?;
            File::open(to.join(&name))?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// Version 1 is the first: there is nothing to change in what an early trial left.
fn version_1(_directory: &Path) -> std::io::Result<()> {
    Ok(())
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> DirectoryError {
    move |error| DirectoryError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDirectory::open_exclusive(&path).unwrap();
        let error = DataDirectory::open_exclusive(&path).unwrap_err();
        assert!(matches!(&error, DirectoryError::Locked { holder, .. } if *holder == std::process::id().to_string()), "{error}");
        DataDirectory::open_read_only(&path).unwrap();
        drop(first);
        DataDirectory::open_exclusive(&path).unwrap();
    }

    #[test]
    fn the_superuser_leaves_a_record_of_another_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDirectory::open_exclusive(folder.path()).unwrap());
        // Nobody else can give files away; what they meet are the modes.
        if std::os::unix::fs::chown(folder.path().join("VERSION"), Some(65_534), None).is_err() {
            return;
        }
        for error in [DataDirectory::open_exclusive(folder.path()), DataDirectory::open_read_only(folder.path())] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("runuser -u nobody"), "{error}");
        }
    }

    #[test]
    fn versions_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(matches!(DataDirectory::open_read_only(&path.join("none")), Err(DirectoryError::Missing { .. })));
        drop(DataDirectory::open_exclusive(path).unwrap());
        assert_eq!(fs::read_to_string(path.join("VERSION")).unwrap(), "1\n");
        fs::write(path.join("VERSION"), "9\n").unwrap();
        let error = DataDirectory::open_exclusive(path).unwrap_err().to_string();
        assert!(error.contains("version 9") && error.contains("newer"), "{error}");
        assert!(matches!(DataDirectory::open_read_only(path), Err(DirectoryError::Newer { found: 9, .. })));
        fs::write(path.join("VERSION"), b"\xffnonsense").unwrap();
        assert!(matches!(DataDirectory::open_exclusive(path), Err(DirectoryError::Unreadable { .. })));
    }

    #[test]
    fn an_older_directory_is_backed_up_and_migrated() {
        fn rename_notes(directory: &Path) -> std::io::Result<()> {
            match fs::rename(directory.join("notes"), directory.join("facts")) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && directory.join("facts").exists() => Ok(()),
                result => result,
            }
        }
        fn fail(_: &Path) -> std::io::Result<()> {
            Err(std::io::Error::other("power cut"))
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("journal")).unwrap();
        fs::write(path.join("journal/1.seg"), "abc").unwrap();
        fs::write(path.join("notes"), "kept").unwrap();
        assert!(matches!(DataDirectory::open_read_only(path), Err(DirectoryError::Older { found: 0, .. })));
        // The first attempt ends within the second migration, the next one goes on from there.
        assert!(DataDirectory::open_with(path, &[rename_notes, fail]).is_err());
        assert_eq!(fs::read_to_string(path.join("VERSION")).unwrap(), "1\n");
        drop(DataDirectory::open_with(path, &[rename_notes, |_| Ok(())]).unwrap());
        assert_eq!(fs::read_to_string(path.join("VERSION")).unwrap(), "2\n");
        assert_eq!(fs::read_to_string(path.join("facts")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(path.join("backup-0/notes")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(path.join("backup-0/journal/1.seg")).unwrap(), "abc");
        assert!(matches!(DataDirectory::open_exclusive(path), Err(DirectoryError::Newer { found: 2, .. })));
    }
}
