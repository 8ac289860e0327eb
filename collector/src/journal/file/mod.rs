//! The file layer under the journal: the few calls it makes, behind a trait, so that tests can cut the power.
//!
//! [`Disk`] is the real one; [`sim`] forgets, reorders and tears what was not synced. Every call blocks.

#[cfg(any(test, feature = "sim"))]
pub mod sim;

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// One open file. All offsets and lengths are bytes.
pub trait FileHandle: Debug + Send + Sync {
    /// Reads into `buffer` from `offset`; fewer bytes than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`. Nothing is durable before [`Self::sync_data`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable. After an error nothing is known about it, and a later success says nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves zeros from the start up to `length`, so that later writes need no space.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Its length.
    fn length(&self) -> io::Result<u64>;
}

/// A file system.
pub trait FileLayer: Debug + Send + Sync + 'static {
    /// Makes an empty file for reading and writing; one of that name is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>>;
    /// Opens a file that is there, for reading and, when `write`, writing.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn FileHandle>>;
    /// Renames, replacing the target. Durable after [`Self::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Self::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and those above it.
    fn create_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Bytes that an ordinary user may still write on the file system of `directory`.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

/// Replaces a file as a whole: writes beside it, syncs, renames, syncs the directory. Durable when it returns; a power
/// cut before leaves the old file or the new one.
///
/// # Errors
/// The file is then the old one, or the new one.
pub fn replace(layer: &dyn FileLayer, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = layer.create(&temporary)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    layer.rename(&temporary, path)?;
    sync_parent(layer, path)
}

/// Makes the creation, renaming or removal of `path` durable: syncs the directory it is in.
///
/// # Errors
/// The directory cannot be opened or synced; nothing is known then about what was done in it.
pub fn sync_parent(layer: &dyn FileLayer, path: &Path) -> io::Result<()> {
    layer.sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

impl FileHandle for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let place = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match std::os::unix::fs::FileExt::read_at(self, rest, place) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, length) {
            // A file system that cannot preallocate: a write may then find the disk full, which the journal survives.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Self::set_len(self, length),
            other => other.map_err(io::Error::from),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

impl FileLayer for Disk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        Ok(Arc::new(fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn FileHandle>> {
        Ok(Arc::new(fs::File::options().read(true).write(write).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_str().map(str::to_owned)));
        names.filter_map(Result::transpose).collect()
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}
