//! Alarms in words, in Chinese and English, and the annotations that carry them.

use parkgate_rules::alarm::{Change, Condition, Transition};

use super::bind::Alarm;
use super::event::Texts;

/// What may change of an alarm, as annotations.
pub fn annotations(alarm: &Alarm, transition: &Transition) -> Texts {
    let mut texts = Texts::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            texts.insert(name.to_owned(), value);
        }
    };
    let (zh, en) = summary(alarm, transition);
    put("summary", Some(en));
    put("summary_zh", Some(zh));
    put("title", Some(alarm.rule.title.en.clone()));
    put("title_zh", Some(alarm.rule.title.zh.clone()));
    put("limit", alarm.limit());
    put("unit", Some(unit(alarm).to_owned()));
    if let Some(episode) = &transition.episode {
        put("value", has_value(alarm).then(|| alarm.value(episode.peak)));
        put("started_at", Some(episode.since.to_string()));
        put("raised_at", Some(episode.raised_at.to_string()));
    }
    put("ended_at", transition.ended_at.map(|time| time.to_string()));
    put("late", transition.late.then(|| "true".to_owned()));
    let runbook = alarm.rule.runbook.as_ref();
    let is_address = runbook.is_some_and(|text| text.starts_with("http://") || text.starts_with("https://"));
    put(if is_address { "runbook_url" } else { "runbook" }, runbook.cloned());
    if let Some(ack) = &alarm.state.ack {
        put("acknowledged_by", Some(ack.by.clone()));
        put("acknowledged_at", Some(ack.at.to_string()));
    }
    if let Some(shelf) = &alarm.state.shelf {
        put("shelved_by", Some(shelf.by.clone()));
        put("shelved_until", Some(shelf.until.to_string()));
    }
    texts
}

fn has_value(alarm: &Alarm) -> bool {
    !matches!(alarm.rule.condition, Condition::SilentOver(_) | Condition::Always)
}

fn unit(alarm: &Alarm) -> &str {
    if matches!(alarm.rule.condition, Condition::SilentOver(_)) { "s" } else { alarm.unit() }
}

/// One sentence in each language: who, what, how much, and what became of it.
fn summary(alarm: &Alarm, transition: &Transition) -> (String, String) {
    let (title, name) = (&alarm.rule.title, alarm.name());
    let (mut zh, mut en) = (format!("{}：{}", name.zh, title.zh), format!("{}: {}", name.en, title.en));
    let limit = alarm.limit().unwrap_or_default();
    let unit = unit(alarm);
    let spaced = |number: &str| if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") };
    if let Some(episode) = &transition.episode {
        let value = spaced(&alarm.value(episode.peak));
        let limit = spaced(&limit);
        let (more_zh, more_en) = match alarm.rule.condition {
            Condition::Above(_) => (format!("，{value} 高于限值 {limit}"), format!(", {value} is above {limit}")),
            Condition::Below(_) => (format!("，{value} 低于限值 {limit}"), format!(", {value} is below {limit}")),
            Condition::StateIs(_) => (format!("，状态 {value}"), format!(", state {value}")),
            Condition::SilentOver(_) => (format!("，超过 {limit} 没有数据"), format!(", nothing heard for more than {limit}")),
            Condition::ClockOffOver(_) => (format!("，偏差 {value}"), format!(", off by {value}")),
            Condition::Always => Default::default(),
        };
        zh.push_str(&more_zh);
        en.push_str(&more_en);
    }
    let (end_zh, end_en) = match &transition.change {
        Change::Raised if transition.late => ("（补发：发现时已结束）".into(), " (found late, it was over)".into()),
        Change::Raised => Default::default(),
        Change::Resolved => ("，已恢复".into(), "; it is over".into()),
        Change::Gone => ("，规则或设备已移除".into(), "; its rule or device is no longer configured".into()),
        Change::Acknowledged { by } => (format!("，{by} 已确认"), format!("; acknowledged by {by}")),
        Change::ReAlarmed => ("，确认后仍未恢复".into(), "; acknowledged before, it lasts".into()),
        Change::Shelved { by, until } => (format!("，{by} 搁置至 {until}"), format!("; shelved by {by} until {until}")),
        Change::Unshelved { by: Some(by) } => (format!("，{by} 取消搁置"), format!("; taken off the shelf by {by}")),
        Change::Unshelved { by: None } => ("，搁置到期".into(), "; its time on the shelf is over".into()),
    };
    zh.push_str(&end_zh);
    en.push_str(&end_en);
    (zh, en)
}
