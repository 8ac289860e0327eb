//! Alarms and rules in the shape of Prometheus' `/api/v1/alerts` and `/api/v1/rules`, so that Grafana lists them.

use parkgate_rules::alarm::{Condition, Rule};
use serde_json::{Value, json};

use super::super::alarms::seen;
use super::Shared;
use crate::access::Identity;
use crate::alarm::{Event, Standing};

/// Alarms that are on and not shelved, as far as the asker sees them.
pub fn alerts(shared: &Shared, asker: &Identity) -> Vec<Value> {
    let now = shared.alarms.now();
    let on = now.operator.iter().chain(&now.compliance).filter(|event| event.state == Standing::Firing && !event.suppressed);
    on.filter_map(|event| seen(shared, asker, event)).map(|event| alert(&event)).collect()
}

fn alert(event: &Event) -> Value {
    let value = event.annotations.get("value").map_or("1", String::as_str);
    json!({
        "labels": event.labels,
        "annotations": event.annotations,
        "state": "firing",
        "activeAt": event.starts_at.to_string(),
        "value": value,
    })
}

/// The rules, in one group.
pub fn groups(shared: &Shared, asker: &Identity) -> Vec<Value> {
    let rules = shared.alarms.rules();
    if !asker.scope.is_everything() || rules.is_empty() {
        return Vec::new();
    }
    let on = alerts(shared, asker);
    let rows: Vec<Value> = rules.iter().map(|rule| row(rule, &on)).collect();
    vec![json!({ "name": "parkgate", "file": "alarms", "interval": 1, "rules": rows })]
}

fn row(rule: &Rule, on: &[Value]) -> Value {
    let alerts: Vec<&Value> = on.iter().filter(|alert| alert["labels"]["rule"] == rule.id.as_str()).collect();
    let query = match &rule.condition {
        Condition::Above(limit) => format!("value > {limit}"),
        Condition::Below(limit) => format!("value < {limit}"),
        Condition::StateIs(codes) => format!("state in {codes:?}"),
        Condition::SilentOver(ms) => format!("silent > {}s", ms / 1_000),
        Condition::ClockOffOver(ms) => format!("clock off > {}s", ms / 1_000),
        Condition::Always => "always".to_owned(),
    };
    json!({
        "type": "alerting",
        "name": rule.alertname,
        "query": query,
        "duration": rule.on_delay_ms / 1_000,
        "keepFiringFor": rule.off_delay_ms / 1_000,
        "labels": { "rule": rule.id, "severity": rule.priority.severity(), "priority": rule.priority.name() },
        "annotations": { "title": rule.title.en, "title_zh": rule.title.zh },
        "state": if alerts.is_empty() { "inactive" } else { "firing" },
        "health": "ok",
        "alerts": alerts,
    })
}
