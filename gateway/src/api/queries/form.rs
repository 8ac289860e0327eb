//! Parameters: from the address, and for POST from the form in the body too. A name may come several times.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use promql_parser::util::parse_duration;

use super::failure;
use crate::promql::eval::span_ms;
use crate::promql::{Error, TIME_MAX_MS};

/// Largest body, in bytes: a query of full length in which every byte is escaped, and then some.
const BODY_MAX: usize = 128 << 10;

/// All parameters in the order they came.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let mut form = Self::default();
        if parts.method == Method::POST {
            let Ok(bytes) = to_bytes(body, BODY_MAX).await else {
                let mut response = failure(&Error::BadData(format!("the form is longer than {BODY_MAX} bytes")));
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(response.into_response());
            };
            form.read(&bytes);
        }
        form.read(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(form)
    }
}

impl Form {
    /// Adds `a=b&c=d`, escaped as in a form.
    pub fn read(&mut self, text: &[u8]) {
        for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let cut = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(cut);
            self.0.push((decode(name), decode(value.get(1..).unwrap_or_default())));
        }
    }

    /// The first of a name; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, value)| have == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, value)| have == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// One that has to be there.
    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.get(name).ok_or_else(|| missing(name))
    }

    /// A time in milliseconds: RFC 3339, or seconds since 1970.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = match text.parse::<f64>() {
            Ok(seconds) => milliseconds(seconds),
            Err(_) => text.parse::<jiff::Timestamp>().ok().map(|timestamp| timestamp.as_millisecond()),
        };
        let time = time.filter(|time| (-TIME_MAX_MS..=TIME_MAX_MS).contains(time));
        time.map(Some).ok_or_else(|| Error::BadData(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp")))
    }

    /// A length of time in milliseconds: seconds, or `5m`, `1h30m`.
    pub fn span_ms(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let span = match text.parse::<f64>() {
            Ok(seconds) => milliseconds(seconds).filter(|span| span.abs() <= TIME_MAX_MS),
            Err(_) => parse_duration(text).ok().map(span_ms),
        };
        span.map(Some).ok_or_else(|| Error::BadData(format!("invalid parameter {name:?}: cannot parse {text:?} to a valid duration")))
    }

    /// `limit`, at most `most`; 0 or none means `most`.
    pub fn limit(&self, most: usize) -> Result<usize, Error> {
        let Some(text) = self.get("limit") else { return Ok(most) };
        match text.parse::<usize>() {
            Ok(0) => Ok(most),
            Ok(limit) => Ok(limit.min(most)),
            Err(_) => Err(Error::BadData(format!("invalid parameter \"limit\": {text:?} is no number"))),
        }
    }
}

/// A parameter that is not there.
pub fn missing(name: &str) -> Error {
    Error::BadData(format!("invalid parameter {name:?}: it is missing"))
}

fn milliseconds(seconds: f64) -> Option<i64> {
    // Far beyond any time, far below what i64 holds.
    (seconds.abs() < 1e15).then(|| (seconds * 1000.0).round() as i64)
}

/// `+` is a space, `%41` a byte; what is not UTF-8 is replaced, what is no escape stays.
fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', &[high, low, ref tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(nibble(high) << 4 | nibble(low));
                rest = tail;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0)
}

/// A label name as clients of Prometheus 3 escape it: `U__` in front, `__` for `_`, `_2e_` for any other character.
pub fn unescape(name: &str) -> Result<String, Error> {
    let Some(escaped) = name.strip_prefix("U__") else { return Ok(name.to_owned()) };
    let wrong = || Error::BadData(format!("invalid label name {name:?}"));
    let mut plain = String::new();
    let mut rest = escaped;
    while let Some(cut) = rest.find('_') {
        let (before, after) = rest.split_at(cut);
        plain.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        if let Some(after) = after.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let (code, after) = after.split_once('_').ok_or_else(wrong)?;
        plain.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?);
        rest = after;
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        let mut form = Form::default();
        form.read(text.as_bytes());
        form
    }

    #[test]
    fn reads_forms() {
        let form = form("query=sum%28x%29+%2B+1&match[]=a&match%5B%5D=%E7%A7%91&empty=&odd=%4&=x&&y");
        assert_eq!(form.get("query"), Some("sum(x) + 1"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "科"]);
        assert_eq!((form.get("empty"), form.get("odd"), form.get("y")), (None, Some("%4"), None));
    }

    #[test]
    fn reads_times_and_spans() {
        for (text, expected) in [
            ("1435781430.781", Some(1_435_781_430_781)),
            ("-1", Some(-1_000)),
            ("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781)),
            ("2015-07-01T20:10:30%2B00:00", Some(1_435_781_430_000)),
            ("1767323045678", None),
            ("NaN", None),
            ("inf", None),
            ("yesterday", None),
        ] {
            let time = form(&format!("time={text}")).time("time");
            assert_eq!(time.ok().flatten(), expected, "{text}");
        }
        for (text, expected) in [("15", Some(15_000)), ("0.5", Some(500)), ("1h30m", Some(5_400_000)), ("x", None), ("1e300", None)] {
            assert_eq!(form(&format!("step={text}")).span_ms("step").ok().flatten(), expected, "{text}");
        }
        assert_eq!(form("").time("time"), Ok(None));
    }

    #[test]
    fn reads_escaped_label_names() {
        for (escaped, plain) in
            [("medium", "medium"), ("U__medium", "medium"), ("U__a__b", "a_b"), ("U__http_2e_status", "http.status"), ("U___79d1_", "科")]
        {
            assert_eq!(unescape(escaped).as_deref(), Ok(plain), "{escaped}");
        }
        for wrong in ["U__a_", "U__a_zz_", "U__a_d800_"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}
