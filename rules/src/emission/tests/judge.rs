use super::*;
use crate::emission::event::{self, ComplianceEvent, EventKind, EventState};
use crate::emission::limit::{AppliesTo, Bound, Judgement, Limit, NotCounted, Verdict, judge_hour};
use crate::emission::time::Averaging;

const STACK: &str = r#"
id = "stack"
enterprise = "food"
kind = "stack"
o2 = { point = "cems/o2", minute_mean = true }
flow = { kind = "standard", point = "cems/flow", minute_mean = true }
factor = [{ id = "so2", source = { kind = "point", point = "cems/so2", minute_mean = true }, reference = { o2 = 6 } }]
"#;

/// `so2` in tenths at 16 % O2: converted it is three times as much.
fn hour(so2: i64, marks: &[Mark]) -> HourFigure {
    let data = readings([("cems/so2", steady(so2)), ("cems/o2", steady(160)), ("cems/flow", steady(100_000))]);
    first_hour(&outlet(STACK), &data, marks)
}

fn limit(value: &str, applies_to: AppliesTo) -> Limit {
    Limit {
        id: "permit-1".into(),
        outlet: "stack".into(),
        factor: "so2".into(),
        averaging: Averaging::Hour,
        value: n(value),
        unit: "mg/m3".into(),
        applies_to,
        bound: Bound::Upper,
        clause: "GB 13271-2014 table 3".into(),
        valid_from: at(0),
        valid_to: None,
        author: "li".into(),
        set_at: None,
    }
}

fn judged(figure: &HourFigure, limit: &Limit) -> Judgement {
    let mut judgements = judge_hour(figure, std::slice::from_ref(limit));
    assert_eq!(judgements.len(), 1);
    judgements.remove(0)
}

#[test]
fn a_value_equal_to_the_limit_complies() {
    // 20 mg/m3 at 16 % O2: 60 converted.
    let figure = hour(200, &[]);
    let verdict = |limit: &Limit| judged(&figure, limit).verdict;
    assert_eq!(verdict(&limit("60", AppliesTo::Converted)), Verdict::Complies);
    assert_eq!(verdict(&limit("59.9999", AppliesTo::Converted)), Verdict::Exceeds);
    assert_eq!(verdict(&limit("20", AppliesTo::AsIs)), Verdict::Complies);
    assert_eq!(verdict(&limit("19.9", AppliesTo::AsIs)), Verdict::Exceeds);
    // 20 x 10 000 / 1e6 = 0.2 kg/h.
    assert_eq!(verdict(&limit("0.2", AppliesTo::MassRate)), Verdict::Complies);
    assert_eq!(verdict(&limit("0.19", AppliesTo::MassRate)), Verdict::Exceeds);
    // (60 - 50) / 50
    assert_eq!(judged(&figure, &limit("50", AppliesTo::Converted)).times_over, Some(n("0.2")));
    let mut lower = limit("60", AppliesTo::Converted);
    lower.bound = Bound::Lower;
    assert_eq!(verdict(&lower), Verdict::Complies);
    lower.value = n("60.1");
    assert_eq!(verdict(&lower), Verdict::Exceeds);
    assert_eq!(judged(&figure, &lower).times_over, None);
    lower.value = Number::zero();
    assert_eq!(verdict(&lower), Verdict::Complies);
}

/// Thirds are cut at 30 decimals on both sides; they tie all the same.
#[test]
fn a_third_ties_with_a_third() {
    let mut limit = limit("1", AppliesTo::Converted);
    limit.value = "3.33333333333333333333".parse().unwrap();
    assert!(!limit.broken_by(&Number::fraction(10, 3).unwrap()));
    assert!(!limit.broken_by(&(Number::fraction(1, 3).unwrap().kept() * Number::from(10))));
    assert!(limit.broken_by(&n("3.3333333334")));
    limit.value = Number::one();
    let third = Number::fraction(1, 3).unwrap().kept();
    assert!(!limit.broken_by(&(&(&third + &third) + &third)));
    assert!(!limit.broken_by(&n("1.000000000000000000000000000003")));
}

#[test]
fn no_limit_is_not_judged_and_never_compliant() {
    let figure = hour(200, &[]);
    assert_eq!(judge_hour(&figure, &[])[0].verdict, Verdict::NotJudged);
    let mut other = vec![limit("1", AppliesTo::Converted); 5];
    other[0].averaging = Averaging::Day;
    other[1].factor = "nox".into();
    other[2].outlet = "elsewhere".into();
    other[3].valid_from = at(1);
    other[4].valid_to = Some(at(0));
    let judgements = judge_hour(&figure, &other);
    assert_eq!((judgements.len(), judgements[0].verdict, judgements[0].limit.clone()), (1, Verdict::NotJudged, None));
    // In force from the start of the hour on, until before its start: both of two are judged.
    other[3].valid_from = at(0);
    other[4].valid_to = Some(at(0).plus(1));
    assert_eq!(judge_hour(&figure, &other).iter().map(|judgement| judgement.verdict).collect::<Vec<_>>(), [Verdict::Exceeds; 2]);
    let text = serde_json::to_value(&judgements[0]).unwrap();
    assert_eq!(text["verdict"], "not_judged");
}

#[test]
fn what_is_not_valid_is_not_judged_and_said_when_above() {
    let limit = limit("50", AppliesTo::Converted);
    let marked = judged(&hour(200, &[mark(Letter::C, None, 0, 60)]), &limit);
    assert_eq!((marked.verdict, marked.value), (Verdict::NotCounted(NotCounted::Invalid), None));
    assert_eq!(marked.above_uncounted, Some(n("60")));
    let stopped = judged(&hour(200, &[mark(Letter::F, None, 0, 60)]), &limit);
    assert_eq!((stopped.verdict, stopped.above_uncounted), (Verdict::NotCounted(NotCounted::Stopped), Some(n("60"))));
    let below = judged(&hour(100, &[mark(Letter::C, None, 0, 60)]), &limit);
    assert_eq!((below.verdict, below.above_uncounted), (Verdict::NotCounted(NotCounted::Invalid), None));
    // A valid hour whose flow is marked has no mass rate.
    let rate = judged(&hour(200, &[mark(Letter::C, Some("flow"), 0, 60)]), &Limit { applies_to: AppliesTo::MassRate, ..limit.clone() });
    assert_eq!(rate.verdict, Verdict::NotCounted(NotCounted::NoFigure));
    assert_eq!(serde_json::to_value(&rate).unwrap()["because"], "no_figure");
    // 0.2 kg/h is below 50; above 0.19, and told, whatever is marked: the flow, all of it, or the whole stack.
    assert_eq!(rate.above_uncounted, None);
    let by_rate = Limit { applies_to: AppliesTo::MassRate, value: n("0.19"), ..limit.clone() };
    for (mark, because) in [
        (mark(Letter::C, Some("flow"), 0, 60), NotCounted::NoFigure),
        (mark(Letter::C, None, 0, 60), NotCounted::Invalid),
        (mark(Letter::F, None, 0, 60), NotCounted::Stopped),
    ] {
        let judged = judged(&hour(200, &[mark]), &by_rate);
        assert_eq!((judged.verdict, judged.above_uncounted), (Verdict::NotCounted(because), Some(n("0.2"))));
    }
    let text = serde_json::to_string(&rate).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), rate);
}

/// Without O2 there is no converted value; the concentration is valid, and so is a limit on it.
#[test]
fn a_limit_looks_at_its_own_figure() {
    let data = readings([("cems/so2", steady(200)), ("cems/flow", steady(100_000))]);
    let figure = first_hour(&outlet(STACK), &data, &[]);
    assert_eq!(figure.class, HourClass::Invalid);
    let verdict = |applies_to| judged(&figure, &limit("19", applies_to)).verdict;
    assert_eq!(verdict(AppliesTo::AsIs), Verdict::Exceeds);
    assert_eq!(verdict(AppliesTo::MassRate), Verdict::Complies);
    assert_eq!(verdict(AppliesTo::Converted), Verdict::NotCounted(NotCounted::Invalid));
}

fn found(so2: i64, marks: &[Mark]) -> Vec<ComplianceEvent> {
    let figure = hour(so2, marks);
    event::of_hour("food", &figure, &judge_hour(&figure, &[limit("50", AppliesTo::Converted)]))
}

#[test]
fn an_event_is_raised_once_amended_withdrawn_and_raised_again() {
    let mut known: Vec<ComplianceEvent> = Vec::new();
    let mut step = |found: &[ComplianceEvent]| {
        // As if it had been stored and read back.
        let settled = event::settle(&known, found);
        let stored: Vec<ComplianceEvent> = serde_json::from_str(&serde_json::to_string(&settled).unwrap()).unwrap();
        assert_eq!(stored, settled);
        known.extend(stored);
        settled.into_iter().map(|event| (event.version, event.state, shown(event.value.as_ref(), 0))).collect::<Vec<_>>()
    };
    assert_eq!(step(&found(100, &[])), []);
    assert_eq!(step(&found(200, &[])), [(1, EventState::Raised, "60".into())]);
    assert_eq!(step(&found(200, &[])), [], "the same again says nothing");
    assert_eq!(step(&found(200, &[mark(Letter::C, None, 0, 5)])), [], "other evidence, the same figures");
    assert_eq!(step(&found(300, &[])), [(2, EventState::Amended, "90".into())]);
    assert_eq!(step(&found(300, &[mark(Letter::C, None, 0, 30)])), [(3, EventState::Withdrawn, "90".into())]);
    assert_eq!(step(&[]), []);
    assert_eq!(step(&found(300, &[])), [(4, EventState::Raised, "90".into())]);
    assert_eq!(step(&found(100, &[])), [(5, EventState::Withdrawn, "90".into())]);
    let ids: std::collections::BTreeSet<&str> = known.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["exceedance/stack/so2/hour/2026-11-22T16:00:00Z/permit-1"]);
    let event = &known[0];
    assert_eq!((event.kind, event.enterprise.as_str(), event.times_over.clone()), (EventKind::Exceedance, "food", Some(n("0.2"))));
    assert_eq!((event.from, event.to, event.clause.as_deref()), (at(0), Some(at(60)), Some("GB 13271-2014 table 3")));
}

/// The published form of an event.
#[test]
fn an_event_as_others_read_it() {
    let event = event::settle(&[], &found(200, &[]));
    let expected = expect_test::expect![[r#"
        {
          "id": "exceedance/stack/so2/hour/2026-11-22T16:00:00Z/permit-1",
          "version": 1,
          "state": "raised",
          "kind": "exceedance",
          "subject": "stack",
          "enterprise": "food",
          "factor": "so2",
          "averaging": "hour",
          "from": "2026-11-22T16:00:00Z",
          "to": "2026-11-22T17:00:00Z",
          "value": "60",
          "limit": "50",
          "unit": "mg/m3",
          "applies_to": "converted",
          "times_over": "0.2",
          "clause": "GB 13271-2014 table 3",
          "limit_id": "permit-1",
          "evidence": {
            "kind": "hour",
            "minutes": {
              "valid": 60,
              "stopped": 0,
              "missing": 0,
              "marked": 0,
              "failed": 0,
              "by_letter": {}
            },
            "concentration": "20",
            "o2": "16"
          }
        }"#]];
    expected.assert_eq(&serde_json::to_string_pretty(&event[0]).unwrap());
    let schema = serde_json::to_value(schemars::schema_for!(ComplianceEvent)).unwrap();
    let text = serde_json::to_value(&event[0]).unwrap();
    let (described, written) = (schema["properties"].as_object().unwrap(), text.as_object().unwrap());
    assert_eq!(described.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
}

#[test]
fn the_order_of_versions_does_not_matter() {
    let first = event::settle(&[], &found(200, &[]));
    let second = event::settle(&first, &found(300, &[]));
    let all = [first, second].concat();
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(event::settle(&all, &[]), event::settle(&reversed, &[]));
    assert_eq!(event::settle(&all, &[])[0].version, 3);
}

#[test]
fn a_limit_with_an_unending_figure_settles_once() {
    // 10.1 at 16 % is 30.3; a limit of 9.9 gives (30.3 - 9.9) / 9.9 = 2.0606..., which has no end.
    let figure = hour(101, &[]);
    let found = event::of_hour("food", &figure, &judge_hour(&figure, &[limit("9.9", AppliesTo::Converted)]));
    let stored: Vec<ComplianceEvent> = serde_json::from_str(&serde_json::to_string(&event::settle(&[], &found)).unwrap()).unwrap();
    assert_eq!(event::settle(&stored, &found), []);
}
