//! The park's calendar: which hour, day, month and year an instant lies in, and how times are written for people.
//!
//! Periods are half open and tile time without a gap on every level; a day is made of whole hours, a month of whole
//! days, a year of whole months. An hour is an hour of the park's clock: where clocks are put on or back a day has 23 or
//! 25 of them, and in a zone such as +5:30 they begin at half past by UTC. A shift of the clock by less than an hour
//! ends an hour early. Pure but for the time zone database.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use parkgate_collector::model::UtcMillis;

use super::{Level, Period};

const HOUR_MS: i64 = 3_600_000;
/// Instants are taken to lie within these: 0001-01-02 to 9998-12-30, where every zone's calendar is whole.
const FIRST: i64 = -62_135_510_400_000;
const LAST: i64 = 253_370_678_400_000;

/// The zone that hours, days, months and years are in.
#[derive(Clone, Debug)]
pub struct ParkZone(TimeZone);

impl ParkZone {
    /// By its IANA name; the configuration has checked it, so an unknown one is UTC.
    pub fn new(name: &str) -> Self {
        Self(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// The zone itself.
    pub fn time_zone(&self) -> &TimeZone {
        &self.0
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The period of a level that holds an instant.
    pub fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        let instant = UtcMillis(instant.0.clamp(FIRST, LAST));
        let (start, end) = match level {
            Level::Hour => self.hour_of(instant),
            Level::Day => {
                let day = self.date_of(instant);
                (self.start_of(day), self.start_of(step(day, Span::new().days(1))))
            }
            Level::Month => {
                let first = self.date_of(instant).first_of_month();
                (self.start_of(first), self.start_of(step(first, Span::new().months(1))))
            }
            Level::Year => {
                let first = self.date_of(instant).first_of_year();
                (self.start_of(first), self.start_of(step(first, Span::new().years(1))))
            }
        };
        Period { level, start, end }
    }

    /// The periods of a level that start in `[from, to)`, oldest first.
    pub fn periods(&self, level: Level, from: UtcMillis, to: UtcMillis) -> impl Iterator<Item = Period> + '_ {
        let first = self.period_of(level, from);
        let first = if first.start < from { self.period_of(level, first.end) } else { first };
        let next = move |period: &Period| Some(self.period_of(level, period.end)).filter(|next| next.start > period.start);
        std::iter::successors(Some(first), next).take_while(move |period| from <= period.start && period.start < to)
    }

    /// `[from, to)` cut where years begin, so that what is worked on at once is bounded.
    pub fn by_year(&self, mut from: UtcMillis, to: UtcMillis) -> impl Iterator<Item = (UtcMillis, UtcMillis)> + '_ {
        std::iter::from_fn(move || {
            let start = (from < to).then_some(from)?;
            let end = self.period_of(Level::Year, start).end;
            // The calendar ends before time does.
            from = if start < end { end.min(to) } else { to };
            Some((start, from))
        })
    }

    /// RFC 3339 with the zone's offset: `2026-11-01T00:00:00+08:00`; milliseconds only where there are any.
    pub fn write(&self, time: UtcMillis) -> String {
        match Timestamp::from_millisecond(time.0) {
            Ok(timestamp) => timestamp.display_with_offset(self.0.to_offset(timestamp)).to_string(),
            Err(_) => time.to_string(),
        }
    }

    /// Reads a date (its first instant in the zone) or RFC 3339; `None` for anything else.
    pub fn read(&self, text: &str) -> Option<UtcMillis> {
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Some(UtcMillis(timestamp.as_millisecond()));
        }
        let digits = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        digits.then(|| text.parse::<Date>().ok()).flatten().map(|date| self.start_of(date))
    }

    fn hour_of(&self, instant: UtcMillis) -> (UtcMillis, UtcMillis) {
        let offset = self.offset_ms(instant);
        let start = instant.plus(offset).floor_to(HOUR_MS).plus(offset.saturating_neg());
        let (mut start, mut end) = (start, start.plus(HOUR_MS));
        // Only a shift that is no whole hour cuts an hour; others fall on its edge.
        let cuts = |other: i64| other.saturating_sub(offset).rem_euclid(HOUR_MS) != 0;
        let timestamp = |time: UtcMillis| Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH);
        if cuts(self.offset_ms(start)) || cuts(self.offset_ms(end.plus(-1))) {
            let shifts = self.0.preceding(timestamp(end)).map(|shift| UtcMillis(shift.timestamp().as_millisecond()));
            for shift in shifts.take_while(|&shift| shift > start).collect::<Vec<_>>() {
                if shift <= instant {
                    start = start.max(shift);
                } else {
                    end = end.min(shift);
                }
            }
        }
        (start, end)
    }

    fn offset_ms(&self, instant: UtcMillis) -> i64 {
        let timestamp = Timestamp::from_millisecond(instant.0).unwrap_or(Timestamp::UNIX_EPOCH);
        i64::from(self.0.to_offset(timestamp).seconds()).saturating_mul(1000)
    }

    fn date_of(&self, instant: UtcMillis) -> Date {
        self.0.to_datetime(Timestamp::from_millisecond(instant.0).unwrap_or(Timestamp::UNIX_EPOCH)).date()
    }

    /// The first instant of a day, also where midnight itself is left out.
    fn start_of(&self, day: Date) -> UtcMillis {
        let start = day.to_zoned(self.0.clone()).and_then(|midnight| midnight.start_of_day());
        UtcMillis(start.map_or(LAST, |start| start.timestamp().as_millisecond()))
    }
}

fn step(day: Date, span: Span) -> Date {
    day.checked_add(span).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMillis {
        UtcMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn periods_by_zone_and_level() {
        for (zone, level, instant, start, end) in [
            // +8:00 all year.
            ("Asia/Shanghai", Level::Hour, "2026-11-23T05:37:38Z", "2026-11-23T13:00:00+08:00", "2026-11-23T14:00:00+08:00"),
            ("Asia/Shanghai", Level::Day, "2026-11-22T16:00:00Z", "2026-11-23T00:00:00+08:00", "2026-11-24T00:00:00+08:00"),
            ("Asia/Shanghai", Level::Day, "2026-11-22T15:59:59.999Z", "2026-11-22T00:00:00+08:00", "2026-11-23T00:00:00+08:00"),
            ("Asia/Shanghai", Level::Month, "2026-12-31T16:00:00Z", "2027-01-01T00:00:00+08:00", "2027-02-01T00:00:00+08:00"),
            ("Asia/Shanghai", Level::Month, "2024-02-29T15:59:59Z", "2024-02-01T00:00:00+08:00", "2024-03-01T00:00:00+08:00"),
            ("Asia/Shanghai", Level::Year, "2026-12-31T15:59:59Z", "2026-01-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00"),
            // Summer time 1986: 4 May 02:00 -> 03:00 (23 h), 14 September 02:00 -> 01:00 (25 h).
            ("Asia/Shanghai", Level::Day, "1986-05-04T02:00:00Z", "1986-05-04T00:00:00+08:00", "1986-05-05T00:00:00+09:00"),
            ("Asia/Shanghai", Level::Day, "1986-09-14T02:00:00Z", "1986-09-14T00:00:00+09:00", "1986-09-15T00:00:00+08:00"),
            // Berlin: 29 March 2026 02:00 -> 03:00, 25 October 03:00 -> 02:00; the hour 02 comes twice, as two hours.
            ("Europe/Berlin", Level::Day, "2026-03-29T12:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
            ("Europe/Berlin", Level::Hour, "2026-03-29T00:59:59Z", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"),
            ("Europe/Berlin", Level::Hour, "2026-10-25T00:30:00Z", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
            ("Europe/Berlin", Level::Month, "2026-03-31T21:59:59Z", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
            // Kolkata: hours begin at half past by UTC.
            ("Asia/Kolkata", Level::Hour, "2026-01-01T00:00:00Z", "2026-01-01T05:00:00+05:30", "2026-01-01T06:00:00+05:30"),
            ("Asia/Kolkata", Level::Day, "2026-01-01T18:30:00Z", "2026-01-02T00:00:00+05:30", "2026-01-03T00:00:00+05:30"),
            // Lord Howe puts clocks on by half an hour at 02:00: the hour that would be 02 begins at 02:30.
            ("Australia/Lord_Howe", Level::Hour, "2026-10-03T15:29:00Z", "2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00"),
            ("Australia/Lord_Howe", Level::Hour, "2026-10-03T15:45:00Z", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"),
        ] {
            let park = ParkZone::new(zone);
            let period = park.period_of(level, at(instant));
            assert_eq!((park.write(period.start).as_str(), park.write(period.end).as_str()), (start, end), "{zone} {level:?} {instant}");
        }
    }

    #[test]
    fn days_have_their_hours() {
        for (zone, day, hours) in [
            ("Asia/Shanghai", "2026-11-23", 24),
            ("Asia/Shanghai", "1986-05-04", 23),
            ("Asia/Shanghai", "1986-09-14", 25),
            ("Asia/Shanghai", "1991-09-15", 25),
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("Asia/Kolkata", "2026-03-29", 24),
            // Midnight itself is left out: the day begins at 01:00.
            ("America/Havana", "2026-03-08", 23),
        ] {
            let park = ParkZone::new(zone);
            let period = park.period_of(Level::Day, park.read(day).unwrap());
            assert_eq!(park.periods(Level::Hour, period.start, period.end).count(), hours, "{zone} {day}");
        }
        let park = ParkZone::new("Asia/Shanghai");
        let year = park.period_of(Level::Year, park.read("2024-06-01").unwrap());
        assert_eq!(park.periods(Level::Day, year.start, year.end).count(), 366);
        assert_eq!(park.periods(Level::Month, year.start, year.end).count(), 12);
        assert_eq!(park.periods(Level::Day, park.read("2024-02-01").unwrap(), park.read("2024-03-01").unwrap()).count(), 29);
    }

    #[test]
    fn reads_dates_and_times_and_nothing_else() {
        let park = ParkZone::new("Asia/Shanghai");
        assert_eq!(park.read("2026-11-23"), Some(at("2026-11-22T16:00:00Z")));
        assert_eq!(park.read("2026-11-23T01:00:00+08:00"), Some(at("2026-11-22T17:00:00Z")));
        for text in ["", "2026", "2026-13-01", "yesterday", "2026-11-23T01:00:00", "20261123--"] {
            assert_eq!(park.read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn periods_tile_time(
            instant in proptest::prop_oneof![proptest::num::i64::ANY, -3_000_000_000_000i64..6_000_000_000_000],
            zone in proptest::sample::select(vec!["UTC", "Asia/Shanghai", "Asia/Kolkata", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"]),
        ) {
            let park = ParkZone::new(zone);
            let instant = UtcMillis(instant.clamp(FIRST, LAST));
            let mut longer = None;
            for &level in Level::ALL {
                let period = park.period_of(level, instant);
                proptest::prop_assert!(period.start <= instant && instant < period.end, "{zone} {period:?}");
                proptest::prop_assert_eq!(park.period_of(level, period.start), period);
                proptest::prop_assert_eq!(park.period_of(level, period.end.plus(-1)), period);
                if let Some(shorter) = longer.replace(period) {
                    proptest::prop_assert!(period.start <= shorter.start && shorter.end <= period.end, "{shorter:?} in {period:?}");
                }
            }
        }
    }
}
