//! Settings of alarms and of who gets them.

use std::path::PathBuf;

use garde::Validate;
use parkgate_collector::catalogue::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outgoing::{self, excludes};

/// Most receivers of each kind: each has a thread.
const TARGETS_MAX: usize = 16;

/// `[gateway.alarms]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSettings {
    /// Files of rules, as patterns relative to the main file; `alarms/*.toml` where that is there, unless given. Rules for
    /// silent devices, wrong clocks and the watchdog come with the program.
    #[garde(skip)]
    pub rules: Option<Vec<String>>,
    /// Hours that readings may come late and still raise alarms; five minutes at least. What is older is not looked at.
    #[garde(range(max = 8_760))]
    pub late_hours: u32,
    /// Address under which people reach the page, for links in what is sent: `https://parkgate.example.com`.
    #[garde(custom(|url: &Option<String>, _: &()| url.as_deref().map_or(Ok(()), is_url)))]
    pub external_url: Option<String>,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        Self { rules: None, late_hours: 168, external_url: None }
    }
}

/// `[[gateway.alertmanager]]`: a Prometheus Alertmanager, by its API v2. Every one gets all alarms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerSettings {
    /// Address, such as `http://alertmanager.example.com:9093`, with a path where there is one.
    #[garde(custom(|url: &String, _: &()| is_url(url)))]
    pub url: String,
    /// Name in metrics and logs, under which it is remembered what it got; its address unless given.
    #[serde(default)]
    #[garde(custom(|name: &Option<String>, _: &()| is_name(name.as_deref())))]
    pub name: Option<String>,
    /// Token that goes along as `Authorization: Bearer`.
    #[serde(default)]
    #[garde(skip)]
    pub token: Option<Secret>,
    /// File whose first line is the token; relative to the main file.
    #[serde(default)]
    #[garde(custom(excludes(self.token.is_some(), "token")))]
    pub token_file: Option<PathBuf>,
    /// File of authorities (PEM) that its certificate is checked against, instead of the public ones.
    #[serde(default)]
    #[garde(skip)]
    pub ca_file: Option<PathBuf>,
    /// Milliseconds that one request may take in all.
    #[serde(default = "timeout_ms")]
    #[garde(range(min = 100, max = 60_000))]
    pub timeout_ms: u32,
    /// Seconds between two times that an alarm that is on is sent.
    #[serde(default = "resend_s")]
    #[garde(range(min = 1, max = 60))]
    pub resend_s: u32,
    /// Seconds that an alarm stays on there at least: one that is over before its `group_wait` would be told to nobody.
    #[serde(default = "hold_s")]
    #[garde(range(max = 3_600))]
    pub hold_s: u32,
}

/// `[[gateway.webhook]]`: gets each event by a signed POST.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Address that events are posted to.
    #[garde(custom(|url: &String, _: &()| is_url(url)))]
    pub url: String,
    /// Name in metrics, logs and `receiver`; its address unless given.
    #[serde(default)]
    #[garde(custom(|name: &Option<String>, _: &()| is_name(name.as_deref())))]
    pub name: Option<String>,
    /// Secret that requests are signed with.
    #[serde(default)]
    #[garde(skip)]
    pub secret: Option<Secret>,
    /// File whose first line is the secret; relative to the main file.
    #[serde(default)]
    #[garde(custom(excludes(self.secret.is_some(), "secret")))]
    pub secret_file: Option<PathBuf>,
    /// File of authorities (PEM) that its certificate is checked against, instead of the public ones.
    #[serde(default)]
    #[garde(skip)]
    pub ca_file: Option<PathBuf>,
    /// Milliseconds that one request may take in all.
    #[serde(default = "timeout_ms")]
    #[garde(range(min = 100, max = 60_000))]
    pub timeout_ms: u32,
}

fn timeout_ms() -> u32 {
    10_000
}

fn resend_s() -> u32 {
    60
}

fn hold_s() -> u32 {
    60
}

impl AlertmanagerSettings {
    /// One with only its address, everything else as by default.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            name: None,
            token: None,
            token_file: None,
            ca_file: None,
            timeout_ms: timeout_ms(),
            resend_s: resend_s(),
            hold_s: hold_s(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.url)
    }
}

impl WebhookSettings {
    /// One with only its address, everything else as by default.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), name: None, secret: None, secret_file: None, ca_file: None, timeout_ms: timeout_ms() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.url)
    }
}

/// Each is there once.
pub fn are_alertmanagers(targets: &[AlertmanagerSettings], (): &()) -> garde::Result {
    each_once(targets.iter().map(AlertmanagerSettings::name).collect(), "alertmanager")
}

/// Each is there once.
pub fn are_webhooks(targets: &[WebhookSettings], (): &()) -> garde::Result {
    each_once(targets.iter().map(WebhookSettings::name).collect(), "webhook")
}

fn each_once(mut names: Vec<&str>, what: &str) -> garde::Result {
    if names.len() > TARGETS_MAX {
        return Err(garde::Error::new(format!("there are {} of {what}, {TARGETS_MAX} at most", names.len())));
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
        Some(name) => Err(garde::Error::new(format!("{what} `{name}` is there twice: what it got is remembered by its name"))),
        None => Ok(()),
    }
}

fn is_url(url: &str) -> garde::Result {
    outgoing::is_url(url, "http://receiver.example.com:9093", true)
}

fn is_name(name: Option<&str>) -> garde::Result {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match name {
        Some(name) if name.is_empty() || name.len() > 64 || !name.chars().all(plain) => {
            Err(garde::Error::new("must be of 1 to 64 letters, digits, `-`, `_` and `.`"))
        }
        _ => Ok(()),
    }
}
