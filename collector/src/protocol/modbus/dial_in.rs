//! Who a device is that connects to us, by the first bytes that it says: its registration or its heartbeat.

/// Whether a connection is a device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It is.
    Same,
    /// It is, if nothing else follows.
    SoFar,
    /// Not enough was said.
    Unclear,
    /// It is not.
    Other,
}

/// Judges the bytes that a connection has said so far: of a device that begins with `identity` and may go on with `heartbeat`.
pub fn likeness(identity: &[u8], heartbeat: &[u8], said: &[u8]) -> Likeness {
    if identity.is_empty() {
        return Likeness::Same;
    }
    let Some(rest) = said.strip_prefix(identity) else {
        return if identity.starts_with(said) { Likeness::Unclear } else { Likeness::Other };
    };
    let Some(next) = rest.first() else { return Likeness::SoFar };
    if !heartbeat.is_empty() && rest.starts_with(heartbeat) {
        return Likeness::Same;
    }
    let is_text = identity.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let goes_on = is_text && identity.last().is_some_and(u8::is_ascii_alphanumeric) && next.is_ascii_alphanumeric();
    match goes_on {
        true if heartbeat.starts_with(rest) => Likeness::Unclear,
        true => Likeness::Other,
        false => Likeness::Same,
    }
}

/// Whether two devices of one address are told apart, each by identity and heartbeat, as soon as one has said all of its
/// identity: neither's is the beginning of the other's, or the other's goes on as a word does.
pub fn are_told_apart(one: (&[u8], &[u8]), other: (&[u8], &[u8])) -> bool {
    let (short, long) = if one.0.len() <= other.0.len() { (one, other) } else { (other, one) };
    likeness(short.0, short.1, long.0) == Likeness::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_word_is_another_device() {
        use Likeness::{Other, Same, SoFar, Unclear};
        for (identity, heartbeat, said, expected) in [
            (&b"DTU-1"[..], &b"PING"[..], &b""[..], Unclear),
            (b"DTU-1", b"PING", b"DTU", Unclear),
            (b"DTU-1", b"PING", b"DTU-2", Other),
            (b"DTU-1", b"PING", b"DTU-1", SoFar),
            (b"DTU-1", b"PING", b"DTU-10", Other),
            (b"DTU-1", b"PING", b"DTU-1\r\n", Same),
            (b"DTU-1", b"PING", b"DTU-1,21 dB", Same),
            (b"DTU-1", b"PING", b"DTU-1\0", Same),
            (b"DTU-1", b"PING", b"DTU-1PI", Unclear),
            (b"DTU-1", b"PING", b"DTU-1PINGPI", Same),
            (b"DTU-1", b"PING", b"DTU-1PIX", Other),
            (b"PING", b"PING", b"PINGPING", Same),
            // Bytes that are no text have no words.
            (&[0xAA, 0x55], b"", &[0xAA, 0x55, 0x41], Same),
            (b"", b"", b"", Same),
        ] {
            assert_eq!(likeness(identity, heartbeat, said), expected, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn devices_of_one_address_are_told_apart_by_words() {
        type Who<'a> = (&'a [u8], &'a [u8]);
        let cases: [(Who<'_>, Who<'_>, bool); 8] = [
            ((b"DTU-1", b""), (b"DTU-2", b""), true),
            ((b"DTU-1", b"PING"), (b"DTU-10", b""), true),
            ((b"DTU-1", b""), (b"DTU-1", b"PING"), false),
            ((b"DTU-1", b""), (b"DTU-1-A", b""), false),
            // What follows may be the heartbeat of the shorter one.
            ((b"DTU-1", b"0"), (b"DTU-10", b""), false),
            ((b"DTU-1", b"01"), (b"DTU-10", b""), false),
            ((&[0xAA, 0x55], b""), (&[0xAA, 0x55, 0x41], b""), false),
            ((b"", b""), (b"DTU-1", b""), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(are_told_apart(one, other), expected, "{one:?} {other:?}");
            assert_eq!(are_told_apart(other, one), expected, "{other:?} {one:?}");
        }
    }
}
