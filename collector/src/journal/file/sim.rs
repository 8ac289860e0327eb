//! A file layer in memory that behaves as badly as a disk may: what was not synced is forgotten, reordered or torn when
//! the power is cut; a sync can fail (and then lies ever after about what it covered) or take its time; space runs out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileHandle, FileLayer};

/// Unit of forgetting and tearing.
const SECTOR: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    /// Grows with every power cut: handles of before are dead.
    epoch: u64,
    /// Calls made since the last power cut.
    operations: u64,
    /// The call at which the power goes.
    cut_at: Option<u64>,
    dead: bool,
    files: BTreeMap<u64, Inode>,
    /// Names as the running system sees them.
    names: BTreeMap<PathBuf, u64>,
    /// Names that survive.
    names_on_disk: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    next_inode: u64,
    capacity: u64,
    sync_failures: u32,
    sync_delay: Duration,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As the running system reads it.
    cached: Vec<u8>,
    /// What survives.
    on_disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    epoch: u64,
}

impl SimDisk {
    /// An empty disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            epoch: 0,
            operations: 0,
            cut_at: None,
            dead: false,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            unsynced_names: Vec::new(),
            next_inode: 1,
            capacity,
            sync_failures: 0,
            sync_delay: Duration::ZERO,
        })))
    }

    /// A disk of its own with what this one has, synced or not.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes at the `operation`-th call from now (0: the next one): it takes effect in part at most, and all
    /// later ones fail until [`Self::power_cut`].
    pub fn cut_at(&self, operation: u64) {
        let mut state = self.lock();
        state.cut_at = Some(state.operations.saturating_add(operation));
    }

    /// Calls made since the start or the last power cut.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Whether the power went.
    pub fn is_cut(&self) -> bool {
        self.lock().dead
    }

    /// Cuts the power and brings it back: of what was not synced, chance decides what is there. Handles of before are
    /// dead.
    pub fn power_cut(&self, random: &mut fastrand::Rng) {
        let mut state = self.lock();
        let state = &mut *state;
        for file in state.files.values_mut() {
            file.lose_power(random);
        }
        for change in std::mem::take(&mut state.unsynced_names) {
            if random.bool() {
                change.apply(&mut state.names_on_disk);
            }
        }
        state.names.clone_from(&state.names_on_disk);
        state.epoch += 1;
        state.operations = 0;
        state.cut_at = None;
        state.dead = false;
    }

    /// The process dies and starts again; the system, and with it what it holds in memory, lives on.
    pub fn process_restart(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.operations = 0;
        state.cut_at = None;
        state.dead = false;
    }

    /// The next `count` file syncs fail with EIO; what they should have covered is then taken for clean and never
    /// reaches the disk unless it is written again.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().sync_failures = count;
    }

    /// Every file sync takes this long.
    pub fn delay_syncs(&self, delay: Duration) {
        self.lock().sync_delay = delay;
    }

    /// Changes the size of the disk.
    pub fn set_capacity(&self, capacity: u64) {
        self.lock().capacity = capacity;
    }

    /// Changes bytes of a file where they lie, as a failing disk does.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if let Some(file) = state.names.get(path).copied().and_then(|inode| state.files.get_mut(&inode)) {
            change(&mut file.cached);
            file.on_disk.clone_from(&file.cached);
        }
    }

    /// Paths of all files, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }
}

impl State {
    /// Counts a call; fails once the power is gone. The flag tells that this very call is the last one.
    fn step(&mut self, epoch: u64) -> io::Result<bool> {
        if self.dead || epoch != self.epoch {
            return Err(io::Error::other("the power is cut"));
        }
        let last = self.cut_at == Some(self.operations);
        self.operations += 1;
        self.dead = last;
        Ok(last)
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.files.get(inode)).map(|file| file.cached.len() as u64).sum()
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn resize(&mut self, inode: u64, length: u64) -> io::Result<()> {
        let used = self.used();
        let before = self.file(inode)?.cached.len() as u64;
        if length > before && used + (length - before) > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.file(inode)?.cached.resize(length, 0);
        Ok(())
    }
}

fn cut<T>(value: T, last: bool) -> io::Result<T> {
    if last { Err(io::Error::other("the power is cut")) } else { Ok(value) }
}

impl Inode {
    fn lose_power(&mut self, random: &mut fastrand::Rng) {
        if self.cached.len() != self.on_disk.len() && random.bool() {
            self.on_disk.resize(self.cached.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.cached.len()).min(self.on_disk.len());
            if start >= end {
                continue;
            }
            let written = match random.u8(0..3) {
                0 => start,
                1 => end,
                _ => random.usize(start..=end),
            };
            self.on_disk[start..written].copy_from_slice(&self.cached[start..written]);
        }
        self.cached.clone_from(&self.on_disk);
    }

    fn sync(&mut self) {
        self.on_disk.resize(self.cached.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.cached.len());
            if start < end {
                self.on_disk[start..end].copy_from_slice(&self.cached[start..end]);
            }
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path, inode);
            }
            Self::Rename(from, to, inode) => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
        }
    }
}

impl FileHandle for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        if state.dead || state.epoch != self.epoch {
            return Err(io::Error::other("the power is cut"));
        }
        let file = state.file(self.inode)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.cached.len());
        let count = buffer.len().min(file.cached.len() - start);
        buffer[..count].copy_from_slice(&file.cached[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let last = state.step(self.epoch)?;
        let end = offset + bytes.len() as u64;
        if end > state.file(self.inode)?.cached.len() as u64 {
            state.resize(self.inode, end)?;
        }
        let file = state.file(self.inode)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        file.cached[start..start + bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            file.dirty.extend(start / SECTOR..=(start + bytes.len() - 1) / SECTOR);
        }
        cut((), last)
    }

    fn sync_data(&self) -> io::Result<()> {
        let delay = self.disk.lock().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut state = self.disk.lock();
        let last = state.step(self.epoch)?;
        if last {
            return cut((), last);
        }
        if state.sync_failures > 0 {
            state.sync_failures -= 1;
            state.file(self.inode)?.dirty.clear();
            return Err(io::Error::from_raw_os_error(5));
        }
        state.file(self.inode)?.sync();
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let last = state.step(self.epoch)?;
        let length = length.max(state.file(self.inode)?.cached.len() as u64);
        state.resize(self.inode, length)?;
        cut((), last)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let last = state.step(self.epoch)?;
        state.resize(self.inode, length)?;
        cut((), last)
    }

    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.lock();
        Ok(state.file(self.inode)?.cached.len() as u64)
    }
}

impl FileLayer for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        let mut state = self.lock();
        let epoch = state.epoch;
        let last = state.step(epoch)?;
        let inode = match state.names.get(path).copied() {
            Some(inode) => {
                state.file(inode)?.cached.clear();
                inode
            }
            None => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.files.insert(inode, Inode::default());
                state.names.insert(path.to_owned(), inode);
                state.unsynced_names.push(NameChange::Create(path.to_owned(), inode));
                inode
            }
        };
        cut(Arc::new(SimFile { disk: self.clone(), inode, epoch }) as Arc<dyn FileHandle>, last)
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Arc<dyn FileHandle>> {
        let state = self.lock();
        if state.dead {
            return Err(io::Error::other("the power is cut"));
        }
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, epoch: state.epoch }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let epoch = state.epoch;
        let last = state.step(epoch)?;
        let inode = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), inode);
        change.clone().apply(&mut state.names);
        state.unsynced_names.push(change);
        cut((), last)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let epoch = state.epoch;
        let last = state.step(epoch)?;
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced_names.push(NameChange::Remove(path.to_owned()));
        cut((), last)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create_dir(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let epoch = state.epoch;
        let last = state.step(epoch)?;
        if last {
            return cut((), last);
        }
        for change in std::mem::take(&mut state.unsynced_names) {
            change.apply(&mut state.names_on_disk);
        }
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}
