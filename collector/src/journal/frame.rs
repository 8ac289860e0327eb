//! Frames and segment headers: how records lie in a file. Pure bytes; the file's layout is told in the module's head
//! ([`super`]).

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"pkjrnl\r\n";
/// Version of the format that this program writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a frame before its body.
pub const FRAME_BYTES: usize = 20;
/// Frames start at multiples of this, so that the search for the next good one is short.
pub const ALIGN: usize = 8;
/// Longest body: a length beyond it is damage, a record beyond it is refused.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Smallest space a frame takes: a body has at least its kind.
pub const MIN_FRAME_BYTES: u64 = 24;

/// Start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Format version.
    pub version: u16,
    /// Sequence of the first entry.
    pub first: u64,
    /// When it was made, milliseconds UTC; for people.
    pub created: i64,
}

impl Header {
    /// Its bytes, in a file that starts with `magic`.
    pub fn to_bytes(self, magic: [u8; 8]) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.created.to_le_bytes());
        bytes.resize(HEADER_BYTES.saturating_sub(4), 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.try_into().expect("as long as a header")
    }

    /// Reads the header of a file that starts with `magic`; `None` when it is damaged.
    pub fn parse(bytes: &[u8], magic: [u8; 8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let rest = covered.strip_prefix(&magic)?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_first_chunk::<6>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let created = rest.first_chunk::<8>()?;
        Some(Self { version: u16::from_le_bytes(*version), first: u64::from_le_bytes(*first), created: i64::from_le_bytes(*created) })
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// CRC-32 of all that follows it in the frame.
    pub crc: u32,
    /// Bytes of the body.
    pub length: usize,
    /// The entry's sequence.
    pub sequence: u64,
    /// How many entries, this one included, were not yet synced when it was written: all up to
    /// `sequence - unsynced` were.
    pub unsynced: u32,
}

impl Frame {
    /// Reads the fixed part; `None` when there are too few bytes or the length is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let unsynced = rest.first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        (1..=MAX_BODY_BYTES).contains(&length).then(|| Self {
            crc: u32::from_le_bytes(*crc),
            length,
            sequence: u64::from_le_bytes(*sequence),
            unsynced: u32::from_le_bytes(*unsynced),
        })
    }

    /// Bytes of the whole frame without padding.
    pub fn bytes(&self) -> usize {
        FRAME_BYTES.saturating_add(self.length)
    }

    /// The body, when `bytes` (the whole frame from its start) bear the right CRC.
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let covered = bytes.get(4..self.bytes())?;
        (crc32fast::hash(covered) == self.crc).then_some(())?;
        bytes.get(FRAME_BYTES..self.bytes())
    }
}

/// Appends a frame whose body `write` appends; its sequence and CRC are put in by [`seal`]. On a body that is too long
/// `out` is as before and its length comes back.
pub fn open_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), usize> {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    let body = out.len();
    write(out);
    let length = out.len().saturating_sub(body);
    let Some(length_bytes) = u32::try_from(length).ok().filter(|_| length <= MAX_BODY_BYTES).map(u32::to_le_bytes) else {
        out.truncate(start);
        return Err(length);
    };
    if let Some(place) = out.get_mut(start.saturating_add(4)..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = length_bytes;
    }
    out.resize(padded(out.len()), 0);
    Ok(())
}

/// Completes one frame made by [`open_frame`]: `bytes` starts at it and may end behind it.
pub fn seal(bytes: &mut [u8], sequence: u64, unsynced: u32) {
    let Some(frame) = Frame::parse(bytes) else { return };
    let Some(bytes) = bytes.get_mut(..frame.bytes()) else { return };
    if let Some((head, _)) = bytes.split_first_chunk_mut::<FRAME_BYTES>() {
        let [_, _, _, _, _, _, _, _, sequence_and_unsynced @ ..] = head;
        let mut both = [0; 12];
        for (place, byte) in both.iter_mut().zip(sequence.to_le_bytes().into_iter().chain(unsynced.to_le_bytes())) {
            *place = byte;
        }
        *sequence_and_unsynced = both;
    }
    if let Some((crc, covered)) = bytes.split_first_chunk_mut::<4>() {
        *crc = crc32fast::hash(covered).to_le_bytes();
    }
}

/// `length` rounded up to the next frame start.
pub const fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}
