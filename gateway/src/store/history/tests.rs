//! History as a whole.

mod damage;
mod format;
mod load;
mod model;

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
