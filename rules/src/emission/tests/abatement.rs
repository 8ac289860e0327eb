use super::*;
use crate::emission::abatement::{AbatementFindings, AbatementPair, find};
use crate::emission::event::{self, EventKind, EventState, Evidence};

/// Off below 1 kW, idle below 5, running from 6; 10 minutes of delay, 5 bridged.
fn pair() -> AbatementPair {
    toml::from_str(
        r#"
id = "coating-1"
enterprise = "coating"
production = { point = "line/kw", interval_ms = 60000, off_below_kw = 2, idle_below_kw = 20 }
abatement = { point = "fan/kw", interval_ms = 60000, off_below_kw = 1, idle_below_kw = 5, running_from_kw = 6 }
"#,
    )
    .unwrap()
}

/// One letter a minute. Production: `P` runs, `p` idles. Abatement: `R` 10 kW, `i` 3 kW, `o` 0.5 kW, `-` 5.5 kW. `?`: nothing came.
fn found(production: &str, abatement: &str) -> AbatementFindings {
    let tenths = |letter| match letter {
        'P' => Some(500),
        'p' | 'R' => Some(100),
        'i' => Some(30),
        'o' => Some(5),
        '-' => Some(55),
        _ => None,
    };
    let length = i64::try_from(production.len().max(abatement.len())).unwrap();
    let series = |text: &str| minutes(0, text.chars().map(tenths));
    let data = readings([("line/kw", series(production)), ("fan/kw", series(abatement))]);
    find(&pair(), &Period { from: at(0), to: at(length) }, &data)
}

/// Kind, first minute, end.
fn events(production: &str, abatement: &str) -> Vec<(EventKind, i64, Option<i64>)> {
    let minute = |time: UtcMillis| (time.0 - MIDNIGHT) / MINUTE_MS;
    found(production, abatement).events.into_iter().map(|event| (event.kind, minute(event.from), event.to.map(minute))).collect()
}

#[test]
fn ten_minutes_off_are_an_event_and_nine_are_not() {
    let runs = "P".repeat(30);
    assert_eq!(events(&runs, "RRRRRoooooooooRRRRRRRRRRRRRRRR"), []);
    assert_eq!(events(&runs, "RRRRRooooooooooRRRRRRRRRRRRRRR"), [(EventKind::AbatementOff, 5, Some(15))]);
    assert_eq!(events(&runs, "RRRRRiiiiiiiiiiRRRRRRRRRRRRRRR"), [(EventKind::AbatementIdle, 5, Some(15))]);
    // Idle and off together: not running for 10 minutes, off for less.
    assert_eq!(events(&runs, "RRRRRiiiioooooiRRRRRRRRRRRRRRR"), [(EventKind::AbatementIdle, 5, Some(15))]);
    // It lasts.
    assert_eq!(events(&runs[..20], "RRRRRRRRRRoooooooooo"), [(EventKind::AbatementOff, 10, None)]);
    // Production that idles needs no abatement.
    assert_eq!(events(&"p".repeat(30), &"o".repeat(30)), []);
    assert_eq!(events("PPPPPPPPPpPPPPPPPPPp", &"o".repeat(20)), [], "9 minutes, then 9 again");
}

#[test]
fn between_idle_and_running_it_stays_what_it_was() {
    let runs = "P".repeat(20);
    assert_eq!(events(&runs, "RRRRR---------------"), []);
    assert_eq!(events(&runs, "RRRRRi--------------"), [(EventKind::AbatementIdle, 5, None)]);
    // At the beginning of the window nothing is known.
    let unknown = found(&runs, "--------------------");
    assert_eq!((unknown.events.len(), unknown.unknown), (0, vec![Period { from: at(0), to: at(20) }]));
}

#[test]
fn missing_data_is_said_as_such_and_is_never_off() {
    let runs = "P".repeat(30);
    let silent = found(&runs, "RRRRR?????????????????????????");
    assert_eq!((silent.events.len(), silent.unknown), (0, vec![Period { from: at(5), to: at(30) }]));
    // 5 minutes are bridged and do not count: 5 + 5 minutes off.
    assert_eq!(events(&runs, "RRRRRooooo?????oooooRRRRRRRRRR"), [(EventKind::AbatementOff, 5, Some(20))]);
    assert_eq!(events(&runs, "RRRRRooooo?????ooooRRRRRRRRRRR"), []);
    // 6 are not bridged.
    assert_eq!(events(&runs, "RRRRRooooo??????oooooRRRRRRRRR"), []);
    assert_eq!(events(&runs, "RRRRRoooooooooo??????oooooRRRR"), [(EventKind::AbatementOff, 5, Some(15))]);
    // Production that is not known is no event either.
    assert_eq!(events("PPPPP?????????????????????????", &"o".repeat(30)), []);
}

#[test]
fn both_curves_are_the_evidence() {
    let findings = found(&"P".repeat(60), &format!("{}{}{}", "R".repeat(35), "o".repeat(12), "R".repeat(13)));
    assert!(!findings.cut_at_start);
    let event = &findings.events[0];
    assert_eq!(event.id, "abatement/coating-1/2026-11-22T16:35:00Z");
    assert_eq!((event.value.clone(), event.limit.clone(), event.unit.as_str()), (Some(n("0.5")), Some(n("6")), "kW"));
    let Evidence::Power { production, abatement, unknown_minutes } = &event.evidence else { panic!("power") };
    // 30 minutes before minute 35 to the end of the window.
    assert_eq!((production.len(), abatement.len(), *unknown_minutes), (55, 55, 0));
    assert_eq!((production[0].at, production[0].kw.clone(), abatement[30].kw.clone()), (at(5), Some(n("50")), Some(n("0.5"))));
    assert!(found(&"P".repeat(20), &"o".repeat(20)).cut_at_start);
}

#[test]
fn an_event_that_lasts_is_raised_once_and_amended_when_it_ends() {
    let runs = "P".repeat(60);
    let mut known = Vec::new();
    let mut states = Vec::new();
    // The window grows minute by minute; abatement is idle from minute 5 on, off from 20 to 40, and runs again.
    let fan = format!("{}{}{}{}", "R".repeat(5), "i".repeat(15), "o".repeat(20), "R".repeat(20));
    for end in 1..=60 {
        let settled = event::settle(&known, &found(&runs[..end], &fan[..end]).events);
        states.extend(settled.iter().map(|event| (end, event.state, event.kind, event.to.is_some())));
        known.extend(settled);
    }
    assert_eq!(
        states,
        [
            (15, EventState::Raised, EventKind::AbatementIdle, false),
            (30, EventState::Amended, EventKind::AbatementOff, false),
            (41, EventState::Amended, EventKind::AbatementOff, true),
        ]
    );
}
