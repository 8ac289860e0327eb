//! What is sent when, told by sequence numbers and whether each is on.

use super::super::super::event::{EventKind, Track, fingerprint};
use super::*;

/// `+` raised, `a` acknowledged, `-` resolved, `s` suppressed; of the alarm `name`, begun at second `start`.
fn event(seq: u64, name: &str, what: char, start: i64, at: i64) -> Event {
    let labels: Texts = [("alertname".to_owned(), name.to_owned())].into();
    let time = |second: i64| UtcMillis(second * 1_000);
    let (kind, state) = match what {
        '+' | 's' => (EventKind::Raised, Standing::Firing),
        'a' => (EventKind::Acknowledged, Standing::Firing),
        _ => (EventKind::Resolved, Standing::Resolved),
    };
    Event {
        epoch: "e".into(),
        seq,
        time: time(at),
        kind,
        track: Track::Operator,
        state,
        fingerprint: fingerprint(&labels),
        starts_at: time(start),
        ends_at: (what == '-').then(|| time(at)),
        late: false,
        suppressed: what == 's',
        labels,
        annotations: [("seq".to_owned(), seq.to_string())].into(),
    }
}

/// Sends what is due at a second: sequence numbers and whether each is on.
fn send(plan: &mut Plan, second: i64) -> Vec<(u64, bool)> {
    let now = UtcMillis(second * 1_000);
    let due = plan.due(now, 100, None);
    plan.taken(&due, now);
    let is_on = |push: &Push| push.alert.ends_at > now.to_string();
    due.iter().map(|push| (push.seq, is_on(push))).collect()
}

#[test]
fn what_is_on_is_sent_again_and_what_is_over_for_a_quarter_of_an_hour() {
    let mut plan = Plan::new(60, 30);
    plan.add(event(1, "a", '+', 5, 10));
    let due = plan.due(UtcMillis(10_000), 100, Some("http://park/"));
    // Four resends of 60 s behind 10 s.
    assert_eq!((due[0].alert.starts_at.as_str(), due[0].alert.ends_at.as_str()), ("1970-01-01T00:00:05Z", "1970-01-01T00:04:10Z"));
    assert_eq!(due[0].alert.generator_url.as_deref(), Some("http://park/"));
    assert_eq!(plan.delivered(), 0);
    assert_eq!(send(&mut plan, 10), [(1, true)]);
    assert_eq!(plan.delivered(), 1);
    assert_eq!((send(&mut plan, 69), send(&mut plan, 70), send(&mut plan, 130)), (vec![], vec![(1, true)], vec![(1, true)]));
    plan.add(event(2, "a", '-', 5, 140));
    assert_eq!((send(&mut plan, 140), plan.delivered()), (vec![(2, false)], 2));
    assert_eq!((send(&mut plan, 199), send(&mut plan, 200)), (vec![], vec![(2, false)]));
    assert_eq!((send(&mut plan, 1_039), send(&mut plan, 1_040), send(&mut plan, 1_100)), (vec![(2, false)], vec![], vec![]));
}

#[test]
fn what_is_over_soon_is_held_and_blocks_nothing_else() {
    let mut plan = Plan::new(60, 30);
    // Both are there when it is asked first: it was over when it was found.
    plan.add(event(1, "a", '+', 0, 10));
    plan.add(event(2, "a", '-', 0, 10));
    plan.add(event(3, "b", '+', 0, 10));
    let mut sent = send(&mut plan, 100);
    sent.sort_unstable();
    assert_eq!((sent, plan.delivered()), (vec![(1, true), (3, true)], 1));
    assert_eq!((send(&mut plan, 129), send(&mut plan, 130), plan.delivered()), (vec![], vec![(2, false)], 3));
}

#[test]
fn the_next_episode_cuts_a_hold_short_and_nothing_is_left_out() {
    let mut plan = Plan::new(60, 30);
    for (seq, what, start) in [(1, '+', 0), (2, '-', 0), (3, '+', 20), (4, 'a', 20), (5, '-', 20)] {
        plan.add(event(seq, "a", what, start, 20));
    }
    let sent: Vec<_> = (100..150).step_by(10).map(|second| send(&mut plan, second)).collect();
    assert_eq!(sent, [vec![(1, true)], vec![(2, false)], vec![(4, true)], vec![], vec![]]);
    assert_eq!((send(&mut plan, 150), plan.delivered()), (vec![(5, false)], 5));
}

#[test]
fn what_is_not_taken_stays_and_what_is_refused_goes() {
    let mut plan = Plan::new(60, 30);
    plan.add(event(1, "a", '+', 0, 0));
    plan.add(event(2, "b", '+', 0, 0));
    plan.add(event(3, "c", 's', 0, 0));
    assert_eq!((plan.waiting(), plan.added()), ((2, Some(UtcMillis(0))), 3));
    let due = plan.due(UtcMillis(0), 100, None);
    assert_eq!((due.len(), plan.probe(UtcMillis(0), None)), (2, None));
    let (bad, good) = due.into_iter().partition::<Vec<_>, _>(|push| push.seq == 1);
    plan.taken(&good, UtcMillis(0));
    assert_eq!((plan.delivered(), plan.probe(UtcMillis(0), None).unwrap().seq), (0, 2));
    plan.drop(&bad[0]);
    assert_eq!((plan.delivered(), plan.waiting().0), (3, 0));
}

#[test]
fn a_restart_sends_at_once_what_is_on_and_what_was_over_of_late() {
    let mut plan = Plan::new(60, 30);
    plan.resume(7, [event(5, "a", '+', 0, 90), event(6, "b", '-', 0, 95), event(7, "c", 's', 0, 95)]);
    let mut sent = send(&mut plan, 100);
    sent.sort_unstable();
    assert_eq!((sent, plan.delivered()), (vec![(5, true), (6, false)], 7));
}

#[test]
fn what_is_held_delays_nothing_new() {
    let mut plan = Plan::new(60, 30);
    let now = UtcMillis(100_000);
    let read = |all: &[Event]| {
        let all = all.to_vec();
        move |after: u64, limit: usize| Ok::<_, ()>(all.iter().filter(|event| event.seq > after).take(limit).cloned().collect::<Vec<_>>())
    };
    // Short alarms, each on and over when it is found: twice as many as are kept ready to be sent.
    let count = 2 * u64::try_from(READY_MAX).unwrap();
    let short = |number: u64| {
        let name = format!("short-{number}");
        [event(2 * number + 1, &name, '+', 90, 100), event(2 * number + 2, &name, '-', 90, 100)]
    };
    let mut all: Vec<Event> = (0..count).flat_map(short).collect();
    while plan.delivered() < 2 * count && plan.added() < 2 * count {
        plan.fill(now, read(&all)).unwrap();
        let due = plan.due(now, 64, None);
        assert!(!due.is_empty(), "{} of {} are read", plan.added(), 2 * count);
        plan.taken(&due, now);
    }
    let due = plan.due(now, usize::MAX, None);
    plan.taken(&due, now);
    // All of them are held now; a new alarm goes out at once.
    assert_eq!(plan.waiting().0, usize::try_from(count).unwrap());
    all.push(event(2 * count + 1, "new", '+', 100, 101));
    plan.fill(UtcMillis(101_000), read(&all)).unwrap();
    let due = plan.due(UtcMillis(101_000), 64, None);
    assert_eq!(due.iter().map(|push| push.seq).collect::<Vec<_>>(), [2 * count + 1]);
    plan.taken(&due, UtcMillis(101_000));
    // When holds are over, nothing further is read before much of that is sent; and what is on goes before what is over.
    let now = UtcMillis(130_000);
    all.extend((2..5_000).map(|number| event(2 * count + number, &format!("late-{number}"), '+', 129, 130)));
    plan.fill(now, read(&all)).unwrap();
    assert_eq!(plan.added(), 2 * count + 1);
    plan.add(event(2 * count + 2, "late-2", '+', 129, 130));
    let due = plan.due(now, READY_MAX + 1, None);
    assert_eq!(due.iter().take(2).map(|push| push.seq).collect::<Vec<_>>(), [2 * count + 2, 2]);
    plan.taken(&due, now);
    plan.taken(&plan.due(now, READY_MAX / 2, None), now);
    plan.fill(now, read(&all)).unwrap();
    assert_eq!(plan.waiting().0, READY_MAX / 2 + READY_MAX);
}

#[test]
fn holds_are_cut_short_before_memory_goes() {
    let mut plan = Plan::new(60, 30);
    let now = UtcMillis(100_000);
    let count = u64::try_from(HELD_MAX).unwrap() + 1;
    for number in 0..count {
        plan.add(event(number + 1, &number.to_string(), '+', 90, 100));
    }
    plan.taken(&plan.due(now, usize::MAX, None), now);
    for number in 0..count - 1 {
        plan.add(event(count + number + 1, &number.to_string(), '-', 90, 100));
    }
    assert_eq!(plan.due(now, 64, None), []);
    plan.add(event(2 * count, &(count - 1).to_string(), '-', 90, 100));
    let due = plan.due(now, 1, None);
    assert_eq!(due.iter().map(|push| push.seq).collect::<Vec<_>>(), [count + 1]);
    plan.taken(&due, now);
    assert_eq!(plan.due(now, 64, None), []);
}
