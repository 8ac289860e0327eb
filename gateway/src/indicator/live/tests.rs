//! A small park over half a year, figures worked out in comments.

use std::path::Path;

use parkgate_collector::catalogue::MemoryRegistry;
use parkgate_collector::model::{self, Origin, Quality, Reason, Sample, Step};
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::indicator::balance::Verdict;
use parkgate_rules::indicator::result::{Leaf, Node};

use super::*;
use crate::indicator::declare::{check, enter, read_csv};
use crate::rollup::meters::{EventKind, MeterStep, Meters, NewEvent};
use crate::rollup::{Total, Totals};
use crate::store::Bucket;
use crate::store::{EntryKind, NewEntry};

const PARK: &str = r#"
[park]
id = "p"
time_zone = "Asia/Shanghai"
[[enterprise]]
id = "acme"
[[link]]
id = "b"
driver = "mqtt"
host = "h"
client_id = "c"
"#;

/// Device, enterprise, role, quantity; register at the start of 2025 and what each month adds.
const METERS: &[(&str, &str, &str, &str, i64, i64)] = &[
    ("gate", "", "gate", "energy_import", 1_000_000, 100_000),
    ("roof", "", "generation", "energy_export", 500, 20_000),
    ("acme-power", "acme", "sub", "energy_import", 0, 90_000),
    ("street", "", "sub", "energy_import", 70, 25_000),
    ("gate-gas", "", "gate", "gas_volume", 0, 10_000),
    ("acme-gas", "acme", "sub", "gas_volume", 0, 10_000),
    ("acme-water", "acme", "sub", "water_volume", 0, 3_000),
];

fn text() -> String {
    let mut text = PARK.to_owned();
    for (device, enterprise, role, quantity, ..) in METERS {
        let owner = if enterprise.is_empty() { String::new() } else { format!("enterprise = \"{enterprise}\"\n") };
        let reference = if *quantity == "gas_volume" { "reference = \"twenty_degrees\", " } else { "" };
        text.push_str(&format!(
            "[[device]]\nid = \"{device}\"\nlink = \"b\"\nrole = \"{role}\"\n{owner}point = [\n  {{ id = \"v\", quantity = \"{quantity}\", \
             decimals = 0, {reference}interval_ms = 86400000, path = \"v\" }},\n]\n[[device.topic]]\nfilter = \"p/{device}\"\n"
        ));
    }
    text
}

/// Samples in memory.
#[derive(Default)]
struct Record(Mutex<BTreeMap<(u32, i64), Sample>>);

impl Record {
    fn push(&self, point: PointId, time: UtcMillis, value: i64) {
        let status = model::Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Delta);
        let sample = Sample { point, status, value, source_time: None, received_time: time, record_time: time };
        self.0.lock().unwrap().insert((point.0, time.0), sample);
    }
}

impl RecordView for Record {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.0.lock().unwrap().range((point.0, i64::MIN)..=(point.0, i64::MAX)).next_back().map(|(_, sample)| *sample)
    }

    fn latest_since(&self, _: u64) -> (u64, Vec<Sample>) {
        (1, self.0.lock().unwrap().values().copied().collect())
    }

    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        Ok(self.0.lock().unwrap().range((point.0, from.0)..(point.0, to.0)).map(|(_, sample)| *sample).take(limit).collect())
    }

    fn buckets(&self, _: PointId, _: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        Ok(Vec::new())
    }

    fn samples_applied(&self) -> u64 {
        0
    }
}

/// Totals counted when asked, with changes as a test tells them.
struct Told {
    totals: Totals,
    changes: Mutex<Vec<Total>>,
}

impl TotalsView for Told {
    fn totals(&self, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Vec<Total>, StoreError> {
        self.totals.totals(point, level, from, to)
    }

    fn closed_since(&self, cursor: u64, limit: usize) -> Result<(u64, Vec<Total>), StoreError> {
        let changes = self.changes.lock().unwrap();
        let new: Vec<Total> = changes.iter().skip(usize::try_from(cursor).unwrap()).take(limit).cloned().collect();
        Ok((cursor + u64::try_from(new.len()).unwrap(), new))
    }

    fn last_change(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.changes.lock().unwrap().len()).unwrap())
    }

    fn period_of(&self, level: Level, instant: UtcMillis) -> crate::rollup::Period {
        self.totals.period_of(level, instant)
    }
}

struct Park {
    catalogue: Arc<Catalogue>,
    record: Arc<Record>,
    totals: Arc<Told>,
    facts: Arc<Facts>,
    meters: Arc<Meters>,
    live: Live,
    now: UtcMillis,
}

impl Park {
    /// Registers at the start of each month, but none of the gate on 1 July: it is read on the 11th.
    fn new() -> Self {
        let catalogue = Arc::new(crate::testing::catalogue(&text(), &mut MemoryRegistry::default()));
        let record = Arc::new(Record::default());
        let zone = ParkZone::new("Asia/Shanghai");
        for (device, _, _, _, start, month) in METERS {
            let point = catalogue.points.iter().find(|point| point.device.ends_with(device)).unwrap().id;
            let push = |time: &str, value| record.push(point, zone.read(time).unwrap(), value);
            push("2024-12-01", start - month);
            for number in 0..7 {
                if (*device, number) != ("gate", 6) {
                    push(&format!("2025-{:02}-01", number + 1), start + number * month);
                }
            }
            push("2025-07-11", start + 7 * month);
        }
        let view: Arc<dyn RecordView> = Arc::clone(&record) as _;
        let meters = Arc::new(Meters::new(&catalogue));
        let totals = Totals::new(&catalogue, Arc::clone(&view), None).with_meters(Arc::clone(&meters));
        let totals = Arc::new(Told { totals, changes: Mutex::default() });
        let facts = Arc::new(Facts::open(Path::new(":memory:")).unwrap());
        let settings = TopologySettings { loss_share_max: "0.05".parse().ok(), ..TopologySettings::default() };
        let live = Live::new(&catalogue, &settings, Vec::new(), Arc::clone(&totals) as _, view, Arc::clone(&facts));
        Self { now: zone.read("2025-08-01").unwrap(), catalogue, record, totals, facts, meters, live }
    }

    fn declare(&self, rows: &str) {
        let text = format!("figure,subject,period,value,unit,document\n{rows}");
        enter(&self.facts, &check(&self.catalogue, &read_csv(text.as_bytes()).unwrap()).unwrap(), "eve", self.now).unwrap();
    }

    /// Feedstock and certificates of each month, and the quota.
    fn declare_all(&self) {
        let mut rows = "energy_allowance,park,2025,300,tce,letter 7\napproved_not_producing,park,2025,0,tce,letter 7\n".to_owned();
        for month in 1..=6 {
            rows += &format!("feedstock.natural_gas_gas_field,acme,2025-{month:02},1000,m3,books\n");
            rows += &format!("certificates_bought,acme,2025-{month:02},10,certificates,registry\n");
        }
        self.declare(&rows);
    }

    fn one(&self, id: &str, period: &str) -> IndicatorResult {
        let want = Want { id: Some(id), explain: true };
        let results = self.live.results(period.parse().unwrap(), want, self.now).unwrap();
        assert_eq!(results.len(), 1, "{id}");
        results.into_iter().next().unwrap()
    }

    fn value(&self, id: &str, period: &str) -> Option<String> {
        self.one(id, period).value
    }

    /// The gate's reading of 1 July comes late; `told`: and the totals say that June changed.
    fn late_reading(&self, told: bool) {
        let gate = self.catalogue.points[0].id;
        let july = self.live.zone().read("2025-07-01").unwrap();
        self.record.push(gate, july, 1_600_000);
        if told {
            let june = self.live.zone().read("2025-06-01").unwrap();
            let changed = self.totals.totals(gate, Level::Month, june, june.plus(1)).unwrap();
            self.totals.changes.lock().unwrap().extend(changed);
        }
    }
}

#[test]
fn energy_of_a_month_follows_from_registers() {
    let park = Park::new();
    // May: gate 100,000 + PV 20,000 kWh, x 0.1229 / 1000 = 14.748; gas 10,000 m3 x 1.2143 / 1000 = 12.143. Together 26.891 tce.
    let may = park.one("EN-01", "2025-05");
    assert_eq!((may.value.as_deref(), may.status), (Some("26.891"), Status::Ok));
    // (120,000 - 90,000 - 25,000) / 120,000 = 0.0416666...
    assert_eq!(park.value("EN-19", "2025-05").as_deref(), Some("0.041667"));
    assert_eq!(park.value("WA-01", "2025-05").as_deref(), Some("3000.000"));
    // The tree ends at the registers of 1 May and 1 June, and at the factor.
    let mut leaves = Vec::new();
    fn walk(node: &Node, leaves: &mut Vec<String>) {
        match &node.leaf {
            Some(Leaf::Reading { meter, time, register, role }) => leaves.push(format!("{meter} {time} {register} {role}")),
            Some(Leaf::Factor { factor }) => leaves.push(format!("{} {}", factor.key, factor.value)),
            _ => {}
        }
        node.children.iter().for_each(|child| walk(child, leaves));
    }
    walk(may.explain.as_ref().unwrap(), &mut leaves);
    for leaf in
        ["p/gate/v 2025-05-01T00:00:00+08:00 1400000 opening", "p/gate/v 2025-06-01T00:00:00+08:00 1500000 closing", "electricity 0.1229"]
    {
        assert!(leaves.iter().any(|have| have == leaf), "{leaf} not in {leaves:#?}");
    }
}

#[test]
fn a_late_reading_changes_what_rests_on_it_once_the_totals_say_so() {
    let park = Park::new();
    // 200,000 kWh from 1 June to 11 July: 30 of 40 days are June, 150,000. (150,000 + 20,000) x 0.1229 / 1000 + 12.143 = 33.036.
    let june = park.one("EN-01", "2025-06");
    assert_eq!(june.value.as_deref(), Some("33.036"));
    assert!(june.flags.contains(&parkgate_rules::indicator::inputs::Flag::BoundaryInterpolated), "{:?}", june.flags);
    // A table of all is kept as well.
    let all = |park: &Park| park.live.results("2025-06".parse().unwrap(), Want::default(), park.now).unwrap();
    let en01 = |results: &[IndicatorResult]| results.iter().find(|result| result.indicator == "EN-01").unwrap().value.clone();
    assert_eq!(en01(&all(&park)).as_deref(), Some("33.036"));
    park.late_reading(false);
    assert_eq!(en01(&all(&park)).as_deref(), Some("33.036"), "nothing said that it changed");
    park.late_reading(true);
    // 100,000 kWh: 26.891 as in May.
    assert_eq!(en01(&all(&park)).as_deref(), Some("26.891"));
    assert_eq!(park.value("EN-01", "2025-06").as_deref(), Some("26.891"));
    assert_eq!(park.value("EN-01", "2025-05").as_deref(), Some("26.891"));
}

#[test]
fn quota_rests_on_declarations_and_a_correction_counts_at_once() {
    let park = Park::new();
    park.late_reading(true);
    // Nothing declared: certificates and allowance are missing, which is told and never zero.
    let missing = park.one("EN-08", "2025-06");
    assert_eq!((missing.value, missing.status), (None, Status::Missing));
    assert!(missing.missing.iter().any(|one| one.input.contains("certificates")), "{:?}", missing.missing);
    park.declare_all();
    // 26.891 - 1000 x 1.2143 / 1000 - 10,000 kWh x 0.1229 / 1000 = 26.891 - 1.2143 - 1.229 = 24.4477.
    assert_eq!(park.value("EN-08", "2025-06").as_deref(), Some("24.448"));
    // Six months alike: 146.6862 / 300 = 0.488954.
    assert_eq!(park.value("EN-09", "2025-06").as_deref(), Some("0.488954"));
    // The correction of one month: 1.2143 more is deducted. (146.6862 - 1.2143) / 300 = 0.4849063...
    park.declare("feedstock.natural_gas_gas_field,acme,2025-03,2000,m3,audit 9\n");
    assert_eq!(park.value("EN-09", "2025-06").as_deref(), Some("0.484906"));
    assert_eq!(park.value("EN-08", "2025-06").as_deref(), Some("24.448"));
}

#[test]
fn both_sides_of_the_networks_are_compared() {
    let park = Park::new();
    let checks = park.live.balance("2025-05".parse().unwrap(), park.now).unwrap();
    let of = |energy: &str| checks.iter().find(|check| check.energy == energy).unwrap();
    // Supply 100,000 + 20,000; use 90,000 + 25,000; the loss of 5,000 is less than 5 % of 120,000.
    let power = of("electricity");
    let text = |number: &Option<parkgate_rules::Number>| number.as_ref().unwrap().text(6);
    assert_eq!((text(&power.supply), text(&power.difference), text(&power.share)), ("120000".into(), "5000".into(), "0.041667".into()));
    assert_eq!(power.verdict, Verdict::Agrees);
    let gas = of("natural_gas_gas_field");
    assert_eq!((text(&gas.difference), gas.verdict), ("0".into(), Verdict::Agrees));
}

#[test]
fn what_was_not_metered_from_the_start_is_incomplete() {
    let park = Park::new();
    // The record begins on 1 December 2024: that month is whole, the year is not.
    assert_eq!(park.one("EN-01", "2024-12").status, Status::Ok);
    let year = park.one("EN-01", "2024");
    assert_eq!(year.status, Status::Incomplete);
    assert!(year.missing.iter().any(|one| one.why.contains("metered only from 2024-12-01")), "{:?}", year.missing);
    assert_eq!(park.one("EN-01", "2023").status, Status::Missing);
    let future = park.live.results("2025-09".parse().unwrap(), Want::default(), park.now);
    assert!(matches!(future, Err(LiveError::Future(_))), "{future:?}");
    let unknown = park.live.results("2025-05".parse().unwrap(), Want { id: Some("EN-99"), explain: false }, park.now);
    assert!(matches!(unknown, Err(LiveError::Unknown(_))), "{unknown:?}");
}

/// Until somebody says what a fall of the register was the month is incomplete, and then no more.
#[test]
fn a_fall_makes_a_month_incomplete_until_it_is_decided() {
    for (decision, value, status) in [
        // 110,000 after the fall: (110,000 + 20,000) x 0.1229 / 1000 + 12.143 = 28.120.
        (None, "28.120", Status::Incomplete),
        // As without the low reading, 100,000.
        (Some(EventKind::NewWrong), "26.891", Status::Ok),
        // What was used until 16 May is not known, and never will be.
        (Some(EventKind::Reset), "28.120", Status::Ok),
    ] {
        let park = Park::new();
        let zone = park.live.zone();
        let (before, fall) = (zone.read("2025-05-01").unwrap(), zone.read("2025-05-16").unwrap());
        park.record.push(park.catalogue.points[0].id, fall, 1_390_000);
        if let Some(kind) = decision {
            let time = |at: UtcMillis| Time(at.0);
            let register = |text: &str| Some(text.to_owned());
            let step = MeterStep::Add(NewEvent {
                kind,
                point: "p/gate/v".into(),
                at: time(fall),
                from: Some(time(before)),
                old_final: register("1400000"),
                new_initial: register("1390000"),
                multiplier: None,
                note: None,
            });
            let body = serde_json::to_value(step).unwrap();
            let new = NewEntry { kind: EntryKind::MeterEvent, subject: "p/gate/v".into(), body, author: "eve".into(), document: None };
            park.facts.append(new, park.now).unwrap();
            park.meters.refresh(&park.facts).unwrap();
        }
        let may = park.one("EN-01", "2025-05");
        assert_eq!((may.value.as_deref(), may.status), (Some(value), status), "{decision:?}");
    }
}

#[test]
fn a_stock_that_lacks_a_part_is_missing_and_not_zero() {
    let park = Park::new();
    park.declare("fuel.diesel.opening,acme,2025-05,100,kg,books\nfuel.diesel.purchased,acme,2025-05,1,t,books\n");
    let lacking = park.one("EN-01", "2025-05");
    assert_eq!(lacking.status, Status::Missing);
    assert!(lacking.missing.iter().any(|one| one.why.contains("fuel.diesel.closing")), "{:?}", lacking.missing);
    park.declare("fuel.diesel.closing,acme,2025-05,300,kg,books\n");
    // 100 + 1000 - 300 = 800 kg x 1.4571 / 1000 = 1.16568; 26.891 + 1.16568 = 28.05668.
    assert_eq!(park.value("EN-01", "2025-05").as_deref(), Some("28.057"));
}

#[test]
fn a_days_year_to_date_is_made_of_months_and_days() {
    let text: Vec<String> = parts("2025-03-02".parse().unwrap()).iter().map(ToString::to_string).collect();
    assert_eq!(text, ["2025-01", "2025-02", "2025-03-01", "2025-03-02"]);
    let text: Vec<String> = parts("2025-03".parse().unwrap()).iter().map(ToString::to_string).collect();
    assert_eq!(text, ["2025-01", "2025-02", "2025-03"]);
    assert_eq!(parts("2025".parse().unwrap()).len(), 1);
}

#[test]
fn what_was_gathered_gives_the_same_figures_alone() {
    let park = Park::new();
    park.declare_all();
    let inputs = park.live.gathered("2025-06".parse().unwrap(), park.now).unwrap();
    let text = serde_json::to_string(&inputs).unwrap();
    let again: Inputs = serde_json::from_str(&text).unwrap();
    let figure = |results: Vec<IndicatorResult>| -> Vec<(&str, Option<String>)> {
        results.into_iter().filter(|result| result.indicator.starts_with("EN-")).map(|result| (result.indicator, result.value)).collect()
    };
    let live = park.live.results("2025-06".parse().unwrap(), Want::default(), park.now).unwrap();
    assert_eq!(figure(parkgate_rules::indicator::compute(&again).unwrap()), figure(live));
}

/// Hours of SO2 from 1 January 2025 to 15 June, each 1 kg less than the one before. Nothing came from 22:00 on 30 March on for 25
/// hours; in April for 28 that 9 stopped ones cut in two; in May for 280, so that 82 % of the running quarter is valid.
fn emissions() -> crate::report::make::tests::Fake {
    let first = ParkZone::new("Asia/Shanghai").read("2025-01-01").unwrap();
    let mass = |hour: i64| match hour {
        2150..2175 | 2400..2437 | 3000..3280 => None,
        hour => Some(parkgate_rules::Number::from(5_000 - hour)),
    };
    crate::report::make::tests::Fake::of(to_core(first), (0..3_960).map(mass).collect(), 2_414..2_423)
}

impl Park {
    fn stack(&self, period: &str) -> IndicatorResult {
        let want = Want { id: Some("PO-01"), explain: false };
        let results = self.live.results(period.parse().unwrap(), want, self.now).unwrap();
        results.into_iter().find(|result| result.subject.outlet.is_some() && result.subject.pollutant.as_deref() == Some("SO2")).unwrap()
    }
}

#[test]
fn the_mass_of_a_period_is_that_of_the_summary_of_the_outlet() {
    use parkgate_rules::emission::Averaging;
    let Park { live, catalogue, record, totals, facts, meters, now } = Park::new();
    let park = Park { live: live.with_emissions(Arc::new(emissions())), catalogue, record, totals, facts, meters, now };
    let zone = park.live.zone();
    for (period, averaging, from, to) in [
        ("2025-01", Averaging::Day, "2025-01-01", "2025-02-01"),
        ("2025-03", Averaging::Day, "2025-03-01", "2025-04-01"),
        ("2025-04-11", Averaging::Hour, "2025-04-11", "2025-04-12"),
        ("2025-04", Averaging::Day, "2025-04-01", "2025-05-01"),
        ("2025-05", Averaging::Day, "2025-05-01", "2025-06-01"),
        ("2025-06", Averaging::Hour, "2025-06-01", "2025-07-01"),
        ("2025", Averaging::Month, "2025-01-01", "2026-01-01"),
    ] {
        let range = emission::Period { from: to_core(zone.read(from).unwrap()), to: to_core(zone.read(to).unwrap()) };
        let (measured, filled) = emissions().told(averaging, range);
        let result = park.stack(period);
        assert_eq!(result.exact, Some(&measured + &filled), "{period}");
        let share = filled.over(&(&measured + &filled)).map(|share| share.fixed(6));
        let told = result.others.iter().find(|other| other.name == "filled_share").unwrap();
        assert_eq!(told.value, share, "{period}");
        assert_eq!(filled.is_positive(), !matches!(period, "2025-01" | "2025-06"), "{period}");
    }
    // March by its own quarter, 2150 of 2160 hours valid: 10 hours of the run, 180 hours back to hour 1970, 3030 kg. April by 82 %,
    // 2160 hours back: 15 hours with the 5000 kg of the first one, then 28 with the 4785 kg of hour 215.
    let filled = |period: &str| {
        let result = park.stack(period);
        result.others.iter().find(|other| other.name == "filled_mass").unwrap().value.clone().unwrap()
    };
    assert_eq!((filled("2025-03"), filled("2025-04")), ("30300.000000".to_owned(), "208980.000000".to_owned()));
}

#[test]
fn what_was_counted_again_counts_at_once_in_months_that_are_over() {
    let Park { live, catalogue, record, totals, facts, meters, now } = Park::new();
    let emissions = Arc::new(emissions());
    let park = Park { live: live.with_emissions(Arc::clone(&emissions) as _), catalogue, record, totals, facts, meters, now };
    let before = park.stack("2025-01").exact.unwrap();
    emissions.recounts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // 744 hours of 1 kg more each, and no entry that says so.
    let more = parkgate_rules::Number::decimal(744, 3);
    assert_eq!(park.stack("2025-01").exact.unwrap(), &before + &more);
}
