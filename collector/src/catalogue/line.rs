//! Settings of Modbus lines beside plain TCP: how a line is reached, what it can bear, how soon points are read.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// Longest time of a response by default, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u32 = 1_000;
/// Baud rate of a line that names none, and of one behind a converter, whose rate we cannot know.
pub const BAUD_DEFAULT: u32 = 9_600;

/// What a line can bear. All pauses are minima.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineSettings {
    /// Pause between a new connection and the first request.
    pub after_connect_ms: u32,
    /// Pause between the end of one exchange and the next request; with several requests in flight, between requests.
    pub between_requests_ms: u32,
    /// RTU: silence on the line before a request, in microseconds.
    pub quiet_time_us: u32,
    /// RTU: after a request without answer the line stays silent for so long, and what arrives is thrown away. Also how
    /// late an answer may come without being taken for another one's.
    pub late_window_ms: u32,
    /// RTU: whether the adapter gives back what we send.
    pub echo: Echo,
    /// TCP framing: requests in flight at once.
    pub pipeline: u8,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            after_connect_ms: 0,
            between_requests_ms: 0,
            quiet_time_us: quiet_time_us(BAUD_DEFAULT),
            late_window_ms: TIMEOUT_MS_DEFAULT,
            echo: Echo::Auto,
            pipeline: 1,
        }
    }
}

/// Silence between two frames, in microseconds: three and a half characters of eleven bits, and 1750 above 19200 baud
/// (Modbus over Serial Line V1.02, 2.5.1.1).
pub const fn quiet_time_us(baud: u32) -> u32 {
    if baud > 19_200 {
        return 1_750;
    }
    // 3.5 * 11 * 1,000,000
    match 38_500_000u32.checked_div(baud) {
        Some(time) => time,
        None => 1_750,
    }
}

/// Whether an adapter gives back what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// Find out: the request's own bytes in front of an answer are its echo.
    #[default]
    Auto,
}

impl<'de> Deserialize<'de> for Echo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EchoVisitor;
        impl Visitor<'_> for EchoVisitor {
            type Value = Echo;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E: serde::de::Error>(self, echo: bool) -> Result<Echo, E> {
                Ok(if echo { Echo::Yes } else { Echo::No })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Echo, E> {
                match text {
                    "auto" => Ok(Echo::Auto),
                    _ => Err(E::custom(format!("`{text}` is not known here; write true, false or \"auto\""))),
                }
            }
        }
        deserializer.deserialize_any(EchoVisitor)
    }
}

impl JsonSchema for Echo {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Echo".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the adapter gives back what is sent; auto finds out.",
            "anyOf": [{ "type": "boolean" }, { "const": "auto" }],
        })
    }
}

/// Settings of a serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusRtuSettings {
    /// Device file: `/dev/serial/by-id/...`, `/dev/ttyS1`.
    pub path: String,
    /// Speed and form of a character.
    pub format: SerialFormat,
    /// RS-485 mode of the kernel's driver; `None`: the adapter switches by itself.
    pub rs485: Option<Rs485>,
    /// Time an answer may take, 1000 ms by default.
    pub timeout_ms: u32,
    /// What the line can bear.
    pub line: LineSettings,
}

/// Speed and form of a character; eight data bits always, as Modbus RTU demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialFormat {
    /// Bits per second.
    pub baud: u32,
    /// Parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// Parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// None.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

impl SerialFormat {
    /// Forms by their names.
    pub const FORMS: [(&'static str, Parity, u8); 5] =
        [("8N1", Parity::None, 1), ("8E1", Parity::Even, 1), ("8O1", Parity::Odd, 1), ("8N2", Parity::None, 2), ("8E2", Parity::Even, 2)];

    /// The form of a name such as `8E1`.
    pub fn parse(baud: u32, form: &str) -> Option<Self> {
        let &(_, parity, stop_bits) = Self::FORMS.iter().find(|(name, ..)| *name == form)?;
        Some(Self { baud, parity, stop_bits })
    }

    /// The least time that so many bytes take on the wire.
    pub fn transmission(&self, bytes: usize) -> Duration {
        let bits = 9u64.saturating_add(u64::from(self.stop_bits)).saturating_add(u64::from(self.parity != Parity::None));
        let bits = bits.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX));
        Duration::from_micros(bits.saturating_mul(1_000_000).checked_div(u64::from(self.baud)).unwrap_or(0))
    }
}

impl fmt::Display for SerialFormat {
    /// `9600 8N1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = Self::FORMS.iter().find(|(_, parity, stop_bits)| (*parity, *stop_bits) == (self.parity, self.stop_bits));
        write!(f, "{} {}", self.baud, form.map_or("?", |(name, ..)| name))
    }
}

/// RS-485 mode of the kernel's driver: it raises RTS while we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rs485 {
    /// From RTS to the first bit.
    pub delay_before_send_ms: u32,
    /// From the last bit to the end of RTS.
    pub delay_after_send_ms: u32,
    /// RTS is low while we send.
    pub invert_rts: bool,
    /// Switch on the port's terminating resistor.
    pub termination: bool,
}

/// Settings of a line whose device connects to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusDialInSettings {
    /// Where we listen; several links may share it.
    pub listen: SocketAddr,
    /// First bytes of the device's registration packet; empty: it sends none.
    pub registration: Vec<u8>,
    /// Bytes that it sends now and again; empty: none. They tell who it is where there is no registration.
    pub heartbeat: Vec<u8>,
    /// How it is spoken to.
    pub framing: Framing,
    /// Time an answer may take, 1000 ms by default.
    pub timeout_ms: u32,
    /// What the line can bear.
    pub line: LineSettings,
}

impl ModbusDialInSettings {
    /// The bytes by which it is known; empty: whoever connects.
    pub fn identity(&self) -> &[u8] {
        if self.registration.is_empty() { &self.heartbeat } else { &self.registration }
    }
}

/// Form of Modbus frames on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// RTU frames, told apart by unit, length and silence.
    #[default]
    Rtu,
    /// Modbus TCP frames, told apart by transaction ids.
    Tcp,
}

/// How often a point is read, and who goes first when the line is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others, each `fast_interval_ms`.
    Fast,
    /// Each `poll_interval_ms`.
    #[default]
    Normal,
    /// After all others, each `slow_interval_ms`.
    Slow,
}

impl Priority {
    /// All, the first ones first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Normal, Self::Slow];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_times_are_those_of_the_standard() {
        for (baud, time) in [(1_200, 32_083), (9_600, 4_010), (19_200, 2_005), (19_201, 1_750), (115_200, 1_750), (0, 1_750)] {
            assert_eq!(quiet_time_us(baud), time, "{baud}");
        }
    }

    #[test]
    fn characters_take_their_time() {
        for (form, bytes, micros) in [("8N1", 8, 8_333), ("8E1", 8, 9_166), ("8O1", 1, 1_145), ("8N2", 8, 9_166), ("8E2", 8, 10_000)] {
            let format = SerialFormat::parse(9_600, form).unwrap();
            assert_eq!(format.transmission(bytes).as_micros(), micros, "{form}");
            assert_eq!(format.to_string(), format!("9600 {form}"));
        }
        assert!(SerialFormat::parse(9_600, "7E1").is_none());
    }
}
