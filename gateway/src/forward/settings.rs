//! Settings of the sinks: the tables `[[gateway.sink]]`. What each key means stands here and in `config/parkgate.toml`.

use std::path::PathBuf;

use garde::Validate;
use parkgate_collector::catalogue::{Point, Secret};
use parkgate_collector::model::Medium;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outgoing::{self, excludes};

/// Most sinks: each has a thread and a connection.
const SINKS_MAX: usize = 16;
/// Longest id: it names a file and a metric's label.
const ID_LENGTH_MAX: usize = 64;

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// InfluxDB 2: `/api/v2/write` with organisation, bucket and token.
    #[value(name = "influxdb2")]
    Influxdb2,
    /// InfluxDB 1: `/write` with a database, and user and password where it asks for them.
    #[value(name = "influxdb1")]
    Influxdb1,
    /// VictoriaMetrics, single or cluster: `/write` without a database, which would become a label.
    #[value(name = "victoriametrics")]
    Victoriametrics,
}

/// `[[gateway.sink]]`: a database that gets what the record gets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Its name: of its state file, in metrics and logs. Another name is another sink, which gets everything anew.
    #[garde(custom(is_id))]
    pub id: String,
    /// What it is.
    #[garde(skip)]
    pub kind: SinkKind,
    /// Address; may carry a path, a VictoriaMetrics cluster's `/insert/7/influx` say.
    #[garde(custom(is_url))]
    pub url: String,
    /// Address that `parkgate reconcile` asks; `url` by default. A cluster's `/select/7/prometheus` say.
    #[serde(default)]
    #[garde(inner(custom(is_url)))]
    pub query_url: Option<String>,
    /// InfluxDB 2: organisation.
    #[serde(default)]
    #[garde(custom(goes_with(self.kind, SinkKind::Influxdb2, true)))]
    pub org: Option<String>,
    /// InfluxDB 2: bucket.
    #[serde(default)]
    #[garde(custom(goes_with(self.kind, SinkKind::Influxdb2, true)))]
    pub bucket: Option<String>,
    /// InfluxDB 2 and VictoriaMetrics behind a proxy: token; `${NAME}` takes it from the environment.
    #[serde(default)]
    #[garde(skip)]
    pub token: Option<Secret>,
    /// File whose first line is the token, relative to the main file.
    #[serde(default)]
    #[garde(custom(excludes(self.token.is_some(), "token")))]
    pub token_file: Option<PathBuf>,
    /// InfluxDB 1: database.
    #[serde(default)]
    #[garde(custom(goes_with(self.kind, SinkKind::Influxdb1, true)))]
    pub db: Option<String>,
    /// User name of HTTP basic authentication.
    #[serde(default)]
    #[garde(custom(excludes_name(self.token.is_some() || self.token_file.is_some())))]
    pub username: Option<String>,
    /// Its password.
    #[serde(default)]
    #[garde(skip)]
    pub password: Option<Secret>,
    /// File of authorities (PEM) that an https sink's certificate is checked against, instead of the public ones;
    /// relative to the main file.
    #[serde(default)]
    #[garde(skip)]
    pub ca_file: Option<PathBuf>,
    /// Send gzip.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub gzip: bool,
    /// Most lines in one request.
    #[serde(default = "batch_lines")]
    #[garde(range(min = 1, max = 100_000))]
    pub batch_lines: u32,
    /// Milliseconds that lines wait for others to go with them.
    #[serde(default = "linger_ms")]
    #[garde(range(max = 60_000))]
    pub linger_ms: u32,
    /// Milliseconds that one request may take in all.
    #[serde(default = "timeout_ms")]
    #[garde(range(min = 100, max = 600_000))]
    pub timeout_ms: u32,
    /// Send samples.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub samples: bool,
    /// Send closed totals of hours, days, months and years.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub totals: bool,
    /// Also send what was recorded before the sink was first configured.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub history: bool,
    /// Only points of these media; all by default.
    #[serde(default)]
    #[garde(skip)]
    pub media: Vec<Medium>,
    /// Only points of these roles; all by default.
    #[serde(default)]
    #[garde(skip)]
    pub roles: Vec<String>,
}

fn yes() -> bool {
    true
}

fn batch_lines() -> u32 {
    10_000
}

fn linger_ms() -> u32 {
    1_000
}

fn timeout_ms() -> u32 {
    30_000
}

impl SinkSettings {
    /// A sink with only what it needs, everything else as by default.
    pub fn new(id: &str, kind: SinkKind, url: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            url: url.to_owned(),
            query_url: None,
            org: None,
            bucket: None,
            token: None,
            token_file: None,
            db: None,
            username: None,
            password: None,
            ca_file: None,
            gzip: yes(),
            batch_lines: batch_lines(),
            linger_ms: linger_ms(),
            timeout_ms: timeout_ms(),
            samples: yes(),
            totals: yes(),
            history: yes(),
            media: Vec::new(),
            roles: Vec::new(),
        }
    }

    /// Whether a point's values go to this sink.
    pub fn wants(&self, point: &Point) -> bool {
        (self.media.is_empty() || self.media.contains(&point.medium))
            && (self.roles.is_empty() || point.role.as_ref().is_some_and(|role| self.roles.contains(role)))
    }
}

/// Ids name files and labels, so they are short and plain, and each is there once.
pub fn are_sinks(sinks: &[SinkSettings], (): &()) -> garde::Result {
    if sinks.len() > SINKS_MAX {
        return Err(garde::Error::new(format!("there are {} sinks, {SINKS_MAX} at most", sinks.len())));
    }
    for (index, sink) in sinks.iter().enumerate() {
        if sinks.iter().take(index).any(|other| other.id == sink.id) {
            return Err(garde::Error::new(format!("sink `{}` is there twice: each keeps its place under its own id", sink.id)));
        }
    }
    Ok(())
}

fn is_id(id: &str, (): &()) -> garde::Result {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !id.is_empty() && id.len() <= ID_LENGTH_MAX && id.chars().all(plain) {
        return Ok(());
    }
    Err(garde::Error::new(format!("must be of 1 to {ID_LENGTH_MAX} small letters, digits, `-` and `_`: it names a file")))
}

fn is_url(url: &str, (): &()) -> garde::Result {
    outgoing::is_url(url, "http://influx.example.com:8086", false)
}

/// The key belongs to one kind of sink, and there it is needed.
fn goes_with(kind: SinkKind, owner: SinkKind, needed: bool) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    let name = match owner {
        SinkKind::Influxdb2 => "influxdb2",
        SinkKind::Influxdb1 => "influxdb1",
        SinkKind::Victoriametrics => "victoriametrics",
    };
    move |value, ()| match value.as_deref() {
        Some(_) if kind != owner => Err(garde::Error::new(format!("is for sinks of kind {name} only"))),
        None | Some("") if needed && kind == owner => Err(garde::Error::new(format!("a sink of kind {name} needs it"))),
        _ => Ok(()),
    }
}

fn excludes_name(token: bool) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |value, ()| match value {
        Some(_) if token => Err(garde::Error::new("excludes a token: keep one of the two")),
        _ => Ok(()),
    }
}
