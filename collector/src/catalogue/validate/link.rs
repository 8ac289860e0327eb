//! Modbus lines: defaults, and what two of them must not share.

use std::net::SocketAddr;
use std::path::{Component, Path};

use super::super::line::{
    BAUD_DEFAULT, LineSettings, ModbusDialInSettings, ModbusRtuSettings, Rs485, SerialFormat, TIMEOUT_MS_DEFAULT, quiet_time_us,
};
use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::raw::{RawModbusDialInLink, RawModbusLink, RawModbusRtuLink, RawModbusRtuOverTcpLink};
use super::super::spec::ModbusTcpSettings;
use crate::protocol::modbus::dial_in::are_told_apart;

/// What to do about two links to one peer.
pub(super) const ONE_OWNER: &str = "put all units behind one link: they share its connection";
/// Longest wait for a connection by default.
const CONNECT_TIMEOUT_MS_DEFAULT: u32 = 3_000;
/// Most bytes of a registration or heartbeat.
const IDENTITY_BYTES_MAX: usize = 256;

pub(super) fn modbus_tcp(link: &RawModbusLink) -> ModbusTcpSettings {
    ModbusTcpSettings {
        host: link.host.value.clone(),
        port: link.port.unwrap_or(502),
        timeout_ms: link.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT),
        connect_timeout_ms: link.connect_timeout_ms.unwrap_or(CONNECT_TIMEOUT_MS_DEFAULT),
        line: LineSettings {
            after_connect_ms: link.after_connect_ms.unwrap_or(0),
            between_requests_ms: link.between_requests_ms.unwrap_or(0),
            pipeline: link.pipeline.unwrap_or(1),
            ..LineSettings::default()
        },
    }
}

/// The keys that all lines in RTU frames have; the macro stands for a trait of getters.
macro_rules! rtu_line {
    ($link:expr, $timeout_ms:expr, $baud:expr) => {
        LineSettings {
            after_connect_ms: $link.after_connect_ms.unwrap_or(0),
            between_requests_ms: $link.between_requests_ms.unwrap_or(0),
            quiet_time_us: $link.quiet_time_ms.map_or(quiet_time_us($baud), |ms| ms.saturating_mul(1_000)),
            late_window_ms: $link.late_window_ms.unwrap_or($timeout_ms),
            echo: $link.echo.unwrap_or_default(),
            pipeline: 1,
        }
    };
}

pub(super) fn modbus_rtu_over_tcp(link: &RawModbusRtuOverTcpLink) -> ModbusTcpSettings {
    let timeout_ms = link.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
    ModbusTcpSettings {
        host: link.host.value.clone(),
        port: link.port,
        timeout_ms,
        connect_timeout_ms: link.connect_timeout_ms.unwrap_or(CONNECT_TIMEOUT_MS_DEFAULT),
        line: rtu_line!(link, timeout_ms, BAUD_DEFAULT),
    }
}

pub(super) fn modbus_rtu(link: &RawModbusRtuLink, problems: &mut Problems) -> ModbusRtuSettings {
    let baud = link.baud.unwrap_or(BAUD_DEFAULT);
    let form = link.format.as_ref().map_or("8N1", |format| format.value.as_str());
    let format = SerialFormat::parse(baud, form);
    if let (None, Some(text)) = (format, &link.format) {
        let known: Vec<&str> = SerialFormat::FORMS.iter().map(|(name, ..)| *name).collect();
        let help = format!("Modbus RTU has 8 data bits; write one of {}", known.join(", "));
        problems.add(text.place, format!("`{form}` is no form of a character"), help);
    }
    let format = format.unwrap_or(SerialFormat { baud, parity: super::super::line::Parity::None, stop_bits: 1 });
    let path = &link.path;
    if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_whitespace) {
        problems.add(
            path.place,
            "must be the path of a serial port",
            "for example /dev/serial/by-id/usb-...; ls -l /dev/serial/by-id shows them",
        );
    }
    let name = port_key(path);
    if let Some(name) = ["/dev/ttyUSB", "/dev/ttyACM"].iter().any(|prefix| name.starts_with(prefix)).then_some(name) {
        let help = "use its name in /dev/serial/by-id/ (or by-path/), which stays with the adapter";
        problems.warn(path.place, format!("{name} may be another adapter after a restart or a replug"), help);
    }
    let timeout_ms = link.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
    ModbusRtuSettings {
        path: path.value.clone(),
        format,
        rs485: link.rs485.as_ref().map(|raw| Rs485 {
            delay_before_send_ms: raw.delay_before_send_ms.unwrap_or(0),
            delay_after_send_ms: raw.delay_after_send_ms.unwrap_or(0),
            invert_rts: raw.invert_rts.unwrap_or(false),
            termination: raw.termination.unwrap_or(false),
        }),
        timeout_ms,
        line: rtu_line!(link, timeout_ms, baud),
    }
}

/// A path without detours, so that two ways of writing one port are seen. What links lead to is seen only when it is opened.
pub(super) fn port_key(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

/// What one link listens for: its settings, and where its identity is written.
pub(super) type Listener = (ModbusDialInSettings, Place);

pub(super) fn modbus_dial_in(link: &RawModbusDialInLink, listeners: &mut Vec<Listener>, problems: &mut Problems) -> ModbusDialInSettings {
    let registration = bytes("registration", link.registration.as_ref(), link.registration_hex.as_ref(), problems);
    let heartbeat = bytes("heartbeat", link.heartbeat.as_ref(), link.heartbeat_hex.as_ref(), problems);
    let listen = link.listen.parse::<SocketAddr>();
    if listen.as_ref().map_or(true, |address| address.port() == 0) {
        problems.add(link.listen.place, "must be an address and a port to listen on", "for example 0.0.0.0:8899");
    }
    let timeout_ms = link.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
    let settings = ModbusDialInSettings {
        listen: listen.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))),
        registration,
        heartbeat,
        framing: link.framing.unwrap_or_default(),
        timeout_ms,
        line: rtu_line!(link, timeout_ms, BAUD_DEFAULT),
    };
    let named = [&link.registration, &link.registration_hex, &link.heartbeat, &link.heartbeat_hex];
    let place = named.into_iter().flatten().next().map_or(link.listen.place, |at| at.place);
    check_listener(link, &settings, place, listeners, problems);
    settings
}

/// Devices on one port must be told apart by their first bytes, and a port has one address.
fn check_listener(
    link: &RawModbusDialInLink,
    settings: &ModbusDialInSettings,
    place: Place,
    listeners: &mut Vec<Listener>,
    problems: &mut Problems,
) {
    let identity = settings.identity();
    for (before, other_place) in listeners.iter().filter(|(before, _)| before.listen.port() == settings.listen.port()) {
        let (listen, other) = (&before.listen, before.identity());
        if *listen != settings.listen {
            if listen.ip().is_unspecified() || settings.listen.ip().is_unspecified() {
                let message = format!("{} and {listen} cannot both be listened on", settings.listen);
                problems.conflict(link.listen.place, message, "write the same address in both", *other_place, "the other link");
            }
        } else if identity.is_empty() || other.is_empty() {
            let message = format!("link `{}` shares {listen}, and one of the two takes every device that connects", link.id.value);
            problems.conflict(place, message, "give each link a `registration` or a `heartbeat`", *other_place, "the other link");
        } else if !are_told_apart((identity, &settings.heartbeat), (other, &before.heartbeat)) {
            let message = format!("link `{}` cannot tell its device from another one on {listen}", link.id.value);
            let help = "one registration must not begin with another one, but for a longer last word (DTU-1, DTU-10); two links for one \
                        device must be one";
            problems.conflict(place, message, help, *other_place, "the other link");
        }
    }
    listeners.push((settings.clone(), place));
}

/// The bytes of a text, or of a text in hexadecimal.
fn bytes(key: &str, text: Option<&At<String>>, hex: Option<&At<String>>, problems: &mut Problems) -> Vec<u8> {
    let (bytes, place) = match (text, hex) {
        (Some(text), Some(hex)) => {
            problems.conflict(hex.place, format!("`{key}` and `{key}_hex` exclude each other"), "keep one", text.place, "also here");
            return Vec::new();
        }
        (Some(text), None) => (text.as_bytes().to_vec(), text.place),
        (None, Some(hex)) => match from_hex(hex) {
            Some(bytes) => (bytes, hex.place),
            None => {
                problems.add(hex.place, "is no text of bytes in hexadecimal", "for example \"AA 55 01\"");
                return Vec::new();
            }
        },
        (None, None) => return Vec::new(),
    };
    if !(2..=IDENTITY_BYTES_MAX).contains(&bytes.len()) {
        let message = format!("`{key}` has {} bytes; 2 to {IDENTITY_BYTES_MAX} can be told from other data", bytes.len());
        problems.add(place, message, "set a longer one in the device");
    }
    bytes
}

/// Bytes of pairs of hexadecimal digits, white space between pairs allowed.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| u8::try_from(high.to_digit(16)?.checked_mul(16)?.checked_add(low.to_digit(16)?)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_compared_without_detours() {
        for (path, key) in [("/dev/ttyS1", "/dev/ttyS1"), ("/dev//./ttyS1", "/dev/ttyS1"), ("/dev/serial/../ttyS1", "/dev/ttyS1")] {
            assert_eq!(port_key(path), key);
        }
    }

    #[test]
    fn bytes_in_hexadecimal() {
        for (text, bytes) in
            [("AA 55 01", Some(vec![0xAA, 0x55, 1])), ("aa5501", Some(vec![0xAA, 0x55, 1])), ("A", None), ("AG", None), ("", Some(vec![]))]
        {
            assert_eq!(from_hex(text), bytes, "{text}");
        }
    }
}
