//! History as a whole.

mod damage;
mod format;
mod load;
mod model;
#[cfg(feature = "demo")]
mod power;
mod read_only;
mod state;

use super::testing::{NOVEMBER, crash, odd, sample};
use super::*;

#[test]
fn samples_survive_checkpoint_and_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let open = || History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let history = open();
    let mut expected = Vec::new();
    for i in 0..1000i64 {
        let one = sample(1, NOVEMBER + i * 10_000, i);
        expected.push(one);
        history.apply_samples(Sequence(i as u64 + 1), &[one]);
        if i == 500 {
            assert_eq!(history.checkpoint().unwrap(), Sequence(501));
        }
    }
    let all = |history: &History| history.scan(PointId(1), UtcMillis(i64::MIN), UtcMillis(i64::MAX), usize::MAX).unwrap();
    assert_eq!(all(&history), expected);
    drop(history);
    let history = open();
    assert_eq!(history.position(), Sequence(501));
    assert_eq!(all(&history), expected[..501]);
    assert_eq!(history.latest(PointId(1)), Some(expected[500]));
    for (i, one) in expected.iter().enumerate() {
        history.apply_samples(Sequence(i as u64 + 1), &[*one]);
    }
    history.checkpoint().unwrap();
    let history = open();
    assert_eq!(all(&history), expected);
    let edges: Vec<UtcMillis> = (0..=3).map(|hour| UtcMillis(NOVEMBER + hour * 3_600_000)).collect();
    let counts: Vec<(u64, i128)> = history.buckets(PointId(1), &edges).unwrap().iter().map(|one| (one.count, one.sum)).collect();
    let sum = |range: std::ops::Range<i128>| range.sum::<i128>();
    assert_eq!(counts, [(360, sum(0..360)), (360, sum(360..720)), (280, sum(720..1000))]);
}

#[test]
fn queries_beside_checkpoints_and_nights_see_every_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let applied = AtomicU64::new(0);
    let last = 6000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let before = applied.load(Ordering::SeqCst);
                    let values: Vec<i64> = history
                        .scan(PointId(2), UtcMillis(0), UtcMillis(i64::MAX), usize::MAX)
                        .unwrap()
                        .iter()
                        .map(|one| one.value)
                        .collect();
                    assert!(values.len() as u64 >= before);
                    assert_eq!(values, (0..values.len() as i64).collect::<Vec<_>>());
                    let edges: Vec<UtcMillis> = (0..=120).map(|hour| UtcMillis(NOVEMBER + hour * 3_600_000)).collect();
                    let counted: u64 = history.buckets(PointId(2), &edges).unwrap().iter().map(|one| one.samples).sum();
                    assert!(before <= counted && counted <= last);
                    if before == last {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| {
            for i in 0..last {
                history.apply_samples(Sequence(i + 1), &[sample(2, NOVEMBER + i as i64 * 60_000, i as i64)]);
                applied.store(i + 1, Ordering::SeqCst);
                if i % 150 == 149 {
                    history.checkpoint().unwrap();
                }
                if i % 1000 == 999 {
                    while history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
                }
            }
        });
    });
    assert!(history.stats().merged > 0);
}
