//! The program's own settings: the table `[gateway]` of the main file. What each key means stands here and in
//! `config/parkgate.toml`; defaults stand in one `impl Default` per table.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::alarm::settings::{AlarmSettings, AlertmanagerSettings, WebhookSettings, are_alertmanagers, are_webhooks};
use crate::emission;
use crate::engine::EngineSettings;
use crate::forward::settings::{SinkSettings, are_sinks};
use crate::indicator::topology::TopologySettings;
use crate::review::settings::ReviewSettings;
use crate::store;
use garde::Validate;
use parkgate_collector::catalogue::{Draft, Misfit, OwnTable};
use parkgate_collector::journal::JournalSettings;
use parkgate_collector::normalise::NormaliseSettings;
use parkgate_collector::rejects::RingSettings;
use parkgate_rules::emission::Outlet;
use parkgate_rules::emission::abatement::AbatementPair;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of a megabyte as settings count them (2^20).
const MEGABYTE: u64 = 1 << 20;

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// Folder of journal, history and state, relative to the main file; one gateway, one folder.
    #[garde(skip)]
    pub data_directory: PathBuf,
    /// HTTP server.
    #[garde(dive)]
    pub http: HttpSettings,
    /// Journal on disk.
    #[garde(dive)]
    pub journal: JournalTable,
    /// History on disk.
    #[garde(dive)]
    pub history: HistorySettings,
    /// Totals per hour, day, month and year.
    #[garde(dive)]
    pub totals: TotalsSettings,
    /// Which meter stands where in the park's networks, for indicators.
    #[garde(dive)]
    pub topology: TopologySettings,
    /// What reviews of projects rest on.
    #[garde(dive)]
    pub review: ReviewSettings,
    /// Input that could not be decoded.
    #[garde(dive)]
    pub rejects: RejectsSettings,
    /// Log.
    #[garde(dive)]
    pub log: LogSettings,
    /// Databases that get what the record gets.
    #[garde(dive, custom(|sinks: &Vec<SinkSettings>, context: &()| are_sinks(sinks, context)))]
    pub sink: Vec<SinkSettings>,
    /// Alarms.
    #[garde(dive)]
    pub alarms: AlarmSettings,
    /// Prometheus Alertmanagers that get every alarm.
    #[garde(dive, custom(|targets: &Vec<AlertmanagerSettings>, context: &()| are_alertmanagers(targets, context)))]
    pub alertmanager: Vec<AlertmanagerSettings>,
    /// Receivers that get every event of an alarm by a signed request.
    #[garde(dive, custom(|targets: &Vec<WebhookSettings>, context: &()| are_webhooks(targets, context)))]
    pub webhook: Vec<WebhookSettings>,
    /// Outlets whose emissions are counted and judged.
    #[garde(skip)]
    pub outlet: Vec<Outlet>,
    /// Which abatement belongs to which production.
    #[garde(skip)]
    pub abatement: Vec<AbatementPair>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            data_directory: "data".into(),
            http: HttpSettings::default(),
            journal: JournalTable::default(),
            history: HistorySettings::default(),
            totals: TotalsSettings::default(),
            topology: TopologySettings::default(),
            review: ReviewSettings::default(),
            rejects: RejectsSettings::default(),
            log: LogSettings::default(),
            sink: Vec::new(),
            alarms: AlarmSettings::default(),
            alertmanager: Vec::new(),
            webhook: Vec::new(),
            outlet: Vec::new(),
            abatement: Vec::new(),
        }
    }
}

impl OwnTable for GatewaySettings {
    fn misfits(&self, draft: &Draft) -> Vec<Misfit> {
        let mut misfits = emission::settings::misfits(&self.outlet, &self.abatement, draft);
        misfits.extend(self.topology.misfits(draft));
        misfits
    }
}

impl GatewaySettings {
    /// The settings of the parts from batch to record.
    pub fn engine(&self) -> EngineSettings {
        EngineSettings {
            journal: (&self.journal).into(),
            history: (&self.history).into(),
            normalise: NormaliseSettings::default(),
            rejects: RingSettings { budget_bytes: self.rejects.ring_megabytes.saturating_mul(MEGABYTE), ..RingSettings::default() },
            health: Default::default(),
            changed_counters: Vec::new(),
        }
    }
}

impl From<&HistorySettings> for store::HistorySettings {
    fn from(table: &HistorySettings) -> Self {
        Self {
            checkpoint_bytes: table.checkpoint_megabytes.saturating_mul(MEGABYTE),
            checkpoint_samples: table.checkpoint_samples,
            checkpoint_ms: u64::from(table.checkpoint_seconds).saturating_mul(1000),
            head_bytes: usize::try_from(table.head_megabytes.saturating_mul(MEGABYTE)).unwrap_or(usize::MAX),
            retention_months_compliance: table.compliance_retention_months,
            retention_months_other: table.raw_retention_months,
            budget_bytes: (table.budget_megabytes > 0).then(|| table.budget_megabytes.saturating_mul(MEGABYTE)),
        }
    }
}

/// `[gateway.http]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Address and port listened on. Loopback only, unless configured.
    #[garde(skip)]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Host names in requests that are answered, beside localhost and the address listened on: `["parkgate.example.com"]`.
    #[garde(skip)]
    pub allowed_hosts: Vec<String>,
    /// Demand a token on the loopback too, even while none was created. On any other address one is always demanded.
    #[garde(skip)]
    pub require_token: bool,
    /// Certificate of the server with those that lead to its issuer, as PEM. With it and `tls_key` the server speaks HTTPS;
    /// changed files are taken without a restart.
    #[garde(custom(both(&self.tls_key)))]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM; only the program's user should be able to read it.
    #[garde(custom(both(&self.tls_certificate)))]
    pub tls_key: Option<PathBuf>,
}

/// Certificate and key are given together.
fn both(other: &Option<PathBuf>) -> impl FnOnce(&Option<PathBuf>, &()) -> garde::Result + '_ {
    move |one, ()| {
        if one.is_some() == other.is_some() {
            return Ok(());
        }
        Err(garde::Error::new("tls_certificate and tls_key are given together, or neither"))
    }
}

impl HttpSettings {
    /// Certificate and key, paths counted from `base`, when TLS is configured.
    pub fn tls(&self, base: &Path) -> Option<(PathBuf, PathBuf)> {
        let (certificate, key) = (self.tls_certificate.as_ref()?, self.tls_key.as_ref()?);
        Some((base.join(certificate), base.join(key)))
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420),
            allowed_hosts: Vec::new(),
            require_token: false,
            tls_certificate: None,
            tls_key: None,
        }
    }
}

/// `[gateway.journal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalTable {
    /// Size of one segment file in MiB, preallocated.
    #[garde(range(min = 1, max = 1024))]
    pub segment_megabytes: u64,
    /// Most MiB that all segments together may take; then the journal is full and devices are not answered.
    #[garde(range(max = 1_048_576), custom(two_segments(&self.segment_megabytes)))]
    pub budget_megabytes: u64,
    /// MiB kept free on the disk; below it the journal is full.
    #[garde(range(max = 1_048_576))]
    pub reserve_megabytes: u64,
}

impl Default for JournalTable {
    fn default() -> Self {
        Self { segment_megabytes: 64, budget_megabytes: 4096, reserve_megabytes: 256 }
    }
}

/// One segment is written while another is read: a budget holds at least two.
fn two_segments(segment_megabytes: &u64) -> impl FnOnce(&u64, &()) -> garde::Result + '_ {
    move |budget_megabytes, ()| {
        if *budget_megabytes >= segment_megabytes.saturating_mul(2) {
            return Ok(());
        }
        Err(garde::Error::new(format!("must hold two segments of {segment_megabytes} megabytes")))
    }
}

impl From<&JournalTable> for JournalSettings {
    fn from(table: &JournalTable) -> Self {
        Self {
            segment_bytes: table.segment_megabytes.saturating_mul(MEGABYTE),
            budget_bytes: table.budget_megabytes.saturating_mul(MEGABYTE),
            reserve_bytes: table.reserve_megabytes.saturating_mul(MEGABYTE),
            ..Self::default()
        }
    }
}

/// `[gateway.history]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySettings {
    /// MiB of journal after which a checkpoint is written.
    #[garde(range(min = 1, max = 65_536))]
    pub checkpoint_megabytes: u64,
    /// Samples after which a checkpoint is written, even if they take less of the journal: a start reads them all again,
    /// at some 3 million a second.
    #[garde(range(min = 1_000, max = 1_000_000_000))]
    pub checkpoint_samples: u64,
    /// Seconds after which a checkpoint is written anyway.
    #[garde(range(min = 1, max = 86_400))]
    pub checkpoint_seconds: u32,
    /// MiB of memory for samples that are not in blocks yet.
    #[garde(range(min = 1, max = 65_536))]
    pub head_megabytes: u64,
    /// Months that raw samples are kept.
    #[garde(range(min = 1, max = 1200))]
    pub raw_retention_months: u32,
    /// MiB that history may take; beyond it the oldest months go early, but never those of compliance points. 0: no limit.
    #[garde(range(max = 1_073_741_824))]
    pub budget_megabytes: u64,
    /// Months that raw samples of compliance points are kept.
    #[garde(range(min = 1, max = 1200))]
    pub compliance_retention_months: u32,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            checkpoint_megabytes: 128,
            checkpoint_samples: 5_000_000,
            checkpoint_seconds: 300,
            head_megabytes: 64,
            raw_retention_months: 18,
            budget_megabytes: 0,
            compliance_retention_months: 60,
        }
    }
}

/// `[gateway.totals]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TotalsSettings {
    /// Minutes after its end that a period stays open for late readings; what changes later is a correction.
    #[garde(range(max = 10_080))]
    pub grace_minutes: u32,
}

impl TotalsSettings {
    /// The grace in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        i64::from(self.grace_minutes).saturating_mul(60_000)
    }
}

impl Default for TotalsSettings {
    fn default() -> Self {
        Self { grace_minutes: 10 }
    }
}

/// `[gateway.rejects]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RejectsSettings {
    /// MiB of the ring on disk that keeps input which could not be decoded; the oldest goes first.
    #[garde(range(min = 1, max = 65_536))]
    pub ring_megabytes: u64,
}

impl Default for RejectsSettings {
    fn default() -> Self {
        Self { ring_megabytes: 64 }
    }
}

/// `[gateway.log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Form of a line.
    #[garde(skip)]
    pub format: LogFormat,
    /// Least severe level that is written.
    #[garde(skip)]
    pub level: LogLevel,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Logfmt, level: LogLevel::Info }
    }
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Level of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Data lost, or a human must act.
    Error,
    /// Odd, recovered.
    Warn,
    /// Started, stopped, connected.
    Info,
    /// For developers.
    Debug,
    /// For developers, much.
    Trace,
}

impl LogLevel {
    /// The name as `tracing` filters take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use parkgate_collector::catalogue::{self, Disk, MemoryRegistry};

    use super::*;

    fn config() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
    }

    #[test]
    fn the_shipped_main_file_loads_with_the_defaults_it_tells() {
        let loaded = catalogue::load::<GatewaySettings>(&config().join("parkgate.toml"), &Disk).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.gateway, GatewaySettings::default());
        let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).unwrap();
        assert_eq!((catalogue.links.len(), catalogue.devices.len()), (2, 2));
        assert!(catalogue.point_by_stable_id("acme/gas-1/gas_volume").is_some());
    }

    /// Every `.toml` under `config/` that is a main file or a profile.
    #[test]
    fn every_shipped_file_is_fine() {
        let mut paths: Vec<PathBuf> =
            ["*.toml", "devices/*.toml", "examples/*.toml"].iter().flat_map(|pattern| glob(&config().join(pattern))).collect();
        paths.sort();
        assert!(paths.len() > 1);
        let report = catalogue::check_with::<GatewaySettings>(&paths, &Disk, parkgate_collector::commission::profile_test::judge);
        assert_eq!(report.exit_code(), 0, "{}", report.render(false));
    }

    /// Every key that the schema knows stands in the shipped main file, commented out or not.
    #[test]
    fn the_shipped_main_file_shows_every_key() {
        let schema = catalogue::schema::<GatewaySettings>();
        let mut keys = std::collections::BTreeSet::new();
        keys_of(&schema, &mut keys);
        assert!(keys.len() > 80, "{keys:?}");
        let text = std::fs::read_to_string(config().join("parkgate.toml")).unwrap();
        let missing: Vec<&String> = keys.iter().filter(|key| !shows(&text, key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// What is commented out in `[gateway]` is the default, and can be uncommented as it is.
    #[test]
    fn the_shipped_main_file_tells_the_defaults() {
        let text = std::fs::read_to_string(config().join("parkgate.toml")).unwrap();
        let (_, own) = text.split_once("\n[gateway]\n").unwrap();
        let is_key = |line: &str| {
            line.starts_with("# [[")
                || line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).is_some_and(|(key, _)| !key.contains(' '))
        };
        let own: String = own.lines().map(|line| if is_key(line) { &line[2..] } else { line }).flat_map(|line| [line, "\n"]).collect();
        let mut files = catalogue::MemoryFiles::default();
        files.files.insert("main.toml".into(), format!("[park]\nid = \"p\"\n[gateway]\n{own}"));
        let mut gateway =
            catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}")).gateway;
        assert!(!gateway.http.allowed_hosts.is_empty(), "nothing was uncommented");
        gateway.http.allowed_hosts.clear();
        (gateway.http.tls_certificate, gateway.http.tls_key) = (None, None);
        let shown = gateway.sink.pop().unwrap();
        let needed = SinkSettings {
            org: shown.org.clone(),
            bucket: shown.bucket.clone(),
            token: shown.token.clone(),
            ..SinkSettings::new(&shown.id, shown.kind, &shown.url)
        };
        assert_eq!(shown, needed);
        let shown = gateway.alertmanager.pop().unwrap();
        assert_eq!(shown, AlertmanagerSettings { name: shown.name.clone(), ..AlertmanagerSettings::new(&shown.url) });
        let shown = gateway.webhook.pop().unwrap();
        let needed =
            WebhookSettings { name: shown.name.clone(), secret_file: shown.secret_file.clone(), ..WebhookSettings::new(&shown.url) };
        assert_eq!(shown, needed);
        assert!(gateway.alarms.rules.is_some() && gateway.alarms.external_url.is_some());
        (gateway.alarms.rules, gateway.alarms.external_url) = (None, None);
        assert_eq!(gateway, GatewaySettings::default());
    }

    fn keys_of(schema: &serde_json::Value, keys: &mut std::collections::BTreeSet<String>) {
        match schema {
            serde_json::Value::Object(object) => {
                if let Some(serde_json::Value::Object(properties)) = object.get("properties") {
                    keys.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| keys_of(value, keys));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
            _ => {}
        }
    }

    /// As `key = ...`, or as the last part of a table's header.
    fn shows(text: &str, key: &str) -> bool {
        let assigned = |line: &str| {
            line.match_indices(&format!("{key} = "))
                .any(|(at, _)| line[..at].chars().last().is_none_or(|before| !before.is_alphanumeric() && before != '_'))
        };
        let heads = |line: &str| line.starts_with('[') && line.trim_matches(['[', ']']).rsplit('.').next() == Some(key);
        text.lines().any(|line| assigned(line) || heads(line.strip_prefix("# ").unwrap_or(line)))
    }

    #[test]
    fn settings_out_of_range_are_told() {
        let mut files = catalogue::MemoryFiles::default();
        let text = "[park]\nid = \"p\"\n[gateway.http]\nlisten = \"here\"\n[gateway.journal]\nbudget_megabytes = 100\n\
                    [gateway.history]\ncheckpoint_seconds = 0\n[gateway.log]\nformat = \"xml\"\nlevle = \"info\"\n";
        files.files.insert("main.toml".into(), text.into());
        let Err(catalogue::LoadError::Invalid(problems)) = catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files) else {
            panic!("taken as valid");
        };
        let lines: Vec<String> = problems.list().iter().map(|problem| format!("{problem}\n")).collect();
        expect_test::expect![[r#"
            main.toml:4:10: `listen`: invalid socket address syntax
            main.toml:6:20: `budget_megabytes`: must hold two segments of 64 megabytes
            main.toml:8:22: `checkpoint_seconds`: must not be lower than 1
            main.toml:10:10: `xml` is not known here; possible values: logfmt, json
            main.toml:11:1: unknown key `levle`; did you mean `level`?
        "#]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn mistakes_about_sinks_are_told() {
        let mut files = catalogue::MemoryFiles::default();
        let text = r#"[park]
id = "p"
[[gateway.sink]]
id = "one"
kind = "influxdb2"
url = "http://a:8086"
bucket = "b"
[[gateway.sink]]
id = "Two!"
kind = "victoriametrics"
url = "vm:8428"
db = "park"
[[gateway.sink]]
id = "three"
kind = "influxdb1"
url = "http://u:p@a:8086"
db = "d"
token = "x"
token_file = "y"
username = "u"
batch_lines = 0
[[gateway.sink]]
id = "three"
kind = "influxdb3"
url = "http://a?x=y"
"#;
        files.files.insert("main.toml".into(), text.into());
        let of = |text: &str| {
            let mut files = files.clone();
            files.files.insert("main.toml".into(), text.into());
            let Err(catalogue::LoadError::Invalid(problems)) = catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files) else {
                panic!("taken as valid");
            };
            problems.list().iter().map(|problem| format!("{problem}\n")).collect::<String>()
        };
        expect_test::expect![[r#"
            main.toml:3:1: `org`: a sink of kind influxdb2 needs it
            main.toml:9:6: `id`: must be of 1 to 64 small letters, digits, `-` and `_`: it names a file
            main.toml:11:7: `url`: must be like `http://influx.example.com:8086`, with a path where there is one
            main.toml:12:6: `db`: is for sinks of kind influxdb1 only
            main.toml:16:7: `url`: must have no query and no user: parameters and secrets have keys of their own
            main.toml:19:14: `token_file`: excludes `token`: keep one
            main.toml:20:12: `username`: excludes a token: keep one of the two
            main.toml:21:15: `batch_lines`: must not be lower than 1
            main.toml:24:8: `influxdb3` is not known here; did you mean `influxdb1`?
        "#]]
        .assert_eq(&of(text));
        expect_test::expect![[r#"
            main.toml:3:1: `org`: a sink of kind influxdb2 needs it
            main.toml:3:1: `sink`: sink `three` is there twice: each keeps its place under its own id
            main.toml:9:6: `id`: must be of 1 to 64 small letters, digits, `-` and `_`: it names a file
            main.toml:11:7: `url`: must be like `http://influx.example.com:8086`, with a path where there is one
            main.toml:12:6: `db`: is for sinks of kind influxdb1 only
            main.toml:16:7: `url`: must have no query and no user: parameters and secrets have keys of their own
            main.toml:19:14: `token_file`: excludes `token`: keep one
            main.toml:20:12: `username`: excludes a token: keep one of the two
            main.toml:21:15: `batch_lines`: must not be lower than 1
            main.toml:25:7: `url`: must have no query and no user: parameters and secrets have keys of their own
        "#]]
        .assert_eq(&of(&text.replace("influxdb3", "victoriametrics")));
    }

    #[test]
    fn megabytes_become_bytes() {
        let settings = JournalSettings::from(&JournalTable::default());
        assert_eq!((settings.segment_bytes, settings.budget_bytes, settings.reserve_bytes), (64 << 20, 4096 << 20, 256 << 20));
    }

    fn glob(pattern: &Path) -> Vec<PathBuf> {
        use parkgate_collector::catalogue::Files;
        Disk.glob(&pattern.display().to_string()).unwrap()
    }
}
