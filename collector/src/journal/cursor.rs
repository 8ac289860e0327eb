//! Durable places of readers: one small file each.
//!
//! Format: `pkcurs\r\n`; version 2 bytes (1); zero 6 bytes; sequence 8 bytes; CRC-32 of all before 4 bytes. Replaced by
//! write-temp, fsync, rename, fsync directory, so that a power cut leaves the old place or the new one.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Sequence;
use super::file::{Disk, FileLayer};

const MAGIC: [u8; 8] = *b"pkcurs\r\n";
const VERSION: u16 = 1;
const BYTES: usize = 28;

/// A reader's durable place. One owner at a time.
#[derive(Debug)]
pub struct CursorFile {
    layer: Arc<dyn FileLayer>,
    path: PathBuf,
}

impl CursorFile {
    /// The cursor kept in the file at `path`, whose directory exists.
    pub fn new(path: &Path) -> Self {
        Self::on(Arc::new(Disk), path)
    }

    /// As [`Self::new`], on a file layer of the caller's.
    pub fn on(layer: Arc<dyn FileLayer>, path: &Path) -> Self {
        Self { layer, path: path.to_owned() }
    }

    /// The place stored last; `None` when there is none, or it is damaged and the reader has to begin anew. Blocks.
    ///
    /// # Errors
    /// The file is there and cannot be read, or was made by a newer program.
    pub fn load(&self) -> io::Result<Option<Sequence>> {
        let file = match self.layer.open(&self.path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; BYTES];
        file.read_at(&mut bytes, 0)?;
        let Some((version, sequence)) = parse(&bytes) else {
            tracing::error!(path = %self.path.display(), "cursor is damaged, its reader begins anew");
            return Ok(None);
        };
        if version > VERSION {
            let text = format!("{} has format version {version}, this program reads up to {VERSION}", self.path.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(Some(sequence))
    }

    /// Stores a place; durable when this returns. Blocks.
    ///
    /// # Errors
    /// The place stored before is then still there, or this one.
    pub fn store(&self, sequence: Sequence) -> io::Result<()> {
        super::file::replace(self.layer.as_ref(), &self.path, &to_bytes(sequence))
    }
}

fn to_bytes(sequence: Sequence) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&sequence.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8; BYTES]) -> Option<(u16, Sequence)> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (version, rest) = covered.strip_prefix(&MAGIC)?.split_first_chunk::<2>()?;
    let sequence = rest.last_chunk::<8>()?;
    Some((u16::from_le_bytes(*version), Sequence(u64::from_le_bytes(*sequence))))
}

#[cfg(test)]
mod tests {
    use super::super::file::sim::SimDisk;
    use super::*;

    #[test]
    fn a_cut_at_any_call_leaves_the_old_place_or_the_new_one() {
        for operation in 0..5 {
            for seed in 0..50 {
                let disk = SimDisk::new(1 << 20);
                let cursor = CursorFile::on(Arc::new(disk.clone()), Path::new("d/history.cursor"));
                assert_eq!(cursor.load().unwrap(), None);
                cursor.store(Sequence(7)).unwrap();
                disk.cut_at(operation);
                let stored = cursor.store(Sequence(9)).is_ok();
                disk.power_cut(&mut fastrand::Rng::with_seed(seed));
                let place = cursor.load().unwrap();
                assert!(place == Some(Sequence(9)) || place == Some(Sequence(7)) && !stored, "{operation} {seed}: {place:?}");
            }
        }
    }

    #[test]
    fn damage_means_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.cursor");
        let cursor = CursorFile::new(&path);
        cursor.store(Sequence(0x1234)).unwrap();
        assert_eq!(cursor.load().unwrap(), Some(Sequence(0x1234)));
        let good = std::fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(cursor.load().unwrap(), None, "bit {bit}");
        }
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert_eq!(cursor.load().unwrap(), None, "length {length}");
        }
    }
}
