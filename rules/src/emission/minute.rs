//! From readings to minutes: the mean of a minute, and what stands against it.

use super::fixed::Fixed;
use super::mark::{self, Letter, Mark};
use super::outlet::{Channel, Outlet, Running, Status};
use super::sample::{Readings, Series};
use super::time::{MINUTE_MS, Period, UtcMillis};
use crate::Number;

/// A minute of one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Minute {
    /// Its mean.
    Mean(Fixed),
    /// Readings came, too few of them count; the letter most of the others carried, if any did.
    TooFew(Option<Letter>),
    /// Nothing came.
    Nothing,
}

impl Minute {
    pub(super) fn mean(self) -> Option<Fixed> {
        if let Self::Mean(mean) = self { Some(mean) } else { None }
    }

    pub(super) fn letter(&self) -> Option<Letter> {
        if let Self::TooFew(letter) = self { *letter } else { None }
    }
}

/// The mean of a minute: the last value of a point that gives minute means; else the mean of the readings that count, when
/// they are at least `percent` of those due (2 s, 75 %: 23 of 30). `regardless`: letters do not matter, goodness does.
pub(super) fn mean(channel: &Channel, percent: u32, readings: &Readings, minute: &Period, regardless: bool) -> Minute {
    let Some(series) = readings.get(&channel.point) else { return Minute::Nothing };
    let came = series.within(minute);
    if came.is_empty() {
        return Minute::Nothing;
    }
    let mut counted = came.iter().filter_map(|reading| if regardless && reading.good { reading.value } else { reading.counted() });
    let mean = if channel.minute_mean {
        counted.next_back().map(|mantissa| Fixed::decimal(mantissa, series.decimals))
    } else {
        let (sum, count) =
            counted.fold((0_i128, 0_u32), |(sum, count), value| (sum.saturating_add(i128::from(value)), count.saturating_add(1)));
        mean_of(series, sum, count).filter(|_| enough(count, channel.due(), percent))
    };
    match mean {
        Some(mean) => Minute::Mean(mean),
        None => Minute::TooFew(came.iter().filter_map(super::sample::Reading::letter).min()),
    }
}

/// The mean of all readings of a period that have a number, whatever is said about them.
pub(super) fn raw_mean(point: &str, readings: &Readings, period: &Period) -> Option<Number> {
    let series = readings.get(point)?;
    let (sum, count) = series
        .within(period)
        .iter()
        .filter_map(|reading| reading.value)
        .fold((0_i128, 0_u32), |(sum, count), value| (sum.saturating_add(i128::from(value)), count.saturating_add(1)));
    mean_of(series, sum, count).map(|mean| mean.number())
}

fn mean_of(series: &Series, sum: i128, count: u32) -> Option<Fixed> {
    match (i64::try_from(sum), count) {
        (Ok(only), 1) => Some(Fixed::decimal(only, series.decimals)),
        _ => Fixed::ratio(sum, count, series.decimals),
    }
}

/// Whether `count` is at least `percent` of `due`.
fn enough(count: u32, due: u32, percent: u32) -> bool {
    count > 0 && u64::from(count).saturating_mul(100) >= u64::from(due).saturating_mul(u64::from(percent))
}

/// What the running point and the status points of an outlet say about each minute of an hour: read once, for all channels.
pub(super) struct States<'a> {
    hour: &'a Period,
    running: Vec<Option<Letter>>,
    status: Vec<(Option<&'a str>, Vec<Option<Letter>>)>,
}

impl<'a> States<'a> {
    pub(super) fn of(outlet: &'a Outlet, hour: &'a Period, readings: &Readings) -> Self {
        let running = |running: &Running| {
            letters(readings.get(&running.point), hour, running.hold_seconds, |value| (value < running.from).then_some(Letter::F))
        };
        let status = |status: &'a Status| {
            let letter = |value: Number| status.states.iter().find(|state| state.value == value).map(|state| state.letter);
            (status.factor.as_deref(), letters(readings.get(&status.point), hour, status.hold_seconds, letter))
        };
        Self { hour, running: outlet.running.as_ref().map(running).unwrap_or_default(), status: outlet.status.iter().map(status).collect() }
    }
}

/// The letter of each minute by a state point: the first in the order of letters of all states it has in the minute, the one before it
/// included while it is held. No state, no letter.
fn letters(series: Option<&Series>, hour: &Period, hold_seconds: u32, letter: impl Fn(Number) -> Option<Letter>) -> Vec<Option<Letter>> {
    let Some(series) = series else { return Vec::new() };
    let hold_ms = i64::from(hold_seconds).saturating_mul(1000);
    let mut last: Option<(i64, Option<Letter>)> = None;
    let mut of = |value: i64| match last {
        Some((known, letter)) if known == value => letter,
        _ => last.insert((value, letter(series.number(value)))).1,
    };
    hour.minutes()
        .map(|minute| {
            let reaches = |at: UtcMillis| at >= minute.from || minute.from < at.plus(hold_ms);
            let good = series.reaching(&minute).iter().filter(|reading| reading.good && reaches(reading.at));
            good.filter_map(|reading| reading.value).filter_map(&mut of).filter(|letter| *letter != Letter::N).min()
        })
        .collect()
}

/// What stands against the minutes of a channel (a factor, `o2` and the like): marks, the running point, status points.
pub(super) struct Against<'a> {
    letters: Vec<Option<Letter>>,
    hour: &'a Period,
}

impl<'a> Against<'a> {
    pub(super) fn of(states: &States<'a>, outlet: &Outlet, channel: &str, marks: &[Mark]) -> Self {
        let hour = states.hour;
        let marks: Vec<&Mark> = marks.iter().filter(|mark| mark.speaks_of(&outlet.id, channel) && mark.touches(hour)).collect();
        let status = states.status.iter().filter(|(factor, _)| factor.is_none_or(|factor| factor == channel));
        let status: Vec<&Vec<Option<Letter>>> = status.map(|(_, letters)| letters).chain([&states.running]).collect();
        let letter = |(index, minute): (usize, Period)| {
            let said = status.iter().filter_map(|letters| letters.get(index).copied().flatten());
            said.chain(mark::letter_of(&marks, &minute)).min()
        };
        Self { letters: hour.minutes().enumerate().map(letter).collect(), hour }
    }

    /// The letter of a minute of the hour: the first in their order of all that touch it.
    pub(super) fn letter(&self, minute: &Period) -> Option<Letter> {
        let index = usize::try_from(minute.from.since(self.hour.from) / MINUTE_MS).ok()?;
        self.letters.get(index).copied().flatten()
    }
}
