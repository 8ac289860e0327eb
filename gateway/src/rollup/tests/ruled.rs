//! What another interval, modulus or rate makes of hours that are closed: nothing that was counted goes.

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Decimal, Origin, PointId, Quality, Reason, Sample, Status, Step};

use super::super::{Figures, Level, Total, TotalsView as _};
use super::follow::{DAY, Followed, HOUR, MINUTE, amount, at, counter};
use super::memory::catalogue;
use super::sample;
use crate::current::{Configured, Current};
use crate::store::follow::Follow as _;

fn totals(followed: &Followed) -> Vec<Total> {
    let start = at("2026-11-02T00:00:00");
    let told = followed.told();
    Level::ALL[..2].iter().flat_map(|&level| told.totals(PointId(1), level, start, start.plus(DAY)).unwrap()).collect()
}

/// Quarter-hourly readings of a point that is read every minute from then on. Closed hours stay complete, also of a file
/// whose texts of rules have the time that values hold in them.
#[test]
fn another_interval_leaves_closed_hours() {
    let mut followed = Followed::new(catalogue(vec![counter(900_000)]));
    let start = at("2026-11-02T00:00:00");
    (0..30 * 4).for_each(|quarter| followed.push(sample(start.plus(quarter * 15 * MINUTE), quarter)));
    followed.count();
    let before = totals(&followed);
    assert!(before.iter().all(|total| total.completeness_ppm == Some(1_000_000)), "{before:#?}");
    for older in [true, false] {
        if older {
            followed.follower = None;
            let connection = rusqlite::Connection::open(followed.folder.path().join("totals.db")).unwrap();
            let text = "modulus 1000000 rate 1000/1 hold 2700000 decimals 0";
            assert_eq!(connection.execute("UPDATE followed SET rule = ?1", [text]).unwrap(), 1);
        }
        followed.catalogue = catalogue(vec![counter(60_000)]);
        followed.restart();
        followed.count();
        assert_eq!(totals(&followed), before, "older: {older}");
        assert_eq!(followed.facts.total_corrections().unwrap(), []);
    }
    // From then on a quarter of an hour is a gap.
    (30 * 4..60 * 4).for_each(|quarter| followed.push(sample(start.plus(quarter * 15 * MINUTE), quarter)));
    followed.count();
    let next = followed.told().totals(PointId(1), Level::Hour, start.plus(40 * HOUR), start.plus(41 * HOUR)).unwrap();
    assert_eq!(next[0].completeness_ppm, Some(0));
    assert_eq!(totals(&followed), before);
}

/// A register wraps at 10:00 of the first day, 10 an hour, and then its meter is exchanged for one with another modulus, or
/// a lower rate is configured: the past stays, whatever is counted again. A fall that is suspect then is told once a rule
/// can tell it, and stays told.
#[test]
fn another_modulus_or_rate_leaves_wraps_of_the_past() {
    let with = |modulus: i64, rate: i64| {
        let (modulus, rate_max_per_hour) = (Some(Decimal::new(modulus, 0)), Some(Decimal::new(rate, 0)));
        catalogue(vec![Point { modulus, rate_max_per_hour, ..counter(3_600_000) }])
    };
    let mut followed = Followed::new(with(1_000_000, 1_000));
    let start = at("2026-11-02T00:00:00");
    for hour in 0..30 {
        followed.push(sample(start.plus(hour * HOUR), (999_900 + 10 * hour) % 1_000_000));
    }
    followed.count();
    let before = totals(&followed);
    let day = |followed: &Followed, from: i64| {
        let days = followed.told().totals(PointId(1), Level::Day, start.plus(from), start.plus(from + 1)).unwrap();
        let Figures::Counter(figures) = &days[0].figures else { panic!("{days:?}") };
        (amount(&days[0]), figures.flags.rollover, figures.flags.suspect)
    };
    assert_eq!(day(&followed, 0), ("240".into(), true, false));
    for (modulus, rate) in [(10_000_000, 1_000), (1_000_000, 5), (100_000, 5)] {
        followed.catalogue = with(modulus, rate);
        followed.restart();
        followed.count();
        assert_eq!(totals(&followed), before, "modulus {modulus}, rate {rate}");
        assert_eq!(followed.facts.total_corrections().unwrap(), []);
        followed.check("the past");
    }
    // What comes late beside the wrap.
    let status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None);
    followed.push(Sample { status, ..sample(start.plus(9 * HOUR + 30 * MINUTE), 999_995) });
    followed.count();
    assert_eq!(day(&followed, 0), ("240".into(), true, false));
    followed.check("late");
    // It goes on at 20 an hour, and wraps at 100,000, faster than it may; then it may.
    for hour in 30..60 {
        followed.push(sample(start.plus(hour * HOUR), (99_800 + 20 * (hour - 30)) % 100_000));
    }
    followed.count();
    let suspect = day(&followed, DAY);
    assert!(suspect.2 && !suspect.1, "{suspect:?}");
    followed.catalogue = with(100_000, 50);
    followed.restart();
    followed.count();
    let (_, rollover, still) = day(&followed, DAY);
    assert!(rollover && !still);
    followed.check("told");
    let told = day(&followed, DAY);
    followed.catalogue = with(10_000_000, 50);
    followed.restart();
    followed.count();
    assert_eq!(day(&followed, DAY), told);
    assert_eq!(day(&followed, 0), ("240".into(), true, false));
    followed.check("stays told");
}

/// The same while it runs, however much of the journal is yet to be read when it is reloaded: what was recorded until then is
/// judged by the modulus of then.
#[test]
fn a_reload_leaves_wraps_of_the_past() {
    let with = |modulus: i64| catalogue(vec![Point { modulus: Some(Decimal::new(modulus, 0)), ..counter(3_600_000) }]);
    let configured =
        |catalogue: Catalogue| Arc::new(Configured { catalogue: Arc::new(catalogue), identities: Vec::new(), rules: Vec::new() });
    let start = at("2026-11-02T00:00:00");
    let samples: Vec<Sample> = (0..30).map(|hour| sample(start.plus(hour * HOUR), (999_900 + 10 * hour) % 1_000_000)).collect();
    for read in [30, 5] {
        let mut followed = Followed::new(with(1_000_000));
        let current = Current::new(configured(with(1_000_000)));
        let (_, following) = current.follow();
        let mut follower = followed.follower.take().unwrap().following(following);
        samples.iter().for_each(|sample| followed.record.push(*sample));
        let (before, after) = samples.split_at(read);
        before.iter().for_each(|sample| follower.note(sample));
        followed.follower = Some(follower);
        followed.count();
        followed.catalogue = with(100_000);
        current.set(configured(with(100_000)));
        let follower = followed.follower.as_mut().unwrap();
        follower.renew();
        after.iter().for_each(|sample| follower.note(sample));
        let status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None);
        followed.push(Sample { status, ..sample(start.plus(9 * HOUR + 30 * MINUTE), 999_995) });
        followed.count();
        let day = followed.told().totals(PointId(1), Level::Day, start, start.plus(DAY)).unwrap();
        assert_eq!(amount(&day[0]), "240", "{read}");
        followed.check("reloaded");
    }
}
