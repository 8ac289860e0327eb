//! The ring keeps what it is given, survives restarts and damage, and stays within its bounds.

#![allow(clippy::arithmetic_side_effects)]

use super::*;

fn metrics() -> Metrics {
    Metrics::new(&prometheus::Registry::new())
}

fn small() -> RingSettings {
    RingSettings { file_bytes: 2000, budget_bytes: 8000 }
}

fn rejected(number: u64) -> Rejected {
    Rejected {
        device: (!number.is_multiple_of(3)).then(|| format!("acme/meter-{}", number % 2)),
        source: "broker: park/acme".to_owned(),
        reason: format!("number {number} expected"),
        class: if number.is_multiple_of(2) { "syntax" } else { "path" },
        payload: format!("{{\"n\":{number}").into_bytes(),
        received_time: UtcMillis(1000 + i64::try_from(number).unwrap()),
    }
}

fn ids(directory: &Path, filter: Filter) -> Vec<u64> {
    list(directory, filter).unwrap().map(|reject| reject.id).collect()
}

#[test]
fn what_is_kept_is_listed_after_a_restart_and_filtered() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert!(ids(&here.join("absent"), Filter::default()).is_empty());
    for run in 0..3 {
        let mut ring = Ring::open(here, RingSettings::default(), metrics()).unwrap();
        for n in 1..=4 {
            let number = run * 4 + n;
            assert_eq!(ring.append(&rejected(number)).unwrap(), number);
        }
        ring.flush().unwrap();
    }
    let all: Vec<_> = list(here, Filter::default()).unwrap().collect();
    assert_eq!(all.len(), 12);
    for (number, stored) in (1..).zip(&all) {
        let given = rejected(number);
        assert_eq!((stored.id, stored.received_time, &stored.device), (number, given.received_time, &given.device));
        assert_eq!((&stored.source, stored.class.as_str(), &stored.reason), (&given.source, given.class, &given.reason));
        assert_eq!((&stored.payload, stored.is_cut(), stored.replayed), (&given.payload, false, false));
    }
    assert_eq!(firsts(here).unwrap(), [1], "a restart goes on in the same file");
    for (filter, expected) in [
        (Filter { device: Some("acme/meter-1".into()), ..Filter::default() }, vec![1, 5, 7, 11]),
        (Filter { class: Some("syntax".into()), ..Filter::default() }, vec![2, 4, 6, 8, 10, 12]),
        (Filter { since: Some(UtcMillis(1010)), ..Filter::default() }, vec![10, 11, 12]),
        (Filter { ids: Some([3, 99].into()), ..Filter::default() }, vec![3]),
    ] {
        assert_eq!(ids(here, filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn replayed_ones_are_left_out_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(directory.path(), small(), metrics()).unwrap();
    for n in 1..=3 {
        ring.append(&rejected(n)).unwrap();
    }
    ring.mark_replayed(2).unwrap();
    ring.flush().unwrap();
    assert_eq!(ids(directory.path(), Filter::default()), [1, 3]);
    let all = list(directory.path(), Filter { with_replayed: true, ..Filter::default() }).unwrap();
    assert_eq!(all.map(|reject| reject.replayed).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn the_oldest_file_goes_first_and_the_bound_holds() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = metrics();
    let mut ring = Ring::open(directory.path(), small(), metrics.clone()).unwrap();
    for n in 1..=1000 {
        ring.append(&rejected(n)).unwrap();
        ring.flush().unwrap();
        let bytes: u64 = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 8000 + 200, "{bytes}");
        assert_eq!(metrics.rejects_bytes.get(), i64::try_from(bytes).unwrap());
    }
    let ids = ids(directory.path(), Filter::default());
    assert_eq!(ids.last(), Some(&1000));
    assert!(ids.len() > 30 && ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ids:?}");
}

#[test]
fn a_long_payload_is_cut_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(directory.path(), RingSettings::default(), metrics()).unwrap();
    let payload = vec![0xff; PAYLOAD_BYTES_MAX + 10];
    ring.append(&Rejected { payload, ..rejected(1) }).unwrap();
    ring.flush().unwrap();
    let stored = list(directory.path(), Filter::default()).unwrap().next().unwrap();
    assert!(stored.is_cut());
    assert_eq!((stored.payload.len(), stored.payload_bytes), (PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX as u64 + 10));
    assert!(stored.to_json()["payload_hex"].as_str().unwrap().starts_with("ffff"));
}

#[test]
fn damage_costs_what_it_hits_and_is_counted() {
    let clean = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(clean.path(), RingSettings::default(), metrics()).unwrap();
    for n in 1..=20 {
        ring.append(&rejected(n)).unwrap();
    }
    ring.flush().unwrap();
    let good = std::fs::read(path_of(clean.path(), 1)).unwrap();
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = good.clone();
        let bit = random.usize(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path_of(directory.path(), 1), &bytes).unwrap();
        let found = list(directory.path(), Filter::default()).unwrap();
        let damaged = found.damaged();
        let count = found.count() as u64;
        assert!(count + damaged >= 20 && count >= 19, "seed {seed}: {count} left, {damaged} damaged");
        bytes.truncate(random.usize(0..bytes.len()));
        std::fs::write(path_of(directory.path(), 1), &bytes).unwrap();
        let before = ids(directory.path(), Filter::default());
        let mut ring = Ring::open(directory.path(), RingSettings::default(), metrics()).unwrap();
        let id = ring.append(&rejected(1)).unwrap();
        ring.flush().unwrap();
        assert_eq!(ids(directory.path(), Filter::default()), [before, vec![id]].concat(), "seed {seed}");
    }
}

#[test]
fn a_batch_larger_than_the_queue_is_kept_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = metrics();
    let sink = Sink::start(Ring::open(directory.path(), RingSettings::default(), metrics.clone()).unwrap()).unwrap();
    sink.offer_all((1..=2000).map(rejected).collect());
    sink.close();
    assert_eq!((ids(directory.path(), Filter::default()).len(), metrics.rejects_dropped.get()), (2000, 0));
}

#[test]
fn an_offer_to_a_queue_that_stands_ends_and_is_counted() {
    let (queue, _orders) = sync_channel(2);
    let metrics = metrics();
    let sink = Sink { queue, metrics: metrics.clone(), thread: Arc::new(Mutex::new(None)) };
    sink.offer_all((1..=5).map(rejected).collect());
    assert_eq!(metrics.rejects_dropped.get(), 3);
}

#[test]
fn the_sink_never_waits_and_counts_what_it_drops() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = metrics();
    let sink = Sink::start(Ring::open(directory.path(), RingSettings::default(), metrics.clone()).unwrap()).unwrap();
    for n in 1..=5000 {
        sink.offer(rejected(n));
    }
    sink.flush();
    let kept = ids(directory.path(), Filter::default()).len() as u64;
    assert_eq!(kept + metrics.rejects_dropped.get(), 5000);
    assert!(kept >= QUEUE_MAX as u64);
    sink.mark_replayed(1);
    sink.close();
    assert_eq!(ids(directory.path(), Filter::default()).first(), Some(&2));
}
