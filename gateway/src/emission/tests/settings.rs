//! What of the tables does not fit the park, and what cannot be entered.

use super::*;

fn problems(replace: &[(&str, &str)]) -> String {
    let mut outlet = OUTLET.to_owned();
    for (from, to) in replace {
        assert!(outlet.contains(from), "{from}");
        outlet = outlet.replace(from, to);
    }
    match load(&format!("{PARK}{outlet}")) {
        Err(LoadError::Invalid(problems)) => {
            problems.list().iter().map(|problem| format!("{}; {}\n", problem.message, problem.help)).collect()
        }
        Err(error) => panic!("{error}"),
        Ok(_) => String::new(),
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    assert_eq!(problems(&[]), "");
    let told = |replace: &[(&str, &str)], words: &[&str]| {
        let problems = problems(replace);
        assert!(words.iter().all(|word| problems.contains(word)) && problems.lines().count() == 1, "{problems}");
    };
    told(&[("cems/o2_content", "cems/o2")], &["there is no point `cems/o2`", "the nearest is `cems/o2_content`"]);
    told(&[("cems/flue_gas_flow", "cems/so2_concentration")], &["is in mg/m3, and must be in Nm3/h or m3/h"]);
    told(&[("o2 = { point = \"cems/o2_content\", minute_mean = true }", "")], &["conversion needs the outlet's `o2`"]);
    told(&[("o2 = 6 }", "o2 = 21 }")], &["must be from 0 to below 21 %"]);
    told(&[("id = \"stack\"", "id = \"Stack\"")], &["small letters"]);
    told(&[("id = \"line-1\"", "id = \"stack\"")], &["`stack` is there twice"]);
    told(&[("running_from_kw = 60", "running_from_kw = 30")], &["bands must rise"]);
    told(&[("enterprise = \"acme\"\nkind", "enterprise = \"acne\"\nkind")], &["there is no enterprise `acne`"]);
    // Its point is in another unit, too.
    let both = problems(&[("reference = { o2 = 6 }", "reference = { o2 = 6 }\nunit = \"mg/L\"")]);
    assert!(
        both.contains("does not fit the kind of the outlet") && both.contains("must be in mg/L") && both.lines().count() == 2,
        "{both}"
    );
}

#[test]
fn what_makes_no_sense_is_not_entered() {
    let case = Case::new();
    let limit = |change: &dyn Fn(&mut NewLimit)| {
        let mut new = NewLimit {
            outlet: "stack".into(),
            factor: "so2".into(),
            averaging: Averaging::Hour,
            value: "30".parse().unwrap(),
            unit: None,
            applies_to: AppliesTo::Converted,
            bound: Bound::Upper,
            clause: "permit".into(),
            valid_from: Time(MONDAY.0),
            valid_to: None,
        };
        change(&mut new);
        case.limit_step(LimitStep::Add(new))
    };
    for (change, words) in [
        (&(|new: &mut NewLimit| new.outlet = "stak".into()) as &dyn Fn(&mut NewLimit), "outlets are: stack"),
        (&|new| new.factor = "nox".into(), "factors are: so2"),
        (&|new| new.unit = Some("kg/h".into()), "the unit must be mg/m3"),
        (&|new| new.value = "0".parse().unwrap(), "above 0"),
        (&|new| new.clause = " ".into(), "the clause must have"),
        (&|new| new.valid_to = Some(Time(MONDAY.0)), "before it begins"),
    ] {
        let refused = limit(change).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(case.facts.last_entry(EntryKind::Limit).unwrap(), 0);
    let id = limit(&|_| {}).unwrap();
    assert!(limit(&|_| {}).unwrap_err().contains(&format!("{id} says the same already")));
    assert!(limit(&|new| new.applies_to = AppliesTo::MassRate).is_ok());
    assert!(case.limit_step(LimitStep::End { limit: "limit-99".into(), valid_to: Time(0) }).unwrap_err().contains("no limit `limit-99`"));
    let mark = |letter, to| NewMark {
        outlet: "stack".into(),
        factor: Some("o2".into()),
        letter,
        condition: String::new(),
        from: Time(MONDAY.0),
        to,
    };
    assert!(case.mark_step(&MarkStep::Add(mark(Letter::N, None))).unwrap_err().contains("N says nothing"));
    assert!(case.mark_step(&MarkStep::Add(mark(Letter::C, Some(Time(0))))).unwrap_err().contains("before it begins"));
    assert!(case.mark_step(&MarkStep::Add(NewMark { factor: Some("o3".into()), ..mark(Letter::C, None) })).unwrap_err().contains("`o3`"));
    assert!(case.mark_step(&MarkStep::Add(mark(Letter::C, None))).is_ok());
}
