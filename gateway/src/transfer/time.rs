//! Times as people and files write them, in the park's zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::UtcMillis;

/// What [`parse`] takes, for messages.
pub const FORMS: &str = "write RFC 3339 (2026-11-23T08:00:00+08:00), milliseconds since 1970, or the park's local time (2026-11-23 08:00)";

/// The park's zone.
pub fn zone(catalogue: &Catalogue) -> TimeZone {
    TimeZone::get(&catalogue.park.time_zone).unwrap_or(TimeZone::UTC)
}

/// Reads RFC 3339, milliseconds since 1970, or local time in `zone` to the day, minute, second or finer; finer than a
/// millisecond is cut off.
///
/// # Errors
/// What is wrong with it: no time, or a local time that is there twice or not at all where clocks change.
pub fn parse(text: &str, zone: &TimeZone) -> Result<UtcMillis, String> {
    let text = text.trim();
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Ok(UtcMillis(milliseconds));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(floor(timestamp));
    }
    // With a zone's name in brackets it would be taken for local time.
    let local = if text.contains('[') { None } else { text.parse::<DateTime>().ok() };
    let local = local.ok_or_else(|| format!("`{text}` is no time; {FORMS}"))?;
    match zone.to_ambiguous_zoned(local).unambiguous() {
        Ok(zoned) => Ok(floor(zoned.timestamp())),
        Err(_) => Err(format!("`{text}` is there twice or not at all, as clocks change then; write it with its offset from UTC")),
    }
}

/// Millisecond in which a time lies.
fn floor(timestamp: Timestamp) -> UtcMillis {
    UtcMillis(i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX))
}

/// Appends RFC 3339 with milliseconds and the offset that `zone` has then; outside the calendar the milliseconds alone.
pub fn put(out: &mut String, time: UtcMillis, zone: &TimeZone) {
    use std::fmt::Write as _;
    let written = match Timestamp::from_millisecond(time.0) {
        Ok(timestamp) => write!(out, "{}", Zoned::new(timestamp, zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z")),
        Err(_) => write!(out, "{}", time.0),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}
