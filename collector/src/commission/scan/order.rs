//! In which order a line is searched, and how long that takes.

use std::time::Duration;

use crate::catalogue::{Parity, SerialFormat};
use crate::driver::modbus::raw::Setting;

/// Speeds that are searched, the most usual first. 9600 and 19200 are those every device must have (Modbus over Serial
/// Line V1.02, 3.2).
pub const SPEEDS: [u32; 8] = [9_600, 19_200, 38_400, 115_200, 4_800, 2_400, 57_600, 1_200];
/// Parities that are searched, the most usual first.
pub const PARITIES: [Parity; 3] = [Parity::None, Parity::Even, Parity::Odd];
/// Highest unit id that is asked at every setting before the others are asked at any.
const USUAL_UNIT_MAX: u8 = 16;
/// Unit id of devices with a TCP port of their own.
const OWN_PORT_UNIT: u8 = 255;
/// Bytes of a question and of its usual answer, in RTU form.
pub const BYTES: (usize, usize) = (8, 7);

/// The settings of a serial port from speeds and parities, the likely ones first: what is usual by either goes before what
/// is unusual by one, and odd parity, which hardly any device has, well behind.
pub fn serial_settings(speeds: &[u32], parities: &[Parity]) -> Vec<Setting> {
    let mut ranked: Vec<(usize, Setting)> = Vec::new();
    for (rank, &baud) in speeds.iter().enumerate() {
        for &parity in parities {
            let unusual = match parity {
                Parity::None => 0,
                Parity::Even => 1,
                Parity::Odd => speeds.len().saturating_add(1),
            };
            let setting = Setting::Serial(SerialFormat { baud, parity, stop_bits: 1 });
            if !ranked.iter().any(|(_, known)| *known == setting) {
                ranked.push((rank.saturating_add(unusual), setting));
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, setting)| setting).collect()
}

/// The units of a setting: on an RTU line 0 is for all and never answers, and ids end at 247 (Modbus over Serial Line
/// V1.02, 2.2).
pub fn units_of(setting: Setting, units: &[u8]) -> Vec<u8> {
    let takes = |unit: &&u8| setting == Setting::Tcp || (1..=247).contains(*unit);
    units.iter().filter(takes).copied().collect()
}

/// Units asked first, and the others.
pub fn usual_first(units: &[u8]) -> (Vec<u8>, Vec<u8>) {
    units.iter().partition(|unit| (1..=USUAL_UNIT_MAX).contains(*unit) || **unit == OWN_PORT_UNIT)
}

/// What asking a unit that is silent takes.
pub fn cost(setting: Setting, timeout: Duration) -> Duration {
    match setting {
        Setting::Serial(format) => timeout.saturating_add(format.transmission(BYTES.0)).saturating_add(format.transmission(BYTES.1)),
        Setting::RtuOverTcp | Setting::Tcp => timeout,
    }
}

/// How long a search takes at most when nothing answers: the first round, and all of it.
pub fn expected(settings: &[Setting], units: &[u8], timeout: Duration) -> (Duration, Duration) {
    let (mut first, mut all) = (Duration::ZERO, Duration::ZERO);
    for &setting in settings {
        let units = units_of(setting, units);
        let (usual, _) = usual_first(&units);
        let times = |count: usize| cost(setting, timeout).saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        first = first.saturating_add(times(usual.len()));
        all = all.saturating_add(times(units.len()));
    }
    (first, all)
}

/// Unit ids as people write them: `1-247`, `1,3,10-12`; each once, in the order given.
///
/// Errors: what is no number of 0 to 255, or no range.
pub fn parse_units(text: &str) -> Result<Vec<u8>, String> {
    let mut units = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| text.trim().parse::<u8>().map_err(|_| format!("`{part}` is no unit id: write 1-247 or 1,3,10-12"));
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(part)?, number(part)?),
        };
        if from > to {
            return Err(format!("`{part}` ends before it begins"));
        }
        for unit in from..=to {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_comes_first() {
        let names: Vec<String> = serial_settings(&SPEEDS, &PARITIES).iter().map(ToString::to_string).collect();
        assert_eq!(names[..5], ["9600 8N1", "9600 8E1", "19200 8N1", "19200 8E1", "38400 8N1"]);
        assert_eq!(names.len(), 24);
        assert!(names[16..].iter().all(|name| name.ends_with("8O1") || name.starts_with("1200")), "{names:?}");
        let given = serial_settings(&[2_400, 2_400], &[Parity::Odd, Parity::Even, Parity::Odd]);
        assert_eq!(given.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2400 8E1", "2400 8O1"]);
    }

    #[test]
    fn units_are_those_written() {
        for (text, expected) in [
            ("1-3", Ok(vec![1, 2, 3])),
            ("7, 1-2,2", Ok(vec![7, 1, 2])),
            ("0,255", Ok(vec![0, 255])),
            ("3-1", Err("`3-1` ends before it begins")),
            ("256", Err("`256` is no unit id: write 1-247 or 1,3,10-12")),
            ("", Err("`` is no unit id: write 1-247 or 1,3,10-12")),
            ("1-", Err("`1-` is no unit id: write 1-247 or 1,3,10-12")),
        ] {
            assert_eq!(parse_units(text), expected.map_err(str::to_owned), "{text}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(units_of(Setting::RtuOverTcp, &all).len(), 247);
        assert_eq!(units_of(Setting::Tcp, &all).len(), 256);
        let (usual, others) = usual_first(&all);
        assert_eq!((usual.len(), others.len()), (17, 239));
    }

    #[test]
    fn the_time_is_that_of_silence() {
        let settings = serial_settings(&[9_600], &[Parity::None]);
        let (first, all) = expected(&settings, &(1..=247).collect::<Vec<_>>(), Duration::from_millis(300));
        // 8 and 7 characters of ten bits at 9600 baud are 15.6 ms.
        assert_eq!((first.as_millis(), all.as_millis()), (5_049, 77_959));
    }
}
