//! Figures that the enterprises of the demo park declare: made up, the same for every seed, and told to be simulated by
//! author and document. A second start finds them in force and enters only the months that have passed since.

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::period::{Period, PeriodKind};

use super::backfill::HISTORY_MS;
use crate::indicator::declare::{self, Entered, Row};
use crate::rollup::ParkZone;
use crate::store::{Facts, StoreError};

/// Who enters them.
const AUTHOR: &str = "demo";
/// The paper they rest on.
const DOCUMENT: &str = "演示数据（模拟） demo data, simulated";

/// An enterprise: id; revenue, added value, tax of a month in 10k CNY; land in mu, staff; leading industry, high-tech;
/// recirculated water of a month in m3.
struct Firm(&'static str, i64, i64, i64, i64, i64, bool, bool, i64);

const FIRMS: [Firm; 3] = [
    Firm("coating", 2_150, 560, 78, 62, 210, true, true, 3_200),
    Firm("food", 1_480, 310, 41, 48, 160, false, false, 5_400),
    Firm("dyeing", 2_360, 590, 66, 85, 340, true, false, 61_000),
];

/// Diesel of the coating plant's fork-lifts, kg: bought in a month, and in stock at each end of it.
const DIESEL: (i64, i64) = (1_200, 400);
/// Certificates bought by the dyeing works for a month, 1000 kWh each.
const CERTIFICATES: i64 = 40;
/// Energy quota of a year, and what is promised to a project that does not produce yet, tce.
const ALLOWANCE: (i64, i64) = (9_000, 350);
/// Controlled energy of months before the record begins, tce.
const BEFORE_RECORD: i64 = 600;

/// Enters them.
///
/// # Errors
/// When they cannot be written, or do not fit the demo's configuration.
pub fn enter(facts: &Facts, catalogue: &Catalogue, now: UtcMillis) -> Result<Entered, DeclarationError> {
    let rows: Vec<(u64, Row)> = (1..).zip(rows(now, &ParkZone::new(&catalogue.park.time_zone))).collect();
    let checked = declare::check(catalogue, &rows)
        .map_err(|errors| DeclarationError::Rows(errors.into_iter().map(|error| error.problem).next().unwrap_or_default()))?;
    Ok(declare::enter(facts, &checked, AUTHOR, now)?)
}

/// Why nothing was declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclarationError {
    /// The rows do not fit the demo's configuration.
    #[error("declarations of the demo: {0}")]
    Rows(String),
    /// They cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn rows(now: UtcMillis, zone: &ParkZone) -> Vec<Row> {
    let month_at = |time: UtcMillis| zone.write(time).get(..7).and_then(|text| text.parse::<Period>().ok());
    let (Some(this), Some(first)) = (month_at(now), month_at(now.plus(-HISTORY_MS))) else { return Vec::new() };
    let mut rows = Vec::new();
    let mut push = |figure: &str, subject: &str, period: Period, value: i64, unit: &str| {
        rows.push(Row {
            figure: figure.to_owned(),
            subject: subject.to_owned(),
            period: period.to_string(),
            value: value.to_string(),
            unit: unit.to_owned(),
            document: DOCUMENT.to_owned(),
            note: String::new(),
        });
    };
    let this_year = this.whole_year();
    let last_year = this_year.year_before();
    for year in [last_year.year_before(), last_year, this_year] {
        // Revenue grows by about 8 % a year, the land stays.
        for Firm(id, .., land, staff, leading, high_tech, _) in &FIRMS {
            push("land", id, year, *land, "mu");
            push("staff", id, year, *staff, "");
            push("leading_industry", id, year, i64::from(*leading), "");
            push("high_tech", id, year, i64::from(*high_tech), "");
        }
        push("innovation_platforms", declare::PARK, year, 2, "");
        push("energy_allowance", declare::PARK, year, ALLOWANCE.0, "tce");
        push("approved_not_producing", declare::PARK, year, ALLOWANCE.1, "tce");
    }
    for Firm(id, revenue, added, tax, ..) in &FIRMS {
        let before = last_year.year_before();
        for (figure, month) in [("revenue", *revenue), ("added_value", *added), ("output", *revenue), ("tax", *tax)] {
            push(figure, id, before, month.saturating_mul(12).saturating_mul(86) / 100, "10k CNY");
        }
    }
    let mut month = Period::containing(PeriodKind::Month, last_year.first_day().at(0, 0, 0, 0));
    while month < this {
        let percent = if month.year() == this.year() { 100 } else { 92 };
        for Firm(id, revenue, added, tax, .., water) in &FIRMS {
            for (figure, value) in [("revenue", *revenue), ("added_value", *added), ("output", *revenue), ("tax", *tax)] {
                push(figure, id, month, value.saturating_mul(percent) / 100, "10k CNY");
            }
            push("process_emissions", id, month, 0, "tCO2");
            push("recirculated_water", id, month, *water, "m3");
        }
        for (figure, value) in [("opening", DIESEL.1), ("purchased", DIESEL.0), ("closing", DIESEL.1)] {
            push(&format!("fuel.diesel.{figure}"), "coating", month, value, "kg");
        }
        push("certificates_bought", "dyeing", month, CERTIFICATES, "certificates");
        push("certificates_own_pv", declare::PARK, month, 0, "certificates");
        if month <= first {
            push("controlled_energy", declare::PARK, month, BEFORE_RECORD, "tce");
        }
        month = month.next();
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use parkgate_collector::catalogue::{MemoryFiles, MemoryRegistry};

    use super::super::{CONFIG, CONFIG_PATH};
    use super::*;
    use crate::settings::GatewaySettings;

    #[test]
    fn they_fit_the_demo_park_and_a_second_start_changes_nothing() {
        let files = MemoryFiles { files: [(CONFIG_PATH.into(), CONFIG.to_owned())].into(), ..MemoryFiles::default() };
        let loaded = parkgate_collector::catalogue::load::<GatewaySettings>(Path::new(CONFIG_PATH), &files).unwrap();
        let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).unwrap();
        let facts = Facts::open(Path::new(":memory:")).unwrap();
        // 2026-11-23T00:00:00Z: January 2025 to October 2026 are over, the record begins in October 2025.
        let now = UtcMillis(1_795_392_000_000);
        let first = enter(&facts, &catalogue, now).unwrap();
        // 3 years x (3 x 4 + 3), 3 x 4 for 2024, 22 months x (3 x 6 + 5), 10 months before the record.
        assert_eq!((first.entered, first.superseded), (3 * 15 + 12 + 22 * 23 + 10, 0));
        let second = enter(&facts, &catalogue, now).unwrap();
        assert_eq!((second.entered, second.unchanged), (0, first.entered));
    }
}
