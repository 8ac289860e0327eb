//! Copies under their hashes: `objects/<SHA-256>`. A copy gets its name when it is complete and synced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use super::{BackupError, failed};

/// Read and written at once. Chunks of zeros are not written, so that what is preallocated takes no room.
const CHUNK_BYTES: usize = 1 << 20;

/// A copy that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// The folder `objects` of a backup.
#[derive(Debug)]
pub(super) struct Objects {
    folder: PathBuf,
}

impl Objects {
    /// Makes the folder; leftovers of an interrupted backup go.
    pub(super) fn open(backup: &Path) -> Result<Self, BackupError> {
        let objects = Self::existing(backup);
        fs::create_dir_all(&objects.folder).map_err(failed(&objects.folder))?;
        for name in objects.names()? {
            if name.ends_with(".tmp") {
                let path = objects.folder.join(name);
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(objects)
    }

    pub(super) fn existing(backup: &Path) -> Self {
        Self { folder: backup.join("objects") }
    }

    fn names(&self) -> Result<Vec<String>, BackupError> {
        let entries = fs::read_dir(&self.folder).map_err(failed(&self.folder))?;
        entries.map(|entry| Ok(entry.map_err(failed(&self.folder))?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// A place for a copy that is not complete.
    pub(super) fn temporary(&self) -> PathBuf {
        self.folder.join("copy.tmp")
    }

    /// Whether there is a copy of that hash.
    pub(super) fn find(&self, object: &Object) -> bool {
        fs::metadata(self.folder.join(&object.sha256)).is_ok_and(|found| found.len() == object.bytes)
    }

    /// Gives the complete and synced copy in [`Self::temporary`] its name.
    pub(super) fn add(&self, object: &Object) -> Result<(), BackupError> {
        let path = self.folder.join(&object.sha256);
        fs::rename(self.temporary(), &path).map_err(failed(&path))
    }

    /// Makes all names durable.
    pub(super) fn sync(&self) -> Result<(), BackupError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed(&self.folder))
    }

    /// Removes what the list does not name.
    pub(super) fn keep_only(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let wanted: BTreeSet<&str> = manifest.files.iter().map(|file| file.sha256.as_str()).collect();
        for name in self.names()?.iter().filter(|name| !wanted.contains(name.as_str())) {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// What is wrong with the files of the list, in words.
    pub(super) fn check(&self, manifest: &Manifest) -> Vec<String> {
        let mut problems = Vec::new();
        for file in &manifest.files {
            let path = self.folder.join(&file.sha256);
            let found = File::open(&path).and_then(|object| digest(&object, None, u64::MAX));
            let problem = match found {
                Ok(found) if found.sha256 == file.sha256 && found.bytes == file.bytes => continue,
                Ok(found) if found.bytes != file.bytes => format!("has {} bytes instead of {}", found.bytes, file.bytes),
                Ok(_) => "is not what it was".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => "is missing".to_owned(),
                Err(error) => error.to_string(),
            };
            problems.push(format!("{}: {} {problem}; delete it and back up again", file.path, path.display()));
        }
        problems
    }

    /// Writes the files of the list into a new folder, all synced.
    pub(super) fn restore(&self, manifest: &Manifest, to: &Path) -> Result<(), BackupError> {
        let mut folders = BTreeSet::from([to.to_owned()]);
        // A park that has no entry yet has a journal all the same.
        fs::create_dir_all(to.join("journal")).map_err(failed(to))?;
        for file in &manifest.files {
            let (source, target) = (self.folder.join(&file.sha256), to.join(&file.path));
            let parent = target.parent().unwrap_or(to).to_owned();
            fs::create_dir_all(&parent).map_err(failed(&parent))?;
            folders.extend(parent.ancestors().take_while(|folder| folder.starts_with(to)).map(Path::to_owned));
            let object = File::open(&source).map_err(failed(&source))?;
            let written = copy(&object, None, u64::MAX, &target).map_err(failed(&target))?;
            if written.sha256 != file.sha256 {
                return Err(BackupError::Damaged(vec![format!("{}: {} changed while it was read", file.path, source.display())]));
            }
        }
        for folder in folders {
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))?;
        }
        Ok(())
    }
}

/// Bytes that stand in a copy instead of those at the start of its source.
pub(super) type Head<'a> = Option<&'a [u8]>;

/// Hash and length of the first `limit` bytes of a file.
pub(super) fn digest(file: &File, head: Head<'_>, limit: u64) -> io::Result<Object> {
    walk(file, head, limit, |_, _| Ok(()))
}

/// Writes a new file with the first `limit` bytes of another, synced.
pub(super) fn copy(from: &File, head: Head<'_>, limit: u64, to: &Path) -> io::Result<Object> {
    let mut target = File::create(to)?;
    let object = walk(from, head, limit, |offset, chunk| {
        if chunk.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        target.seek(SeekFrom::Start(offset))?;
        target.write_all(chunk)
    })?;
    target.set_len(object.bytes)?;
    target.sync_all()?;
    Ok(object)
}

fn walk(file: &File, head: Head<'_>, limit: u64, mut visit: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<Object> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = file.take(limit);
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut hash, mut bytes) = (Sha256::new(), 0u64);
    loop {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let Some(chunk) = buffer.get_mut(..filled).filter(|chunk| !chunk.is_empty()) else { break };
        if let (0, Some(head)) = (bytes, head)
            && let Some(start) = chunk.get_mut(..head.len())
        {
            start.copy_from_slice(head);
        }
        hash.update(&*chunk);
        visit(bytes, chunk)?;
        bytes += filled as u64;
    }
    Ok(Object { sha256: hex(&hash.finalize()), bytes })
}

/// SHA-256 in hexadecimal.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
