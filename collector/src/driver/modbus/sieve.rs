//! Takes out of a stream of Modbus TCP frames what a device sends between them: heartbeats, its registration. Pure.
//!
//! Within a frame every byte is the frame's, whatever it looks like: registers may hold the bytes of a heartbeat. Between
//! frames a heartbeat is told from a frame by its beginning, so requests use no ids that begin as one
//! ([`Sieve::hides`]).

/// Bytes of a header up to its length.
const HEAD_LENGTH: usize = 6;

/// What is known of the stream so far.
#[derive(Debug)]
pub(super) struct Sieve {
    skip: Vec<Vec<u8>>,
    /// The beginning of what may be a header, or of what is skipped.
    held: Vec<u8>,
    /// Bytes that the frame under way still has.
    missing: usize,
}

impl Sieve {
    /// Takes out these, of which none is empty.
    pub(super) fn new(skip: Vec<Vec<u8>>) -> Self {
        let skip = skip.into_iter().filter(|skip| !skip.is_empty()).collect();
        Self { skip, held: Vec::new(), missing: 0 }
    }

    /// Nothing is ever taken out.
    pub(super) fn is_open(&self) -> bool {
        self.skip.is_empty()
    }

    /// Bytes kept back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether the beginning of a frame is here.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.missing > 0 || !(self.held.is_empty() || self.is_begun())
    }

    /// Whether an answer with this id could be taken for something that is skipped.
    pub(super) fn hides(&self, id: u16) -> bool {
        let id = id.to_be_bytes();
        self.skip.iter().any(|skip| skip.starts_with(&id) || id.starts_with(skip))
    }

    /// What is held may become something that is skipped.
    fn is_begun(&self) -> bool {
        self.skip.iter().any(|skip| skip.starts_with(&self.held))
    }

    /// The bytes of frames among those that came.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(self.held.len());
        loop {
            let count = self.missing.min(self.held.len());
            self.missing = self.missing.saturating_sub(count);
            passed.extend(self.held.drain(..count));
            if self.held.is_empty() {
                return passed;
            }
            if let Some(skip) = self.skip.iter().find(|skip| self.held.starts_with(skip)) {
                self.held.drain(..skip.len());
                continue;
            }
            let Some(&[_, _, _, _, high, low]) = self.held.first_chunk::<HEAD_LENGTH>().filter(|_| !self.is_begun()) else {
                return passed;
            };
            self.missing = HEAD_LENGTH.saturating_add(u16::from_be_bytes([high, low]).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two frames whose last registers are 0, and one that is all of them.
    const FRAMES: [&[u8]; 3] =
        [&[7, 1, 0, 0, 0, 5, 1, 3, 2, 0, 0], &[7, 2, 0, 0, 0, 7, 1, 3, 4, 0, 0, 0, 0], &[7, 3, 0, 0, 0, 5, 1, 3, 2, 0x50, 0x49]];

    #[test]
    fn only_what_is_between_frames_is_taken_out_however_it_is_cut() {
        for skip in [vec![vec![0, 0]], vec![b"PING".to_vec(), vec![0xFE]], vec![vec![0]], vec![b"DTU-0017".to_vec()]] {
            let mut stream = Vec::new();
            for frame in FRAMES {
                skip.iter().for_each(|skip| stream.extend(skip));
                stream.extend(frame);
                skip.iter().rev().for_each(|skip| stream.extend(skip));
            }
            for size in 1..=stream.len() {
                let mut sieve = Sieve::new(skip.clone());
                let passed: Vec<u8> = stream.chunks(size).flat_map(|piece| sieve.pass(piece)).collect();
                assert_eq!(passed, FRAMES.concat(), "{skip:?} in pieces of {size}");
                assert!(!sieve.is_mid_frame() && sieve.held() == 0);
            }
        }
    }

    #[test]
    fn a_frame_that_breaks_off_is_known_and_ids_are_kept_apart() {
        let mut sieve = Sieve::new(vec![b"PING".to_vec(), vec![0]]);
        for (bytes, mid_frame) in [(&b"PI"[..], false), (b"NG", false), (&[7, 1], true), (&[0, 0, 0, 5, 1], true), (&[3, 2, 0, 0], false)] {
            sieve.pass(bytes);
            assert_eq!(sieve.is_mid_frame(), mid_frame, "{bytes:?}");
        }
        for (id, hidden) in [(0x5049, true), (0x5048, false), (0x0001, true), (0x00FF, true), (0x0100, false)] {
            assert_eq!(sieve.hides(id), hidden, "{id:04X}");
        }
    }
}
