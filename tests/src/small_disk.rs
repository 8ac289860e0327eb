//! A file system of its own, small, so that it can be full: a tmpfs, which only root may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A tmpfs on a folder, gone on drop.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of that size. The inner error: why it may not be mounted here.
    pub fn mount(megabytes: u64) -> Result<Result<Self, String>> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        Ok(match mounted {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => Err(format!("no tmpfs may be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(format!("there is no mount here: {error}")),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that leaves no room; gives its path.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path)?;
        let block = vec![1; 64 << 10];
        loop {
            match std::io::Write::write_all(&mut file, &block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(path),
                Err(error) => return Err(error).context("ballast"),
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a gateway of a failed test may still be ending.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}
