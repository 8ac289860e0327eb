//! A profile's own tests: its words go through the real planner, the real decoder and the real scaling, and must come out
//! as the readings that the test expects. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::planned;
use crate::catalogue::Point;
use crate::catalogue::bench::{Bench, BenchReport, Expected, ProfileTest};
use crate::model::{Decimal, Number, Reason};
use crate::normalise::convert;
use crate::protocol::modbus::{Block, Function, RegisterName, number};

/// What stands in registers that a test does not give and that are read along.
const FILLER: u16 = 0xA5A5;

/// Runs the tests of a profile.
pub fn judge(bench: &Bench) -> BenchReport {
    let mut report = BenchReport::default();
    let Some((points, plan)) = planned(&bench.device) else { return report };
    let mut covered = BTreeSet::new();
    for test in &bench.tests {
        for (id, expected) in &test.expected {
            let Some(index) = points.iter().position(|(point, _)| point.local_id == *id) else { continue };
            let Some((point, source)) = points.get(index) else { continue };
            let place = plan.blocks.iter().find_map(|block| Some((block, block.members.iter().find(|member| member.index == index)?)));
            let Some((block, member)) = place else {
                report.findings.push((expected.place, format!("`{id}` cannot be read"), "see its register".to_owned()));
                continue;
            };
            let width = source.register_type.registers();
            let scale = source.scale_register.filter(|scale| !test.words.contains_key(&(source.function, *scale)));
            if let Some(missing) = missing(test, source.function, source.address, width).or(scale) {
                let name = RegisterName { function: source.function, address: source.address, quantity: width };
                let message = format!("`{id}` is in {name}, and the test does not give address {missing}");
                let help = format!("add {missing} = \"...\" to the words of the test, or give fewer expected readings");
                report.findings.push((expected.place, message, help));
                continue;
            }
            let got = convert(point, number(source, &data(block, &test.words), member.offset));
            match differs(point, got, expected.value) {
                Some(message) => report.findings.push((expected.place, message, "correct the point, the words or the reading".to_owned())),
                None if matches!(expected.value, Expected::Value(_)) => {
                    covered.insert(id.clone());
                }
                None => {}
            }
        }
    }
    report.uncovered = points.iter().map(|(point, _)| point.local_id.clone()).filter(|id| !covered.contains(id)).collect();
    report
}

/// The first address of a value that a test does not give.
fn missing(test: &ProfileTest, function: Function, first: u16, width: u16) -> Option<u16> {
    (first..=first.saturating_add(width.saturating_sub(1))).find(|&address| !test.words.contains_key(&(function, address)))
}

/// The data of a block's answer.
fn data(block: &Block, words: &BTreeMap<(Function, u16), u16>) -> Vec<u8> {
    let addresses = (0..block.quantity).map(|offset| block.address.saturating_add(offset));
    let values = addresses.map(|address| words.get(&(block.function, address)).copied().unwrap_or(FILLER));
    if !block.function.reads_bits() {
        return values.flat_map(u16::to_be_bytes).collect();
    }
    let bits: Vec<u16> = values.collect();
    bits.chunks(8).map(|bits| bits.iter().rev().fold(0u8, |byte, bit| byte << 1 | u8::from(bit & 1 == 1))).collect()
}

/// What is wrong with a reading; `None` when it is the one expected.
fn differs(point: &Point, got: (Option<i64>, Reason), expected: Expected) -> Option<String> {
    let shown = |mantissa: i64| format!("{} {}", exact(point, mantissa), point.identity.unit);
    match (got, expected) {
        ((Some(mantissa), Reason::None), Expected::Value(value)) if exact(point, mantissa).cmp_value(value).is_eq() => None,
        ((None, reason), Expected::Missing(wanted)) if reason == wanted => None,
        ((Some(mantissa), Reason::None), _) => Some(format!("the words give {}, the test expects {expected}", shown(mantissa))),
        ((Some(mantissa), _), _) => Some(format!("the words give {}, which is outside the point's valid range", shown(mantissa))),
        ((None, reason), _) => Some(format!("the words give no number ({}), the test expects {expected}", reason.name())),
    }
}

/// The number of a mantissa in the stored unit.
fn exact(point: &Point, mantissa: i64) -> Decimal {
    Decimal::new(mantissa, i8::try_from(point.identity.decimals).map_or(0, i8::saturating_neg))
}

/// The reading of a number in the stored unit, and why it is not good.
pub(super) fn reading(point: &Point, number: Number) -> (Option<Decimal>, Reason) {
    let (mantissa, reason) = convert(point, number);
    (mantissa.map(|mantissa| exact(point, mantissa)), reason)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use expect_test::expect;
    use garde::Validate;
    use serde::Deserialize;

    use super::*;
    use crate::catalogue::{MemoryFiles, OwnTable, PointSource, built_in_profiles, check_with};
    use crate::model::Kind;

    #[derive(Debug, Default, Deserialize, Validate)]
    #[garde(allow_unvalidated)]
    struct Own {}
    impl OwnTable for Own {}

    fn check(name: &str, text: &str) -> crate::catalogue::CheckReport {
        let mut files = MemoryFiles::default();
        files.files.insert(name.into(), text.to_owned());
        check_with::<Own>(&[PathBuf::from(name)], &files, judge)
    }

    /// Every profile that comes with the program: a source, a plausible range for every point, and words with expected
    /// readings that cover every point.
    #[test]
    fn every_profile_built_in_gives_the_readings_it_says() {
        let ids: Vec<&str> = built_in_profiles().map(|(id, _)| id).collect();
        assert!(ids.len() >= 20, "{}", ids.len());
        let mut wrong = Vec::new();
        for (id, text) in built_in_profiles() {
            let report = check(id, text);
            let file = &report.files[0];
            if report.exit_code() != 0 {
                wrong.push(report.render(false));
            }
            if file.tests.unwrap_or(0) == 0 || !file.untested.is_empty() {
                wrong.push(format!("{id}: {:?} tests, in none: {:?}", file.tests, file.untested));
            }
            let lone = crate::catalogue::Lone { host: "meter".into(), port: 502, unit_id: 1, timeout_ms: 1 };
            let made =
                crate::catalogue::lone_device(id, None, &lone, &MemoryFiles::default()).unwrap_or_else(|error| panic!("{id}: {error}"));
            for point in &made.catalogue.points {
                assert!(matches!(point.source, PointSource::Modbus(_)), "{id}");
                let ranged = match point.identity.kind {
                    Kind::Gauge => point.valid_min.is_some() && point.valid_max.is_some(),
                    Kind::Counter => point.valid_min.is_some(),
                    _ => true,
                };
                if !ranged {
                    wrong.push(format!("{id}: `{}` has no valid_min and valid_max", point.local_id));
                }
            }
            for variant in &made.variants {
                assert!(ids.contains(&variant.profile.as_str()), "{id}: variant `{}`", variant.profile);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    const HEAD: &str = "[profile]\nid = \"x\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n\
                        [[point]]\nid = \"voltage\"\nscale = 0.1\nvalid_max = 500\nregister = { address = 1, type = \"u16\", not_available = [\"0xFFFF\"] }\n\
                        [[point]]\nid = \"running\"\nmedium = \"power\"\nkind = \"state\"\nunit = \"state\"\nregister = { address = 9, function = \"discrete\" }\n";

    fn checked(test: &str) -> String {
        let report = check("x.toml", &format!("{HEAD}[[test]]\nabout = \"constructed\"\n{test}"));
        let file = &report.files[0];
        let problems: Vec<String> = file.problems.iter().map(ToString::to_string).collect();
        format!(
            "{}{} tests, untested {:?}",
            problems.iter().map(|line| format!("{line}\n")).collect::<String>(),
            file.tests.unwrap_or(0),
            file.untested
        )
    }

    #[test]
    fn variants_are_checked() {
        for (variant, expected) in [
            ("profile = \"x\"\nabout = \"a\"\nregister = { address = 3, type = \"f32\" }\nmin = 0.5\nmax = 1e6\n", expect![""]),
            (
                "profile = \"x\"\nabout = \"a\"\nregister = { address = 3 }\nmin = 2\nmax = 1\n",
                expect!["x.toml:21:7: min 2 is above max 1"],
            ),
            (
                "profile = \"x\"\nabout = \"a\"\nregister = { address = 65535, type = \"u32\" }\nmin = 1\nmax = 1\n",
                expect!["x.toml:20:24: 2 registers from 65535 go beyond address 65535"],
            ),
            (
                "profile = \"x\"\nregister = { address = 3 }\nmin = 1\nmax = 1\nscale = 2\n",
                expect![[r#"
                x.toml:17:1: missing key `about`; add `about = ...` to this table
                x.toml:22:1: unknown key `scale`; known keys: profile, about, register, min, max"#]],
            ),
        ] {
            let report = check("x.toml", &format!("{HEAD}[[variant]]\n{variant}"));
            let problems: Vec<String> = report.files[0].problems.iter().map(ToString::to_string).collect();
            expected.assert_eq(&problems.join("\n"));
        }
    }

    #[test]
    fn what_tests_say() {
        for (test, expected) in [
            (
                "[test.holding]\n1 = \"08FD\"\n[test.discrete]\n8 = \"0 1\"\n[test.expect]\nvoltage = 230.1\nrunning = 1\n",
                expect!["1 tests, untested []"],
            ),
            (
                "[test.holding]\n0x1 = \"FFFF\"\n[test.expect]\nvoltage = \"not_available\"\n",
                expect![[r#"1 tests, untested ["voltage", "running"]"#]],
            ),
            (
                "[test.holding]\n1 = \"08FD\"\n[test.expect]\nvoltage = 230.2\n",
                expect![[r#"
                    x.toml:22:11: the words give 230.1 V, the test expects 230.2; correct the point, the words or the reading
                    1 tests, untested ["voltage", "running"]"#]],
            ),
            (
                "[test.holding]\n1 = \"FF00\"\n[test.expect]\nvoltage = 6528.0\n",
                expect![[r#"
                    x.toml:22:11: the words give 6528.0 V, which is outside the point's valid range; correct the point, the words or the reading
                    1 tests, untested ["voltage", "running"]"#]],
            ),
            (
                "[test.holding]\n2 = \"08FD\"\n[test.expect]\nvoltage = 230.1\nvolts = 1\n",
                expect![[r#"
                    x.toml:23:9: the profile has no point `volts`; did you mean `voltage`?
                    0 tests, untested []"#]],
            ),
            (
                "[test.holding]\n2 = \"08FD\"\n[test.expect]\nvoltage = 230.1\n",
                expect![[r#"
                    x.toml:22:11: `voltage` is in register 40002, and the test does not give address 1; add 1 = "..." to the words of the test, or give fewer expected readings
                    1 tests, untested ["voltage", "running"]"#]],
            ),
            (
                "[test.holding]\n1 = \"8FD\"\n0x1 = \"08FD 08FE\"\n2 = \"0000\"\n65535 = \"0000 0000\"\nx = \"0000\"\n[test.coil]\n3 = \"2\"\n[test.expect]\nvoltage = \"high\"\n",
                expect![[r#"
                    x.toml:20:5: `8FD` is no value of address 1; a word is four hexadecimal digits, 4640
                    x.toml:22:5: address 2 is given twice; give each register once
                    x.toml:23:9: the words from 65535 on go beyond address 65535
                    x.toml:24:5: `x` is no address from 0 to 65535; 0-based protocol address, 72 or 0x48; the table says the function
                    x.toml:26:5: `2` is no value of address 3; bits are 0 and 1, parted by blanks
                    x.toml:28:11: `voltage`: `high` is no reading: a number, or one of not_available, not_a_number, overflow
                    0 tests, untested []"#]],
            ),
        ] {
            expected.assert_eq(&checked(test));
        }
    }
}
