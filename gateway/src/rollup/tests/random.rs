//! Totals of random records: against a calculation of their own, over all levels, in any order of arrival, through
//! crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{Kind, Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};
use parkgate_rules::Number;
use parkgate_rules::emission::time::UtcMillis as Time;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::counter::Declared;
use super::super::follow::Follower;
use super::super::meters::{EventKind, MeterStep, Meters, NewEvent};
use super::super::partial::EXTRA;
use super::super::row::TotalRow;
use super::super::store::TotalsStore;
use super::super::{Figures, Level, ParkZone, Total, Totals, TotalsView};
use super::entered::event;
use super::memory::{self, Memory, catalogue, figures};
use super::point;
use crate::store::follow::Follow as _;
use crate::store::{EntryKind, Facts, NewEntry, RecordView, TotalCorrection};

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
        status: Status::new(quality, Reason::None, Origin::Metered, Step::None),
        received_time: UtcMillis(received),
        ..super::sample(UtcMillis(time), value)
    }
}

fn all(totals: &Totals, level: Level) -> Vec<Total> {
    totals.totals(PointId(1), level, UtcMillis(START - 86_400_000 * 400), UtcMillis(START + 86_400_000 * 400)).unwrap()
}

/// Steps as the normaliser has them, of a counter without falls: for a time behind the last one, the same one, and late.
#[derive(Default)]
struct Classified {
    base: Option<(i64, Step)>,
    announced: Option<i64>,
}

impl Classified {
    /// An exchange is announced when no register behind it is known.
    fn entered(&mut self, step: &MeterStep) {
        if let MeterStep::Add(NewEvent { kind: EventKind::Exchange, at, .. }) = step
            && self.base.is_none_or(|(base, _)| base < at.0)
        {
            self.announced = Some(at.0);
        }
    }

    fn step(&mut self, time: i64) -> Step {
        let step = match self.base {
            _ if self.announced.is_some_and(|at| at <= time) => Step::Exchange,
            None => Step::First,
            Some((base, _)) if base < time => Step::Delta,
            Some((base, step)) if base == time => step,
            Some(_) => return Step::None,
        };
        self.announced = self.announced.filter(|_| step != Step::Exchange);
        self.base = Some((time, step));
        step
    }
}

/// The follower over a directory, as after a start of the program.
fn follower(folder: &std::path::Path, record: &Arc<Memory>, facts: &Arc<Facts>, interval: Option<u32>) -> Follower {
    memory::follower(folder, record, facts, &catalogue(vec![point(Kind::Counter, interval)]))
}

/// What people enter: kind (0 exchange, 1 rollover, 2 reset, 3 old and 4 new register wrong, 5 error as old entries have it,
/// 6 undo), about which reading, minutes before it (of a decision, about which pair), registers and multiplier of an
/// exchange. Not checked: whatever they enter, sums are kept.
type Entered = (u8, proptest::sample::Index, i64, Option<i64>, Option<i64>, Option<i64>);

fn entered() -> impl Strategy<Value = Vec<Entered>> {
    let register = || proptest::option::of(prop_oneof![1 => 0i64..1_000_000, 2 => 999_000i64..999_900]);
    let minutes = prop_oneof![Just(0i64), 0i64..120];
    let one = (0u8..7, any::<proptest::sample::Index>(), minutes, register(), register(), proptest::option::of(1i64..20));
    proptest::collection::vec(one, 0..8)
}

/// The `number`-th thing that is entered, from 1, into a file that has no other entries.
fn step(
    number: usize,
    &(kind, index, minutes, old_final, new_initial, multiplier): &Entered,
    readings: &[(i64, i64, Quality)],
) -> MeterStep {
    let time = UtcMillis(readings[index.index(readings.len())].0);
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    match kind {
        0 => MeterStep::Add(NewEvent {
            old_final: text(old_final),
            new_initial: text(new_initial),
            multiplier: text(multiplier),
            ..event(EventKind::Exchange, time.plus(-minutes * MINUTE))
        }),
        1..=5 => {
            let kinds = [EventKind::Rollover, EventKind::Reset, EventKind::OldWrong, EventKind::NewWrong, EventKind::Error];
            let new = event(kinds[usize::from(kind) - 1], time);
            // The pair with the reading before, or with an earlier one, as if there had been none between; old entries
            // tell of none.
            let back = if minutes % 4 == 3 { 2 } else { 1 };
            let good: Vec<_> = readings.iter().filter(|reading| reading.2 != Quality::Bad && reading.0 < time.0).collect();
            let (lower, before) = (readings[index.index(readings.len())].1, good.len().checked_sub(back).map(|index| good[index]));
            match before {
                Some(before) if kind != 5 || minutes % 2 == 1 => MeterStep::Add(NewEvent {
                    from: Some(Time(before.0)),
                    old_final: text(Some(before.1)),
                    new_initial: text(Some(lower)),
                    ..new
                }),
                _ => MeterStep::Add(new),
            }
        }
        _ => MeterStep::Undo { event: format!("meter-{}", index.index(number) + 1), note: None },
    }
}

fn append(facts: &Facts, step: &MeterStep) {
    let body = serde_json::to_value(step).unwrap();
    let new = NewEntry { kind: EntryKind::MeterEvent, subject: "a/b".into(), body, author: "eve".into(), document: None };
    facts.append(new, UtcMillis(START)).unwrap();
}

fn amount_of(total: &Total) -> Option<i128> {
    match &total.figures {
        Figures::Counter(counter) => counter.amount.map(|amount| amount.mantissa),
        _ => None,
    }
}

/// The decisions that hold, in order of entering them: kind, instants and registers of the pair, as they were entered.
struct Decision {
    kind: EventKind,
    to: i64,
    /// Instant and register before, and the lower register; `None`: whatever pair ends there.
    pair: Option<((i64, i64), i64)>,
}

fn decisions(steps: &[MeterStep]) -> Vec<Decision> {
    let undone = |number: usize| {
        let id = format!("meter-{number}");
        // One that undoes what was not yet there undoes nothing.
        steps.iter().skip(number).any(|step| matches!(step, MeterStep::Undo { event, .. } if *event == id))
    };
    let number = |text: &Option<String>| text.as_ref().map(|text| text.parse::<i64>().unwrap());
    let mut found = Vec::new();
    for (place, step) in (1..).zip(steps) {
        if let MeterStep::Add(new) = step
            && new.kind != EventKind::Exchange
            && !undone(place)
        {
            let pair = new.from.map(|from| ((from.0, number(&new.old_final).unwrap()), number(&new.new_initial).unwrap()));
            found.push(Decision { kind: new.kind, to: new.at.0, pair });
        }
    }
    found
}

/// Pairs with a difference: from, to, what was counted. As R-DELTA and R-EXCHANGE have it, without regard to periods.
fn pairs(readings: &[(i64, i64, Quality)], declared: &Declared, decisions: &[Decision]) -> Vec<(i64, i64, i64)> {
    let mut found = Vec::new();
    let is_wrong = |time: i64, value: i64| {
        decisions.iter().any(|decision| match (decision.kind, decision.pair) {
            (EventKind::OldWrong, Some((old, _))) => old == (time, value),
            (EventKind::NewWrong, Some((_, new))) => (decision.to, new) == (time, value),
            _ => false,
        })
    };
    let mut pair = |(from, old): (i64, Option<i64>), (to, new): (i64, Option<i64>), multiplier: i64| {
        let (Some(old), Some(new)) = (old, new) else { return };
        // 1000 an hour at most.
        let plausible = i128::from(new - old + 1_000_000) * 3_600_000 <= 1_000 * i128::from(to - from);
        let about = |decision: &&Decision| {
            let verdict = !matches!(decision.kind, EventKind::OldWrong | EventKind::NewWrong);
            verdict && decision.to == to && decision.pair.map_or(!plausible, |pair| pair == ((from, old), new))
        };
        let difference = match decisions.iter().rfind(about) {
            _ if new >= old => new - old,
            Some(Decision { kind: EventKind::Rollover, .. }) => new - old + 1_000_000,
            // Set back, whatever could be told of it; an old entry names no pair, and is about none that can be told.
            Some(Decision { pair: Some(_), .. }) => return,
            _ if plausible => new - old + 1_000_000,
            // Set back, or not decided.
            _ => return,
        };
        found.push((from, to, difference * multiplier));
    };
    let good: Vec<_> = readings.iter().filter(|reading| reading.2 != Quality::Bad && !is_wrong(reading.0, reading.1)).collect();
    for two in good.windows(2) {
        let mut last = (two[0].0, Some(two[0].1));
        let ratio = |at: i64| declared.multiplier_at(UtcMillis(at)).to_mantissa(0).unwrap();
        for exchange in declared.exchanges.iter().filter(|one| two[0].0 < one.at.0 && one.at.0 <= two[1].0) {
            pair(last, (exchange.at.0, exchange.old_final), ratio(exchange.at.0 - 1));
            last = (exchange.at.0, exchange.new_initial);
        }
        pair(last, (two[1].0, Some(two[1].1)), ratio(two[1].0));
    }
    found
}

/// What a counter's period gets, exactly: the naive way, over all pairs.
fn naive(pairs: &[(i64, i64, i64)], from: i64, to: i64) -> Option<Number> {
    let mut shares = Vec::new();
    for &(earlier, later, difference) in pairs {
        if earlier == later && (from..to).contains(&earlier) {
            shares.push(Number::from(difference));
        }
        let (start, end) = (from.max(earlier), to.min(later));
        if start < end {
            shares.push(Number::fraction(i128::from(difference) * i128::from(end - start), i128::from(later - earlier)).unwrap());
        }
    }
    (!shares.is_empty()).then(|| shares.iter().sum())
}

/// Totals are what the naive calculation gives.
fn agree(levels: &[Vec<Total>], pairs: &[(i64, i64, i64)]) -> Result<(), TestCaseError> {
    for total in levels.iter().flatten() {
        let expected = naive(pairs, total.period.start.0, total.period.end.0);
        prop_assert_eq!(amount_of(total).is_some(), expected.is_some(), "{:?}", total);
        if let (Some(amount), Some(expected)) = (amount_of(total), expected) {
            // Rounded at each end of the period.
            let off = (Number::decimal(amount, 0) - &expected * &Number::decimal(EXTRA, 0)).abs();
            prop_assert!(off <= Number::from(1), "{amount} for {expected}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every level agrees with the naive calculation, and with the sum of the shorter ones to the last digit.
    #[test]
    fn all_levels_agree(readings in readings(), interval in proptest::sample::select(vec![None, Some(60_000), Some(900_000)]), entered in entered()) {
        let record = Arc::new(Memory::default());
        readings.iter().for_each(|reading| record.push(sample(reading, reading.0)));
        let facts = Facts::open(std::path::Path::new(":memory:")).unwrap();
        let steps: Vec<MeterStep> = (1..).zip(&entered).map(|(number, one)| step(number, one, &readings)).collect();
        steps.iter().for_each(|step| append(&facts, step));
        let catalogue = catalogue(vec![point(Kind::Counter, interval)]);
        let meters = Meters::read(&catalogue, &facts).unwrap();
        let declared = meters.of(PointId(1));
        let pairs = pairs(&readings, &declared, &decisions(&steps));
        let totals = Totals::new(&catalogue, record, None).with_meters(Arc::new(meters));
        let amount = amount_of;
        let levels: Vec<Vec<Total>> = Level::ALL.iter().map(|&level| all(&totals, level)).collect();
        agree(&levels, &pairs)?;
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
        entered in entered(),
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
        let mut classified = Classified::default();
        let mut to_enter = (1..).zip(&entered);
        for (number, ((time, value, quality), delay, wrong)) in early.chain(rest).enumerate() {
            if number % 7 == 3 && let Some((number, one)) = to_enter.next() {
                let step = step(number, one, &readings);
                append(&facts, &step);
                classified.entered(&step);
            }
            received = (received + delay * MINUTE).max(time);
            let value = if wrong { (value + 77).rem_euclid(1_000_000) } else { value };
            let mut sample = sample(&(time, value, quality), received);
            if quality != Quality::Bad {
                sample.status = Status::new(quality, Reason::None, Origin::Metered, classified.step(time));
            }
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
        to_enter.for_each(|(number, one)| append(&facts, &step(number, one, &readings)));
        // Long after: everything closes but for the meter that is silent since.
        running.count_due(Sequence(1_000), &never).unwrap();
        drop(running);

        let fresh = tempfile::tempdir().unwrap();
        let fresh_facts = Arc::new(Facts::open(&fresh.path().join("facts.db")).unwrap());
        (1..).zip(&entered).for_each(|(number, one)| append(&fresh_facts, &step(number, one, &readings)));
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
        let meters = Arc::new(Meters::read(&catalogue, &facts).unwrap());
        let steps: Vec<MeterStep> = (1..).zip(&entered).map(|(number, one)| step(number, one, &readings)).collect();
        let pairs = pairs(&readings, &meters.of(PointId(1)), &decisions(&steps));
        let (stored, fresh, plain) = (
            Totals::new(&catalogue, Arc::clone(&record) as _, Some(open(folder.path()))).with_meters(Arc::clone(&meters)),
            Totals::new(&catalogue, Arc::clone(&record) as _, Some(open(fresh.path()))).with_meters(Arc::clone(&meters)),
            Totals::new(&catalogue, Arc::clone(&record) as _, None).with_meters(meters),
        );
        let zone = ParkZone::new("Asia/Shanghai");
        for &level in Level::ALL {
            let (mut stored, mut fresh, mut plain) = (all(&stored, level), all(&fresh, level), all(&plain, level));
            // Whatever was announced and came late, what is entered tells what counts.
            agree(std::slice::from_ref(&plain), &pairs)?;
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
