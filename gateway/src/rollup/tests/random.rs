//! Totals of random records: against a calculation of their own, over all levels, in any order of arrival, through
//! crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{Kind, Origin, PointId, Quality, Reason, Sample, Status, UtcMillis};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::follow::Follower;
use super::super::partial::EXTRA;
use super::super::row::TotalRow;
use super::super::store::TotalsStore;
use super::super::{Figures, Level, ParkZone, Total, Totals, TotalsView};
use super::memory::{self, Memory, catalogue, figures};
use super::point;
use crate::store::follow::Follow as _;
use crate::store::{Facts, RecordView, TotalCorrection};

/// 2026-10-30T16:00:00Z: two days before the end of October in Shanghai.
const START: i64 = 1_793_376_000_000;
const MINUTE: i64 = 60_000;

/// Readings of a meter over some days: when (minutes from [`START`]), and what it counted; gaps, falls and wraps included.
fn readings() -> impl Strategy<Value = Vec<(i64, i64, Quality)>> {
    let step = prop_oneof![6 => 1i64..40, 2 => 60i64..600, 1 => 600i64..4_000];
    let count = prop_oneof![8 => 0i64..50, 1 => Just(-700_000i64), 1 => -900i64..0];
    let quality = prop_oneof![9 => Just(Quality::Good), 1 => Just(Quality::Bad)];
    proptest::collection::vec((step, count, quality, 0i64..MINUTE), 1..60).prop_map(|steps| {
        let (mut time, mut value) = (START, 999_000);
        steps
            .into_iter()
            .map(|(step, count, quality, ms)| {
                time += step * MINUTE + ms;
                // Above 0 and below the modulus, so that some falls are wraps.
                value = (value + count).rem_euclid(1_000_000);
                (time, value, quality)
            })
            .collect()
    })
}

fn sample(&(time, value, quality): &(i64, i64, Quality), received: i64) -> Sample {
    Sample {
        status: Status::new(quality, Reason::None, Origin::Metered, parkgate_collector::model::Step::None),
        received_time: UtcMillis(received),
        ..super::sample(UtcMillis(time), value)
    }
}

fn all(totals: &Totals, level: Level) -> Vec<Total> {
    totals.totals(PointId(1), level, UtcMillis(START - 86_400_000 * 400), UtcMillis(START + 86_400_000 * 400)).unwrap()
}

/// The follower over a directory, as after a start of the program.
fn follower(folder: &std::path::Path, record: &Arc<Memory>, facts: &Arc<Facts>, interval: Option<u32>) -> Follower {
    memory::follower(folder, record, facts, &catalogue(vec![point(Kind::Counter, interval)]))
}

/// What a counter's period gets, in fractions: the naive way, over all pairs.
fn naive(readings: &[(i64, i64, Quality)], from: i64, to: i64) -> Option<(i128, i128)> {
    let good: Vec<_> = readings.iter().filter(|reading| reading.2 != Quality::Bad).collect();
    let (mut top, mut bottom, mut any) = (0i128, 1i128, false);
    for pair in good.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let (start, end) = (from.max(a.0), to.min(b.0));
        if start >= end {
            continue;
        }
        let mut difference = b.1 - a.1;
        if difference < 0 {
            difference += 1_000_000;
            // 1000 an hour at most.
            if i128::from(difference) * 3_600_000 > 1_000 * i128::from(b.0 - a.0) {
                continue;
            }
        }
        any = true;
        let (share, width) = (i128::from(difference) * i128::from(end - start), i128::from(b.0 - a.0));
        if share % width == 0 {
            top += share / width * bottom;
        } else {
            (top, bottom) = (top * width + share * bottom, bottom * width);
        }
    }
    any.then_some((top, bottom))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every level agrees with the naive calculation, and with the sum of the shorter ones to the last digit.
    #[test]
    fn all_levels_agree(readings in readings(), interval in proptest::sample::select(vec![None, Some(60_000), Some(900_000)])) {
        let record = Arc::new(Memory::default());
        readings.iter().for_each(|reading| record.push(sample(reading, reading.0)));
        let totals = Totals::new(&catalogue(vec![point(Kind::Counter, interval)]), record, None);
        let amount = |total: &Total| match &total.figures {
            Figures::Counter(counter) => counter.amount.map(|amount| amount.mantissa),
            _ => None,
        };
        let levels: Vec<Vec<Total>> = Level::ALL.iter().map(|&level| all(&totals, level)).collect();
        for total in levels.iter().flatten() {
            let expected = naive(&readings, total.period.start.0, total.period.end.0);
            prop_assert_eq!(amount(total).is_some(), expected.is_some(), "{:?}", total);
            if let (Some(amount), Some((top, bottom))) = (amount(total), expected) {
                // Rounded at each end of the period.
                prop_assert!((amount * bottom - top * EXTRA).abs() <= bottom, "{amount} for {top}/{bottom}");
            }
        }
        for (longer, shorter) in levels.iter().skip(1).zip(&levels) {
            for total in longer {
                let inner = shorter.iter().filter(|one| total.period.start <= one.period.start && one.period.end <= total.period.end);
                let sum: i128 = inner.filter_map(amount).sum();
                prop_assert_eq!(amount(total).unwrap_or(0), sum);
            }
        }
    }

}

proptest! {
    // Each case makes, fills and opens some files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Readings in any order, some twice, some with a wrong value first, with stops and crashes between: what is stored
    /// in the end is what a record gives that is counted once, and answers with the store are answers without.
    #[test]
    fn any_order_of_arrival_gives_the_same(
        readings in readings(),
        order in proptest::collection::vec((any::<proptest::sample::Index>(), 0i64..30, any::<bool>()), 0..120),
        interval in proptest::sample::select(vec![None, Some(60_000), Some(900_000)]),
        commits in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let facts = Arc::new(Facts::open(&folder.path().join("facts.db")).unwrap());
        let record = Arc::new(Memory::default());
        let mut running = follower(folder.path(), &record, &facts, interval);
        let never = CancellationToken::new();
        // Out of order and sometimes wrong first, then all of them, in order and right.
        let early = order.iter().map(|(index, delay, wrong)| (readings[index.index(readings.len())], *delay, *wrong));
        let rest = readings.iter().map(|&reading| (reading, 1, false));
        let mut received = START;
        let mut uncommitted = Vec::new();
        for (number, ((time, value, quality), delay, wrong)) in early.chain(rest).enumerate() {
            received = (received + delay * MINUTE).max(time);
            let value = if wrong { (value + 77).rem_euclid(1_000_000) } else { value };
            let sample = sample(&(time, value, quality), received);
            record.push(sample);
            running.note(&sample);
            uncommitted.push(sample);
            match commits.rotate_right(number as u32) & 7 {
                0 | 1 => {
                    running.count_due(Sequence(number as u64 + 2), &never).unwrap();
                    uncommitted.clear();
                }
                2 => {
                    // A crash: what was not stored is read again from the journal.
                    drop(running);
                    running = follower(folder.path(), &record, &facts, interval);
                    uncommitted.iter().for_each(|sample| running.note(sample));
                }
                _ => {}
            }
        }
        // Long after: everything closes but for the meter that is silent since.
        running.count_due(Sequence(1_000), &never).unwrap();
        drop(running);

        let fresh = tempfile::tempdir().unwrap();
        let fresh_facts = Arc::new(Facts::open(&fresh.path().join("facts.db")).unwrap());
        let mut again = follower(fresh.path(), &record, &fresh_facts, interval);
        for sample in record.scan(PointId(1), UtcMillis(0), UtcMillis(i64::MAX), usize::MAX).unwrap() {
            again.note(&sample);
        }
        again.count_due(Sequence(2), &never).unwrap();
        prop_assert_eq!(fresh_facts.total_corrections().unwrap(), vec![]);
        let mut last: BTreeMap<(String, UtcMillis), TotalCorrection> = BTreeMap::new();
        for correction in facts.total_corrections().unwrap() {
            prop_assert!(correction.new.as_ref() != Some(&correction.old), "{:?}", correction);
            let before = last.insert((correction.level.clone(), correction.start), correction.clone());
            if let Some(new) = before.and_then(|before| before.new) {
                prop_assert_eq!(new, correction.old);
            }
        }
        let open = |folder: &std::path::Path| TotalsStore::open_read_only(&folder.join("totals.db")).unwrap();
        let catalogue = catalogue(vec![point(Kind::Counter, interval)]);
        let (stored, fresh, plain) = (
            Totals::new(&catalogue, Arc::clone(&record) as _, Some(open(folder.path()))),
            Totals::new(&catalogue, Arc::clone(&record) as _, Some(open(fresh.path()))),
            Totals::new(&catalogue, Arc::clone(&record) as _, None),
        );
        let zone = ParkZone::new("Asia/Shanghai");
        for &level in Level::ALL {
            let (mut stored, mut fresh, mut plain) = (all(&stored, level), all(&fresh, level), all(&plain, level));
            for total in &stored {
                prop_assert_eq!(zone.period_of(level, total.period.start), total.period);
                let start = (level.name().to_owned(), total.period.start);
                // What a correction says is new was new until the next one, the last one is what is told.
                if let Some(TotalCorrection { new: Some(new), .. }) = last.get(&start) {
                    let row = TotalRow::new(total, &catalogue.points[0].identity, &zone);
                    prop_assert_eq!(new, &serde_json::to_string(&row).unwrap());
                }
            }
            // Closed earlier or later by what arrived when; the figures are the same.
            for totals in [&mut stored, &mut fresh, &mut plain] {
                *totals = figures(std::mem::take(totals));
            }
            for (name, other) in [("counted once", &fresh), ("not stored", &plain)] {
                let differ = stored.iter().zip(other).find(|(one, other)| one != other);
                prop_assert!(stored.len() == other.len() && differ.is_none(), "{level:?} {name}: {differ:#?}");
            }
        }
    }
}
