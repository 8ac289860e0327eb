//! Small text files in which drivers remember things across restarts. Line 1: a head that names format and version, and the
//! CRC-32 of all that follows in eight hexadecimal digits. A file is replaced by write beside, sync, rename, sync of the
//! directory.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// What a file says behind its first line, and which of `heads` that begins with; `None` where there is no file.
///
/// # Errors
/// What is wrong with a file that is there; it may be longer than `bytes_max`.
pub(super) fn read(path: &Path, heads: &[&'static str], bytes_max: u64) -> Result<Option<(&'static str, String)>, String> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if length > bytes_max {
        return Err(format!("{length} bytes are too many"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (first, body) = text.split_once('\n').ok_or("it is cut off")?;
    let known = heads.iter().find_map(|head| Some((*head, first.strip_prefix(head)?)));
    let (head, crc) = known.ok_or("it is not of this format")?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(body.as_bytes())) {
        return Err("its checksum is wrong".into());
    }
    Ok(Some((head, body.to_owned())))
}

/// Replaces a file.
///
/// # Errors
/// When it cannot be written; what was there stays.
pub(super) fn write(path: &Path, head: &str, body: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(with_crc(head, body).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// All of a file.
pub(super) fn with_crc(head: &str, body: &str) -> String {
    format!("{head}{:08x}\n{body}", crc32fast::hash(body.as_bytes()))
}
