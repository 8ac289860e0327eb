//! Results as JSON of the Prometheus API, written straight into text: an answer may have a million values.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::http::{HeaderMap, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::promql::eval::{Answer, number_text};
use crate::promql::source::is_absent;
use crate::promql::{Error, Grid, Labels, Row};

/// Largest body before compression, in bytes; a longer answer is refused.
const BODY_MAX: usize = 32 << 20;
/// Shorter bodies are not compressed.
const GZIP_MIN: usize = 1 << 10;

/// A body before compression.
pub struct Text(String);

/// A body as it is sent.
pub struct Encoded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether they are compressed.
    pub gzip: bool,
}

/// Whether who asks takes gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut offers = encodings.flat_map(|value| value.split(','));
    offers.any(|offer| {
        let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

impl Text {
    /// `data` of a success.
    pub fn of(data: &Value) -> Self {
        Self(format!("{{\"status\":\"success\",\"data\":{data}}}"))
    }

    /// Compresses it when that is wanted and worth it.
    pub fn encode(self, gzip: bool) -> Encoded {
        let plain = self.0.into_bytes();
        if !gzip || plain.len() < GZIP_MIN {
            return Encoded { bytes: plain, gzip: false };
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
        match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
            Ok(bytes) => Encoded { bytes, gzip: true },
            Err(_) => Encoded { bytes: plain, gzip: false },
        }
    }

    fn begin(kind: &str) -> Self {
        Self(format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":"))
    }

    fn end(mut self) -> Self {
        self.0.push_str("}}");
        self
    }

    fn text(&mut self, text: &str) {
        let quoted = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into());
        self.0.push_str(&quoted);
    }

    fn metric(&mut self, labels: &Labels) {
        self.0.push('{');
        for (index, (name, value)) in labels.iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            self.text(name);
            self.0.push(':');
            self.text(value);
        }
        self.0.push('}');
    }

    /// `[1435781451.781,"1"]`
    fn pair(&mut self, time: i64, value: f64) {
        self.0.push('[');
        self.seconds(time);
        self.0.push_str(",\"");
        if let Some(thousandths) = thousandths(value) {
            self.thousandths(thousandths);
        } else if value.is_finite() {
            let _ = write!(self.0, "{value}");
        } else {
            self.0.push_str(&number_text(value));
        }
        self.0.push_str("\"]");
    }

    fn seconds(&mut self, time: i64) {
        self.thousandths(time);
    }

    /// `number / 1000` in the fewest digits.
    fn thousandths(&mut self, number: i64) {
        // From the end: up to 16 digits before the point, three behind it.
        let mut text = [0; 24];
        let mut place = text.len();
        let mut rest = number.unsigned_abs();
        let mut put = |byte: u8| {
            place = place.saturating_sub(1);
            if let Some(slot) = text.get_mut(place) {
                *slot = byte;
            }
        };
        let mut is_behind_point = false;
        for digit in 0..3 {
            let byte = (rest % 10) as u8;
            rest /= 10;
            is_behind_point |= byte != 0;
            if is_behind_point {
                put(b'0' + byte);
            }
            if digit == 2 && is_behind_point {
                put(b'.');
            }
        }
        loop {
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            put(b'-');
        }
        self.0.push_str(text.get(place..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default());
    }

    /// `[item,item]`
    fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.0.push('[');
        let mut is_first = true;
        for item in items {
            if !std::mem::take(&mut is_first) {
                self.0.push(',');
            }
            write(self, item)?;
            if self.0.len() > BODY_MAX {
                return Err(Error::Execution(format!("the answer is larger than {BODY_MAX} bytes: ask for fewer series or a wider step")));
            }
        }
        self.0.push(']');
        Ok(())
    }
}

/// The whole number of thousandths that a value is, if its shortest decimals are those: most are, and need no search for
/// them. Up to 15 digits a decimal and its nearest float stand for each other.
fn thousandths(value: f64) -> Option<i64> {
    let thousandths = (value * 1000.0).round();
    let is_exact = thousandths.abs() < 1e15 && thousandths / 1000.0 == value && thousandths != 0.0;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 10^15")]
    is_exact.then_some(thousandths as i64)
}

/// The result of an instant query.
pub fn instant(answer: &Answer, time: i64) -> Result<Text, Error> {
    let mut text;
    match answer {
        Answer::Scalar(cells) => {
            text = Text::begin("scalar");
            text.pair(time, cells.first().copied().unwrap_or(f64::NAN));
        }
        Answer::Text(value) => {
            text = Text::begin("string");
            text.0.push('[');
            text.seconds(time);
            text.0.push(',');
            text.text(value);
            text.0.push(']');
        }
        Answer::Vector(rows) => {
            text = Text::begin("vector");
            let shown = rows.iter().filter_map(|row| Some((&row.labels, *row.cells.first()?))).filter(|(_, value)| !is_absent(*value));
            text.list(shown, |text, (labels, value)| {
                text.0.push_str("{\"metric\":");
                text.metric(labels);
                text.0.push_str(",\"value\":");
                text.pair(time, value);
                text.0.push('}');
                Ok(())
            })?;
        }
        Answer::Matrix(series) => {
            text = Text::begin("matrix");
            let mut series: Vec<_> = series.iter().collect();
            series.sort_by(|a, b| a.0.cmp(&b.0));
            text.list(series, |text, (labels, samples)| {
                text.values(labels, samples.times.iter().copied().zip(samples.values.iter().copied()))
            })?;
        }
    }
    Ok(text.end())
}

/// The result of a query over a range: series sorted by their labels.
pub fn range(answer: Answer, grid: Grid) -> Result<Text, Error> {
    let mut rows = match answer {
        Answer::Vector(rows) => rows,
        Answer::Scalar(cells) => vec![Row { labels: Labels::default(), cells }],
        Answer::Text(_) | Answer::Matrix(_) => return Err(crate::promql::eval::unexpected()),
    };
    rows.retain(|row| row.cells.iter().any(|&cell| !is_absent(cell)));
    rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut text = Text::begin("matrix");
    text.list(&rows, |text, row| {
        text.values(&row.labels, grid.times().zip(row.cells.iter().copied()).filter(|(_, value)| !is_absent(*value)))
    })?;
    Ok(text.end())
}

impl Text {
    fn values(&mut self, labels: &Labels, pairs: impl Iterator<Item = (i64, f64)>) -> Result<(), Error> {
        self.0.push_str("{\"metric\":");
        self.metric(labels);
        self.0.push_str(",\"values\":");
        self.list(pairs, |text, (time, value)| {
            text.pair(time, value);
            Ok(())
        })?;
        self.0.push('}');
        Ok(())
    }
}

/// Labels of series, as `series` gives them.
pub fn series(all: &[Labels]) -> Result<Text, Error> {
    let mut text = Text("{\"status\":\"success\",\"data\":".into());
    text.list(all, |text, labels| {
        text.metric(labels);
        Ok(())
    })?;
    text.0.push('}');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_shortest_that_read_back() {
        let mut random = fastrand::Rng::with_seed(3);
        let some = [0.0, -0.0, 1.0, -1.0, 0.001, -0.001, 0.0005, 0.1 + 0.2, 1e15, 999_999_999_999.999, -12.5, 1e-9, 1e21, f64::MAX, 100.01];
        let whole = (0..20_000).map(|_| random.i64(-2_000_000_000_000_000..2_000_000_000_000_000));
        let all = some.into_iter().chain(whole.map(|number| number as f64 / 1000.0)).chain((0..20_000).map(|_| fastrand::f64() * 1e4));
        for value in all {
            let mut text = Text(String::new());
            text.pair(1_500, value);
            assert_eq!(text.0, format!("[1.5,\"{value}\"]"));
        }
        for (time, expected) in
            [(0, "0"), (-1, "-0.001"), (1_000, "1"), (1_435_781_451_781, "1435781451.781"), (-62_135_596_800_000, "-62135596800")]
        {
            let mut text = Text(String::new());
            text.seconds(time);
            assert_eq!(text.0, expected);
        }
    }
}
