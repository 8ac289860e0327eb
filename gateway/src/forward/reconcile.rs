//! What the record has against what a sink answers: count and sum per point, series and day of the park.
//!
//! Sums are compared to a billionth of what was added, since sinks add floats. A difference that corrections of the record
//! explain is told apart (*superseded*): a value that became bad, got another time or is no more stays in the sink, and
//! VictoriaMetrics may keep an old value instead of the new one or beside it. So a sink can have as many values more as
//! were corrected on that day, never fewer. The gateway's own metrics are not compared.
//!
//! A point's values under the numbers that it had before count with it. Points that the configuration does not have are
//! left out on both sides and named in the [`Summary`].
//!
//! Asked are: InfluxDB 2 by Flux at `/api/v2/query`, InfluxDB 1 by InfluxQL at `/query`, VictoriaMetrics by
//! `count_over_time` and `sum_over_time` at `/api/v1/query` over `(end - 1 ms - length, end - 1 ms]`, which for stamps in
//! milliseconds is `[start, end)`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parkgate_collector::catalogue::{Catalogue, OWN_ID, Point};
use parkgate_collector::model::{Medium, PointId, PointIdentity, UtcMillis};
use serde::Serialize;
use serde_json::Value;

use super::client::Client;
use super::settings::{SinkKind, SinkSettings};
use super::table;
use crate::rollup::{Amount, Level, TotalsView};
use crate::series::What;
use crate::store::RecordView;

/// Sums differ when they differ by more than this share of what was added.
const SUM_TOLERANCE: f64 = 1e-9;
/// Samples of one day read at once where equal stamps have to be counted once.
const SCAN_MAX: usize = 10_000_000;

/// A day, or the part of it that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its date in the park's zone.
    pub date: String,
    /// Start, inclusive.
    pub from: UtcMillis,
    /// End, exclusive.
    pub to: UtcMillis,
}

/// What is compared.
pub struct Subject<'a> {
    /// The sink.
    pub sink: &'a SinkSettings,
    /// Asks it.
    pub client: &'a Client,
    /// Points and names.
    pub catalogue: &'a Arc<Catalogue>,
    /// All numbers that points have and had, from the registry.
    pub identities: &'a [(PointId, PointIdentity)],
    /// The record.
    pub record: &'a dyn RecordView,
    /// Totals; without them none are compared.
    pub totals: Option<&'a dyn TotalsView>,
    /// Where the record was corrected.
    pub corrected: &'a Corrected,
}

/// Where the record was corrected.
#[derive(Clone, Debug, Default)]
pub struct Corrected {
    /// Key times of samples, one for each correction.
    pub samples: HashMap<PointId, Vec<UtcMillis>>,
    /// Starts of closed periods whose totals changed, each once.
    pub totals: HashMap<(PointId, Level), BTreeSet<UtcMillis>>,
}

/// A place where both differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The sink.
    pub sink: String,
    /// The series.
    pub series: String,
    /// Stable id of the point.
    pub point: String,
    /// Code that a state's durations are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Date in the park's zone.
    pub day: String,
    /// Values in the record.
    pub count: u64,
    /// Their sum, exact.
    pub sum: String,
    /// Values in the sink.
    pub sink_count: u64,
    /// Their sum, as the sink adds.
    pub sink_sum: f64,
    /// The record was corrected after the sink had it.
    pub superseded: bool,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Days of series of points with values on either side.
    pub compared: u64,
    /// Values in the record.
    pub values: u64,
    /// Differences.
    pub differences: u64,
    /// Differences that are explained by later corrections.
    pub superseded: u64,
    /// Stable ids that the record or the sink has and the configuration has not: not compared.
    pub left_out: BTreeSet<String>,
}

/// Count and sum of one side, and the greatest value that went into the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Side {
    count: u64,
    sum: Amount,
    largest: f64,
}

impl Side {
    fn of(amount: Amount) -> Self {
        Self { count: 1, sum: amount, largest: amount.to_f64().abs() }
    }

    /// Both together; `None` when the sum does not fit.
    fn with(&self, other: &Self) -> Option<Self> {
        Some(Self { count: self.count + other.count, sum: add(self.sum, other.sum)?, largest: self.largest.max(other.largest) })
    }
}

/// Point and state code.
type Key = (String, Option<String>);

/// Compares day by day, series by series; `found` gets each difference.
///
/// # Errors
/// The sink does not answer, or the record cannot be read.
pub fn run(subject: &Subject<'_>, days: &[Day], mut found: impl FnMut(&Difference) -> Result<()>) -> Result<Summary> {
    let known = |stable_id: &str| subject.catalogue.point_by_stable_id(stable_id).is_some();
    // The gateway's own points join the configuration when it runs.
    let is_own = |stable_id: &str| stable_id.strip_prefix(OWN_ID).is_some_and(|rest| rest.starts_with('/'));
    let registered = subject.identities.iter().map(|(_, identity)| &identity.stable_id);
    let left_out = registered.filter(|stable_id| !known(stable_id) && !is_own(stable_id)).cloned().collect();
    let mut summary = Summary { left_out, ..Summary::default() };
    for (series, points) in series_of(subject) {
        for day in days {
            let mut theirs =
                ask(subject, &series, day).with_context(|| format!("{}_{} on {}", series.measurement, series.field, day.date))?;
            let mut keys: BTreeMap<Key, Side> = BTreeMap::new();
            for point in &points {
                for (state, side) in ours(subject, &series, point, day)? {
                    let sum = keys.entry((point.identity.stable_id.clone(), state)).or_default();
                    *sum = sum.with(&side).with_context(|| format!("the sum of {} does not fit", point.identity.stable_id))?;
                }
            }
            for key in theirs.keys() {
                keys.entry(key.clone()).or_default();
            }
            for ((stable_id, state), mut ours) in keys {
                let theirs = theirs.remove(&(stable_id.clone(), state.clone())).unwrap_or_default();
                if (ours.count, theirs.0) == (0, 0) {
                    continue;
                }
                if !known(&stable_id) {
                    summary.left_out.insert(stable_id);
                    continue;
                }
                summary.compared += 1;
                summary.values += ours.count;
                if agree(&ours, theirs) {
                    continue;
                }
                let numbers: Vec<&Arc<Point>> = points.iter().filter(|point| point.identity.stable_id == stable_id).collect();
                if series.what == What::Samples {
                    ours = by_stamp(subject, &numbers, day)?;
                    if agree(&ours, theirs) {
                        continue;
                    }
                }
                let corrected = numbers.iter().map(|point| corrections(subject.corrected, series.what, point.id, day)).sum();
                let difference = Difference {
                    sink: subject.sink.id.clone(),
                    series: format!("{}_{}", series.measurement, series.field),
                    point: stable_id,
                    state,
                    day: day.date.clone(),
                    count: ours.count,
                    sum: ours.sum.to_string(),
                    sink_count: theirs.0,
                    sink_sum: theirs.1,
                    superseded: is_superseded(subject.client.kind(), (ours.count, theirs.0), corrected),
                };
                if difference.superseded {
                    summary.superseded += 1;
                } else {
                    summary.differences += 1;
                }
                found(&difference)?;
            }
        }
    }
    Ok(summary)
}

fn agree(ours: &Side, (count, sum): (u64, f64)) -> bool {
    ours.count == count && (ours.sum.to_f64() - sum).abs() <= SUM_TOLERANCE * (ours.largest * count as f64).max(f64::MIN_POSITIVE)
}

/// A series name that points have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    measurement: String,
    field: String,
    what: What,
}

/// The series that go to the sink, with their points.
fn series_of(subject: &Subject<'_>) -> BTreeMap<Series, Vec<Arc<Point>>> {
    let mut all: BTreeMap<Series, Vec<Arc<Point>>> = BTreeMap::new();
    let points = table::numbered(subject.catalogue, subject.identities);
    for point in points.iter().filter(|point| point.medium != Medium::Gateway && subject.sink.wants(point)) {
        for what in What::of(point.identity.kind) {
            let wanted = match what {
                What::Samples => subject.sink.samples,
                What::Current(_) => false,
                What::Total(_) | What::Gauge(..) | What::State(_) => subject.sink.totals && subject.totals.is_some(),
            };
            if wanted {
                let (measurement, field) = table::measurement_and_field(point, what);
                all.entry(Series { measurement, field, what }).or_default().push(Arc::clone(point));
            }
        }
    }
    all
}

/// What the record has of one point's series on a day, by state code.
fn ours(subject: &Subject<'_>, series: &Series, point: &Point, day: &Day) -> Result<Vec<(Option<String>, Side)>> {
    let level = match series.what {
        What::Samples => {
            let buckets = subject.record.buckets(point.id, &[day.from, day.to])?;
            let Some(bucket) = buckets.first() else { return Ok(Vec::new()) };
            let decimals = point.identity.decimals;
            let largest = Amount { mantissa: i128::from(bucket.min.unsigned_abs().max(bucket.max.unsigned_abs())), decimals }.to_f64();
            return Ok(vec![(None, Side { count: bucket.count, sum: Amount { mantissa: bucket.sum, decimals }, largest })]);
        }
        What::Total(level) | What::Current(level) | What::Gauge(level, _) | What::State(level) => level,
    };
    let mut sides: BTreeMap<Option<String>, Side> = BTreeMap::new();
    let Some(totals) = subject.totals else { return Ok(Vec::new()) };
    for total in totals.totals(point.id, level, day.from, day.to)?.iter().filter(|total| total.closed) {
        for (_, state, amount) in table::figures(total).into_iter().filter(|(what, ..)| *what == series.what) {
            let side = sides.entry(state).or_default();
            *side = side.with(&Side::of(amount)).with_context(|| format!("the sum of {} does not fit", point.identity.stable_id))?;
        }
    }
    Ok(sides.into_iter().collect())
}

/// Samples of a day under all numbers of a point, with each stamp counted once, as a sink keeps them: the last of those with
/// one record time.
fn by_stamp(subject: &Subject<'_>, numbers: &[&Arc<Point>], day: &Day) -> Result<Side> {
    let mut by_stamp: BTreeMap<UtcMillis, Amount> = BTreeMap::new();
    for point in numbers {
        for sample in subject.record.scan(point.id, day.from, day.to, SCAN_MAX)? {
            if let Some(value) = sample.number().filter(|_| sample.status.quality() != parkgate_collector::model::Quality::Bad) {
                by_stamp.insert(sample.record_time, Amount { mantissa: i128::from(value), decimals: point.identity.decimals });
            }
        }
    }
    by_stamp.values().try_fold(Side::default(), |sum, &amount| sum.with(&Side::of(amount))).context("a sum does not fit")
}

/// The sum of two exact decimals; `None` when it does not fit.
fn add(one: Amount, other: Amount) -> Option<Amount> {
    let decimals = one.decimals.max(other.decimals);
    let scaled = |amount: Amount| {
        let power = 10_i128.checked_pow(u32::from(decimals.checked_sub(amount.decimals)?))?;
        amount.mantissa.checked_mul(power)
    };
    Some(Amount { mantissa: scaled(one)?.checked_add(scaled(other)?)?, decimals })
}

/// How many values of a series were corrected on a day.
fn corrections(corrected: &Corrected, what: What, point: PointId, day: &Day) -> u64 {
    let count = match what {
        What::Samples => {
            let times = corrected.samples.get(&point).map(Vec::as_slice).unwrap_or_default();
            times.iter().filter(|time| (day.from..day.to).contains(time)).count()
        }
        What::Total(level) | What::Current(level) | What::Gauge(level, _) | What::State(level) => {
            corrected.totals.get(&(point, level)).map_or(0, |starts| starts.range(day.from..day.to).count())
        }
    };
    count as u64
}

/// Whether corrections explain that the counts of record and sink, or their sums, differ. A sink has what it was given
/// before beside what counts now, so it has more, by one value for each correction at most; of VictoriaMetrics nobody
/// knows which of two values under one stamp it keeps. What a sink lacks was lost.
fn is_superseded(kind: SinkKind, (count, sink_count): (u64, u64), corrected: u64) -> bool {
    let Some(more) = sink_count.checked_sub(count) else { return false };
    corrected > 0 && more <= corrected && (more > 0 || kind == SinkKind::Victoriametrics)
}

/// Count and sum by point and state code, as the sink answers.
fn ask(subject: &Subject<'_>, series: &Series, day: &Day) -> Result<HashMap<Key, (u64, f64)>> {
    let is_state = matches!(series.what, What::State(_));
    match subject.client.kind() {
        SinkKind::Victoriametrics => ask_victoriametrics(subject.client, series, day, is_state),
        SinkKind::Influxdb1 => ask_influxdb1(subject.client, series, day, is_state),
        SinkKind::Influxdb2 => ask_influxdb2(subject, series, day, is_state),
    }
}

fn ask_victoriametrics(client: &Client, series: &Series, day: &Day, is_state: bool) -> Result<HashMap<Key, (u64, f64)>> {
    let name = format!("{}_{}", series.measurement, series.field);
    let by = if is_state { "point,state" } else { "point" };
    let (length, last) = (day.to.since(day.from), day.to.plus(-1));
    let time = format!("{}.{:03}", last.0.div_euclid(1000), last.0.rem_euclid(1000));
    let one = |function: &str| -> Result<HashMap<Key, f64>> {
        let query = format!("sum by ({by}) ({function}({{__name__=\"{name}\"}}[{length}ms]))");
        let text = client.ask("/api/v1/query", &[("query", &query), ("time", &time), ("nocache", "1")], None)?;
        let answer: Value = serde_json::from_str(&text).context("the sink answers no JSON")?;
        let items = answer["data"]["result"].as_array().context("the sink answers no vector")?;
        let mut values = HashMap::new();
        for item in items {
            let value = item["value"][1].as_str().and_then(|text| text.parse().ok()).context("a value is no number")?;
            values.insert(key_of(&item["metric"]["point"], &item["metric"]["state"], is_state), value);
        }
        Ok(values)
    };
    let (counts, sums) = (one("count_over_time")?, one("sum_over_time")?);
    Ok(counts.into_iter().map(|(key, count)| (key.clone(), (count as u64, sums.get(&key).copied().unwrap_or(f64::NAN)))).collect())
}

fn key_of(point: &Value, state: &Value, is_state: bool) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    (text(point), is_state.then(|| text(state)))
}

/// A name in double quotes, as InfluxQL and Flux have it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What series of a query are told apart by.
fn columns(is_state: bool) -> &'static str {
    if is_state { r#""point", "state""# } else { r#""point""# }
}

fn ask_influxdb1(client: &Client, series: &Series, day: &Day, is_state: bool) -> Result<HashMap<Key, (u64, f64)>> {
    let (field, measurement) = (quoted(&series.field), quoted(&series.measurement));
    let query = format!(
        "SELECT count({field}), sum({field}) FROM {measurement} WHERE time >= {}ms AND time < {}ms GROUP BY {}",
        day.from.0,
        day.to.0,
        columns(is_state)
    );
    let text = client.ask("/query", &[("q", &query), ("epoch", "ms")], None)?;
    let answer: Value = serde_json::from_str(&text).context("the sink answers no JSON")?;
    let result = &answer["results"][0];
    if let Some(error) = result["error"].as_str().or(answer["error"].as_str()) {
        anyhow::bail!("the sink says: {error}");
    }
    let mut values = HashMap::new();
    for item in result["series"].as_array().into_iter().flatten() {
        let row = &item["values"][0];
        let (count, sum) = (row[1].as_u64().context("a count is no number")?, row[2].as_f64().context("a sum is no number")?);
        values.insert(key_of(&item["tags"]["point"], &item["tags"]["state"], is_state), (count, sum));
    }
    Ok(values)
}

fn ask_influxdb2(subject: &Subject<'_>, series: &Series, day: &Day, is_state: bool) -> Result<HashMap<Key, (u64, f64)>> {
    let query = format!(
        "data = from(bucket: {}) |> range(start: {}, stop: {}) |> filter(fn: (r) => r._measurement == {} and r._field == {}) \
         |> group(columns: [{}])\ndata |> count() |> yield(name: \"count\")\ndata |> sum() |> yield(name: \"sum\")\n",
        quoted(subject.sink.bucket.as_deref().unwrap_or("")),
        day.from,
        day.to,
        quoted(&series.measurement),
        quoted(&series.field),
        columns(is_state),
    );
    let text = subject.client.ask("/api/v2/query", &[], Some(("application/vnd.flux", &query)))?;
    read_flux(&text, is_state)
}

/// Tables of a Flux answer: CSV whose header may come again behind an empty line; annotations begin with `#`.
fn read_flux(text: &str, is_state: bool) -> Result<HashMap<Key, (u64, f64)>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut header: Vec<String> = Vec::new();
    let mut values: HashMap<Key, (u64, f64)> = HashMap::new();
    // In the form with annotations the name of a result stands only there.
    let mut named = String::new();
    for row in reader.records() {
        let row = row.context("the sink answers no CSV")?;
        if row.get(0).is_some_and(|first| first.starts_with('#')) {
            if row.get(0) == Some("#default") {
                named = row.get(1).unwrap_or("").to_owned();
            }
            continue;
        }
        if row.get(1) == Some("result") {
            header = row.iter().map(str::to_owned).collect();
            continue;
        }
        if header.is_empty() || row.get(1) == Some("error") || row.get(0) == Some("error") {
            anyhow::bail!("the sink says: {}", row.iter().collect::<Vec<_>>().join(" "));
        }
        let cell = |name: &str| header.iter().position(|column| column == name).and_then(|place| row.get(place));
        let Some(value) = cell("_value") else { continue };
        let value: f64 = value.parse().context("a value is no number")?;
        let key = (cell("point").unwrap_or("").to_owned(), is_state.then(|| cell("state").unwrap_or("").to_owned()));
        let place = values.entry(key).or_default();
        match cell("result").filter(|result| !result.is_empty()).unwrap_or(&named) {
            "count" => place.0 = value as u64,
            _ => place.1 = value,
        }
    }
    Ok(values)
}

/// Days of the zone from `from` to `to`, the first and the last one as far as they are asked for.
///
/// # Errors
/// The zone is unknown, or a time lies beyond the calendar.
pub fn days(zone: &str, from: UtcMillis, to: UtcMillis) -> Result<Vec<Day>> {
    let zone = jiff::tz::TimeZone::get(zone)?;
    let mut days = Vec::new();
    let mut start = from;
    while start < to {
        let date = jiff::Timestamp::from_millisecond(start.0)?.to_zoned(zone.clone()).date();
        let next = date.tomorrow()?.to_zoned(zone.clone())?.timestamp().as_millisecond();
        let end = UtcMillis(next).min(to);
        if end <= start {
            break;
        }
        days.push(Day { date: date.to_string(), from: start, to: end });
        start = end;
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_parks_also_where_clocks_change() {
        let at = |text: &str| UtcMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        // Berlin, clocks go forward on 2026-03-29: that day has 23 hours.
        let found = days("Europe/Berlin", at("2026-03-28T12:00:00Z"), at("2026-03-30T01:00:00Z")).unwrap();
        let lengths: Vec<(String, i64)> = found.iter().map(|day| (day.date.clone(), day.to.since(day.from) / 3_600_000)).collect();
        assert_eq!(lengths, [("2026-03-28".into(), 11), ("2026-03-29".into(), 23), ("2026-03-30".into(), 3)]);
        assert_eq!(days("Asia/Shanghai", at("2026-11-01T16:00:00Z"), at("2026-11-02T16:00:00Z")).unwrap().len(), 1);
        assert!(days("Asia/Shanghai", at("2026-11-02T16:00:00Z"), at("2026-11-02T16:00:00Z")).unwrap().is_empty());
    }

    #[test]
    fn flux_answers_are_read() {
        let text = ",result,table,point,_value\r\n,count,0,acme/a,3\r\n,count,1,\"acme/b,c\",1\r\n\r\n,result,table,point,_value\r\n,sum,0,acme/a,7.5\r\n,sum,1,\"acme/b,c\",2\r\n\r\n";
        let found = read_flux(text, false).unwrap();
        assert_eq!(found.get(&("acme/a".into(), None)), Some(&(3, 7.5)));
        assert_eq!(found.get(&("acme/b,c".into(), None)), Some(&(1, 2.0)));
        let text = "#datatype,string,long,string,string,double\n#group,false,false,true,true,false\n#default,count,,,,\n,result,table,point,state,_value\n,,0,a,1,3\n";
        assert_eq!(read_flux(text, true).unwrap().len(), 1);
        assert_eq!(read_flux("\r\n", false).unwrap().len(), 0);
        read_flux("error,reference\nfailed to parse,897\n", false).unwrap_err();
    }

    #[test]
    fn corrections_explain_what_a_sink_has_too_much_and_no_loss() {
        use SinkKind::{Influxdb1, Influxdb2, Victoriametrics};
        for (kind, count, sink_count, corrected, expected) in [
            // The old value stays beside, or instead of, the new one.
            (Influxdb1, 10, 11, 1, true),
            (Influxdb2, 10, 13, 3, true),
            (Victoriametrics, 10, 12, 2, true),
            (Victoriametrics, 10, 10, 1, true),
            (Influxdb1, 0, 1, 1, true),
            // InfluxDB keeps the newer of two.
            (Influxdb1, 10, 10, 1, false),
            (Influxdb2, 10, 10, 1, false),
            // More than were corrected.
            (Influxdb1, 10, 12, 1, false),
            (Victoriametrics, 10, 13, 2, false),
            (Victoriametrics, 10, 10, 0, false),
            // Loss, whatever was corrected.
            (Influxdb1, 10, 9, 1, false),
            (Victoriametrics, 10, 9, 1, false),
            (Victoriametrics, 8_640, 0, 8_640, false),
        ] {
            assert_eq!(is_superseded(kind, (count, sink_count), corrected), expected, "{kind:?} {count} {sink_count} {corrected}");
        }
    }

    #[test]
    fn corrections_count_for_their_point_level_and_day() {
        let point = PointId(1);
        let starts = [UtcMillis(0), UtcMillis(5), UtcMillis(10)];
        let corrected = Corrected {
            samples: [(point, vec![UtcMillis(-1), UtcMillis(5), UtcMillis(5), UtcMillis(10)])].into(),
            totals: [((point, Level::Hour), starts.into())].into(),
        };
        let day = Day { date: String::new(), from: UtcMillis(0), to: UtcMillis(10) };
        let of = |what, point| corrections(&corrected, what, point, &day);
        assert_eq!((of(What::Samples, point), of(What::Samples, PointId(2))), (2, 0));
        assert_eq!((of(What::Total(Level::Hour), point), of(What::Gauge(Level::Day, crate::series::Stat::Min), point)), (2, 0));
    }

    #[test]
    fn exact_sums() {
        let amount = |mantissa, decimals| Amount { mantissa, decimals };
        assert_eq!(add(amount(15, 1), amount(25, 2)), Some(amount(175, 2)));
        assert_eq!(add(amount(i128::MAX, 0), amount(1, 0)), None);
        let side = |count, mantissa, largest| Side { count, sum: amount(mantissa, 1), largest };
        assert!(agree(&side(2, 15, 1.0), (2, 1.5)) && !agree(&side(2, 15, 1.0), (2, 1.6)) && !agree(&side(2, 15, 1.0), (3, 1.5)));
        assert!(agree(&side(1_000_000, 10_000_000_000, 1_000.0), (1_000_000, 1_000_000_000.000_1)));
    }
}
