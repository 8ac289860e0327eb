//! Compliance events with marks of points in their figures: as they are entered, as alarms, in summaries.

use parkgate_rules::Number;
use parkgate_rules::alarm::UtcMillis as Time;
use parkgate_rules::emission::abatement::AbatementPair;
use parkgate_rules::emission::event::{EventKind, EventState, Evidence, PowerMinute};
use parkgate_rules::emission::{Averaging, ComplianceEvent};

use super::*;
use crate::alarm::compliance;
use crate::emission::events;

/// An hour of new year's day in the park's zone: 2026-01-01T02:00:00+08:00.
const BEGAN: UtcMillis = UtcMillis(NEW_YEAR.0 + 2 * 3_600_000);

/// Production of acme by its first point, its abatement by its second one; where both are there.
pub(super) fn pairs(park: &Catalogue) -> Vec<AbatementPair> {
    let points = ["acme/main/mark1id", "acme/main/mark2id"];
    if !points.iter().all(|point| park.point_by_stable_id(point).is_some()) {
        return Vec::new();
    }
    let [production, abatement] =
        points.map(|point| json!({ "point": point, "interval_ms": 60_000, "off_below_kw": 1, "idle_below_kw": 10 }));
    let pair = json!({ "id": "line", "enterprise": "acme", "production": production, "abatement": abatement });
    vec![serde_json::from_value(pair).unwrap()]
}

/// Abatement off, with power as evidence; and an exceedance of the outlet whose flow is a point of another medium.
pub(super) fn happened(served: &Served) {
    let number = |point: u32, sample: u32| Number::from(value(point, sample));
    let minute = |point: u32| vec![PowerMinute { at: Time(BEGAN.0), kw: Some(number(point, 2)) }];
    let off = ComplianceEvent {
        id: "abatement/line/1".into(),
        version: 1,
        state: EventState::Raised,
        kind: EventKind::AbatementOff,
        subject: "line".into(),
        enterprise: "acme".into(),
        factor: None,
        averaging: None,
        from: Time(BEGAN.0),
        to: None,
        value: Some(number(2, 1)),
        limit: Some(number(1, 1)),
        unit: "kW".into(),
        applies_to: None,
        times_over: None,
        clause: None,
        limit_id: None,
        evidence: Evidence::Power { production: minute(1), abatement: minute(2), unknown_minutes: 0 },
    };
    let exceedance = ComplianceEvent {
        id: "exceedance/bloom-stack/so2/hour/1/l1".into(),
        kind: EventKind::Exceedance,
        subject: "bloom-stack".into(),
        enterprise: "bloom".into(),
        factor: Some("so2".into()),
        averaging: Some(Averaging::Hour),
        value: Some(number(6, 1)),
        limit: Some(number(5, 1)),
        evidence: Evidence::Period { valid_hours: 1, operating_hours: 1, concentration: Some(number(5, 2)) },
        ..off.clone()
    };
    for event in [off, exceedance] {
        served.facts.append(events::entry(&event).unwrap(), NOW).unwrap();
        served.happen(compliance::events(&event, &marked_park(), Time(NOW.0)));
    }
}

const SUMMARY: &str = "/api/v1/regulator/emissions?outlet=acme-stack&from=2026-01-01&to=2026-01-02";

/// The leak test would find nothing where nothing is shown.
#[tokio::test]
async fn a_regulator_of_emissions_is_told_of_abatement_without_its_power() {
    let served = served().await;
    let emission = Scope { media: [Medium::Emission].into(), ..Scope::default() };
    let token = |role: Role, scope: &Scope| {
        let name = format!("{}-{}", role.name(), scope.is_everything());
        let new = NewToken { name, role, scope: scope.clone(), expires_at: None };
        served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
    };
    let routes = ["/api/v1/alarms", "/prometheus/api/v1/alerts", "/api/v1/compliance/events", SUMMARY];
    // Of each route: whether the event is there, whether its power is, what is said to be left out.
    let told = async |token: &str| {
        let mut all = Vec::new();
        for route in routes {
            let Answer { status, body, .. } = ask(&served, &Question::get(route), token).await;
            assert_eq!(status, 200, "{route}: {body}");
            let has = |text: &str| body.contains(text);
            let power = [value(1, 1), value(2, 1), value(1, 2), value(2, 2)];
            all.push((has("abatement/line/1"), power.iter().any(|value| has(&value.to_string())), has("left_out")));
        }
        all
    };
    assert_eq!(told(&token(Role::Viewer, &Scope::default())).await, [(true, true, false); 4]);
    assert_eq!(told(&token(Role::Regulator, &emission)).await, [(true, false, true); 4]);
    let viewer = told(&token(Role::Viewer, &emission)).await;
    assert_eq!(viewer, [(false, false, false), (false, false, false), (false, false, false), (false, false, true)]);
    // In every form that people read.
    for (role, words) in [(Role::Regulator, "治理设施事件不含功率数值"), (Role::Viewer, "无可列出的事件；治理设施事件只列出")]
    {
        let scope = Scope { enterprises: ["acme".to_owned()].into(), ..emission.clone() };
        let new = NewToken { name: role.name().into(), role, scope, expires_at: None };
        let (_, secret) = served.tokens.create(new, NOW, "test").unwrap();
        for form in ["csv", "html"] {
            let body = ask(&served, &Question::get(format!("{SUMMARY}&format={form}")), secret.reveal()).await.body;
            assert!(body.contains(words), "{role:?} {form}: {body}");
            assert_eq!(body.contains("abatement/line/1"), role == Role::Regulator, "{form}: {body}");
        }
    }
}
