//! When a certificate expires: the one field of X.509 that nobody else in the program reads (RFC 5280, 4.1).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use parkgate_collector::model::UtcMillis;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter` of a certificate in DER; `None` when it is none.
pub fn not_after(der: &[u8]) -> Option<UtcMillis> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (fields, _) = expect(certificate, SEQUENCE)?;
    // version [0] (may be missing), serialNumber, signature, issuer, validity
    let (tag, _, mut rest) = element(fields)?;
    let before_validity = if tag == VERSION { 3 } else { 2 };
    for _ in 0..before_validity {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, its content, and what follows it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let bytes;
        (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        length = bytes.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte));
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(input).filter(|(tag, _, _)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` (50 to 99 are of the last century) or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn time(tag: u8, text: &str) -> Option<UtcMillis> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let full = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let zoned = DateTime::strptime("%Y%m%d%H%M%S", full).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(UtcMillis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "261123093000Z", Some("2026-11-23T09:30:00.000Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00.000Z")),
            (GENERALIZED_TIME, "20500101000000Z", Some("2050-01-01T00:00:00.000Z")),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (UTC_TIME, "26112309300Z", None),
            (UTC_TIME, "2611230930+0Z", None),
        ] {
            assert_eq!(time(tag, text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_certificate_tells_and_a_broken_one_does_not_panic() {
        for (year, expected) in [(2031, "2031-05-06T00:00:00.000Z"), (2061, "2061-05-06T00:00:00.000Z")] {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 5, 6);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            let der = certificate.der();
            assert_eq!(not_after(der).map(|time| time.to_string()).as_deref(), Some(expected));
            for length in 0..der.len() {
                let _ = not_after(&der[..length]);
            }
            for place in 0..der.len() {
                let mut broken = der.to_vec();
                broken[place] ^= 0xff;
                let _ = not_after(&broken);
            }
        }
    }
}
