//! What the follower stores and what is told from it, against the same record counted without a store.

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{Kind, PointId, PointIdentity, Sample, UtcMillis};
use parkgate_collector::pipeline::Exchanges;
use parkgate_rules::emission::time::UtcMillis as Time;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::counter::Declared;
use super::super::follow::Follower;
use super::super::meters::{EventKind, MeterStep, Meters, NewEvent};
use super::super::partial::Of;
use super::super::recount::Recount;
use super::super::rule::PointRule;
use super::super::store::TotalsStore;
use super::super::{Figures, Level, ParkZone, Period, Total, Totals, TotalsView};
use super::entered::event;
use super::memory::{self, Memory, catalogue, catalogue_in, figures};
use super::{point, sample};
use crate::current::{Configured, Current};
use crate::store::follow::Follow as _;
use crate::store::{EntryKind, Facts, NewEntry, RecordView as _};

pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// A park whose record, files and follower a case works on.
pub(super) struct Followed {
    pub(super) folder: TempDir,
    pub(super) catalogue: Catalogue,
    pub(super) record: Arc<Memory>,
    pub(super) facts: Arc<Facts>,
    pub(super) follower: Option<Follower>,
    /// Samples noted since the last count.
    noted: Vec<Sample>,
}

impl Followed {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let facts = Arc::new(Facts::open(&folder.path().join("facts.db")).unwrap());
        let record = Arc::new(Memory::default());
        let follower = Some(memory::follower(folder.path(), &record, &facts, &catalogue));
        Self { folder, catalogue, record, facts, follower, noted: Vec::new() }
    }

    /// A sample comes into the record and is read from the journal.
    pub(super) fn push(&mut self, sample: Sample) {
        self.record.push(sample);
        self.follower.as_mut().unwrap().note(&sample);
        self.noted.push(sample);
    }

    pub(super) fn count(&mut self) {
        self.follower.as_mut().unwrap().count_due(Sequence(1), &CancellationToken::new()).unwrap();
        self.noted.clear();
    }

    /// The program stops and starts; the journal gives again what was not counted.
    pub(super) fn restart(&mut self) {
        self.follower = None;
        let mut follower = memory::follower(self.folder.path(), &self.record, &self.facts, &self.catalogue);
        self.noted.iter().for_each(|sample| follower.note(sample));
        self.follower = Some(follower);
    }

    pub(super) fn stored(&self) -> TotalsStore {
        TotalsStore::open_read_only(&self.folder.path().join("totals.db")).unwrap()
    }

    pub(super) fn meters(&self) -> Arc<Meters> {
        Arc::new(Meters::read(&self.catalogue, &self.facts).unwrap())
    }

    pub(super) fn told(&self) -> Totals {
        Totals::new(&self.catalogue, Arc::clone(&self.record) as _, Some(self.stored())).with_meters(self.meters())
    }

    /// What is told is what the record says, on every level.
    pub(super) fn check(&self, what: &str) {
        let plain = Totals::new(&self.catalogue, Arc::clone(&self.record) as _, None).with_meters(self.meters());
        for point in &self.catalogue.points {
            for &level in Level::ALL {
                let (told, plain) = (all(&self.told(), point.id, level), all(&plain, point.id, level));
                let differ = told.iter().zip(&plain).find(|(told, plain)| told != plain);
                assert!(told.len() == plain.len() && differ.is_none(), "{what} {} {level:?}: {differ:#?}", point.id);
            }
        }
    }
}

fn all(totals: &Totals, point: PointId, level: Level) -> Vec<Total> {
    figures(totals.totals(point, level, UtcMillis(i64::MIN), UtcMillis(i64::MAX)).unwrap())
}

pub(super) fn amount(total: &Total) -> String {
    match &total.figures {
        Figures::Counter(counter) => counter.amount.map_or_else(|| "-".into(), |amount| amount.to_string()),
        _ => "-".into(),
    }
}

pub(super) fn at(text: &str) -> UtcMillis {
    ParkZone::new("Asia/Shanghai").read(&format!("{text}+08:00")).unwrap()
}

pub(super) fn counter(interval_ms: u32) -> Point {
    point(Kind::Counter, Some(interval_ms))
}

fn other(point: Point) -> Point {
    let identity = PointIdentity { stable_id: "a/c".into(), ..point.identity };
    Point { id: PointId(2), local_id: "c".into(), identity, ..point }
}

/// Hourly readings of 10 each, from `from` to before `to`.
fn hourly(followed: &mut Followed, from: UtcMillis, to: UtcMillis) {
    for hour in 0..to.since(from).div_euclid(HOUR) {
        followed.push(sample(from.plus(hour * HOUR), 100 + hour * 10));
    }
}

/// A point comes, goes and comes back while the follower runs, and late samples come in between: nothing is missed.
#[test]
fn points_come_and_go_while_it_runs() {
    let one = || catalogue(vec![counter(3_600_000)]);
    let both = || catalogue(vec![counter(3_600_000), other(counter(3_600_000))]);
    let configured =
        |catalogue: Catalogue| Arc::new(Configured { catalogue: Arc::new(catalogue), identities: Vec::new(), rules: Vec::new() });
    let current = Current::new(configured(one()));
    let mut followed = Followed::new(one());
    let (_, following) = current.follow();
    followed.follower = followed.follower.take().map(|follower| follower.following(following));
    let start = at("2026-11-02T06:00:00");
    let round = |followed: &mut Followed, hours: std::ops::Range<i64>, points: u32| {
        for hour in hours {
            followed.follower.as_mut().unwrap().renew();
            let time = start.plus(hour * HOUR);
            followed.push(sample(time, 100 + hour));
            if points == 2 {
                followed.push(Sample { point: PointId(2), ..sample(time, 500 + 10 * hour) });
            }
            followed.count();
        }
    };
    round(&mut followed, 0..4, 1);
    followed.check("before");
    assert!(followed.stored().followed_one(PointId(2)).unwrap().is_none(), "it is not configured");
    current.set(configured(both()));
    followed.catalogue = both();
    round(&mut followed, 4..30, 2);
    followed.check("come");
    current.set(configured(one()));
    followed.catalogue = one();
    round(&mut followed, 30..33, 2);
    // In an hour that is closed.
    followed.push(Sample { point: PointId(2), received_time: start.plus(33 * HOUR), ..sample(start.plus(20 * HOUR + MINUTE), 701) });
    followed.count();
    followed.check("gone");
    current.set(configured(both()));
    followed.catalogue = both();
    round(&mut followed, 33..36, 2);
    followed.check("back");
    followed.restart();
    followed.count();
    followed.check("restarted");
}

#[test]
fn hours_that_closed_in_silence_get_their_share_at_once() {
    for restarts in [false, true] {
        // A value holds for ten minutes, as long as the grace.
        let mut followed = Followed::new(catalogue(vec![counter(200_000), other(counter(200_000))]));
        let start = at("2026-11-02T06:00:00");
        for minute in 0..740 {
            let time = start.plus(minute * MINUTE);
            // The one is silent from 08:00 until 18:20, the other goes on.
            if minute <= 120 {
                followed.push(sample(time, 1_000 + minute));
            }
            followed.push(Sample { point: PointId(2), ..sample(time, minute) });
            followed.count();
        }
        let until = followed.stored().followed_one(PointId(1)).unwrap().unwrap().until;
        assert_eq!(until, at("2026-11-02T18:00:00"));
        // 1,240 kWh in 620 minutes: 2 a minute, 120 in each whole hour.
        followed.push(sample(start.plus(740 * MINUTE), 2_360));
        if restarts {
            followed.restart();
        }
        followed.count();
        assert_eq!(followed.stored().followed_one(PointId(1)).unwrap().unwrap().until, until, "nothing closed by it");
        let told = followed.told().totals(PointId(1), Level::Hour, at("2026-11-02T08:00:00"), at("2026-11-02T18:00:00")).unwrap();
        assert_eq!(told.iter().map(amount).collect::<Vec<_>>(), ["120"; 10]);
        followed.check("after the return");
    }
}

#[test]
fn a_late_reading_writes_one_correction_whatever_crashes() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    hourly(&mut followed, start, start.plus(50 * HOUR));
    followed.count();
    assert_eq!(followed.facts.total_corrections().unwrap(), vec![]);
    // Two at once, in two hours of one day: at 05:30 it stood at 158, not 155, and at 07:30 at 171, not 175.
    let before = followed.folder.path().join("before.db");
    followed.stored().copy_to(&before).unwrap();
    followed.push(sample(start.plus(11 * HOUR / 2), 158));
    followed.push(sample(start.plus(15 * HOUR / 2), 171));
    followed.count();
    let corrections = followed.facts.total_corrections().unwrap();
    let rows: Vec<_> = corrections
        .iter()
        .map(|one| {
            let text = |row: &str, key: &str| serde_json::from_str::<serde_json::Value>(row).unwrap()[key].to_string();
            let (old, new) = (&one.old, one.new.as_ref().unwrap());
            (one.level.as_str(), one.start, text(old, "amount"), text(new, "amount"), text(old, "samples"), text(new, "samples"))
        })
        .collect();
    // The hours' amounts stay, as both have readings at their ends; their samples do not.
    let row = |level, start, amount: &str, old: &str, new: &str| {
        let amount = format!("\"{amount}\"");
        (level, start, amount.clone(), amount, old.to_owned(), new.to_owned())
    };
    assert_eq!(
        rows,
        [
            row("hour", start.plus(5 * HOUR), "10", "1", "2"),
            row("hour", start.plus(7 * HOUR), "10", "1", "2"),
            row("day", start, "240", "24", "26"),
        ]
    );
    // The corrections were kept, the figures were not: they are counted again.
    followed.follower = None;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(followed.folder.path().join(format!("totals.db{end}")));
    }
    std::fs::copy(&before, followed.folder.path().join("totals.db")).unwrap();
    followed.noted = vec![sample(start.plus(11 * HOUR / 2), 158), sample(start.plus(15 * HOUR / 2), 171)];
    followed.restart();
    followed.count();
    assert_eq!(followed.facts.total_corrections().unwrap(), corrections);
    followed.check("after the crash");
    // And nothing is told twice to who follows changes.
    followed.restart();
    followed.count();
    assert_eq!(followed.facts.total_corrections().unwrap(), corrections);
}

#[test]
fn a_moved_sample_is_not_counted_where_it_was() {
    // What comes before the day told of, and how far retention went since: the days before must stay.
    for (what, deleted) in [("whole record", None), ("cut record", Some(at("2026-11-01T08:00:00")))] {
        let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
        let start = at("2026-09-25T00:30:00");
        hourly(&mut followed, start, start.plus(50 * DAY));
        followed.count();
        let october = |followed: &Followed| {
            let totals = followed.told();
            let hours = totals.totals(PointId(1), Level::Hour, UtcMillis(i64::MIN), at("2026-11-01T08:00:00")).unwrap();
            (hours, totals.totals(PointId(1), Level::Month, UtcMillis(i64::MIN), at("2026-11-01T00:00:00")).unwrap())
        };
        let before = october(&followed);
        deleted.into_iter().for_each(|time| followed.record.delete_before(time));
        // Of 10:30 on the 5th, and it came at 11:05 by the clock that counts now.
        let key = at("2026-11-05T10:30:00");
        let value = followed.record.scan(PointId(1), key, key.plus(1), 1).unwrap()[0].value;
        followed.push(Sample { source_time: Some(key), ..sample(at("2026-11-05T11:05:00"), value) });
        followed.count();
        let told = followed.told().totals(PointId(1), Level::Hour, at("2026-11-05T10:00:00"), at("2026-11-05T12:00:00")).unwrap();
        assert_eq!(told.iter().map(|total| total.samples).collect::<Vec<_>>(), [0, 2], "{what}");
        let day = followed.told().totals(PointId(1), Level::Day, at("2026-11-05T00:00:00"), at("2026-11-06T00:00:00")).unwrap();
        assert_eq!(amount(&day[0]), "240", "{what}");
        match deleted {
            None => followed.check(what),
            Some(_) => {
                // A value of a deleted month comes once more.
                followed.push(sample(at("2026-10-28T12:10:00"), 100));
                followed.count();
                let (hours, months) = october(&followed);
                let other: Vec<_> = hours.iter().zip(&before.0).filter(|(now, then)| now.samples != then.samples).collect();
                assert!(hours.len() == before.0.len() && other.is_empty(), "{other:#?}");
                let samples = |months: &[Total]| months.iter().map(|month| month.samples).collect::<Vec<_>>();
                assert_eq!(samples(&months), samples(&before.1));
            }
        }
    }
}

#[test]
fn the_first_sample_can_move() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T10:30:00");
    hourly(&mut followed, start, start.plus(2 * DAY));
    followed.count();
    followed.push(Sample { source_time: Some(start), ..sample(start.plus(45 * MINUTE), 100) });
    followed.count();
    followed.check("moved");
}

#[test]
fn damaged_rows_are_counted_from_the_record_and_mended() {
    let (first, last) = (at("2026-11-20T00:00:00"), at("2027-01-20T00:00:00"));
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    hourly(&mut followed, first, last);
    followed.count();
    let corrections = followed.facts.total_corrections().unwrap().len();
    let zone = ParkZone::new("Asia/Shanghai");
    // Rows of hours, days, months and years, and what comes late next to each.
    for (number, (level, row, late)) in [
        (Level::Hour, "2026-12-15T00:00:00", "2026-12-15T10:10:00"),
        (Level::Hour, "2026-12-16T00:00:00", "2026-12-16T23:40:00"),
        (Level::Day, "2026-12-01T00:00:00", "2026-12-20T10:10:00"),
        (Level::Month, "2026-01-01T00:00:00", "2026-12-21T10:10:00"),
        (Level::Year, "2026-01-01T00:00:00", "2026-12-22T10:10:00"),
    ]
    .into_iter()
    .enumerate()
    {
        let connection = rusqlite::Connection::open(followed.folder.path().join("totals.db")).unwrap();
        let flip = "UPDATE part SET data = zeroblob(length(data)) WHERE level = ?1 AND start = ?2";
        assert_eq!(connection.execute(flip, rusqlite::params![level as i64, at(row).0]).unwrap(), 1, "{level:?} {row}");
        followed.check("damaged");
        let damaged = || followed.stored().damaged(&zone, PointId(1), level, first, last).unwrap().len();
        assert_eq!(damaged(), 1);
        let late = at(late);
        let stored = followed.record.scan(PointId(1), UtcMillis(0), late, usize::MAX).unwrap();
        followed.push(sample(late, stored.last().unwrap().value + 1));
        followed.count();
        assert_eq!(followed.stored().damaged(&zone, PointId(1), level, first, last).unwrap(), [], "{level:?} {row}");
        let plain = Totals::new(&followed.catalogue, Arc::clone(&followed.record) as _, None);
        for &level in Level::ALL {
            let parts = followed.stored().parts(&zone, PointId(1), level, first.plus(-400 * DAY), last).unwrap().known;
            let closed = all(&plain, PointId(1), level).into_iter().filter(|total| total.period.end <= last.plus(-2 * HOUR)).count();
            assert_eq!(parts.len(), closed, "{level:?}");
        }
        followed.check("mended");
        assert!(followed.facts.total_corrections().unwrap().len() > corrections + number);
    }
}

#[test]
fn another_time_zone_counts_again() {
    let points = || vec![counter(3_600_000)];
    let mut followed = Followed::new(catalogue_in("UTC", points()));
    let start = at("2026-10-20T00:30:00");
    hourly(&mut followed, start, start.plus(30 * DAY));
    followed.count();
    let (_, changes) = followed.told().closed_since(0, usize::MAX).unwrap();
    let (cursor, _) = followed.told().closed_since(0, usize::MAX).unwrap();
    assert!(!changes.is_empty());
    followed.catalogue = catalogue(points());
    // A command that reads before the gateway starts with it.
    followed.check("read only");
    followed.noted = followed.record.scan(PointId(1), UtcMillis(0), UtcMillis(i64::MAX), usize::MAX).unwrap();
    followed.restart();
    followed.count();
    followed.check("counted again");
    let zone = ParkZone::new("Asia/Shanghai");
    let days = followed.stored().parts(&zone, PointId(1), Level::Day, UtcMillis(0), UtcMillis(i64::MAX)).unwrap().known;
    assert!(days.len() > 27 && days.iter().all(|(day, _)| zone.period_of(Level::Day, day.start) == *day), "{days:#?}");
    assert_eq!(followed.facts.total_corrections().unwrap(), vec![]);
    // Who follows changes goes on behind those of before, and gets them all once more.
    let (next, again) = followed.told().closed_since(cursor, usize::MAX).unwrap();
    assert!(next > cursor && again.iter().filter(|total| total.period.level == Level::Day).count() == days.len());
    // The same zone once more drops nothing.
    followed.restart();
    assert!(followed.stored().followed_one(PointId(1)).unwrap().is_some());
}

/// A register wraps, and only then its modulus is configured: what is suspect is counted again, also of a file that does
/// not say what it was counted by.
#[test]
fn another_rule_counts_again() {
    for older in [false, true] {
        let bare = || Point { modulus: None, rate_max_per_hour: None, ..counter(3_600_000) };
        let mut followed = Followed::new(catalogue(vec![bare(), other(bare())]));
        let start = at("2026-11-02T00:00:00");
        for hour in 0..48 {
            let time = start.plus(hour * HOUR);
            // At 10:00 it begins anew.
            followed.push(sample(time, (999_900 + 10 * hour) % 1_000_000));
            followed.push(Sample { point: PointId(2), ..sample(time, 10 * hour) });
        }
        followed.count();
        let day = |followed: &Followed| {
            let days = followed.told().totals(PointId(1), Level::Day, start, start.plus(DAY)).unwrap();
            let Figures::Counter(figures) = &days[0].figures else { panic!("{days:?}") };
            (amount(&days[0]), figures.flags.rollover, figures.flags.suspect)
        };
        assert_eq!(day(&followed), ("230".into(), false, true));
        if older {
            followed.follower = None;
            let connection = rusqlite::Connection::open(followed.folder.path().join("totals.db")).unwrap();
            connection.execute_batch("ALTER TABLE followed DROP COLUMN rule").unwrap();
        }
        followed.catalogue = catalogue(vec![counter(3_600_000), other(bare())]);
        followed.restart();
        followed.count();
        assert_eq!(day(&followed), ("240".into(), true, false), "older: {older}");
        followed.check("with a modulus");
        let corrections = followed.facts.total_corrections().unwrap();
        assert!(corrections.iter().all(|one| one.point == PointId(1) && one.cause.contains("modulus")), "{corrections:#?}");
        assert!(!corrections.is_empty());
        followed.restart();
        followed.count();
        assert_eq!(followed.facts.total_corrections().unwrap(), corrections, "nothing is told twice");
    }
}

/// Who follows what closes is told of a point that a reload took from the configuration.
#[test]
fn what_closed_of_a_point_that_is_gone_is_told() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000), other(counter(3_600_000))]));
    let start = at("2026-11-02T00:00:00");
    hourly(&mut followed, start, start.plus(30 * HOUR));
    followed.count();
    let told = followed.told();
    let closed = told.closed_since(0, usize::MAX).unwrap();
    assert!(closed.1.len() > 24);
    told.set_catalogue(&catalogue(vec![other(counter(3_600_000))]));
    assert_eq!(told.closed_since(0, usize::MAX).unwrap(), closed);
}

/// A file whose figures do not tell what was decided from what is to be decided: what was entered touches is counted again.
#[test]
fn figures_that_do_not_tell_decisions_are_counted_again() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    for hour in 0..30 {
        followed.push(sample(start.plus(hour * HOUR), if hour == 10 { 0 } else { 100 + hour * 10 }));
    }
    let decision = NewEvent {
        from: Some(Time(start.plus(9 * HOUR).0)),
        old_final: Some("190".into()),
        new_initial: Some("0".into()),
        ..event(EventKind::NewWrong, start.plus(10 * HOUR))
    };
    let body = serde_json::to_value(MeterStep::Add(decision)).unwrap();
    let new = NewEntry { kind: EntryKind::MeterEvent, subject: "a/b".into(), body, author: "eve".into(), document: None };
    followed.facts.append(new, start).unwrap();
    followed.count();
    let decided = |followed: &Followed| {
        let zone = ParkZone::new("Asia/Shanghai");
        let parts = followed.stored().parts(&zone, PointId(1), Level::Hour, start, start.plus(DAY)).unwrap().known;
        parts.iter().filter(|(_, part)| matches!(part.of, Of::Counter(part) if part.decided && !part.suspect)).count()
    };
    assert_eq!(decided(&followed), 1);
    for (sql, counted) in [("SELECT 1", 0), ("ALTER TABLE entered DROP COLUMN decisions", 1)] {
        followed.follower = None;
        let connection = rusqlite::Connection::open(followed.folder.path().join("totals.db")).unwrap();
        connection.execute_batch(&format!("DELETE FROM part; {sql};")).unwrap();
        drop(connection);
        followed.restart();
        followed.count();
        assert_eq!(decided(&followed), counted, "{sql}");
    }
}

/// An exchange that is entered while the old meter is gone and the new one not there reaches the normaliser, at once and
/// at the next start; one whose new meter was read already does not.
#[test]
fn exchanges_to_come_are_announced() {
    let exchanges = Exchanges::default();
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    followed.follower = followed.follower.take().map(|follower| follower.announcing(exchanges.clone()));
    let start = at("2026-11-02T00:00:00");
    hourly(&mut followed, start, start.plus(10 * HOUR));
    followed.count();
    let enter = |followed: &Followed, at: UtcMillis| {
        let body = serde_json::to_value(MeterStep::Add(event(EventKind::Exchange, at))).unwrap();
        let new = NewEntry { kind: EntryKind::MeterEvent, subject: "a/b".into(), body, author: "eve".into(), document: None };
        followed.facts.append(new, at).unwrap();
    };
    enter(&followed, start.plus(5 * HOUR));
    followed.count();
    assert_eq!(exchanges.take(), []);
    enter(&followed, start.plus(10 * HOUR));
    followed.count();
    assert_eq!(exchanges.take(), [(PointId(1), start.plus(10 * HOUR))]);
    followed.restart();
    followed.follower = followed.follower.take().map(|follower| follower.announcing(exchanges.clone()));
    assert_eq!(exchanges.take(), [(PointId(1), start.plus(10 * HOUR))]);
    followed.push(sample(start.plus(11 * HOUR), 3));
    followed.restart();
    followed.follower = followed.follower.take().map(|follower| follower.announcing(exchanges.clone()));
    assert_eq!(exchanges.take(), []);
}

#[test]
fn a_pair_over_many_years_is_spread_in_pieces() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    // From the end of 2000 on, 3653 days: 1 kWh an hour.
    let (first, last) = (at("2000-12-31T00:00:00"), at("2011-01-01T00:00:00"));
    assert_eq!(last.since(first), 3_653 * DAY);
    followed.push(sample(first, 0));
    followed.push(sample(last, 3_653 * 24));
    followed.push(sample(last.plus(2 * HOUR), 3_653 * 24 + 2));
    followed.count();
    let years = followed.told().totals(PointId(1), Level::Year, UtcMillis(i64::MIN), last).unwrap();
    assert_eq!(years.iter().map(amount).collect::<Vec<_>>()[..3], ["24", "8760", "8760"]);
    let days = followed.told().totals(PointId(1), Level::Day, UtcMillis(i64::MIN), last).unwrap();
    assert_eq!(days.len(), 3_653);
    assert!(days.iter().all(|day| amount(day) == "24" && day.closed));
}

#[test]
fn a_wrong_clock_does_not_count_hours_before_the_first_sample() {
    let record = Memory::default();
    let start = at("2026-11-02T10:30:00");
    for hour in 0..5 {
        // The device's clock stands at 1970.
        record.push(Sample { source_time: Some(UtcMillis(hour * 1_000)), ..sample(start.plus(hour * HOUR), 10 * hour) });
    }
    let folder = tempfile::tempdir().unwrap();
    let zone = ParkZone::new("Asia/Shanghai");
    let mut store = TotalsStore::open(&folder.path().join("totals.db"), &zone).unwrap();
    let rule = PointRule::new(&counter(3_600_000));
    let recount = Recount { record: &record, zone: &zone, rule: &rule, declared: Declared::NONE };
    let closed = at("2026-11-02T14:00:00");
    let writing = store.write().unwrap();
    let found = recount.run(&writing, (zone.period_of(Level::Hour, UtcMillis(0)).start, closed), closed, closed).unwrap();
    // From the beginning of November, by UTC, at most.
    assert!(found.hours <= 40, "{}", found.hours);
    let changed: Vec<Period> = found.changed.iter().map(|change| change.period).filter(|period| period.level == Level::Hour).collect();
    assert_eq!(changed.len(), 4);
}
