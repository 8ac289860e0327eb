//! From samples to events in the outbox and on to what receivers are told, on a small park.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parkgate_collector::catalogue::{self, Catalogue, MemoryFiles, MemoryRegistry};
use parkgate_collector::model::{Origin, Quality, Reason, Sample, Status, Step, UtcMillis as Time};
use parkgate_rules::Number;
use parkgate_rules::alarm::{self, Act, Rule, UtcMillis};
use parkgate_rules::emission::event::{EventKind as Found, EventState, Evidence};
use parkgate_rules::emission::{Averaging, ComplianceEvent};

use super::act::{ActError, Doing, Done};
use super::bind::bind;
use super::evaluate::Evaluator;
use super::event::{Event, EventKind, Standing, Track};
use super::outbox::{Batch, Outbox};
use super::view::Alarms;
use super::{compliance, settings};
use crate::settings::GatewaySettings;
use crate::store::{EntryKind, Facts};

const PARK: &str = r#"
[park]
id = "north"
name = { zh = "北区", en = "North" }

[[enterprise]]
id = "acme"
name = { zh = "阿克米", en = "Acme" }

[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = 1883

[[device]]
id = "stack"
name = { zh = "烟囱", en = "Stack" }
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "park/stack"
[[device.point]]
id = "so2_concentration"
name = { zh = "二氧化硫", en = "SO2" }
path = "so2"
interval_ms = 10000

[[device]]
id = "main"
name = { zh = "总表", en = "Main" }
link = "broker"
[[device.topic]]
filter = "park/main"
[[device.point]]
id = "active_power"
path = "p"
"#;

const RULES: &str = r#"
[[rule]]
id = "so2"
alertname = "So2High"
title = { zh = "偏高", en = "high" }
quantity = ["so2_concentration"]
above = 35
unit = "mg/m3"
priority = "high"
runbook = "https://wiki.example/so2"

[[rule]]
id = "power"
title = { zh = "功率", en = "power" }
quantity = ["active_power"]
above = 5
unit = "MW"
priority = "low"

[[rule]]
id = "silent"
title = { zh = "无数据", en = "silent" }
devices = ["*stack"]
silent_over_s = 60
priority = "medium"
"#;

const T0: i64 = 1_767_225_600_000;

fn park() -> Arc<Catalogue> {
    let files = MemoryFiles { files: [("park.toml".into(), PARK.to_owned())].into(), ..MemoryFiles::default() };
    let loaded = catalogue::load::<GatewaySettings>(Path::new("park.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(loaded.draft.build(&mut MemoryRegistry::default()).unwrap())
}

fn rules() -> Vec<Rule> {
    alarm::read(&[("rules.toml", RULES)], &[]).unwrap()
}

/// SO2 in mg/m3 at a second.
fn so2(park: &Catalogue, second: i64, value: i64) -> Sample {
    let point = park.points.iter().find(|point| point.quantity == "so2_concentration").unwrap();
    let time = Time(T0 + second * 1_000);
    Sample {
        point: point.id,
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
        value: value * 10i64.pow(u32::from(point.identity.decimals)),
        source_time: None,
        received_time: time,
        record_time: time,
    }
}

fn at(second: i64) -> UtcMillis {
    UtcMillis(T0 + second * 1_000)
}

/// An evaluator over an outbox, with both as after any crash.
struct Bench {
    park: Arc<Catalogue>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { park: park(), folder: tempfile::tempdir().unwrap() }
    }

    fn outbox(&self) -> Outbox {
        Outbox::open(&self.folder.path().join("alarms.db")).unwrap()
    }

    fn open(&self, rules: &[Rule], now: UtcMillis) -> (Evaluator, Vec<Event>) {
        let outbox = self.outbox();
        let numbers = (outbox.epoch().to_owned(), outbox.bounds().unwrap().1);
        Evaluator::new(bind(rules, &self.park), outbox.states().unwrap(), &outbox.standing().unwrap(), numbers, 24, now)
    }

    fn keep(&self, evaluator: &mut Evaluator, events: &mut Vec<Event>) {
        let batch = Batch { events: std::mem::take(events), states: evaluator.dirty(true), ..Batch::default() };
        self.outbox().commit(&batch).unwrap();
    }
}

#[test]
fn only_what_is_on_or_was_is_kept_with_every_reading() {
    let bench = Bench::new();
    let (mut evaluator, mut events) = bench.open(&rules(), at(0));
    let rows = |rows: Vec<(String, String, Option<String>)>| rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
    let nothing: [&str; 0] = [];
    let mut read = |evaluator: &mut Evaluator, second, value| evaluator.sample(&so2(&bench.park, second, value), at(second), &mut events);
    read(&mut evaluator, 1, 10);
    assert_eq!(rows(evaluator.dirty(false)), nothing, "quiet");
    read(&mut evaluator, 2, 400);
    assert_eq!(rows(evaluator.dirty(false)), ["so2"], "met");
    read(&mut evaluator, 3, 10);
    assert_eq!(rows(evaluator.dirty(false)), ["so2"], "what is kept must not say that it is met");
    read(&mut evaluator, 4, 10);
    assert_eq!(rows(evaluator.dirty(false)), nothing, "quiet again");
    assert_eq!(rows(evaluator.dirty(true)), ["so2", "silent"]);
    assert_eq!(rows(evaluator.dirty(true)), nothing, "nothing came since");
}

#[test]
fn rules_are_bound_to_what_they_select() {
    let park = park();
    let bindings = bind(&rules(), &park);
    let subjects: Vec<(&str, &str)> =
        bindings.alarms.iter().map(|alarm| (alarm.rule.id.as_str(), alarm.subject().rsplit('/').next().unwrap())).collect();
    assert_eq!(subjects, [("so2", "so2_concentration"), ("silent", "stack")]);
    let told: Vec<bool> = ["`power` is in MW and leaves out 1 points", "`power` looks at nothing"]
        .iter()
        .map(|words| bindings.warnings.iter().any(|warning| warning.contains(words)))
        .collect();
    assert_eq!((told, bindings.warnings.len()), (vec![true, true], 2), "{:?}", bindings.warnings);
    let labels = bindings.alarms[0].labels();
    let of = |name: &str| labels.get(name).map_or("", String::as_str);
    assert_eq!((of("alertname"), of("severity"), of("enterprise"), of("medium")), ("So2High", "error", "acme", "emission"));
    assert!(!labels.values().any(String::is_empty), "{labels:?}");
}

#[test]
fn an_alarm_is_told_once_through_crashes_anywhere() {
    // Each sample is a journal entry; a crash comes behind each of them in turn, kept or not.
    for crash in 0..8 {
        for kept in [true, false] {
            let bench = Bench::new();
            let samples: Vec<Sample> = [(0, 20), (10, 36), (20, 40), (30, 35), (40, 50), (50, 10), (60, 10)]
                .iter()
                .map(|&(second, value)| so2(&bench.park, second, value))
                .collect();
            let (mut evaluator, mut events) = bench.open(&rules(), at(0));
            let mut from = 0;
            for (index, sample) in samples.iter().enumerate() {
                evaluator.sample(sample, UtcMillis(sample.received_time.0), &mut events);
                if !events.is_empty() || index == crash {
                    if index == crash && !kept {
                        break;
                    }
                    // The place in the journal goes with it.
                    bench.keep(&mut evaluator, &mut events);
                    from = index + 1;
                }
                if index == crash {
                    break;
                }
            }
            let (mut evaluator, mut events) = bench.open(&rules(), at(0));
            for sample in &samples[from..] {
                evaluator.sample(sample, UtcMillis(sample.received_time.0), &mut events);
            }
            bench.keep(&mut evaluator, &mut events);
            let told: Vec<_> = bench
                .outbox()
                .events(0, 100)
                .unwrap()
                .into_iter()
                .map(|event| (event.seq, event.kind, event.starts_at, event.ends_at))
                .collect();
            let (raised, over) = (EventKind::Raised, EventKind::Resolved);
            // 35 is not above 35: the alarm is over, and 50 is another one.
            let expected =
                [(1, raised, at(10), None), (2, over, at(10), Some(at(30))), (3, raised, at(40), None), (4, over, at(40), Some(at(50)))];
            assert_eq!(told, expected, "crash behind {crash}, kept {kept}");
            assert_eq!(bench.outbox().standing().unwrap(), []);
        }
    }
}

#[test]
fn acknowledged_shelved_and_gone() {
    let bench = Bench::new();
    let (mut evaluator, mut events) = bench.open(&rules(), at(0));
    let sample = so2(&bench.park, 10, 36);
    evaluator.sample(&sample, at(10), &mut events);
    let fingerprint = events[0].fingerprint.clone();
    let by = || "wang".to_owned();
    evaluator.act(&fingerprint, Act::Acknowledge { by: by() }, at(20), &mut events);
    evaluator.act(&fingerprint, Act::Shelve { by: by(), until: at(1_000) }, at(30), &mut events);
    evaluator.sample(&so2(&bench.park, 40, 10), at(40), &mut events);
    evaluator.sample(&so2(&bench.park, 50, 90), at(50), &mut events);
    evaluator.act(&fingerprint, Act::Unshelve { by: by() }, at(60), &mut events);
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.state, event.suppressed)).collect();
    let (on, off) = (Standing::Firing, Standing::Resolved);
    assert_eq!(
        told,
        [
            (EventKind::Raised, on, false),
            (EventKind::Acknowledged, on, false),
            (EventKind::Shelved, off, false),
            (EventKind::Resolved, off, true),
            (EventKind::Raised, on, true),
            (EventKind::Unshelved, on, false),
        ]
    );
    assert_eq!(events[1].annotations["acknowledged_by"], "wang");
    assert_eq!((events[0].annotations["value"].as_str(), events[0].annotations["limit"].as_str()), ("36", "35"));
    assert_eq!(events[0].annotations["summary"], "Acme Stack SO2: high, 36 mg/m3 is above 35 mg/m3");
    assert_eq!(events[0].annotations["runbook_url"], "https://wiki.example/so2");
    bench.keep(&mut evaluator, &mut events);
    assert_eq!(bench.outbox().standing().unwrap().len(), 1);

    // The same rules: nothing to tell. Without the rule the alarm is gone; with another priority another one begins.
    assert_eq!(bench.open(&rules(), at(100)).1, []);
    let other: Vec<Rule> = rules().into_iter().map(|rule| Rule { priority: alarm::Priority::Low, ..rule }).collect();
    let (mut evaluator, mut events) = bench.open(&other, at(100));
    assert_eq!(events.iter().map(|event| (event.kind, event.seq)).collect::<Vec<_>>(), [(EventKind::Gone, 7)]);
    assert_eq!((events[0].ends_at, events[0].fingerprint.as_str()), (Some(at(100)), fingerprint.as_str()));
    evaluator.sample(&so2(&bench.park, 110, 90), at(110), &mut events);
    assert_eq!((events[1].kind, events[1].labels["priority"].as_str()), (EventKind::Raised, "low"));
    let (_, events) = bench.open(&[], at(100));
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Gone]);
}

#[test]
fn silence_is_told_and_no_answer_is_not_being_heard() {
    let bench = Bench::new();
    let (mut evaluator, mut events) = bench.open(&rules(), at(0));
    evaluator.listening(at(0), at(0), &mut events);
    // With a stamp of its own, too: its clock is another matter.
    evaluator.sample(&Sample { source_time: Some(Time(T0 + 10_000)), ..so2(&bench.park, 10, 20) }, at(10), &mut events);
    let timeout = Sample {
        status: Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number(),
        ..so2(&bench.park, 60, 0)
    };
    evaluator.sample(&timeout, at(60), &mut events);
    evaluator.tick(at(70), &mut events);
    assert_eq!(events, []);
    evaluator.tick(at(71), &mut events);
    assert_eq!((events[0].kind, events[0].starts_at, events[0].labels.get("point")), (EventKind::Raised, at(70), None));
    let too_old = Sample { record_time: Time(T0 - 25 * 3_600_000), ..so2(&bench.park, 80, 90) };
    evaluator.sample(&too_old, at(80), &mut events);
    // Heard again; what it said is older than what is looked at.
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Raised, EventKind::Resolved]);
}

/// A silent device stays an alarm when its rule gets another priority, although nothing is heard of it meanwhile.
#[test]
fn a_silent_device_under_other_labels() {
    let bench = Bench::new();
    let (mut evaluator, mut events) = bench.open(&rules(), at(0));
    evaluator.listening(at(0), at(0), &mut events);
    evaluator.sample(&so2(&bench.park, 10, 20), at(10), &mut events);
    evaluator.tick(at(71), &mut events);
    bench.keep(&mut evaluator, &mut events);
    let other: Vec<Rule> = rules().into_iter().map(|rule| Rule { priority: alarm::Priority::High, ..rule }).collect();
    let (mut evaluator, mut events) = bench.open(&other, at(100));
    evaluator.listening_anew(at(100), at(100), &mut events);
    evaluator.tick(at(100), &mut events);
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.starts_at, event.labels["priority"].as_str())).collect();
    assert_eq!(told, [(EventKind::Gone, at(70), "medium"), (EventKind::Raised, at(70), "high")]);
}

fn exceedance(state: EventState, to: Option<UtcMillis>) -> ComplianceEvent {
    ComplianceEvent {
        id: "exceedance/stack/so2/hour/1/l1".into(),
        version: 1,
        state,
        kind: Found::Exceedance,
        subject: "stack".into(),
        enterprise: "acme".into(),
        factor: Some("so2".into()),
        averaging: Some(Averaging::Hour),
        from: at(0),
        to,
        value: Some(Number::from(40)),
        limit: Some(Number::from(35)),
        unit: "mg/m3".into(),
        applies_to: None,
        times_over: None,
        clause: Some("GB 13271, table 3".into()),
        limit_id: Some("l1".into()),
        evidence: Evidence::Period { valid_hours: 0, operating_hours: 0, concentration: None },
    }
}

#[test]
fn compliance_events_pass_as_facts() {
    let park = park();
    let told = |state, to| {
        let events = compliance::events(&exceedance(state, to), &park, at(4_000));
        events.iter().map(|event| (event.kind, event.state, event.ends_at)).collect::<Vec<_>>()
    };
    let (on, off, end) = (Standing::Firing, Standing::Resolved, Some(at(3_600)));
    // The hour is over when it is judged: told as on, then as over.
    assert_eq!(told(EventState::Raised, end), [(EventKind::Raised, on, end), (EventKind::Resolved, off, end)]);
    assert_eq!(told(EventState::Raised, None), [(EventKind::Raised, on, None)]);
    assert_eq!(told(EventState::Amended, end), [(EventKind::Amended, on, end), (EventKind::Resolved, off, end)]);
    assert_eq!(told(EventState::Withdrawn, end), [(EventKind::Withdrawn, off, end)]);
    let events = compliance::events(&exceedance(EventState::Raised, end), &park, at(4_000));
    assert_eq!(events[0].annotations["summary"], "Acme stack: so2 hour average 40 mg/m3 exceeds the limit 35 mg/m3");
    assert_eq!(events[0].labels["track"], "compliance");
    let amended = compliance::events(&exceedance(EventState::Amended, end), &park, at(5_000));
    assert_eq!(events[0].fingerprint, amended[0].fingerprint);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let outbox = Outbox::open(Path::new(":memory:")).unwrap();
    let facts = Arc::new(Facts::open(Path::new(":memory:")).unwrap());
    let alarms = Alarms::new(None, &outbox, &rules(), Arc::clone(&facts)).unwrap();
    let numbered = |event: Event, seq| Event { seq, epoch: outbox.epoch().to_owned(), ..event };
    let mut fact = compliance::events(&exceedance(EventState::Raised, None), &park(), at(10));
    let fact = numbered(fact.remove(0), 1);
    let labels: super::event::Texts = [("alertname".to_owned(), "x".to_owned()), ("priority".to_owned(), "high".to_owned())].into();
    let operator = Event {
        seq: 2,
        track: Track::Operator,
        fingerprint: super::event::fingerprint(&labels),
        labels,
        annotations: super::event::Texts::new(),
        ..fact.clone()
    };
    let acked = Event { annotations: [("acknowledged_by".to_owned(), "li".to_owned())].into(), seq: 3, ..operator.clone() };
    alarms.publish(&[fact.clone(), operator.clone()], None);
    assert_eq!(alarms.counts().iter().map(|(_, count)| count).sum::<usize>(), 1);
    let done =
        |act, note: Option<&str>| Done { act, by: "wang".into(), starts_at: None, until: Some(at(100)), note: note.map(str::to_owned) };
    let enter = |fingerprint: &str, done: &Done| match alarms.enter(fingerprint, done, "token", Time(at(20).0)) {
        Ok(entry) => Ok((entry.subject, entry.author)),
        Err(super::view::EnterError::Act(error)) => Err(error),
        Err(error) => panic!("{error}"),
    };
    for act in [Doing::Acknowledge, Doing::Shelve, Doing::Unshelve] {
        assert_eq!(enter(&fact.fingerprint, &done(act, None)), Err(ActError::Compliance), "{act:?}");
    }
    assert!(ActError::Compliance.to_string().contains("only annotated"));
    assert_eq!(enter(&fact.fingerprint, &done(Doing::Note, Some("seen"))), Ok((fact.fingerprint.clone(), "token".into())));
    assert_eq!(enter(&fact.fingerprint, &done(Doing::Note, None)), Err(ActError::Note));
    assert_eq!(enter("nothing", &done(Doing::Acknowledge, None)), Err(ActError::Unknown("nothing".into())));
    let on = &operator.fingerprint;
    assert_eq!(enter(on, &Done { by: " ".into(), ..done(Doing::Acknowledge, None) }), Err(ActError::Nobody));
    assert_eq!(enter(on, &Done { until: Some(at(20)), ..done(Doing::Shelve, None) }), Err(ActError::Time));
    assert_eq!(enter(on, &done(Doing::Unshelve, None)), Err(ActError::NotShelved));
    let of_episode = |starts_at| Done { starts_at: Some(starts_at), ..done(Doing::Acknowledge, None) };
    assert_eq!(enter(on, &of_episode(at(-60))), Err(ActError::OtherEpisode { asked: at(-60), on: at(0) }));
    assert_eq!(enter(on, &of_episode(at(0))), Ok((on.clone(), "token".into())));
    alarms.publish(&[acked], None);
    assert_eq!(enter(on, &done(Doing::Acknowledge, None)), Err(ActError::Acknowledged("li".into())));
    assert_eq!(facts.entries(EntryKind::AlarmAct, 0).unwrap().len(), 2);
    let over = Event { kind: EventKind::Resolved, state: Standing::Resolved, seq: 4, ..operator };
    alarms.publish(&[over], None);
    assert_eq!((alarms.now().operator, alarms.now().compliance.len(), alarms.last_seq()), (vec![], 1, 4));
}

#[test]
fn mistakes_in_settings_are_told() {
    let text = r#"[park]
id = "p"
[gateway.alarms]
external_url = "parkgate"
[[gateway.alertmanager]]
url = "http://a:9093"
resend_s = 0
[[gateway.alertmanager]]
url = "http://a:9093"
token = "x"
token_file = "y"
[[gateway.webhook]]
url = "http://u:p@b/"
name = "a b"
secret = "x"
secret_file = "y"
"#;
    let files = MemoryFiles { files: [("park.toml".into(), text.to_owned())].into(), ..MemoryFiles::default() };
    let Err(catalogue::LoadError::Invalid(problems)) = catalogue::load::<GatewaySettings>(Path::new("park.toml"), &files) else {
        panic!("taken as valid");
    };
    let lines: HashMap<usize, String> = problems.list().into_iter().map(|problem| (problem.line, problem.message)).collect();
    for (line, words) in [
        (4, "must be like"),
        (7, "must not be lower than 1"),
        (11, "excludes `token`"),
        (13, "must have no user"),
        (14, "letters, digits"),
        (16, "excludes `secret`"),
    ] {
        assert!(lines.get(&line).is_some_and(|message| message.contains(words)), "{line}: {lines:?}");
    }
    assert!(lines.values().any(|message| message.contains("is there twice")), "{lines:?}");
    assert_eq!(settings::AlertmanagerSettings::new("http://a").name(), "http://a");
}
