use super::*;
use crate::emission::hour::{Mean, MinuteCounts, Regardless};
use crate::emission::limit::{AppliesTo, Bound, Limit, NotCounted, Verdict, judge_period};
use crate::emission::outlet::{DayRule, MonthRule, OutletKind};
use crate::emission::period::{self, MassRate, PeriodClass, PeriodFigure};
use crate::emission::time::{Averaging, HOUR_MS};

fn stack() -> Outlet {
    outlet(
        r#"
id = "stack"
enterprise = "food"
kind = "stack"
o2 = { point = "cems/o2" }
factor = [{ id = "so2", source = { kind = "point", point = "cems/so2" }, reference = { o2 = 6 } }]
"#,
    )
}

fn water(unit: &str) -> Outlet {
    outlet(&format!(
        r#"
id = "stack"
enterprise = "food"
kind = "waste_water"
factor = [{{ id = "so2", source = {{ kind = "point", point = "meter/cod" }}, unit = "{unit}" }}]
"#
    ))
}

fn mean(value: i64) -> Mean {
    Mean { value: Some(Number::from(value)), minutes: 60, valid: true }
}

/// An hour with this concentration, the same converted, 2 kg.
fn figure(index: i64, class: HourClass, concentration: i64) -> HourFigure {
    let valid = class == HourClass::Valid;
    HourFigure {
        outlet: "stack".into(),
        factor: "so2".into(),
        period: hour_of(index),
        class,
        minutes: MinuteCounts::default(),
        reasons: Default::default(),
        concentration: mean(concentration),
        converted: Some(mean(concentration * 2)),
        converted_of_means: None,
        flow: Mean::default(),
        volume_m3: valid.then(|| n("1000")),
        volume_weighted_m3: None,
        mass_kg: valid.then(|| n("2")),
        mass_rate_kg_h: valid.then(|| n("2")),
        partial_mass_kg: (class == HourClass::Stopped).then(|| n("0.5")),
        auxiliary: [("o2".to_owned(), mean(11))].into(),
        regardless: Regardless::default(),
    }
}

/// `v` valid with 10, `V` valid with 40, `i` invalid, `m` missing, `s` stopped, `.` no figure.
fn hours(text: &str) -> Vec<HourFigure> {
    let class = |letter| match letter {
        'v' | 'V' => Some(HourClass::Valid),
        'i' => Some(HourClass::Invalid),
        'm' => Some(HourClass::Missing),
        's' => Some(HourClass::Stopped),
        _ => None,
    };
    (0..).zip(text.chars()).filter_map(|(index, letter)| Some(figure(index, class(letter)?, if letter == 'V' { 40 } else { 10 }))).collect()
}

fn whole_day() -> Period {
    Period { from: at(0), to: at(24 * 60) }
}

fn day_of(outlet: &Outlet, text: &str) -> PeriodFigure {
    assert_eq!(text.len(), 24);
    let day = whole_day();
    period::day(outlet, &outlet.factors[0], &day, &hours(text), day.to)
}

#[test]
fn twenty_valid_hours_make_a_day_and_nineteen_do_not() {
    let day = day_of(&stack(), "vvvvvvvvvvVVVVVVVVVViims");
    assert_eq!(day.class, PeriodClass::Valid);
    assert_eq!((day.hours.hours, day.hours.valid, day.hours.invalid, day.hours.missing, day.hours.stopped), (24, 20, 2, 1, 1));
    // (10 x 10 + 10 x 40) / 20 = 25; converted 50; conversion of the means: 25 x 15/10 = 37.5.
    assert_eq!(
        (day.concentration.clone(), day.converted.clone(), day.converted_of_means.clone()),
        (Some(n("25")), Some(n("50")), Some(n("37.5")))
    );
    assert_eq!((day.min.clone(), day.max.clone()), (Some(n("20")), Some(n("80"))));
    assert_eq!((day.mass_kg.clone(), day.mass_hours, day.partial_mass_kg.clone()), (Some(n("40")), 20, Some(n("0.5"))));
    assert_eq!(day.volume_m3, Some(n("20000")));
    let short = day_of(&stack(), "vvvvvvvvvvVVVVVVVVViiims");
    assert_eq!(short.class, PeriodClass::Invalid);
    assert_eq!(short.mass_kg, Some(n("38")), "mass is summed up all the same");
}

#[test]
fn hours_without_a_figure_are_missing_and_those_to_come_are_not_due() {
    let outlet = stack();
    let day = whole_day();
    let some = hours("vvv.v");
    let figure = period::day(&outlet, &outlet.factors[0], &day, &some, at(5 * 60 + 30));
    assert_eq!((figure.class, figure.hours.hours, figure.hours.missing, figure.hours.valid), (PeriodClass::Open, 5, 1, 4));
    assert_eq!(figure.concentration, Some(n("10")));
    let figure = period::day(&outlet, &outlet.factors[0], &day, &some, day.to);
    assert_eq!((figure.class, figure.hours.missing), (PeriodClass::Invalid, 20));
    assert_eq!(day_of(&outlet, "ssssssssssssssssssssssss").class, PeriodClass::Stopped);
    assert_eq!(day_of(&outlet, "sssssssssssssssssssssssm").class, PeriodClass::Invalid);
}

#[test]
fn the_share_of_operating_hours_is_a_setting() {
    let mut outlet = stack();
    outlet.rules.day = Some(DayRule::PercentOfOperating(75));
    // 20 operating hours: 15 are 75 %, 14 are not.
    assert_eq!(day_of(&outlet, "vvvvvvvvvvvvvvviiiiissss").class, PeriodClass::Valid);
    assert_eq!(day_of(&outlet, "vvvvvvvvvvvvvviiiiiissss").class, PeriodClass::Invalid);
    // Waste water without a setting: 18 of 24 are 75 %, 17 are not.
    assert_eq!(day_of(&water("mg/L"), "vvvvvvvvvvvvvvvvvviiiiii").class, PeriodClass::Valid);
    assert_eq!(day_of(&water("mg/L"), "vvvvvvvvvvvvvvvvviiiiiii").class, PeriodClass::Invalid);
}

#[test]
fn a_later_figure_of_an_hour_replaces_the_earlier_one() {
    let outlet = stack();
    let mut some = hours("vvvvvvvvvvvvvvvvvvviiiii");
    some.push(figure(19, HourClass::Valid, 30));
    let day = period::day(&outlet, &outlet.factors[0], &whole_day(), &some, whole_day().to);
    // 19 x 10 + 30 = 220 over 20.
    assert_eq!((day.class, day.concentration), (PeriodClass::Valid, Some(n("11"))));
}

#[test]
fn water_is_weighed_over_the_day_too() {
    let mut some = hours("vVvvvvvvvvvvvvvvvvvvvvvv");
    for hour in &mut some {
        // 2 kg an hour; in 20 m3 the first, in 50 m3 the second, in 100 m3 the others.
        let volume = match (hour.period.from.0 - MIDNIGHT) / HOUR_MS {
            0 => "20",
            1 => "50",
            _ => "100",
        };
        hour.volume_weighted_m3 = Some(n(volume));
        hour.converted = None;
        hour.auxiliary.clear();
    }
    let outlet = water("mg/L");
    let day = period::day(&outlet, &outlet.factors[0], &whole_day(), &some, whole_day().to);
    // 48 kg in 20 + 50 + 22 x 100 = 2270 m3.
    assert_eq!(day.concentration, Some(Number::fraction(48_000, 2270).unwrap().kept()));
    assert_eq!((day.converted, day.volume_weighted_m3), (None, Some(n("2270"))));
}

#[test]
fn months_count_valid_days() {
    let outlet = stack();
    let february = Period { from: at(0), to: at(28 * 24 * 60) };
    let april = Period { from: at(0), to: at(30 * 24 * 60) };
    let days = |valid: i64| -> Vec<PeriodFigure> {
        let good = day_of(&outlet, "vvvvvvvvvvVVVVVVVVVViims");
        (0..valid)
            .map(|index| PeriodFigure { period: Period { from: at(index * 1440), to: at(index * 1440 + 1440) }, ..good.clone() })
            .collect()
    };
    let month = |period: &Period, valid: i64| period::month(&outlet, &outlet.factors[0], period, &days(valid), period.to);
    for (period, valid, class) in [
        (&april, 25, PeriodClass::Valid),
        (&april, 24, PeriodClass::Invalid),
        (&february, 23, PeriodClass::Valid),
        (&february, 22, PeriodClass::Invalid),
    ] {
        assert_eq!(month(period, valid).class, class, "{valid}");
    }
    let figure = month(&april, 25);
    assert_eq!((figure.averaging, figure.valid_days, figure.hours.hours), (Averaging::Month, Some(25), 720));
    // Each of the 25 days has a missing hour; 5 days are not there: 25 + 120.
    assert_eq!(figure.hours.missing, 145);
    assert_eq!((figure.concentration, figure.converted, figure.converted_of_means), (Some(n("25")), Some(n("50")), Some(n("37.5"))));
    assert_eq!((figure.mass_kg, figure.mass_hours), (Some(n("1000")), 500));
    assert_eq!((figure.min, figure.max), (Some(n("20")), Some(n("80"))));
    assert_eq!(figure.mass_rate, MassRate { kg_h: Some(n("2")), hours: 500, valid: true });
    // A month that is not over.
    let open = period::month(&outlet, &outlet.factors[0], &april, &days(25), at(25 * 1440));
    assert_eq!((open.class, open.hours.hours, open.hours.missing), (PeriodClass::Open, 600, 25));
}

/// As [`day_of`], where only the first `count` hours have a mass rate.
fn day_with_rates(outlet: &Outlet, text: &str, count: usize) -> PeriodFigure {
    let mut some = hours(text);
    some.iter_mut().skip(count).for_each(|hour| hour.mass_rate_kg_h = None);
    period::day(outlet, &outlet.factors[0], &whole_day(), &some, whole_day().to)
}

/// The verdict of a limit of this many kg/h, and what is above and not counted.
fn rate_judged(figure: &PeriodFigure, kg_h: &str) -> (Verdict, Option<Number>) {
    let limit = Limit {
        id: "permit-1".into(),
        outlet: "stack".into(),
        factor: "so2".into(),
        averaging: figure.averaging,
        value: n(kg_h),
        unit: "kg/h".into(),
        applies_to: AppliesTo::MassRate,
        bound: Bound::Upper,
        clause: "permit, table 9".into(),
        valid_from: at(0),
        valid_to: None,
        author: "li".into(),
        set_at: None,
    };
    let judgement = judge_period(figure, &[limit]).remove(0);
    (judgement.verdict, judgement.above_uncounted)
}

#[test]
fn a_mass_rate_needs_as_many_hours_as_a_concentration() {
    let (all, none) = ("vvvvvvvvvvvvvvvvvvvvvvvv", Verdict::NotCounted(NotCounted::NoFigure));
    let stack = stack();
    // 20 hours with a flow are a day; 19 and 1 are none, though all 24 concentrations are valid. 2 kg/h is above 1.9 all the same.
    for (count, verdict) in [(24, Verdict::Complies), (20, Verdict::Complies), (19, none), (1, none), (0, none)] {
        let day = day_with_rates(&stack, all, count);
        assert_eq!((day.class, usize::try_from(day.mass_rate.hours).unwrap()), (PeriodClass::Valid, count));
        assert_eq!(rate_judged(&day, "2"), (verdict, None), "{count}");
        let above = if verdict == none { (none, (count > 0).then(|| n("2"))) } else { (Verdict::Exceeds, None) };
        assert_eq!(rate_judged(&day, "1.9"), above, "{count}");
    }
    // Waste water: 75 % of 20 operating hours are 15.
    let water = water("mg/L");
    for (count, verdict) in [(15, Verdict::Complies), (14, none)] {
        assert_eq!(rate_judged(&day_with_rates(&water, "vvvvvvvvvvvvvvvvvvvvssss", count), "2").0, verdict, "{count}");
    }
    // A month of 30 days: 25 days with a valid rate. 24 such days and 6 with one hour each are none.
    let april = Period { from: at(0), to: at(30 * 1440) };
    for (count, verdict) in [(25, Verdict::Complies), (24, none)] {
        let days = (0..30).map(|index| PeriodFigure {
            period: Period { from: at(index * 1440), to: at(index * 1440 + 1440) },
            ..day_with_rates(&stack, all, if index < count { 24 } else { 1 })
        });
        let month = period::month(&stack, &stack.factors[0], &april, &days.collect::<Vec<_>>(), april.to);
        assert_eq!((month.class, rate_judged(&month, "2").0), (PeriodClass::Valid, verdict), "{count}");
    }
    // Days with other numbers of hours weigh by them: 20 x 2 and 24 x 4 in 44 h.
    let mut other = day_with_rates(&stack, all, 24);
    (other.period, other.mass_rate.kg_h) = (Period { from: at(1440), to: at(2880) }, Some(n("4")));
    let month = period::month(&stack, &stack.factors[0], &april, &[day_with_rates(&stack, all, 20), other], april.to);
    assert_eq!(month.mass_rate.kg_h, Some(Number::fraction(136, 44).unwrap().kept()));
    // Kept by a program that knew no rates: not judged.
    let mut old = serde_json::to_value(day_with_rates(&stack, all, 24)).unwrap();
    old.as_object_mut().unwrap().remove("mass_rate");
    assert_eq!(rate_judged(&serde_json::from_value(old).unwrap(), "2").0, none);
}

#[test]
fn rules_by_kind_of_outlet() {
    let rules = stack().rules;
    assert_eq!((rules.day(OutletKind::Stack), rules.month(OutletKind::Stack)), (DayRule::Hours(20), MonthRule::Days(25)));
    assert_eq!(rules.day(OutletKind::WasteWater), DayRule::PercentOfOperating(75));
    assert_eq!((rules.valid_minutes, rules.minute_percent, rules.o2_bound), (45, 75, n("20.9")));
}
