//! HTTP to a sink: one POST per request, with gzip, authorisation, a limit on time; never an error that is not a verdict.
//! Blocks: for the thread of the sink.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use parkgate_collector::catalogue::Secret;
use ureq::Agent;
use ureq::http::Response;

use super::settings::{SinkKind, SinkSettings};
use super::verdict::{Answer, Verdict, verdict};
use crate::outgoing;
use parkgate_collector::model::UtcMillis;

/// Bytes of an answer that are read; the rest of it is of no use.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Bytes of an answer to a query of reconcile.
const QUERY_BYTES_MAX: u64 = 1 << 30;

/// The sending and asking side of a sink.
pub struct Client {
    agent: Agent,
    kind: SinkKind,
    write_url: String,
    query_url: String,
    parameters: Vec<(&'static str, String)>,
    query_parameters: Vec<(&'static str, String)>,
    authorization: Option<Secret>,
    gzip: bool,
    packed: Vec<u8>,
}

impl Client {
    /// Made of settings whose files are relative to `base`.
    ///
    /// # Errors
    /// A file of a token or certificate cannot be used.
    pub fn new(settings: &SinkSettings, base: &Path) -> Result<Self> {
        let agent = outgoing::agent(settings.timeout_ms, settings.ca_file.as_deref(), base)?;
        let url = settings.url.trim_end_matches('/');
        let precision = ("precision", "ms".to_owned());
        let named = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let (path, parameters, query_parameters) = match settings.kind {
            SinkKind::Influxdb2 => {
                let org = named("org", &settings.org);
                let parameters = org.clone().into_iter().chain(named("bucket", &settings.bucket)).chain([precision]).collect();
                ("/api/v2/write", parameters, org.into_iter().collect())
            }
            SinkKind::Influxdb1 => {
                let db = named("db", &settings.db);
                ("/write", db.clone().into_iter().chain([precision]).collect(), db.into_iter().collect())
            }
            SinkKind::Victoriametrics => ("/write", vec![precision], Vec::new()),
        };
        Ok(Self {
            agent,
            kind: settings.kind,
            write_url: format!("{url}{path}"),
            query_url: settings.query_url.as_deref().unwrap_or(url).trim_end_matches('/').to_owned(),
            parameters,
            query_parameters,
            authorization: authorization(settings, base)?,
            gzip: settings.gzip,
            packed: Vec::new(),
        })
    }

    /// What it is.
    pub fn kind(&self) -> SinkKind {
        self.kind
    }

    /// Sends lines, of which there are `lines`. `now` is what dates in answers are compared with.
    pub fn write(&mut self, body: &[u8], lines: usize, now: UtcMillis) -> Verdict {
        match self.post(body) {
            Ok(answer) => verdict(&answer, lines, now),
            Err(ureq::Error::RedirectFailed) => Verdict::Refused { why: "the sink redirects elsewhere: set that as its url".into() },
            // A certificate that cannot be trusted does not become better by itself.
            Err(error @ (ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                Verdict::Refused { why: error.to_string() }
            }
            Err(error) => Verdict::Later { why: error.to_string(), after: None },
        }
    }

    fn post(&mut self, body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(&self.write_url).content_type("text/plain; charset=utf-8");
        for (name, value) in &self.parameters {
            request = request.query(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.reveal());
        }
        let response = if self.gzip {
            self.packed.clear();
            // The quickest level: lines of one series differ little, so it takes off nine tenths already.
            let mut encoder = GzEncoder::new(&mut self.packed, Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()?;
            request.header("Content-Encoding", "gzip").send(self.packed.as_slice())?
        } else {
            request.send(body)?
        };
        answer_of(response)
    }

    /// Asks a question of reconcile: a GET of a path with parameters, or a POST where there is a body with its type.
    ///
    /// # Errors
    /// No answer, or one other than 200.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)], body: Option<(&str, &str)>) -> Result<String> {
        let url = format!("{}{path}", self.query_url);
        let own = self.query_parameters.iter().map(|(name, value)| (*name, value.as_str()));
        let all = own.chain(parameters.iter().copied());
        let result = match body {
            None => {
                let mut request = self.agent.get(&url).query_pairs(all);
                if let Some(authorization) = &self.authorization {
                    request = request.header("Authorization", authorization.reveal());
                }
                request.call()
            }
            Some((kind, body)) => {
                let mut request = self.agent.post(&url).query_pairs(all).content_type(kind);
                if let Some(authorization) = &self.authorization {
                    request = request.header("Authorization", authorization.reveal());
                }
                request.send(body)
            }
        };
        let mut response = result.with_context(|| url.clone())?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(QUERY_BYTES_MAX).read_to_string().with_context(|| url.clone())?;
        if status != 200 {
            let shown: String = text.chars().take(500).collect();
            bail!("{url} answers {status}: {}", shown.trim());
        }
        Ok(text)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.write_url).finish_non_exhaustive()
    }
}

fn answer_of(mut response: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, content_type) = (header("retry-after"), header("content-type"));
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // The status counts, also where the rest does not come.
    let _ = response.body_mut().as_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut body);
    Ok(Answer { status, retry_after, content_type, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The header's value: `Token` as InfluxDB 2 wants it, `Bearer` elsewhere, else basic.
fn authorization(settings: &SinkSettings, base: &Path) -> Result<Option<Secret>> {
    let token = outgoing::secret(settings.token.as_ref(), settings.token_file.as_deref(), base);
    let token = token.with_context(|| format!("sink `{}`: token", settings.id))?;
    let value = match (token, &settings.username) {
        (Some(token), _) if settings.kind == SinkKind::Influxdb2 => format!("Token {}", token.reveal()),
        (Some(token), _) => format!("Bearer {}", token.reveal()),
        (None, Some(user)) => format!("Basic {}", base64(format!("{user}:{}", settings.password.as_ref().map_or("", Secret::reveal)))),
        (None, None) => return Ok(None),
    };
    Ok(Some(Secret::new(value)))
}

/// Bytes as text by RFC 4648, 4.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("user:päss", "dXNlcjpww6Rzcw==")]
        {
            assert_eq!(base64(text), expected);
        }
    }

    #[test]
    fn each_kind_has_its_own_address_and_secret() {
        let base = Path::new("");
        let of = |settings: &SinkSettings| {
            let client = Client::new(settings, base).unwrap();
            let parameters: Vec<String> = client.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let secret = client.authorization.map(|secret| secret.reveal().to_owned());
            (format!("{}?{}", client.write_url, parameters.join("&")), secret)
        };
        let mut settings = SinkSettings::new("a", SinkKind::Influxdb2, "http://a:1/");
        (settings.org, settings.bucket, settings.token) = (Some("o".into()), Some("b".into()), Some(Secret::new("t".into())));
        assert_eq!(of(&settings), ("http://a:1/api/v2/write?org=o&bucket=b&precision=ms".into(), Some("Token t".into())));
        let mut settings = SinkSettings::new("a", SinkKind::Influxdb1, "http://a:1");
        (settings.db, settings.username, settings.password) = (Some("d".into()), Some("u".into()), Some(Secret::new("p".into())));
        assert_eq!(of(&settings), ("http://a:1/write?db=d&precision=ms".into(), Some("Basic dTpw".into())));
        let settings = SinkSettings::new("a", SinkKind::Victoriametrics, "http://a:1/insert/7/influx");
        assert_eq!(of(&settings), ("http://a:1/insert/7/influx/write?precision=ms".into(), None));
    }
}
