//! The outside of a package: a ZIP file of the plainest kind, read strictly.
//!
//! [`fn@write`] makes it, [`Archive::open`] takes nothing but what it makes: files one behind the other from the first byte,
//! the directory behind them, nothing in front, between or after; no comments, no extra fields, no encryption, no ZIP64, no
//! folders, no links, no name twice, and every name and size told the same in both places where ZIP tells it. So no
//! program that unpacks it can see other files than were checked here. Layout: APPNOTE.TXT 6.3.10 of PKWARE, 4.3.7
//! (local file header), 4.3.12 (central directory), 4.3.16 (end of central directory).
//!
//! What is not looked at, since it says nothing about the content: the program and version that made it and the version
//! needed, the permission bits, the MS-DOS attributes, and in which of several ways the same content was compressed (the
//! bits left of the last byte, a repetition that could be told from two places).

use std::collections::HashSet;
use std::io::{self, Read, Write as _};

use zip::write::SimpleFileOptions;

/// Most bytes of a package.
pub const PACKAGE_MAX: u64 = 256 << 20;
/// Most files in it.
const FILES_MAX: usize = 64;
/// Most bytes of a file, unpacked.
pub const FILE_MAX: u64 = 512 << 20;
/// Most characters of a name.
const NAME_MAX: usize = 64;

const LOCAL: u32 = 0x0403_4b50;
const LOCAL_BYTES: usize = 30;
const CENTRAL: u32 = 0x0201_4b50;
const CENTRAL_BYTES: usize = 46;
const END: u32 = 0x0605_4b50;
const END_BYTES: usize = 22;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// 1980-01-01 as MS-DOS writes it, the time 00:00 before it: when a package was made is told by what is in it.
const DOS_DATE: u32 = 0x0021_0000;
/// Kinds of file by the upper half of the attributes, as Unix has them: none said, or a plain file.
const PLAIN: [u32; 2] = [0, 0o100_000];
const KIND: u32 = 0o170_000;

/// Why a file is no package of ours.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no ZIP file of the kind that packages are.
    #[error("this is no package of parkgate, or it was damaged or packed again: {0}")]
    Shape(&'static str),
    /// One file of it is not as it must be.
    #[error("{name}: {why}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It could not be written.
    #[error("the package cannot be put together: {0}")]
    Write(#[from] zip::result::ZipError),
}

/// Packs files in their order. The same files make the same bytes.
///
/// # Errors
/// When a name is not allowed, or there is too much.
pub fn write(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        if !is_name(name.as_bytes()) {
            return Err(ArchiveError::File { name: (*name).to_owned(), why: "is no name that a package may have" });
        }
        writer.start_file(*name, options)?;
        writer.write_all(bytes).map_err(zip::result::ZipError::from)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// A package that is open.
#[derive(Debug)]
pub struct Archive<'a> {
    files: Vec<Packed<'a>>,
}

/// One file of a package.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Its name.
    pub name: &'a str,
    method: u16,
    packed: &'a [u8],
    /// What its size is said to be.
    pub bytes: u64,
    crc: u32,
}

impl<'a> Archive<'a> {
    /// Looks at the outside of a package; unpacks nothing.
    ///
    /// # Errors
    /// When it is not as [`fn@write`] makes it.
    pub fn open(package: &'a [u8]) -> Result<Self, ArchiveError> {
        use ArchiveError::Shape;
        if u64::try_from(package.len()).unwrap_or(u64::MAX) > PACKAGE_MAX {
            return Err(Shape("it is too large"));
        }
        let end_at = package.len().checked_sub(END_BYTES).ok_or(Shape("it is too short"))?;
        let end = Fields::at(package, end_at, END_BYTES).ok_or(Shape("it is too short"))?;
        if end.u32(0) != END || end.u16(20) != 0 {
            return Err(Shape("it does not end as it must: something was cut off or added"));
        }
        let count = usize::from(end.u16(10));
        let (size, start) = (end.size(12), end.size(16));
        if end.u32(4) != 0 || usize::from(end.u16(8)) != count || count > FILES_MAX || start.checked_add(size) != Some(end_at) {
            return Err(Shape("its directory is not where it must be"));
        }
        let mut files: Vec<Packed<'a>> = Vec::with_capacity(count);
        let mut names = HashSet::new();
        let (mut at, mut local_at) = (start, 0);
        for _ in 0..count {
            let (file, central_bytes, local_bytes) = file(package, at, local_at, start)?;
            if !names.insert(file.name) {
                return Err(ArchiveError::File { name: file.name.to_owned(), why: "is there twice" });
            }
            files.push(file);
            (at, local_at) = (at.saturating_add(central_bytes), local_at.saturating_add(local_bytes));
        }
        if at != end_at || local_at != start {
            return Err(Shape("something is in it that its directory does not name"));
        }
        Ok(Self { files })
    }

    /// All files, in order.
    pub fn files(&self) -> &[Packed<'a>] {
        &self.files
    }

    /// The file of a name.
    pub fn file(&self, name: &str) -> Option<&Packed<'a>> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// One entry of the directory, and the file it names: itself, bytes of the entry, bytes of the file with its header.
fn file(package: &[u8], at: usize, local_at: usize, start: usize) -> Result<(Packed<'_>, usize, usize), ArchiveError> {
    use ArchiveError::Shape;
    let cut = || Shape("its directory is damaged");
    let central = Fields::at(package, at, CENTRAL_BYTES).ok_or_else(cut)?;
    let name_bytes = usize::from(central.u16(28));
    let name = part(package, at.saturating_add(CENTRAL_BYTES), name_bytes).filter(|name| is_name(name)).ok_or_else(cut)?;
    let name = std::str::from_utf8(name).map_err(|_| cut())?;
    let wrong = |why| ArchiveError::File { name: name.to_owned(), why };
    // Signature; flags; time and date; lengths of extra field and comment; disk; internal attributes; kind; place.
    let plain = central.u32(0) == CENTRAL
        && central.u16(8) == 0
        && central.u32(12) == DOS_DATE
        && central.u32(30) == 0
        && central.u16(34) == 0
        && PLAIN.contains(&((central.u32(38) >> 16) & KIND))
        && central.size(42) == local_at;
    let local = Fields::at(package, local_at, LOCAL_BYTES).ok_or_else(|| wrong("is not where the directory says"))?;
    let local_name = part(package, local_at.saturating_add(LOCAL_BYTES), name_bytes);
    // Flags, method, time, checksum, sizes, length of the name: 20 bytes that both tell.
    let same = local.u32(0) == LOCAL
        && local.u16(28) == 0
        && part(package, local_at.saturating_add(6), 22) == part(package, at.saturating_add(8), 22)
        && local_name == Some(name.as_bytes());
    if !plain || !same {
        return Err(wrong("is not packed as packages are, or is named two ways"));
    }
    let (packed_bytes, bytes) = (central.size(20), central.u32(24));
    let data_at = local_at.saturating_add(LOCAL_BYTES).saturating_add(name_bytes);
    let packed = part(package, data_at, packed_bytes).filter(|_| data_at.saturating_add(packed_bytes) <= start);
    let packed = packed.ok_or_else(|| wrong("is cut off"))?;
    let method = central.u16(10);
    if u64::from(bytes) > FILE_MAX || !(method == DEFLATED || method == STORED && packed_bytes == usize::try_from(bytes).unwrap_or(0)) {
        return Err(wrong("is too large, or packed in a way that packages are not"));
    }
    let file = Packed { name, method, packed, bytes: u64::from(bytes), crc: central.u32(16) };
    let local_bytes = LOCAL_BYTES.saturating_add(name_bytes).saturating_add(packed_bytes);
    Ok((file, CENTRAL_BYTES.saturating_add(name_bytes), local_bytes))
}

impl Packed<'_> {
    /// Unpacks it piece by piece, never more than it is said to be.
    ///
    /// # Errors
    /// When it cannot be unpacked, is longer or shorter than said, or has another checksum.
    pub fn unpack(&self, mut taker: impl FnMut(&[u8])) -> Result<(), ArchiveError> {
        let damaged = |why| ArchiveError::File { name: self.name.to_owned(), why };
        let mut hasher = crc32fast::Hasher::new();
        let mut left = self.bytes;
        let mut take = |piece: &[u8]| {
            left = left.checked_sub(u64::try_from(piece.len()).ok()?)?;
            hasher.update(piece);
            taker(piece);
            Some(())
        };
        if self.method == STORED {
            take(self.packed).ok_or_else(|| damaged("is longer than it says"))?;
        } else {
            let mut reader = flate2::bufread::DeflateDecoder::new(self.packed);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let read = reader.read(&mut buffer).map_err(|_| damaged("cannot be unpacked: it is damaged"))?;
                let piece = buffer.get(..read).unwrap_or_default();
                if piece.is_empty() {
                    break;
                }
                take(piece).ok_or_else(|| damaged("is longer than it says"))?;
            }
            if !reader.into_inner().is_empty() {
                return Err(damaged("has something behind its end"));
            }
        }
        if left != 0 || hasher.finalize() != self.crc {
            return Err(damaged("is damaged"));
        }
        Ok(())
    }

    /// All of it, when it is no longer than `most`.
    ///
    /// # Errors
    /// As [`Self::unpack`], or when it is longer.
    pub fn read(&self, most: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.bytes > most {
            return Err(ArchiveError::File { name: self.name.to_owned(), why: "is too large" });
        }
        let mut all = Vec::new();
        self.unpack(|piece| all.extend_from_slice(piece))?;
        Ok(all)
    }
}

/// A name that lies where it is unpacked, on every system: small letters, digits, `.`, `-` and `_`, beginning with a letter.
fn is_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(byte);
    name.first().is_some_and(u8::is_ascii_lowercase) && name.len() <= NAME_MAX && name.iter().all(plain)
}

fn part(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// A header of little-endian numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn at(bytes: &'a [u8], at: usize, length: usize) -> Option<Self> {
        part(bytes, at, length).map(Self)
    }

    /// Within the header; 0 outside, which no caller asks for.
    fn u16(&self, at: usize) -> u16 {
        part(self.0, at, 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> u32 {
        part(self.0, at, 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn size(&self, at: usize) -> usize {
        usize::try_from(self.u32(at)).unwrap_or(usize::MAX)
    }
}
