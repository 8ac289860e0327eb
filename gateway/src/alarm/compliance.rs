//! Compliance events as alarms: facts that come in by the facts' table and go out as they are. Nobody acknowledges or
//! shelves them.

use parkgate_collector::catalogue::Catalogue;
use parkgate_rules::alarm::UtcMillis;
use parkgate_rules::emission::ComplianceEvent;
use parkgate_rules::emission::event::{EventKind as Found, EventState};

use super::event::{Event, EventKind, Standing, Texts, Track, fingerprint};
use crate::access::Identity;
use crate::emission::{Plan, Sight};

/// Label `alertname` of exceedances, and of events of abatement.
const EXCEEDANCE: &str = "EmissionLimitExceeded";
const ABATEMENT: &str = "AbatementNotRunning";
/// Annotations that tell no figure. A note may tell one.
const PLAIN: [&str; 6] = ["summary", "summary_zh", "started_at", "ended_at", "late", "version"];

/// What a version of a compliance event tells, without numbers: one event, or two where its period is over.
pub fn events(found: &ComplianceEvent, catalogue: &Catalogue, now: UtcMillis) -> Vec<Event> {
    let labels = labels(found, catalogue);
    let is_withdrawn = found.state == EventState::Withdrawn;
    let kind = match found.state {
        EventState::Raised => EventKind::Raised,
        EventState::Amended => EventKind::Amended,
        EventState::Withdrawn => EventKind::Withdrawn,
    };
    let ends_at = if is_withdrawn { Some(found.to.unwrap_or(now).max(found.from)) } else { found.to };
    let event = Event {
        epoch: String::new(),
        seq: 0,
        time: now,
        kind,
        track: Track::Compliance,
        state: if is_withdrawn { Standing::Resolved } else { Standing::Firing },
        fingerprint: fingerprint(&labels),
        starts_at: found.from,
        ends_at,
        late: found.to.is_some_and(|to| to <= now),
        suppressed: false,
        labels,
        annotations: annotations(found, catalogue),
    };
    if is_withdrawn || found.to.is_none() {
        return vec![event];
    }
    let over = Event { kind: EventKind::Resolved, state: Standing::Resolved, ..event.clone() };
    vec![event, over]
}

/// An event of compliance as somebody may see it, by the rule for the fact behind it; `None` when they may not.
pub fn seen(event: &Event, plan: &Plan, identity: &Identity) -> Option<Event> {
    let label = |name: &str| event.labels.get(name).map_or("", String::as_str);
    // Both kinds of abatement are seen alike.
    let kind = if label("alertname") == ABATEMENT { Found::AbatementOff } else { Found::Exceedance };
    match plan.sight(identity, kind, label("outlet"), label("enterprise")) {
        Sight::Whole => Some(event.clone()),
        Sight::WithoutFigures => {
            let mut event = event.clone();
            event.annotations.retain(|name, _| PLAIN.contains(&name.as_str()));
            event.annotations.insert("left_out".into(), "power".into());
            Some(event)
        }
        Sight::Nothing => None,
    }
}

/// Nothing in them changes between versions.
fn labels(found: &ComplianceEvent, catalogue: &Catalogue) -> Texts {
    let alertname = match found.kind {
        Found::Exceedance => EXCEEDANCE,
        // One that idled and then went off is the same event.
        Found::AbatementOff | Found::AbatementIdle => ABATEMENT,
    };
    let pairs = [
        ("alertname", alertname),
        ("severity", "critical"),
        ("priority", "critical"),
        ("track", "compliance"),
        ("park", catalogue.park.id.as_str()),
        ("enterprise", found.enterprise.as_str()),
        ("outlet", found.subject.as_str()),
        ("factor", found.factor.as_deref().unwrap_or_default()),
        ("averaging", found.averaging.map_or("", |averaging| averaging.name())),
        ("event", found.id.as_str()),
    ];
    pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn annotations(found: &ComplianceEvent, catalogue: &Catalogue) -> Texts {
    let named = catalogue.enterprises.iter().find(|enterprise| enterprise.id == found.enterprise);
    let (zh, en) = named.map_or((found.enterprise.as_str(), found.enterprise.as_str()), |one| (&one.name.zh, &one.name.en));
    let text = |number: &Option<parkgate_rules::Number>| number.as_ref().map(|number| number.text(4));
    let (value, limit) = (text(&found.value).unwrap_or_default(), text(&found.limit).unwrap_or_default());
    let factor = found.factor.as_deref().unwrap_or_default();
    let (what_zh, what_en) = match found.kind {
        Found::Exceedance => {
            let average = found.averaging.map_or("", |averaging| averaging.name());
            let average_zh = match average {
                "hour" => "小时均值",
                "day" => "日均值",
                "month" => "月均值",
                other => other,
            };
            (
                format!("{factor} {average_zh} {value} {0} 超过限值 {limit} {0}", found.unit),
                format!("{factor} {average} average {value} {0} exceeds the limit {limit} {0}", found.unit),
            )
        }
        Found::AbatementOff => ("生产时治理设施停运".into(), "abatement off while production runs".into()),
        Found::AbatementIdle => ("生产时治理设施空转".into(), "abatement idle while production runs".into()),
    };
    let (state_zh, state_en) = match found.state {
        EventState::Raised => ("", ""),
        EventState::Amended => ("（已更正）", " (amended)"),
        EventState::Withdrawn => ("（已撤销：新数据不再支持）", " (withdrawn: new data does not show it)"),
    };
    let pairs = [
        ("summary", Some(format!("{en} {}: {what_en}{state_en}", found.subject))),
        ("summary_zh", Some(format!("{zh} {}：{what_zh}{state_zh}", found.subject))),
        ("value", Some(value)),
        ("limit", Some(limit)),
        ("unit", Some(found.unit.clone())),
        ("times_over", text(&found.times_over)),
        ("clause", found.clause.clone()),
        ("started_at", Some(found.from.to_string())),
        ("ended_at", found.to.map(|time| time.to_string())),
        ("late", found.to.map(|_| "true".to_owned())),
        ("version", Some(found.version.to_string())),
    ];
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)));
    given.collect()
}
