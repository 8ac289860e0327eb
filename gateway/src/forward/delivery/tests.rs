//! Batches against sinks that are made up: whatever they do, good lines arrive and bad ones are told.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn lines(count: usize) -> Lines {
    let mut lines = Lines::default();
    for number in 0..count {
        lines.push(|out| out.extend_from_slice(format!("line {number}\n").as_bytes()));
    }
    lines
}

fn numbers(body: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

fn bad_request() -> Verdict {
    Verdict::Split { why: "bad line".into(), all: false, size: false }
}

/// A sink that knows what it dislikes.
struct Sink {
    bad: BTreeSet<usize>,
    too_many: usize,
    taken: BTreeSet<usize>,
    requests: usize,
    /// Requests that are answered by this instead.
    storms: Vec<(Range<usize>, Verdict)>,
}

impl Sink {
    fn new(bad: &[usize]) -> Self {
        Self { bad: bad.iter().copied().collect(), too_many: usize::MAX, taken: BTreeSet::new(), requests: 0, storms: Vec::new() }
    }

    fn answer(&mut self, body: &[u8]) -> Verdict {
        self.requests += 1;
        let request = self.requests;
        if let Some((_, verdict)) = self.storms.iter().find(|(range, _)| range.contains(&request)) {
            return verdict.clone();
        }
        let numbers = numbers(body);
        if numbers.len() > self.too_many {
            return Verdict::Split { why: "too large".into(), all: false, size: true };
        }
        if numbers.iter().any(|number| self.bad.contains(number)) {
            return bad_request();
        }
        self.taken.extend(numbers);
        Verdict::Taken
    }
}

/// Sends until done; gives the dead lines and how often it was told to wait.
fn deliver(lines: &Lines, request_lines: usize, probe: Option<Vec<u8>>, sink: &mut Sink) -> (Vec<usize>, usize, Delivery) {
    let mut delivery = Delivery::new(lines.len(), request_lines, probe);
    let mut waits = 0;
    while let Some(request) = delivery.request() {
        let verdict = sink.answer(delivery.body(lines, &request));
        if delivery.answered(lines, verdict) != Then::Next {
            waits += 1;
        }
        assert!(sink.requests < 100_000 && waits < 10_000, "does not end");
    }
    let mut dead: Vec<usize> = delivery.dead().iter().map(|(line, _)| *line).collect();
    dead.sort_unstable();
    (dead, waits, delivery)
}

#[test]
fn one_bad_line_of_many_is_found_and_the_rest_arrives() {
    let mut sink = Sink::new(&[4_711]);
    let (dead, waits, delivery) = deliver(&lines(10_000), 10_000, None, &mut sink);
    assert_eq!((dead, waits), (vec![4_711], 0));
    assert_eq!(sink.taken.len(), 9_999);
    // 1 + 2 * 14 halves, then three refusals and three probes.
    assert!(sink.requests <= 40, "{}", sink.requests);
    assert_eq!(delivery.dead()[0].1, "bad line");
}

#[test]
fn a_request_that_is_too_large_is_halved_and_remembered() {
    let mut sink = Sink { too_many: 300, ..Sink::new(&[]) };
    let (dead, _, delivery) = deliver(&lines(1_000), 1_000, None, &mut sink);
    assert!(dead.is_empty() && sink.taken.len() == 1_000);
    assert_eq!(delivery.smaller, Some(250));
    let (_, _, delivery) = deliver(&lines(1_000), 250, None, &mut sink);
    assert_eq!(delivery.smaller, None);
}

#[test]
fn a_sink_that_finds_everything_too_large_for_a_while_gets_long_requests_again() {
    let too_large = Verdict::Split { why: "too large".into(), all: false, size: true };
    let mut sink = Sink { storms: vec![(1..40, too_large.clone())], ..Sink::new(&[]) };
    let (dead, waits, delivery) = deliver(&lines(1_000), 1_000, Some(b"line 9999\n".to_vec()), &mut sink);
    assert!(dead.is_empty() && waits > 0 && sink.taken.len() >= 1_000);
    assert_eq!(delivery.smaller, None, "a probe that is too large is no matter of size");
    // What was learned is forgotten by requests taken, not by batches.
    let mut size = RequestSize::new(10_000);
    let mut limited = Sink { storms: vec![(1..14, too_large)], ..Sink::new(&[]) };
    let (_, _, delivery) = deliver(&lines(10_000), size.lines(), None, &mut limited);
    size.learn(&delivery);
    assert_eq!(size.lines(), 1);
    let mut batches = 0;
    while size.lines() < 10_000 {
        let (_, _, delivery) = deliver(&lines(10_000), size.lines(), None, &mut Sink::new(&[]));
        size.learn(&delivery);
        batches += 1;
        assert!(batches < 10, "{size:?} after {batches} batches");
    }
}

#[test]
fn a_sink_that_refuses_everything_costs_no_line() {
    for probe in [None, Some(b"line 0\n".to_vec())] {
        // A proxy that answers 400 to whatever comes, then mends.
        let mut sink = Sink { storms: vec![(1..500, bad_request())], ..Sink::new(&[7]) };
        let (dead, waits, _) = deliver(&lines(100), 50, probe, &mut sink);
        assert_eq!(dead, [7]);
        assert!(waits > 0);
        assert_eq!(sink.taken.len(), 99);
    }
}

#[test]
fn a_lonely_bad_line_waits_until_a_probe_is_known() {
    let mut delivery = Delivery::new(1, 10, None);
    let one = lines(1);
    for _ in 0..100 {
        assert!(matches!(delivery.answered(&one, bad_request()), Then::Refused { .. }));
    }
    assert!(delivery.dead().is_empty() && delivery.request().is_some());
    // With one, it is dead after three rounds.
    let (dead, waits, _) = deliver(&one, 10, Some(b"line 99\n".to_vec()), &mut Sink::new(&[0]));
    assert_eq!((dead, waits), (vec![0], 0));
}

#[test]
fn what_the_sink_drops_as_a_whole_is_dead_at_once() {
    let all = Verdict::Split { why: "dropped=4".into(), all: true, size: false };
    let mut sink = Sink { storms: vec![(1..2, all)], ..Sink::new(&[]) };
    let (dead, _, _) = deliver(&lines(10), 4, None, &mut sink);
    assert_eq!(dead, [0, 1, 2, 3]);
    assert_eq!(sink.taken.len(), 6);
}

proptest! {
    /// Whatever is bad, however requests are cut, and whatever storms pass over: in the end each good line is in the
    /// sink, and exactly the bad ones are dead.
    #[test]
    fn good_lines_arrive_and_bad_ones_are_told(
        count in 1..200_usize,
        bad in proptest::collection::btree_set(0..200_usize, 0..20),
        request_lines in 1..100_usize,
        too_many in 1..100_usize,
        storms in proptest::collection::vec((1..300_usize, 20..60_usize, 0..3_u8), 0..4),
    ) {
        let bad: Vec<usize> = bad.into_iter().filter(|number| *number < count).collect();
        let mut sink = Sink { too_many, ..Sink::new(&bad) };
        // Storms apart from each other and longer than three rounds of a suspect.
        let mut from = 1;
        for (gap, length, kind) in storms {
            from += gap;
            let verdict = match kind {
                0 => Verdict::Later { why: "away".into(), after: None },
                1 => Verdict::Refused { why: "no".into() },
                _ => bad_request(),
            };
            sink.storms.push((from..from + length, verdict));
            from += length + 20;
        }
        let (dead, _, _) = deliver(&lines(count), request_lines, Some(b"line 9999\n".to_vec()), &mut sink);
        prop_assert_eq!(&dead, &bad);
        let good: Vec<usize> = (0..count).filter(|number| !bad.contains(number)).collect();
        prop_assert_eq!(sink.taken.into_iter().filter(|number| *number < count).collect::<Vec<_>>(), good);
    }
}
