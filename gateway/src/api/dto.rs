//! What the API says, as types: names and forms here are a contract, held by golden tests.
//!
//! Times are RFC 3339 in UTC with milliseconds; those that programs compute with come as milliseconds since 1970 too.
//! Measured values are decimal numbers in strings, digit for digit as recorded, since a JSON number is read as binary
//! floating point by most readers. A value that is not there is `null`, never 0.

use parkgate_collector::catalogue::{Catalogue, Device, DeviceAddress, DriverSettings, Names, Point};
use parkgate_collector::health::{Health, State, Unknown, Unknowns};
use parkgate_collector::model::decimal::div_half_even;
use parkgate_collector::model::{Kind, Medium, Origin, Quality, Reason, ReferenceState, Sample, Step, Unit, UtcMillis};
use serde::Serialize;
use utoipa::ToSchema;

use super::visible::Visible;
use crate::access::{Grant, Role, Scope};
use crate::store::Bucket;

/// A name in both languages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NamesDto {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl From<&Names> for NamesDto {
    fn from(names: &Names) -> Self {
        Self { zh: names.zh.clone(), en: names.en.clone() }
    }
}

/// Who asks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionDto {
    /// Name of the token; `local` for whoever asks from this machine while no token is demanded.
    pub name: String,
    /// Role.
    #[schema(value_type = String, example = "viewer")]
    pub role: Role,
    /// What is visible.
    pub scope: ScopeDto,
    /// When the token expires; `null` when it does not, or there is none.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// What is visible. An empty list restricts nothing; lists restrict together.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScopeDto {
    /// Ids of enterprises.
    pub enterprises: Vec<String>,
    /// Device ids of outlets: of these the points of medium emission, and no other medium.
    pub outlets: Vec<String>,
    /// Media.
    #[schema(value_type = Vec<String>)]
    pub media: Vec<Medium>,
}

impl SessionDto {
    /// Of what a request was let in with.
    pub fn new(grant: &Grant) -> Self {
        let identity = &grant.identity;
        Self {
            name: identity.name.clone(),
            role: identity.role,
            scope: (&identity.scope).into(),
            expires_at: grant.expires_at().map(|time| time.to_string()),
        }
    }
}

impl From<&Scope> for ScopeDto {
    fn from(scope: &Scope) -> Self {
        Self {
            enterprises: scope.enterprises.iter().cloned().collect(),
            outlets: scope.outlets.iter().cloned().collect(),
            media: scope.media.iter().copied().collect(),
        }
    }
}

/// The park and the gateway that answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParkDto {
    /// Stable id.
    pub id: String,
    /// Names.
    pub name: NamesDto,
    /// IANA name of the zone that its days and months are in.
    #[schema(example = "Asia/Shanghai")]
    pub time_zone: String,
    /// Enterprises in the order of the configuration.
    pub enterprises: Vec<EnterpriseDto>,
    /// Number of devices.
    pub devices: usize,
    /// Number of points.
    pub points: usize,
    /// Whether this is the demo: all meters are simulated.
    pub demo: bool,
    /// Version of the program.
    pub version: String,
    /// Identifies this run of the program.
    pub boot_id: String,
    /// Checksum of the running configuration, as in the journal.
    #[schema(example = "1f00c0de")]
    pub catalogue_version: String,
    /// The gateway's clock.
    #[schema(format = DateTime)]
    pub time: String,
}

/// One enterprise.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EnterpriseDto {
    /// Stable id.
    pub id: String,
    /// Names.
    pub name: NamesDto,
}

/// One meter and how it is doing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceDto {
    /// Stable id.
    pub id: String,
    /// Names.
    pub name: NamesDto,
    /// Id of its enterprise; `null` for the park's own.
    pub enterprise: Option<String>,
    /// Id of the link it is reached by.
    pub link: String,
    /// What the link speaks.
    #[schema(example = "modbus_tcp")]
    pub driver: &'static str,
    /// Where it is, for a person: host, port and unit, or broker and topics.
    #[schema(example = "10.1.2.3:502 unit 7")]
    pub address: String,
    /// Profile it was made from.
    pub profile: Option<String>,
    /// Where its values come from.
    #[schema(value_type = String, example = "metered")]
    pub origin: Origin,
    /// Number of its points.
    pub points: usize,
    /// The device's own health.
    pub health: HealthDto,
    /// Health of its link.
    pub link_health: HealthDto,
}

impl DeviceDto {
    /// Of a device, with what the board says about it and its link.
    ///
    /// Errors and counts of a device may be about any of its points, of a link about any of its devices: only who sees all of
    /// them is told.
    pub fn new(visible: Visible<'_>, device: &Device, health: Option<&Health>, link_health: Option<&Health>) -> Self {
        Self {
            id: device.id.clone(),
            name: (&device.name).into(),
            enterprise: device.enterprise.clone(),
            link: device.link.id.clone(),
            driver: device.link.driver.name(),
            address: address(device),
            profile: device.profile.clone(),
            origin: device.origin,
            points: visible.points_of(device).count(),
            health: HealthDto::new(health).told(visible.sees_all_of(device)),
            link_health: HealthDto::new(link_health).told(visible.sees_everything()),
        }
    }
}

/// One meter with its points.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceDetailDto {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceDto,
    /// Its points, in the order of the configuration.
    pub point_list: Vec<PointDto>,
}

/// What is heard of devices that are not configured.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnknownDevicesDto {
    /// One entry per topic, by link and topic.
    pub items: Vec<UnknownDto>,
    /// Messages on further topics.
    pub others: u64,
}

/// A topic that no device has.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnknownDto {
    /// Id of the link it came by.
    pub link: String,
    /// The topic.
    #[schema(example = "park/acme/em-7/telemetry")]
    pub topic: String,
    /// Messages since start.
    pub count: u64,
    /// First message.
    #[schema(format = DateTime)]
    pub first: String,
    /// Last message.
    #[schema(format = DateTime)]
    pub last: String,
    /// Beginning of the first payload, as text.
    pub sample: String,
    /// A `[[device]]` for the configuration; what could not be guessed is `choose`.
    pub snippet: String,
}

impl From<Unknowns> for UnknownDevicesDto {
    fn from(unknowns: Unknowns) -> Self {
        let dto = |one: Unknown| UnknownDto {
            link: one.link,
            topic: one.topic,
            count: one.count,
            first: one.first.to_string(),
            last: one.last.to_string(),
            sample: one.sample,
            snippet: one.snippet,
        };
        Self { items: unknowns.list.into_iter().map(dto).collect(), others: unknowns.others }
    }
}

/// How a device or link is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HealthDto {
    /// `unknown`, `up`, `degraded` (it answers, but not for everything asked) or `down`.
    #[schema(value_type = String, example = "up")]
    pub state: State,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// Last usable answer.
    #[schema(format = DateTime)]
    pub last_ok: Option<String>,
    /// Last error, for a person; it may be long over. `null` also where it may be about what the asker does not see.
    pub last_error: Option<String>,
    /// When that was; `null` also where `last_error` is hidden.
    #[schema(format = DateTime)]
    pub last_error_time: Option<String>,
    /// Readings received since start. This and the counts below are `null` where they may be about what the asker does not see.
    pub received: Option<u64>,
    /// Inputs rejected since start.
    pub rejected: Option<u64>,
    /// Polls, messages or requests that failed since start.
    pub failed: Option<u64>,
    /// Polls skipped since start because the one before was not done.
    pub skipped: Option<u64>,
    /// Why the values of a device are doubted as a whole, for a person: its energy, its power and its nameplate disagree.
    #[schema(example = "energy_import rises 40 times what power says: is the CT ratio (multiplier) 40, and missing in power?")]
    pub doubt: Option<String>,
}

impl HealthDto {
    /// Of a line on the board; `None` when nothing was heard yet.
    pub fn new(health: Option<&Health>) -> Self {
        let health = health.cloned().unwrap_or_default();
        Self {
            state: health.state,
            since: (health.since != UtcMillis::default()).then(|| health.since.to_string()),
            last_ok: health.last_ok.map(|time| time.to_string()),
            last_error: health.last_error,
            last_error_time: health.last_error_time.map(|time| time.to_string()),
            received: Some(health.received),
            rejected: Some(health.rejected),
            failed: Some(health.failed),
            skipped: Some(health.skipped),
            doubt: health.doubt,
        }
    }

    /// With its errors and counts only for who may know them.
    pub fn told(self, is_told: bool) -> Self {
        if is_told {
            return self;
        }
        let Self { state, since, last_ok, .. } = self;
        Self {
            state,
            since,
            last_ok,
            last_error: None,
            last_error_time: None,
            received: None,
            rejected: None,
            failed: None,
            skipped: None,
            doubt: None,
        }
    }
}

/// One measured quantity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PointDto {
    /// Stable id: what other routes take as `point`.
    #[schema(example = "acme/main-meter/energy_import")]
    pub id: String,
    /// Stable id of its device.
    pub device: String,
    /// Id of its enterprise; `null` for the park's own.
    pub enterprise: Option<String>,
    /// Names.
    pub name: NamesDto,
    /// Quantity in series names.
    #[schema(example = "energy_import")]
    pub quantity: String,
    /// What flows, or what the value is about.
    #[schema(value_type = String, example = "power")]
    pub medium: Medium,
    /// How values behave in time: `gauge`, `counter` or `state`.
    #[schema(value_type = String, example = "counter")]
    pub kind: Kind,
    /// Unit of all values given for it.
    #[schema(value_type = String, example = "kWh")]
    pub unit: Unit,
    /// Decimals kept.
    pub decimals: u8,
    /// Reference state of a gas volume.
    #[schema(value_type = Option<String>)]
    pub reference: Option<ReferenceState>,
    /// Interval at which values are expected; `null` where unknown.
    pub interval_ms: Option<u32>,
    /// Valid range, both ends inclusive, in `unit`.
    pub valid_min: Option<String>,
    /// See `valid_min`.
    pub valid_max: Option<String>,
    /// Unit that pages show it in; absent when that is `unit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<DisplayDto>,
    /// Where its values come from.
    #[schema(value_type = String, example = "metered")]
    pub origin: Origin,
}

/// Another unit to show values in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DisplayDto {
    /// The unit.
    #[schema(value_type = String, example = "MWh")]
    pub unit: Unit,
    /// Digits that the decimal point moves to the left: value in `unit` * 10^-shift.
    #[schema(example = 3)]
    pub shift: i8,
}

impl PointDto {
    /// Of a point of `catalogue`.
    pub fn new(catalogue: &Catalogue, point: &Point) -> Self {
        let device = catalogue.device(&point.device);
        let unit = point.identity.unit;
        Self {
            id: point.identity.stable_id.clone(),
            device: point.device.clone(),
            enterprise: device.and_then(|device| device.enterprise.clone()),
            name: (&point.name).into(),
            quantity: point.quantity.clone(),
            medium: point.medium,
            kind: point.identity.kind,
            unit,
            decimals: point.identity.decimals,
            reference: point.reference,
            interval_ms: point.interval_ms,
            valid_min: point.valid_min.map(|number| number.to_string()),
            valid_max: point.valid_max.map(|number| number.to_string()),
            display: catalogue.park.display_units.get(&unit).and_then(|&shown| display(unit, shown)),
            origin: device.map_or(Origin::Metered, |device| device.origin),
        }
    }
}

/// One recorded value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SampleDto {
    /// The time that counts.
    #[schema(format = DateTime)]
    pub record_time: String,
    /// The same in milliseconds since 1970.
    pub record_time_ms: i64,
    /// The device's own stamp, if it gave one; may be wrong.
    #[schema(format = DateTime)]
    pub source_time: Option<String>,
    /// When it reached the gateway.
    #[schema(format = DateTime)]
    pub received_time: String,
    /// The number in the point's unit, exactly as recorded; `null` where there is none.
    #[schema(example = "12345.60")]
    pub value: Option<String>,
    /// `good`, `uncertain` (there is a number, but a check raised a doubt) or `bad`.
    #[schema(value_type = String, example = "good")]
    pub quality: Quality,
    /// Why it is not good; absent when there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "timeout")]
    pub reason: Option<Reason>,
    /// Where the value comes from.
    #[schema(value_type = String, example = "metered")]
    pub origin: Origin,
    /// Counters: how the register relates to the one before; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "delta")]
    pub step: Option<Step>,
}

impl SampleDto {
    /// Of a sample of a point with `decimals`.
    pub fn new(sample: &Sample, decimals: u8) -> Self {
        let (reason, step) = (sample.status.reason(), sample.status.step());
        Self {
            record_time: sample.record_time.to_string(),
            record_time_ms: sample.record_time.0,
            source_time: sample.source_time.map(|time| time.to_string()),
            received_time: sample.received_time.to_string(),
            value: sample.number().map(|mantissa| decimal(i128::from(mantissa), decimals)),
            quality: sample.status.quality(),
            reason: (reason != Reason::None).then_some(reason),
            origin: sample.status.origin(),
            step: (step != Step::None).then_some(step),
        }
    }
}

/// The last value of a point.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LatestDto {
    /// Stable id of the point.
    pub point: String,
    /// Gateway's clock minus record time; `null` without a sample. Below 0 when the device's clock is ahead.
    pub age_ms: Option<i64>,
    /// The sample; `null` when nothing was ever recorded.
    pub sample: Option<SampleDto>,
}

impl LatestDto {
    /// Of a point and its last sample, at `now`.
    pub fn new(point: &Point, sample: Option<&Sample>, now: UtcMillis) -> Self {
        Self {
            point: point.identity.stable_id.clone(),
            age_ms: sample.map(|sample| now.since(sample.record_time)),
            sample: sample.map(|sample| SampleDto::new(sample, point.identity.decimals)),
        }
    }
}

/// Decimals that a mean has beyond those of its point.
const MEAN_EXTRA_DECIMALS: u8 = 3;

/// What lies in `[start, end)`. Numbers are about samples that have one and are not bad, and `null` without any.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BucketDto {
    /// Start, inclusive.
    #[schema(format = DateTime)]
    pub start: String,
    /// The same in milliseconds since 1970.
    pub start_ms: i64,
    /// End, exclusive, in milliseconds since 1970.
    pub end_ms: i64,
    /// Samples of any quality.
    pub samples: u64,
    /// Samples that the numbers are about.
    pub count: u64,
    /// The smallest.
    pub min: Option<String>,
    /// The largest.
    pub max: Option<String>,
    /// Sum divided by count, each sample weighing the same; three more decimals than the point, rounded half to even.
    pub mean: Option<String>,
    /// The sum.
    pub sum: Option<String>,
    /// The earliest.
    pub first: Option<StampedDto>,
    /// The last.
    pub last: Option<StampedDto>,
}

/// A number with its record time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StampedDto {
    /// Record time in milliseconds since 1970.
    pub time_ms: i64,
    /// The number in the point's unit.
    pub value: String,
}

impl BucketDto {
    /// Of a bucket of a point with `decimals`.
    pub fn new(bucket: &Bucket, decimals: u8) -> Self {
        let some = |mantissa: i128| (bucket.count > 0).then(|| decimal(mantissa, decimals));
        let stamped = |end: Option<(UtcMillis, i64)>| {
            end.map(|(time, mantissa)| StampedDto { time_ms: time.0, value: decimal(i128::from(mantissa), decimals) })
        };
        let mean = bucket
            .sum
            .checked_mul(10i128.pow(u32::from(MEAN_EXTRA_DECIMALS)))
            .and_then(|scaled| div_half_even(scaled, i128::from(bucket.count)))
            .map(|mantissa| decimal(mantissa, decimals.saturating_add(MEAN_EXTRA_DECIMALS)));
        Self {
            start: bucket.start.to_string(),
            start_ms: bucket.start.0,
            end_ms: bucket.end.0,
            samples: bucket.samples,
            count: bucket.count,
            min: some(i128::from(bucket.min)),
            max: some(i128::from(bucket.max)),
            mean,
            sum: some(bucket.sum),
            first: stamped(bucket.first),
            last: stamped(bucket.last),
        }
    }
}

/// A list that is complete, or cut at `limit` with the way on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next part starts; `null` at the end. What to pass it as is told by the route.
    pub next: Option<String>,
}

/// A part of a point's record, as [`Page`].
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordPage<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to pass as `from` for the next part; `null` at the end.
    pub next: Option<String>,
    /// Damaged blocks, or whole files, that could not be read: what they held is missing in `items`. Absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged_blocks: Option<u64>,
}

/// `mantissa * 10^-decimals` in plain notation, with all its decimals.
pub fn decimal(mantissa: i128, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let sign = if mantissa < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = decimals.saturating_add(1));
    match digits.split_at_checked(digits.len().saturating_sub(decimals)) {
        Some((whole, fraction)) if decimals > 0 => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}"),
    }
}

/// How to show `from` in `to`, when that only moves the decimal point.
pub(super) fn display(from: Unit, to: Unit) -> Option<DisplayDto> {
    let conversion = from.conversion_to(to).filter(|conversion| conversion.offset_numerator == 0 && from != to)?;
    let shift = (-18i8..=18).find(|&shift| {
        let power = 10i128.pow(u32::from(shift.unsigned_abs()));
        let (numerator, denominator) = if shift < 0 { (power, 1) } else { (1, power) };
        (conversion.numerator, conversion.denominator) == (numerator, denominator)
    })?;
    Some(DisplayDto { unit: to, shift })
}

fn address(device: &Device) -> String {
    let peer = match &device.link.driver {
        DriverSettings::Own => return "/metrics".into(),
        driver => driver.peer(),
    };
    match &device.address {
        DeviceAddress::Mqtt(address) => {
            let mut filters: Vec<&str> = Vec::new();
            for topic in &address.topics {
                if !filters.contains(&topic.subscription.as_str()) {
                    filters.push(&topic.subscription);
                }
            }
            format!("{peer} {}", filters.join(", "))
        }
        DeviceAddress::Modbus(address) => format!("{peer} unit {}", address.unit_id),
        DeviceAddress::Own => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (mantissa, decimals, text) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (12_345, 2, "123.45"),
            (-12_345, 0, "-12345"),
            (i128::from(i64::MIN), 3, "-9223372036854775.808"),
            (9_007_199_254_740_993, 1, "900719925474099.3"),
        ] {
            assert_eq!(decimal(mantissa, decimals), text);
        }
    }

    #[test]
    fn a_display_unit_only_moves_the_point() {
        let shift = |from, to| display(Unit::parse(from).unwrap(), Unit::parse(to).unwrap()).map(|display| display.shift);
        assert_eq!(shift("kWh", "MWh"), Some(3));
        assert_eq!(shift("kWh", "10^4 kWh"), Some(4));
        assert_eq!(shift("MPa", "kPa"), Some(-3));
        assert_eq!(shift("GJ", "kWh"), None);
        assert_eq!(shift("K", "degC"), None);
        assert_eq!(shift("kWh", "kWh"), None);
    }

    #[test]
    fn a_mean_is_rounded_once_and_an_empty_bucket_has_no_numbers() {
        let bucket = Bucket {
            start: UtcMillis(0),
            end: UtcMillis(1000),
            samples: 3,
            count: 3,
            sum: 200,
            min: 0,
            max: 100,
            first: Some((UtcMillis(1), 0)),
            last: Some((UtcMillis(9), 100)),
        };
        assert_eq!(BucketDto::new(&bucket, 1).mean.as_deref(), Some("6.6667"));
        let empty = Bucket { count: 0, sum: 0, min: 0, max: 0, first: None, last: None, ..bucket };
        let dto = BucketDto::new(&empty, 1);
        assert_eq!((dto.samples, dto.mean, dto.min, dto.sum), (3, None, None, None));
    }
}
