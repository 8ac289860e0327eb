//! `[[link]]` as it is written: one struct per driver.

use std::fmt;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalogue::line::{Echo, Framing};
use crate::catalogue::place::At;

/// `[[link]]`: one connection; `driver` says what it speaks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(tag = "driver")]
pub enum RawLink {
    /// MQTT client of a broker, 3.1.1 or 5.
    Mqtt(Box<RawMqttLink>),
    /// Modbus TCP client.
    ModbusTcp(RawModbusLink),
    /// Modbus RTU on a serial line.
    ModbusRtu(Box<RawModbusRtuLink>),
    /// Modbus RTU frames over TCP.
    ModbusRtuOverTcp(Box<RawModbusRtuOverTcpLink>),
    /// A device that connects to us and is then polled.
    ModbusDialIn(Box<RawModbusDialInLink>),
}

/// `[[link]]` with `driver = "mqtt"`.
#[derive(Clone, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMqttLink {
    /// Stable id.
    #[garde(skip)]
    pub id: At<String>,
    /// Host name or address.
    #[garde(skip)]
    pub host: At<String>,
    /// TCP port; 1883 by default, 8883 with `tls`.
    #[garde(range(min = 1))]
    pub port: Option<u16>,
    /// Version of MQTT: 3 (3.1.1) or 5; 3 by default.
    #[garde(skip)]
    pub version: Option<At<u8>>,
    /// MQTT 5: how long the broker keeps the session while the gateway is away, in seconds; 2592000 (30 days) by default.
    #[garde(skip)]
    pub session_expiry_s: Option<At<u32>>,
    /// TLS; `{}` trusts the system's authorities.
    #[garde(skip)]
    pub tls: Option<At<RawTls>>,
    /// Client id, which the persistent session belongs to; `parkgate-<park id>-<link id>` by default.
    #[garde(skip)]
    pub client_id: Option<At<String>>,
    /// User name.
    #[garde(skip)]
    pub username: Option<String>,
    /// Password; better `${ENV}` or `password_file`.
    #[garde(skip)]
    pub password: Option<At<String>>,
    /// File whose first line is the password, relative to the file that names it.
    #[garde(skip)]
    pub password_file: Option<At<String>>,
    /// Keep-alive in seconds; 30 by default.
    #[garde(range(min = 5))]
    pub keep_alive_s: Option<u16>,
    /// Largest packet accepted, in bytes; 1048576 by default.
    #[garde(range(min = 1024, max = 268_435_455))]
    pub max_packet_bytes: Option<u32>,
    /// Messages taken and not yet durable; when reached, the broker has to wait. 20000 by default.
    #[garde(range(min = 1))]
    pub max_in_flight: Option<u16>,
    /// Readings that one message may hold; one with more is rejected. 10000 by default.
    #[garde(range(min = 1))]
    pub max_readings_per_message: Option<u32>,
    /// Topics listened to for devices that are not configured, with `+`, `#` and named levels: `park/{enterprise}/{device}/#`.
    #[serde(default)]
    #[garde(skip)]
    pub discover: Vec<At<String>>,
}

/// `tls = { ... }` of a link.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// PEM file with the authorities that may have issued the broker's certificate, relative to the file that names it; those of the system by default.
    pub ca_file: Option<At<String>>,
    /// PEM file with the gateway's own certificate, then those that lead to its issuer.
    pub certificate_file: Option<At<String>>,
    /// PEM file with the private key of that certificate.
    pub key_file: Option<At<String>>,
    /// Name that the broker's certificate must be for; the host by default.
    pub server_name: Option<At<String>>,
}

impl fmt::Debug for RawMqttLink {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMqttLink").field("id", &self.id.value).field("host", &self.host.value).finish_non_exhaustive()
    }
}

/// `[[link]]` with `driver = "modbus_tcp"`.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModbusLink {
    /// Stable id.
    #[garde(skip)]
    pub id: At<String>,
    /// Host name or address.
    #[garde(skip)]
    pub host: At<String>,
    /// TCP port; 502 by default.
    #[garde(range(min = 1))]
    pub port: Option<u16>,
    /// Longest wait for an answer in milliseconds; 1000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub timeout_ms: Option<u32>,
    /// Longest wait for a connection in milliseconds; 3000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub connect_timeout_ms: Option<u32>,
    /// Pause between a new connection and the first request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub after_connect_ms: Option<u32>,
    /// Pause between an answer and the next request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub between_requests_ms: Option<u32>,
    /// Requests in flight at once, where the device can take it; 1 by default.
    #[garde(range(min = 1, max = 7))]
    pub pipeline: Option<u8>,
}

/// `[[link]]` with `driver = "modbus_rtu"`: a serial line.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModbusRtuLink {
    /// Stable id.
    #[garde(skip)]
    pub id: At<String>,
    /// Device file of the port, best by its name in `/dev/serial/by-id/`.
    #[garde(skip)]
    pub path: At<String>,
    /// Bits per second; 9600 by default.
    #[garde(range(min = 300, max = 4_000_000))]
    pub baud: Option<u32>,
    /// Form of a character: `8N1`, the default, `8E1`, `8O1`, `8N2` or `8E2`.
    #[garde(skip)]
    pub format: Option<At<String>>,
    /// RS-485 mode of the port's driver; only for ports that do not switch direction by themselves.
    #[garde(dive)]
    pub rs485: Option<At<RawRs485>>,
    /// Longest wait for an answer in milliseconds; 1000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub timeout_ms: Option<u32>,
    /// Pause between a new connection and the first request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub after_connect_ms: Option<u32>,
    /// Pause between an answer and the next request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub between_requests_ms: Option<u32>,
    /// Silence on the line before a request, in milliseconds; by baud, three and a half characters, by default.
    #[garde(range(max = 1_000))]
    pub quiet_time_ms: Option<u32>,
    /// After a request without answer the line stays silent for so long and drops what arrives, in milliseconds;
    /// `timeout_ms` by default.
    #[garde(range(max = 600_000))]
    pub late_window_ms: Option<u32>,
    /// Whether the adapter gives back what is sent: true, false or `auto`, the default, which finds out.
    #[garde(skip)]
    pub echo: Option<Echo>,
}

/// `rs485 = { ... }` of a serial line: the kernel's driver raises RTS while we send.
#[derive(Clone, Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRs485 {
    /// From RTS to the first bit, in milliseconds; 0 by default.
    #[garde(range(max = 1_000))]
    pub delay_before_send_ms: Option<u32>,
    /// From the last bit to the end of RTS, in milliseconds; 0 by default.
    #[garde(range(max = 1_000))]
    pub delay_after_send_ms: Option<u32>,
    /// RTS is low while we send; false by default.
    #[garde(skip)]
    pub invert_rts: Option<bool>,
    /// Switch on the port's terminating resistor; false by default.
    #[garde(skip)]
    pub termination: Option<bool>,
}

/// `[[link]]` with `driver = "modbus_rtu_over_tcp"`: a serial line behind a converter that passes bytes through.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModbusRtuOverTcpLink {
    /// Stable id.
    #[garde(skip)]
    pub id: At<String>,
    /// Host name or address.
    #[garde(skip)]
    pub host: At<String>,
    /// TCP port.
    #[garde(range(min = 1))]
    pub port: u16,
    /// Longest wait for an answer in milliseconds; 1000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub timeout_ms: Option<u32>,
    /// Longest wait for a connection in milliseconds; 3000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub connect_timeout_ms: Option<u32>,
    /// Pause between a new connection and the first request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub after_connect_ms: Option<u32>,
    /// Pause between an answer and the next request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub between_requests_ms: Option<u32>,
    /// Silence on the line before a request, in milliseconds; as for 9600 baud, 4, by default.
    #[garde(range(max = 1_000))]
    pub quiet_time_ms: Option<u32>,
    /// After a request without answer the line stays silent for so long and drops what arrives, in milliseconds;
    /// `timeout_ms` by default.
    #[garde(range(max = 600_000))]
    pub late_window_ms: Option<u32>,
    /// Whether the adapter gives back what is sent: true, false or `auto`, the default, which finds out.
    #[garde(skip)]
    pub echo: Option<Echo>,
}

/// `[[link]]` with `driver = "modbus_dial_in"`: a device, such as a DTU on a mobile network, connects to us.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModbusDialInLink {
    /// Stable id.
    #[garde(skip)]
    pub id: At<String>,
    /// Address and port that we listen on, `0.0.0.0:8899`; links may share it if each has a registration or a heartbeat.
    #[garde(skip)]
    pub listen: At<String>,
    /// Text that the device's registration packet begins with.
    #[garde(skip)]
    pub registration: Option<At<String>>,
    /// The same as bytes: `"AA 55 01"`.
    #[garde(skip)]
    pub registration_hex: Option<At<String>>,
    /// Text that the device sends now and again; it is skipped. Without a registration it tells who has connected.
    #[garde(skip)]
    pub heartbeat: Option<At<String>>,
    /// The same as bytes.
    #[garde(skip)]
    pub heartbeat_hex: Option<At<String>>,
    /// Frames that it is spoken to in: `rtu`, the default, or `tcp`.
    #[garde(skip)]
    pub framing: Option<Framing>,
    /// Longest wait for an answer in milliseconds; 1000 by default.
    #[garde(range(min = 1, max = 600_000))]
    pub timeout_ms: Option<u32>,
    /// Pause between a new connection and the first request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub after_connect_ms: Option<u32>,
    /// Pause between an answer and the next request, in milliseconds; 0 by default.
    #[garde(range(max = 60_000))]
    pub between_requests_ms: Option<u32>,
    /// Silence on the line before a request, in milliseconds; as for 9600 baud, 4, by default.
    #[garde(range(max = 1_000))]
    pub quiet_time_ms: Option<u32>,
    /// After a request without answer the line stays silent for so long and drops what arrives, in milliseconds;
    /// `timeout_ms` by default.
    #[garde(range(max = 600_000))]
    pub late_window_ms: Option<u32>,
    /// Whether the adapter gives back what is sent: true, false or `auto`, the default, which finds out.
    #[garde(skip)]
    pub echo: Option<Echo>,
}
