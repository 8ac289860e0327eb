//! History against a model that is too simple to be wrong: a list of journal entries, applied one by one to a map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::store::history::head::Window;

const POINTS: u32 = 3;
/// Two hours before the end of a month.
const BASE: i64 = NOVEMBER - 2 * 3_600_000;

/// What a history must answer.
#[derive(Default)]
struct Model {
    journal: Vec<Vec<Sample>>,
    values: BTreeMap<(PointId, UtcMillis), Sample>,
    lost: Vec<(PointId, UtcMillis, i64, i64, u64)>,
}

impl Model {
    fn push(&mut self, samples: Vec<Sample>) {
        let sequence = self.journal.len() as u64 + 1;
        for sample in &samples {
            let key = (sample.point, sample.key_time());
            if let Some(old) = self.values.insert(key, *sample)
                && (old.value, old.status) != (sample.value, sample.status)
            {
                self.lost.push((sample.point, sample.key_time(), old.value, sample.value, sequence));
            }
        }
        self.journal.push(samples);
    }

    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis) -> Vec<Sample> {
        let mut samples: Vec<Sample> = self.values.values().filter(|one| one.point == point).copied().collect();
        samples.retain(|one| from <= one.record_time && one.record_time < to);
        samples.sort_by_key(|one| (one.record_time, one.key_time()));
        samples
    }
}

/// A run of samples as a device, a redelivery or an import brings them.
fn run_of_samples(random: &mut fastrand::Rng, skewed: bool) -> Vec<Vec<Sample>> {
    let point = random.u32(1..=POINTS);
    let start = random.i64(0..1400);
    let count = if random.bool() { random.i64(1..20) } else { random.i64(1..1000) };
    let step = [1, 1, 1, 3, -1, 0][random.usize(0..6)];
    // Now and then the same times over and over.
    let back = if random.u8(0..4) == 0 { random.i64(1..400) } else { i64::MAX };
    let jitter = random.bool();
    let source = if skewed { random.u8(0..3) } else { random.u8(0..2) };
    let lag = random.i64(-900..900);
    // Few values, so that a repeat is often the same and often not.
    let values = random.i64(1..4);
    let split = random.u8(0..12);
    let mut entries = vec![Vec::new()];
    for i in 0..count {
        let mut time = BASE + (start + i * step % back) * 10_000;
        if jitter && random.u8(0..10) == 0 {
            time += random.i64(0..20);
        }
        let mut one = sample(point, time, random.i64(0..values));
        // Everything comes after all record times, as what is late or repeated does.
        one.received_time = UtcMillis(BASE + 5000 * 10_000 + random.i64(0..9));
        one.source_time = match source {
            0 => None,
            1 => Some(one.record_time),
            _ => Some(UtcMillis(time + lag * 10_000)),
        };
        if random.u8(0..50) == 0 {
            let bad = parkgate_collector::model::Quality::Bad;
            one.status = parkgate_collector::model::Status::new(bad, one.status.reason(), one.status.origin(), one.status.step());
        }
        if random.u8(0..12) < split {
            entries.push(Vec::new());
        }
        entries.last_mut().unwrap().push(one);
    }
    entries
}

fn check(history: &History, model: &Model, random: &mut fastrand::Rng) {
    let any_time = |random: &mut fastrand::Rng| UtcMillis(BASE + random.i64(-1000..3500) * 10_000 + random.i64(0..3));
    for point in (1..=POINTS).map(PointId) {
        let all = history.scan(point, UtcMillis(i64::MIN), UtcMillis(i64::MAX), usize::MAX).unwrap();
        assert_eq!(all, model.scan(point, UtcMillis(i64::MIN), UtcMillis(i64::MAX)), "{point}");
        let (from, to, limit) = (any_time(random), any_time(random), random.usize(0..300));
        let part = history.scan(point, from, to, limit).unwrap();
        assert_eq!(part, model.scan(point, from, to).into_iter().take(limit).collect::<Vec<_>>(), "{point} {from} {to} {limit}");
        let mut edges: Vec<UtcMillis> = if random.bool() {
            (-1..8).map(|hour| UtcMillis(BASE + hour * 3_600_000)).collect()
        } else {
            (0..9).map(|_| any_time(random)).collect()
        };
        edges.sort_unstable();
        let buckets = history.buckets(point, &edges).unwrap();
        assert_eq!(buckets.len(), 8);
        for (bucket, pair) in buckets.iter().zip(edges.windows(2)) {
            let samples = model.scan(point, pair[0], pair[1]);
            let mut numbers = block::Numbers::default();
            // One by one, not as the buckets are filled.
            samples.iter().for_each(|sample| numbers.add_all(std::slice::from_ref(sample)));
            let expected = Bucket {
                start: pair[0],
                end: pair[1],
                samples: samples.len() as u64,
                count: numbers.count,
                sum: numbers.sum,
                min: numbers.min,
                max: numbers.max,
                first: numbers.first,
                last: numbers.last,
            };
            assert_eq!(*bucket, expected, "{point}");
        }
    }
}

/// One random life of a history: late, changed and repeated samples, checkpoints, crashes in the middle of them, nights
/// and reopening in between. `skewed`: with devices whose clocks are off.
fn live(seed: u64, skewed: bool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let fuse = Arc::new(AtomicI64::new(i64::MAX));
    let settings = HistorySettings { head_bytes: if random.bool() { 1 << 10 } else { 64 << 20 }, ..HistorySettings::default() };
    let open = || {
        let fuse = Arc::clone(&fuse);
        let step: StepHook = Arc::new(move |name| if fuse.fetch_sub(1, Ordering::SeqCst) <= 0 { Err(crash(name)) } else { Ok(()) });
        History::open_with(folder.path(), settings.clone(), odd(), Some(step)).unwrap()
    };
    let mut model = Model::default();
    let mut history = open();
    for _ in 0..random.usize(5..25) {
        match random.u8(0..10) {
            0..6 => {
                for entry in run_of_samples(&mut random, skewed) {
                    model.push(entry);
                    history.apply_samples(Sequence(model.journal.len() as u64), model.journal.last().unwrap());
                }
            }
            6..8 => assert_eq!(history.checkpoint().unwrap(), history.position()),
            8 => {
                // Some step fails; either the same history tries again later, or the process is gone.
                fuse.store(random.i64(0..8), Ordering::SeqCst);
                let result = history.checkpoint().map(|_| ()).and_then(|()| {
                    while history.maintain(UtcMillis(BASE))? {}
                    Ok(())
                });
                if result.is_err() {
                    check(&history, &model, &mut random);
                }
                fuse.store(i64::MAX, Ordering::SeqCst);
                if random.bool() {
                    history = open();
                    let position = history.position().0 as usize;
                    for (index, entry) in model.journal.iter().enumerate().skip(position) {
                        history.apply_samples(Sequence(index as u64 + 1), entry);
                    }
                }
            }
            _ => while history.maintain(UtcMillis(BASE)).unwrap() {},
        }
        if random.u8(0..3) == 0 {
            check(&history, &model, &mut random);
        }
    }
    check(&history, &model, &mut random);
    history.inner.head().close_windows(|_: &Window| true);
    history.checkpoint().unwrap();
    check(&history, &model, &mut random);
    let mut lost: Vec<_> =
        history.corrections().unwrap().into_iter().map(|row| (row.point, row.key_time, row.old.0, row.new.0, row.sequence)).collect();
    lost.sort_unstable();
    model.lost.sort_unstable();
    assert_eq!(lost, model.lost);
    while history.maintain(UtcMillis(BASE)).unwrap() {}
    check(&history, &model, &mut random);
    if !skewed {
        for point in (1..=POINTS).map(PointId) {
            assert_eq!(history.latest(point), model.scan(point, UtcMillis(i64::MIN), UtcMillis(i64::MAX)).last().copied());
        }
    }
    let latest = |history: &History| (1..=POINTS).map(|point| history.latest(PointId(point))).collect::<Vec<_>>();
    let before = latest(&history);
    let history = open();
    assert_eq!(latest(&history), before);
    check(&history, &model, &mut random);
    assert_eq!(history.stats().damaged, 0);
}

fn live_many(first: u64, count: u64, skewed: bool) {
    for seed in first..first + count {
        if let Err(panic) = std::panic::catch_unwind(|| live(seed, skewed)) {
            panic!("seed {seed}, skewed {skewed}: {}", panic.downcast_ref::<String>().map_or("", String::as_str));
        }
    }
}

#[test]
fn random_lives_agree_with_the_model() {
    live_many(1, 40, false);
}

#[test]
fn random_lives_with_wrong_clocks_agree_with_the_model() {
    live_many(1000, 40, true);
}
