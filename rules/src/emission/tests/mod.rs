//! Worked cases for the figures of emissions, computed by hand in the comments.

mod gas;
mod water;
mod period;
mod judge;
mod abatement;
mod independent;

use super::hour;
use super::mark::{Letter, Mark};
use super::outlet::Outlet;
use super::sample::{Reading, Readings, Series};
use super::time::{MINUTE_MS, Period, UtcMillis};
use super::{HourClass, HourFigure};
use crate::Number;

/// 2026-11-23T00:00:00+08:00.
const MIDNIGHT: i64 = 1_795_363_200_000;

fn n(text: &str) -> Number {
    text.parse().unwrap()
}

/// So many minutes after midnight.
fn at(minute: i64) -> UtcMillis {
    UtcMillis(MIDNIGHT + minute * MINUTE_MS)
}

fn hour_of(index: i64) -> Period {
    Period { from: at(index * 60), to: at(index * 60 + 60) }
}

fn outlet(text: &str) -> Outlet {
    let outlet: Outlet = toml::from_str(text).unwrap();
    assert_eq!(outlet.problems(), Vec::<String>::new());
    outlet
}

/// One reading a minute, from minute `first` on, at one decimal; `None`: nothing came.
fn minutes(first: i64, values: impl IntoIterator<Item = Option<i64>>) -> Series {
    let readings = (first..).zip(values).filter_map(|(minute, value)| Some(Reading::good(at(minute), value?)));
    Series::of(1, readings.collect())
}

/// The same value in each of 60 minutes from minute 0 on, in tenths.
fn steady(value: i64) -> Series {
    minutes(0, [Some(value); 60])
}

fn readings(series: impl IntoIterator<Item = (&'static str, Series)>) -> Readings {
    series.into_iter().map(|(point, series)| (point.to_owned(), series)).collect()
}

fn mark(letter: Letter, factor: Option<&str>, from: i64, to: i64) -> Mark {
    Mark {
        id: format!("{letter}-{from}"),
        outlet: "stack".into(),
        factor: factor.map(Into::into),
        letter,
        condition: "校准".into(),
        from: at(from),
        to: Some(at(to)),
        author: "wang".into(),
        set_at: at(600),
    }
}

/// The only factor's figure of the first hour.
fn first_hour(outlet: &Outlet, readings: &Readings, marks: &[Mark]) -> HourFigure {
    let figure = hour::figures(outlet, &hour_of(0), readings, marks).into_iter().next().unwrap();
    let counts = &figure.minutes;
    assert_eq!(counts.valid + counts.stopped + counts.missing + counts.marked + counts.failed, 60, "each minute once");
    assert_eq!(counts.by_letter.values().sum::<u32>(), counts.stopped + counts.marked);
    let text = serde_json::to_string(&figure).unwrap();
    assert_eq!(serde_json::from_str::<HourFigure>(&text).unwrap(), figure, "a figure that was stored is the same");
    figure
}

/// A value at so many decimals.
fn shown(value: Option<&Number>, decimals: u32) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.fixed(decimals))
}

fn counted(class: HourClass, minutes: u32) -> (HourClass, u32) {
    (class, minutes)
}
