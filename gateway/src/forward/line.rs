//! InfluxDB line protocol, written: in go names, labels and exact numbers, out come bytes. Pure.
//!
//! `measurement,tag=value,... field=number milliseconds`. What comes before the number is the same for every line of a
//! series and is made once ([`series`]); a line then costs no allocation ([`push`]).
//!
//! Numbers are written as exact decimal text, always as floats in the sense of the protocol (no `i` behind), so a field
//! never changes its type. They come from mantissas, so none can be infinite or not a number.
//!
//! Rules of escaping: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>, "Special characters".
//! A backslash before a comma, an equals sign, a space, another backslash or the end cannot be told from an escape by
//! every reader, so it becomes `/`; a control character, which would end the line, becomes a space.

use crate::rollup::Amount;

/// Name that InfluxDB refuses for a tag; such a label goes as `label_time`.
const RESERVED: &str = "time";

/// What stands before the number in every line of a series: `measurement,tag=value field=`. `None` when the measurement
/// or the field is empty. Empty labels are left out. Tags are written in the order given: sorted ones are quicker to read.
pub fn series<'a>(measurement: &str, tags: impl Iterator<Item = (&'a str, &'a str)>, field: &str) -> Option<Vec<u8>> {
    if measurement.is_empty() || field.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(128);
    escape(measurement, &[',', ' '], &mut out);
    for (name, value) in tags {
        if name.is_empty() || value.is_empty() {
            continue;
        }
        out.push(b',');
        if name == RESERVED {
            out.extend_from_slice(b"label_");
        }
        escape(name, &[',', '=', ' '], &mut out);
        out.push(b'=');
        escape(value, &[',', '=', ' '], &mut out);
    }
    out.push(b' ');
    escape(field, &[',', '=', ' '], &mut out);
    out.push(b'=');
    Some(out)
}

/// Appends one line: the number `mantissa * 10^-decimals` of a series at a time in milliseconds.
pub fn push(out: &mut Vec<u8>, series: &[u8], mantissa: i128, decimals: u8, time_ms: i64) {
    out.extend_from_slice(series);
    push_number(out, mantissa, decimals);
    out.push(b' ');
    push_number(out, i128::from(time_ms), 0);
    out.push(b'\n');
}

/// Plain decimal text without trailing zeros: `12.5`, `-0.001`, `3`.
fn push_number(out: &mut Vec<u8>, mantissa: i128, decimals: u8) {
    let Ok(mut digits) = u64::try_from(mantissa.unsigned_abs()) else {
        // Beyond 64 bits, which samples never are: the slow way.
        out.extend_from_slice(Amount { mantissa, decimals }.to_string().as_bytes());
        return;
    };
    if digits == 0 {
        out.push(b'0');
        return;
    }
    if mantissa < 0 {
        out.push(b'-');
    }
    let mut decimals = usize::from(decimals);
    while decimals > 0 && digits.is_multiple_of(10) {
        digits /= 10;
        decimals -= 1;
    }
    // Last digit first, then turned around in place.
    let start = out.len();
    let mut written = 0;
    while digits > 0 || written <= decimals {
        if written == decimals && decimals > 0 {
            out.push(b'.');
        }
        out.push(b"0123456789".get((digits % 10) as usize).copied().unwrap_or(b'0'));
        digits /= 10;
        written += 1;
    }
    if let Some(text) = out.get_mut(start..) {
        text.reverse();
    }
}

fn escape(text: &str, special: &[char], out: &mut Vec<u8>) {
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' if rest.peek().is_none_or(|next| [',', '=', ' ', '\\'].contains(next) || next.is_control()) => '/',
            c if c.is_control() => ' ',
            c => c,
        };
        if special.contains(&c) {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests;
