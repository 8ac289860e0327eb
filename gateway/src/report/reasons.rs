//! Why a period above its limit does not count: too little of it valid, marks with letter, condition and author, minutes
//! that are missing or gave no figure.

use std::collections::BTreeMap;

use parkgate_rules::emission::limit::NotCounted;
use parkgate_rules::emission::outlet::Outlet;
use parkgate_rules::emission::{HourFigure, Letter, Mark, Period, PeriodFigure};

use super::summary::{Reason, Text};
use super::words;

fn plain(id: &str, words: Text) -> Reason {
    Reason { id: id.to_owned(), words, ..Reason::default() }
}

/// Why an hour above its limit does not count.
pub fn of_hour(figure: &HourFigure, outlet: &Outlet, marks: &[Mark], why: NotCounted) -> Vec<Reason> {
    let minutes = &figure.minutes;
    let (id, text) = words::not_counted(why);
    // A valid hour without the figure of its limit: the flow of a mass rate.
    let counted = if why == NotCounted::NoFigure { figure.flow.minutes } else { minutes.valid };
    let valid = format!("{counted} / {} min", outlet.rules.valid_minutes);
    let mut all = vec![plain(id, words::with(text, &valid))];
    all.extend(marked(&minutes.by_letter, outlet, &figure.factor, figure.period, marks));
    if minutes.missing > 0 {
        all.push(plain("missing_minutes", words::with(Text::new("缺失", "missing"), &format!("{} min", minutes.missing))));
    }
    all.extend(figure.reasons.iter().map(|(reason, count)| {
        let (id, text) = words::reason(*reason);
        plain(id, words::with(text, &format!("{count} min")))
    }));
    all
}

/// Why a day or month above its limit does not count.
pub fn of_period(figure: &PeriodFigure, outlet: &Outlet, marks: &[Mark], why: NotCounted) -> Vec<Reason> {
    let counts = &figure.hours;
    let (id, text) = words::not_counted(why);
    let counted = if why == NotCounted::NoFigure { figure.mass_rate.hours } else { counts.valid };
    let mut all = vec![plain(id, words::with(text, &format!("{counted} / {} h", counts.operating())))];
    all.extend(marked(&figure.by_letter, outlet, &figure.factor, figure.period, marks));
    for (id, zh, en, hours) in [("invalid_hours", "无效", "invalid", counts.invalid), ("missing_hours", "缺失", "missing", counts.missing)]
    {
        if hours > 0 {
            all.push(plain(id, words::with(Text::new(zh, en), &format!("{hours} h"))));
        }
    }
    all
}

/// The marks behind the letters of a period: those that people entered with condition and author, else the monitor's own.
fn marked(letters: &BTreeMap<Letter, u32>, outlet: &Outlet, factor: &str, period: Period, marks: &[Mark]) -> Vec<Reason> {
    let of_others = |about: &str| about != factor && outlet.factors.iter().any(|other| other.id == about);
    let ours = |mark: &&Mark| mark.outlet == outlet.id && mark.touches(&period) && !mark.factor.as_deref().is_some_and(of_others);
    let mut all = Vec::new();
    for (&letter, minutes) in letters {
        let text = words::with(words::letter(letter), &format!("{minutes} min"));
        let entered: Vec<&Mark> = marks.iter().filter(ours).filter(|mark| mark.letter == letter).collect();
        if entered.is_empty() {
            let text = Text::new(format!("{}（监测设备标记）", text.zh), format!("{} (by the monitor)", text.en));
            all.push(Reason { letter: Some(letter.name().to_owned()), ..plain("marked", text) });
        }
        all.extend(entered.into_iter().map(|mark| Reason {
            letter: Some(letter.name().to_owned()),
            condition: Some(mark.condition.clone()).filter(|condition| !condition.is_empty()),
            author: Some(mark.author.clone()),
            mark: Some(mark.id.clone()),
            ..plain("marked", text.clone())
        }));
    }
    all
}
