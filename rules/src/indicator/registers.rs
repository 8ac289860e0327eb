//! A meter's segments and readings as [`Register`]: each reading goes to the stretch it lies in.

use super::index::{Problem, problem};
use super::inputs::Meter;
use crate::Number;
use crate::meter::{Point, Register, Stretch};
use crate::period::Zone;

/// The register of a meter; `None` when it has no reading at all.
///
/// A segment without `to` ends where the next one begins. A reading on the instant of an exchange that is the register of the
/// old or the new meter by the exchange protocol is that meter's; else it is the old one's when it goes on from the old one's
/// last reading, and the new one's when the new one's next reading goes on from it: both for a mere change of multiplier.
pub fn register(meter: &Meter, zone: &Zone, path: &str, problems: &mut Vec<Problem>) -> Option<Register> {
    let mut stretches = stretches(meter, zone, path, problems);
    let mut on_exchange = Vec::new();
    for (number, reading) in meter.readings.iter().enumerate() {
        let at = reading.time.at(zone).as_millisecond();
        let point = Point { at, register: reading.register.clone() };
        let places = places(&stretches, at);
        match places {
            (Some(old), Some(new)) => on_exchange.push((old, new, point)),
            (Some(place), None) => stretches.get_mut(place).into_iter().for_each(|stretch| stretch.points.push(point.clone())),
            (None, _) => {
                problems
                    .push(problem(format!("{path}.readings[{number}].time"), format!("{} lies in no segment of the meter", reading.time)));
            }
        }
    }
    stretches.iter_mut().for_each(sort);
    let placed: Vec<(usize, Point)> = on_exchange.into_iter().flat_map(|(old, new, point)| owners(&stretches, old, new, point)).collect();
    for (place, point) in placed {
        stretches.get_mut(place).into_iter().for_each(|stretch| stretch.points.push(point.clone()));
    }
    let mut any = false;
    for stretch in &mut stretches {
        sort(stretch);
        any |= !stretch.points.is_empty();
        let doubles = stretch.points.windows(2).filter_map(|pair| match pair {
            [one, other] if one.at == other.at => Some((&one.register, &other.register, one.at)),
            _ => None,
        });
        for (one, other, at) in doubles {
            let when = jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| zone.text(at));
            problems.push(problem(format!("{path}.readings"), format!("two registers at {when}: {one} and {other}; keep one")));
        }
    }
    let every = meter.readings_every_minutes.map(|minutes| i64::from(minutes).saturating_mul(60_000));
    any.then(|| Register { modulus: meter.modulus.clone(), rate_max: meter.rate_max.clone(), every, stretches })
}

fn sort(stretch: &mut Stretch) {
    stretch.points.sort_by(|one, other| (one.at, &one.register).cmp(&(other.at, &other.register)));
    stretch.points.dedup();
}

/// Whose a reading on the instant of an exchange is.
fn owners(stretches: &[Stretch], old: usize, new: usize, point: Point) -> Vec<(usize, Point)> {
    let points = |number: usize| stretches.get(number).map(|stretch| stretch.points.as_slice()).unwrap_or_default();
    let by_protocol = |number: usize| points(number).iter().find(|known| known.at == point.at);
    let (of_old, of_new) = (by_protocol(old), by_protocol(new));
    if [of_old, of_new].into_iter().flatten().any(|known| known.register == point.register) {
        return Vec::new();
    }
    let goes_on = points(old).iter().rev().find(|before| before.at < point.at).is_none_or(|before| before.register <= point.register);
    let begins = points(new).iter().find(|after| after.at > point.at).is_none_or(|after| point.register <= after.register);
    let (to_old, to_new) = match (of_old.is_some(), of_new.is_some()) {
        (false, true) => (true, false),
        (true, false) => (false, true),
        // Both known and another register: the doubles tell.
        (true, true) => (true, true),
        (false, false) => (goes_on, begins || !goes_on),
    };
    let owners = [(old, to_old), (new, to_new)];
    owners.into_iter().filter(|(_, owns)| *owns).map(|(place, _)| (place, point.clone())).collect()
}

fn stretches(meter: &Meter, zone: &Zone, path: &str, problems: &mut Vec<Problem>) -> Vec<Stretch> {
    if meter.segments.is_empty() {
        return vec![Stretch { multiplier: Number::one(), ..Stretch::default() }];
    }
    let mut stretches = Vec::new();
    for (number, segment) in meter.segments.iter().enumerate() {
        let path = format!("{path}.segments[{number}]");
        let at = |moment: &Option<crate::period::Moment>| moment.map(|moment| moment.at(zone).as_millisecond());
        let (from, to) = (at(&segment.from), at(&segment.to));
        let multiplier = segment.multiplier.clone().unwrap_or_else(Number::one);
        if !multiplier.is_positive() {
            problems.push(problem(format!("{path}.multiplier"), format!("{multiplier} is not above 0")));
        }
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            problems.push(problem(format!("{path}.to"), "the end is not after the start".to_owned()));
        }
        for (register, at, name) in [(&segment.first_register, from, "first_register"), (&segment.last_register, to, "last_register")] {
            if register.is_some() && at.is_none() {
                problems
                    .push(problem(format!("{path}.{name}"), "a register needs the instant it was read at: give `from` or `to`".to_owned()));
            }
        }
        let ends = [(from, &segment.first_register), (to, &segment.last_register)];
        let points = ends.into_iter().filter_map(|(at, register)| Some(Point { at: at?, register: register.clone()? })).collect();
        stretches.push(Stretch { from, to, multiplier, points });
    }
    stretches.sort_by_key(|stretch| stretch.from);
    let starts: Vec<_> = stretches.iter().skip(1).map(|stretch| stretch.from).collect();
    for (stretch, next) in stretches.iter_mut().zip(starts) {
        match (stretch.to, next) {
            (_, None) => problems.push(problem(format!("{path}.segments"), "two segments without `from`".to_owned())),
            (None, Some(_)) => stretch.to = next,
            (Some(to), Some(next)) if to > next => problems.push(problem(format!("{path}.segments"), "segments overlap".to_owned())),
            _ => {}
        }
    }
    stretches
}

/// The stretches an instant lies in: two when it is that of an exchange.
fn places(stretches: &[Stretch], at: i64) -> (Option<usize>, Option<usize>) {
    let holds = |stretch: &Stretch| stretch.from.is_none_or(|from| from <= at) && stretch.to.is_none_or(|to| at <= to);
    let first = stretches.partition_point(|stretch| stretch.to.is_some_and(|to| to < at));
    let mut places = (first..stretches.len()).take(2).filter(|number| stretches.get(*number).is_some_and(holds));
    (places.next(), places.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(json: &str) -> (Option<Register>, Vec<Problem>) {
        let meter: Meter = serde_json::from_str(json).unwrap();
        let mut problems = Vec::new();
        let register = register(&meter, &Zone::default(), "meters[0]", &mut problems);
        (register, problems)
    }

    const SEGMENTS: &str = r#""segments": [
        {"from": "2025-06-11T00:00", "multiplier": 80, "first_register": 3},
        {"to": "2025-06-11T00:00", "multiplier": "40", "last_register": 510}]"#;

    #[test]
    fn readings_go_to_their_segment() {
        let (register, problems) = meter(&format!(
            r#"{{"id": "m", "energy": "electricity", "place": "gate", {SEGMENTS}, "readings": [
                {{"time": "2025-07-01T00:00", "register": 10}}, {{"time": "2025-06-01T00:00", "register": 500}},
                {{"time": "2025-06-11T00:00", "register": 3}}, {{"time": "2025-06-11T00:00", "register": 510}}]}}"#
        ));
        assert_eq!(problems, []);
        let shown: Vec<Vec<String>> = register
            .unwrap()
            .stretches
            .iter()
            .map(|stretch| stretch.points.iter().map(|point| point.register.to_string()).collect())
            .collect();
        assert_eq!(shown, [["500", "510"], ["3", "10"]]);
    }

    #[test]
    fn readings_on_an_exchange_without_protocol_go_where_they_fit() {
        let registers = |on_exchange: &str, next: u32| -> Vec<Vec<String>> {
            let (register, problems) = meter(&format!(
                r#"{{"id": "m", "energy": "electricity", "place": "gate", "segments": [
                    {{"to": "2025-06-11T00:00", "multiplier": 40}}, {{"from": "2025-06-11T00:00", "multiplier": 80}}], "readings": [
                    {{"time": "2025-06-01T00:00", "register": 500}}, {on_exchange}, {{"time": "2025-07-01T00:00", "register": {next}}}]}}"#
            ));
            assert_eq!(problems, []);
            let stretches = register.unwrap().stretches.into_iter();
            stretches.map(|stretch| stretch.points.iter().map(|point| point.register.to_string()).collect()).collect()
        };
        let at = |register: u32| format!(r#"{{"time": "2025-06-11T00:00", "register": {register}}}"#);
        // The multiplier changed, the register went on: the reading closes one segment and opens the next.
        assert_eq!(registers(&at(510), 530), [["500", "510"], ["510", "530"]]);
        // A new meter: both registers, in either order.
        for both in [format!("{}, {}", at(510), at(3)), format!("{}, {}", at(3), at(510))] {
            assert_eq!(registers(&both, 10), [["500", "510"], ["3", "10"]]);
        }
        // Only one of the two was read.
        assert_eq!(registers(&at(3), 10), [vec!["500"], vec!["3", "10"]]);
        assert_eq!(registers(&at(510), 10), [vec!["500", "510"], vec!["10"]]);
    }

    #[test]
    fn what_cannot_be_is_told_with_its_path() {
        let (register, problems) = meter(
            r#"{"id": "m", "energy": "electricity", "place": "gate", "segments": [{"to": "2025-06-11T00:00"}], "readings": [
                {"time": "2025-06-12T00:00", "register": 1}, {"time": "2025-06-01T00:00", "register": 1},
                {"time": "2025-06-01T00:00", "register": 2}, {"time": "2025-06-01T00:00", "register": 2.0}]}"#,
        );
        assert!(register.is_some());
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["meters[0].readings[0].time", "meters[0].readings"]);
        let (_, problems) = meter(
            r#"{"id": "m", "energy": "electricity", "place": "gate", "segments": [
                {"from": "2025-06-01T00:00", "to": "2025-06-11T00:00", "multiplier": 0}, {"from": "2025-06-10T00:00", "last_register": 4}]}"#,
        );
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["meters[0].segments[0].multiplier", "meters[0].segments[1].last_register", "meters[0].segments"]);
    }
}
