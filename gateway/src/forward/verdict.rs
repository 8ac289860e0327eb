//! What a sink's answer to a write means. Pure.
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx without a page (InfluxDB 204, some compatible stores 200) | taken |
//! | 400, 413, 422 | something in it is not accepted: split |
//! | of those, "partial write: ... dropped=N" for a reason that lies in lines, N not below the lines sent | all of them are not accepted |
//! | of those, the same for any other reason: disk full, limit of series reached | the sink refuses us: a person must act |
//! | 408, 425, 429, 5xx, no answer in time, no connection | later; `Retry-After` counts |
//! | anything else: 401, 403, 404, a redirect, 200 with an HTML page | the sink refuses us: a person must act |
//!
//! InfluxDB writes what it can and names how many points it dropped, not which ("partial write: points beyond retention
//! policy dropped=1", 400 of InfluxDB 1, 422 of InfluxDB 2): the rest has been written, and splitting finds the ones it
//! dropped. But in the same words it says that it is full itself ("partial write: max-series-per-database limit exceeded:
//! (1000000) dropped=14989"): then there is nothing wrong with the lines, and they wait.
//! <https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/>

use std::time::Duration;

use parkgate_collector::model::UtcMillis;

/// Longest `Retry-After` that is honoured; a sink that names more is asked again then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Characters of an answer's text that are kept for logs and dead letters.
const TEXT_LENGTH_MAX: usize = 300;

/// Reasons of a partial write that lie in the lines: they would be dropped again at any time.
const REASONS_OF_LINES: &[&str] = &[
    "beyond retention policy",
    "outside retention policy",
    "outside range",
    "field type conflict",
    "invalid field name",
    "invalid tag key",
    "max key length exceeded",
];
/// A partial write that says so dropped lines without counting them.
const UNPARSABLE: &str = "unable to parse";

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The beginning of its body.
    pub body: String,
}

/// What an answer, or none, means for the lines that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are in the sink.
    Taken,
    /// Some are not accepted, or there are too many at once.
    Split {
        /// The sink's words.
        why: String,
        /// It says of every single one that it is not accepted.
        all: bool,
        /// It is about the size of the request.
        size: bool,
    },
    /// Not now.
    Later {
        /// What happened.
        why: String,
        /// When the sink wants to be asked again.
        after: Option<Duration>,
    },
    /// Not until someone mends something.
    Refused {
        /// The sink's words.
        why: String,
    },
}

/// Judges the answer to a request of `lines` lines.
pub fn verdict(answer: &Answer, lines: usize, now: UtcMillis) -> Verdict {
    let why = text_of(answer);
    match answer.status {
        200..=299 if answer.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html")) => Verdict::Refused { why },
        200..=299 => Verdict::Taken,
        413 => Verdict::Split { why, all: false, size: true },
        400 | 422 => match partial_write(&answer.body) {
            None => Verdict::Split { why, all: false, size: false },
            Some((reason, _)) if reason.contains(UNPARSABLE) => Verdict::Split { why, all: false, size: false },
            Some((reason, _)) if !REASONS_OF_LINES.iter().any(|one| reason.contains(one)) => Verdict::Refused { why },
            Some((_, 0)) => Verdict::Taken,
            Some((_, dropped)) => Verdict::Split { why, all: dropped >= lines, size: false },
        },
        408 | 425 | 429 | 500..=599 => {
            let after = answer.retry_after.as_deref().and_then(|text| retry_after(text, now));
            Verdict::Later { why, after }
        }
        _ => Verdict::Refused { why },
    }
}

/// `partial write: REASON dropped=12`.
fn partial_write(body: &str) -> Option<(&str, usize)> {
    let (_, behind) = body.split_once("partial write: ")?;
    let (reason, behind) = behind.rsplit_once("dropped=")?;
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    Some((reason, behind.get(..end)?.parse().ok()?))
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: UtcMillis) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            Duration::from_millis(u64::try_from(date.saturating_sub(now.0)).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn text_of(answer: &Answer) -> String {
    let body: String = answer.body.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_LENGTH_MAX).collect();
    if body.is_empty() { format!("answer {}", answer.status) } else { format!("answer {}: {body}", answer.status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    #[test]
    fn answers_are_judged_as_the_table_says() {
        let of = |answer: &Answer, lines| match verdict(answer, lines, UtcMillis(0)) {
            Verdict::Taken => "taken",
            Verdict::Split { all: true, .. } => "split all",
            Verdict::Split { size: true, .. } => "split size",
            Verdict::Split { .. } => "split",
            Verdict::Later { .. } => "later",
            Verdict::Refused { .. } => "refused",
        };
        let partial = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=1"}"#;
        for (status, body, lines, expected) in [
            (204, "", 5, "taken"),
            (200, "", 5, "taken"),
            (200, "{}", 5, "taken"),
            (400, r#"{"code":"invalid","message":"unable to parse"}"#, 5, "split"),
            (400, r#"{"error":"partial write: field type conflict: input field \"v\" dropped=1"}"#, 5, "split"),
            (422, partial, 5, "split"),
            (422, partial, 1, "split all"),
            (422, "partial write: points beyond retention policy dropped=7", 7, "split all"),
            (422, "partial write: points beyond retention policy dropped=0", 7, "taken"),
            (422, "dropped=7", 7, "split"),
            (400, r#"{"error":"partial write: field type conflict: input field \"v\" dropped=5"}"#, 5, "split all"),
            (422, "partial write: dropped 5 points outside retention policy of duration 1h0m0s dropped=5", 5, "split all"),
            (400, r#"{"error":"partial write: unable to parse 'm v=5x 5': invalid number dropped=0"}"#, 5, "split"),
            (400, r#"{"error":"partial write: write /db/_series/06/0002: no space left on device dropped=1"}"#, 1, "refused"),
            (400, r#"{"error":"partial write: write /db/_series/06/0002: no space left on device dropped=1"}"#, 5, "refused"),
            (400, r#"{"error":"partial write: max-series-per-database limit exceeded: (1000000) dropped=14989"}"#, 10_000, "refused"),
            (
                400,
                r#"{"error":"partial write: max-values-per-tag limit exceeded (100000/100000): measurement=\"m\" tag=\"t\" value=\"v\" dropped=1"}"#,
                1,
                "refused",
            ),
            (422, "partial write: shard 7 is pending deletion dropped=5", 5, "refused"),
            (400, "partial write of line protocol occurred", 5, "split"),
            (413, "", 5, "split size"),
            (301, "", 5, "refused"),
            (401, "", 5, "refused"),
            (403, "", 5, "refused"),
            (404, "", 5, "refused"),
            (408, "", 5, "later"),
            (429, "", 5, "later"),
            (500, "", 5, "later"),
            (503, "", 5, "later"),
        ] {
            assert_eq!(of(&answer(status, body), lines), expected, "{status} {body}");
        }
        let page = Answer { content_type: Some("text/html; charset=utf-8".into()), ..answer(200, "<html>") };
        assert_eq!(of(&page, 5), "refused");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06T08:49:37Z is 784111777 s after 1970.
        let now = UtcMillis(784_111_770_000);
        for (text, expected) in [
            ("30", Some(30_000)),
            (" 0 ", Some(0)),
            ("99999999", Some(3_600_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_millis), "{text}");
        }
    }
}
