//! `parkgate token create|list|revoke`: who may come in.
//!
//! `create` and `revoke` ask the running gateway over its control socket, so that they count at once; with none running
//! they take the lock on the data directory themselves. `list` only reads. A token is printed once, by `create`.
//!
//! JSON keys: `id`, `name`, `role`, `enterprises`, `outlets`, `media`, `created_at`, `created_by`, `expires_at`,
//! `revoked_at`, `last_used_at`, `state` (`in_force`, `expired`, `revoked`); `create` adds `token`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parkgate_collector::catalogue::{Catalogue, Disk, MemoryRegistry};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_collector::model::{Medium, UtcMillis};
use serde_json::json;

use super::{DataArguments, say};
use crate::access::tokens::NewToken;
use crate::access::{Role, Scope, Token, Tokens, who};
use crate::app;
use crate::control::{Answer, Request};
use crate::store::{DataDirectory, Facts};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What `token` can do.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once.
    Create(CreateArguments),
    /// List all tokens, those revoked and expired included.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token; it counts no more at once.
    Revoke {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Its name or number.
        #[arg(value_name = "NAME|ID")]
        which: String,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Name, for lists and logs: who or what will use it.
    #[arg(long)]
    pub name: String,
    /// Role.
    #[arg(long)]
    pub role: Role,
    /// Show only this enterprise; may be repeated.
    #[arg(long, value_name = "ID")]
    pub enterprise: Vec<String>,
    /// Show only emissions of this device; may be repeated.
    #[arg(long, value_name = "DEVICE")]
    pub outlet: Vec<String>,
    /// Show only this medium; may be repeated. A regulator's are emission alone, unless given.
    #[arg(long, value_parser = medium)]
    pub medium: Vec<Medium>,
    /// When it expires: a date (its first moment in the park's zone) or a time in RFC 3339.
    #[arg(long, value_name = "DATE")]
    pub expires: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

fn medium(text: &str) -> Result<Medium, String> {
    let names = || Medium::ALL.iter().map(|medium| medium.name()).collect::<Vec<_>>().join(", ");
    Medium::ALL.iter().copied().find(|medium| medium.name() == text).ok_or_else(|| format!("media are: {}", names()))
}

/// `parkgate token`.
pub fn token(arguments: &TokenArguments) -> Result<ExitCode> {
    match &arguments.command {
        TokenCommand::Create(arguments) => create(arguments)?,
        TokenCommand::List { data, json } => list(data, *json)?,
        TokenCommand::Revoke { data, which } => {
            let request = Request::RevokeToken { which: which.clone(), who: who::user() };
            let token = match super::ask(&data.directory()?, &request)? {
                Some(Answer::Revoked { token }) => token,
                Some(_) => bail!("the running gateway gave the answer to another question"),
                None => alone(data)?.tokens.revoke(which, now(), &who::user())?,
            };
            say(&format!("token {} `{}` is revoked", token.id, token.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(arguments: &CreateArguments) -> Result<()> {
    let catalogue = configured(&arguments.data)?;
    let zone = catalogue.as_ref().map_or(TimeZone::UTC, crate::transfer::time::zone);
    let new = NewToken {
        name: arguments.name.clone(),
        role: arguments.role,
        scope: Scope {
            enterprises: arguments.enterprise.iter().cloned().collect(),
            outlets: arguments.outlet.iter().cloned().collect(),
            media: arguments.medium.iter().copied().collect(),
        },
        expires_at: arguments.expires.as_deref().map(|text| expiry(text, &zone)).transpose()?,
    };
    let request = Request::CreateToken { token: new.clone(), who: who::user() };
    let (token, secret) = match super::ask(&arguments.data.directory()?, &request)? {
        Some(Answer::Created { token, secret }) => (token, secret),
        Some(_) => bail!("the running gateway gave the answer to another question"),
        None => {
            let new = new.checked(catalogue.as_ref(), now())?;
            let (token, secret) = alone(&arguments.data)?.tokens.create(new, now(), &who::user())?;
            (token, secret.reveal().to_owned())
        }
    };
    if arguments.json {
        let mut line = row(&token, now());
        line["token"] = secret.into();
        say(&line.to_string());
    } else {
        say(&format!("token {} `{}`: {}", token.id, token.name, told(&token)));
        say("It is shown this once; keep it where only its user can read it:");
        say(&secret);
    }
    Ok(())
}

fn list(data: &DataArguments, json: bool) -> Result<()> {
    let directory = DataDirectory::open_read_only(&data.directory()?)?;
    let facts = Facts::open_read_only(&directory.facts())?;
    let tokens = facts.tokens().context("facts.db has no tokens yet, or they cannot be read; start the gateway once")?;
    let mut out = std::io::stdout().lock();
    for (token, _) in tokens {
        if json {
            writeln!(out, "{}", row(&token, now()))?;
        } else {
            let used = token.last_used_at.map_or_else(|| "never used".to_owned(), |time| format!("last used {time}"));
            let state = state(&token, now()).replace('_', " ");
            writeln!(
                out,
                "{} {} ({state}): {}; made {} by {}; {used}",
                token.id,
                token.name,
                told(&token),
                token.created_at,
                token.created_by
            )?;
        }
    }
    Ok(())
}

fn state(token: &Token, now: UtcMillis) -> &'static str {
    match token {
        Token { revoked_at: Some(_), .. } => "revoked",
        Token { expires_at: Some(expires_at), .. } if *expires_at <= now => "expired",
        _ => "in_force",
    }
}

/// Role, scope and expiry in words.
fn told(token: &Token) -> String {
    let mut parts = vec![token.role.name().to_owned()];
    let mut add = |what: &str, ids: Vec<&str>| {
        if !ids.is_empty() {
            parts.push(format!("{what} {}", ids.join(", ")));
        }
    };
    add("only enterprise", token.scope.enterprises.iter().map(String::as_str).collect());
    add("only outlet", token.scope.outlets.iter().map(String::as_str).collect());
    add("only medium", token.scope.media.iter().map(|medium| medium.name()).collect());
    if token.scope.is_everything() {
        parts.push("the whole park".to_owned());
    }
    parts.extend(token.expires_at.map(|time| format!("expires {time}")));
    parts.join("; ")
}

fn row(token: &Token, now: UtcMillis) -> serde_json::Value {
    let time = |time: Option<UtcMillis>| time.map(|time| time.to_string());
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "enterprises": token.scope.enterprises,
        "outlets": token.scope.outlets,
        "media": token.scope.media,
        "created_at": token.created_at.to_string(),
        "created_by": token.created_by,
        "expires_at": time(token.expires_at),
        "revoked_at": time(token.revoked_at),
        "last_used_at": time(token.last_used_at),
        "state": state(token, now),
    })
}

fn now() -> UtcMillis {
    SystemClock::new().now().utc
}

/// Reads when a token expires.
fn expiry(text: &str, zone: &TimeZone) -> Result<UtcMillis> {
    let stamp = match text.parse::<Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => text
            .parse::<Date>()
            .ok()
            .and_then(|date| date.to_zoned(zone.clone()).ok())
            .with_context(|| format!("`--expires {text}` is neither a date (2027-01-31) nor a time (2027-01-31T12:00:00+08:00)"))?
            .timestamp(),
    };
    Ok(UtcMillis(stamp.as_millisecond()))
}

/// The configuration's catalogue, for its zone and to check a scope; `None` when only a data directory is named.
fn configured(data: &DataArguments) -> Result<Option<Catalogue>> {
    if data.data.is_some() && !data.config.exists() {
        return Ok(None);
    }
    Ok(Some(app::load(&data.config, &Disk)?.draft.build(&mut MemoryRegistry::default())?))
}

/// The tokens with no gateway running, and the lock that keeps one from starting meanwhile.
struct Alone {
    tokens: Tokens,
    _directory: DataDirectory,
}

fn alone(data: &DataArguments) -> Result<Alone> {
    let path = data.directory()?;
    if data.data.is_some() && !path.is_dir() {
        bail!("there is no data directory {}", path.display());
    }
    let directory = DataDirectory::open_exclusive(&path)?;
    let tokens = Tokens::open(Arc::new(app::open_facts(&directory)?))?;
    Ok(Alone { tokens, _directory: directory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_first_moment_of_the_parks_day() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        for (text, expected) in [
            ("2027-01-31", "2027-01-30T16:00:00.000Z"),
            ("2027-01-31T12:00:00+08:00", "2027-01-31T04:00:00.000Z"),
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00.000Z"),
        ] {
            assert_eq!(expiry(text, &zone).unwrap().to_string(), expected);
        }
        assert!(expiry("tomorrow", &zone).unwrap_err().to_string().contains("2027-01-31"));
        assert_eq!(medium("gas"), Ok(Medium::Gas));
        assert!(medium("coffee").unwrap_err().contains("power, gas"));
    }
}
