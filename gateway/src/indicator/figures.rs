//! The figures that people declare because no meter has them: which there are, whose they are, in which units, for which
//! periods. A table; what is not in it cannot be declared.
//!
//! Figures of a fuel carry its key in the coefficient table: `fuel.diesel.purchased`, `feedstock.natural_gas_gas_field`. Money is in 10k CNY (万元), land
//! in mu (亩); other units are converted by exact factors when a figure is read, so an entry keeps what was handed in.

use std::sync::LazyLock;

use parkgate_rules::Number;
use parkgate_rules::factor::{FactorKind, FactorRow, Factors};
use parkgate_rules::period::{Period, PeriodKind};

use crate::titles::Title;

/// Who a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An enterprise.
    Enterprise,
    /// The park as a whole.
    Park,
    /// Either.
    Either,
}

/// What values a figure can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// 0 or more.
    Amount,
    /// Any; added value and tax can be below 0.
    Signed,
    /// 1 for yes, 0 for no.
    Flag,
    /// A whole number, 0 or more.
    Count,
}

/// For which periods a figure is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A calendar year: what holds or is set for a year.
    Year,
    /// A month, or a year as a whole.
    Month,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name; with `*` in place of a fuel.
    pub id: &'static str,
    /// In Chinese.
    pub zh: &'static str,
    /// In English.
    pub en: &'static str,
    /// Unit of its values; empty where it is the fuel's.
    pub unit: &'static str,
    /// Who it is of.
    pub whose: Whose,
    /// What values it can have.
    pub values: Values,
    /// For which periods.
    pub per: Per,
}

const fn row(id: &'static str, zh: &'static str, en: &'static str, unit: &'static str, whose: Whose, values: Values, per: Per) -> Figure {
    Figure { id, zh, en, unit, whose, values, per }
}

/// Ten thousand CNY.
const MONEY: &str = "10k CNY";

/// All figures.
pub const FIGURES: &[Figure] = &[
    row("revenue", "营业收入", "revenue", MONEY, Whose::Enterprise, Values::Amount, Per::Month),
    row("added_value", "工业增加值", "industrial added value", MONEY, Whose::Enterprise, Values::Signed, Per::Month),
    row("output", "工业总产值", "industrial output", MONEY, Whose::Enterprise, Values::Amount, Per::Month),
    row("tax", "税收", "tax paid", MONEY, Whose::Enterprise, Values::Signed, Per::Month),
    row("rd_spending", "研发经费支出", "spending on R&D", MONEY, Whose::Enterprise, Values::Amount, Per::Month),
    row("land", "用地面积", "land used", "mu", Whose::Either, Values::Amount, Per::Year),
    row("staff", "从业人员年平均人数", "staff, mean of the year", "1", Whose::Enterprise, Values::Amount, Per::Year),
    row(
        "leading_industry",
        "属于园区主导产业",
        "belongs to a leading industry of the park: 1 or 0",
        "1",
        Whose::Enterprise,
        Values::Flag,
        Per::Year,
    ),
    row("high_tech", "属于高新技术产业", "belongs to high-tech industry: 1 or 0", "1", Whose::Enterprise, Values::Flag, Per::Year),
    row("fuel.*.opening", "期初库存", "stock of a fuel at the start of the period", "", Whose::Enterprise, Values::Amount, Per::Month),
    row("fuel.*.purchased", "购入量", "fuel purchased in the period", "", Whose::Enterprise, Values::Amount, Per::Month),
    row("fuel.*.closing", "期末库存", "stock of a fuel at the end of the period", "", Whose::Enterprise, Values::Amount, Per::Month),
    row("feedstock.*", "用作原料的能源", "energy used as material, not burnt", "", Whose::Enterprise, Values::Amount, Per::Month),
    row("certificates_own_pv", "自有光伏绿证", "green certificates of own PV", "kWh", Whose::Either, Values::Amount, Per::Month),
    row("certificates_bought", "购入绿证（绿电交易）", "green certificates bought", "kWh", Whose::Either, Values::Amount, Per::Month),
    row("heat_bought", "购入热力", "heat bought", "GJ", Whose::Either, Values::Amount, Per::Month),
    row("heat_sold", "售出热力", "heat sold", "GJ", Whose::Either, Values::Amount, Per::Month),
    row("process_emissions", "工业过程排放", "process emissions", "tCO2", Whose::Enterprise, Values::Amount, Per::Month),
    row(
        "recirculated_water",
        "循环用水量",
        "water recirculated, where no meter has it",
        "m3",
        Whose::Enterprise,
        Values::Amount,
        Per::Month,
    ),
    row("energy_allowance", "年度能耗指标", "energy quota of the year", "tce", Whose::Park, Values::Amount, Per::Year),
    row(
        "approved_not_producing",
        "已批未投产项目能耗",
        "yearly energy of projects approved and not yet producing",
        "tce",
        Whose::Park,
        Values::Amount,
        Per::Year,
    ),
    row(
        "controlled_energy",
        "纳入总量控制能耗（未计量期）",
        "controlled energy of a period that was not metered",
        "tce",
        Whose::Park,
        Values::Amount,
        Per::Month,
    ),
    row(
        "innovation_platforms",
        "省级以上创新平台",
        "innovation platforms of province or nation",
        "1",
        Whose::Park,
        Values::Count,
        Per::Year,
    ),
];

/// Keys of the coefficient table that are no fuels: they are metered, or declared as heat.
const NO_FUELS: [&str; 3] = ["electricity", "heat", "steam"];

/// The built-in factors, read once.
static FACTORS: LazyLock<Factors> = LazyLock::new(Factors::built_in);

/// Fuels that figures can be of: what has a coefficient to standard coal; names and unit are those of its row.
pub fn fuels() -> impl Iterator<Item = &'static FactorRow> {
    FACTORS.table(FactorKind::Equivalent).filter(|row| !NO_FUELS.contains(&row.key.as_str()))
}

/// Other ways to write a unit: unit, text, and how many of the unit one of the text is, as a fraction.
const WRITTEN: &[(&str, &str, i128, i128)] = &[
    (MONEY, "10k CNY", 1, 1),
    (MONEY, "万元", 1, 1),
    (MONEY, "CNY", 1, 10_000),
    (MONEY, "元", 1, 10_000),
    (MONEY, "亿元", 10_000, 1),
    ("mu", "mu", 1, 1),
    ("mu", "亩", 1, 1),
    ("mu", "ha", 15, 1),
    ("mu", "公顷", 15, 1),
    ("mu", "km2", 1_500, 1),
    ("1", "1", 1, 1),
    ("1", "", 1, 1),
    ("1", "人", 1, 1),
    ("1", "个", 1, 1),
    ("kg", "kg", 1, 1),
    ("kg", "t", 1_000, 1),
    ("m3", "m3", 1, 1),
    ("m3", "Nm3", 1, 1),
    ("m3", "10k m3", 10_000, 1),
    ("m3", "万m3", 10_000, 1),
    ("kWh", "kWh", 1, 1),
    ("kWh", "MWh", 1_000, 1),
    ("kWh", "10k kWh", 10_000, 1),
    ("kWh", "万kWh", 10_000, 1),
    ("kWh", "certificates", 1_000, 1),
    ("kWh", "张", 1_000, 1),
    ("GJ", "GJ", 1, 1),
    ("GJ", "MJ", 1, 1_000),
    ("tCO2", "tCO2", 1, 1),
    ("tCO2", "t", 1, 1),
    ("tce", "tce", 1, 1),
    ("tce", "kgce", 1, 1_000),
    ("tce", "吨标准煤", 1, 1),
];

/// A figure by its full name, with what its fuel adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who it is of.
    pub whose: Whose,
    /// What values it can have.
    pub values: Values,
    /// For which periods.
    pub per: Per,
    /// Unit of its values.
    pub unit: String,
    /// What it is called.
    pub title: Title,
}

/// The figure of a name.
///
/// # Errors
/// What is wrong with the name, and what to write instead.
pub fn named(name: &str) -> Result<Named, String> {
    let of = |row: &Figure, fuel: Option<&FactorRow>| {
        let (zh, en, unit) = match fuel {
            Some(fuel) => (format!("{}{}", fuel.zh, row.zh), format!("{}: {}", row.en, fuel.en), fuel.unit.as_str()),
            None => (row.zh.to_owned(), row.en.to_owned(), row.unit),
        };
        Named { whose: row.whose, values: row.values, per: row.per, unit: unit.to_owned(), title: Title::new(zh, en) }
    };
    if let Some(row) = FIGURES.iter().find(|row| row.id == name && !row.id.contains('*')) {
        return Ok(of(row, None));
    }
    for row in FIGURES {
        let Some((before, after)) = row.id.split_once('*') else { continue };
        let Some(key) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) else { continue };
        return match fuels().find(|fuel| fuel.key == key) {
            Some(fuel) => Ok(of(row, Some(fuel))),
            None => Err(format!("`{key}` is no fuel that has a coefficient; {}", nearest(key, fuels().map(|fuel| fuel.key.as_str())))),
        };
    }
    Err(format!("`{name}` is no figure; {}", nearest(name, FIGURES.iter().map(|figure| figure.id))))
}

fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    match known.min_by_key(|known| strsim::damerau_levenshtein(known, written)) {
        Some(near) => format!("the nearest is `{near}`; `parkgate declare template` lists all"),
        None => "`parkgate declare template` lists all".into(),
    }
}

/// How many of `unit` one of the unit `written` is.
///
/// # Errors
/// The units that do.
pub fn factor(unit: &str, written: &str) -> Result<Number, String> {
    let mut of_unit = WRITTEN.iter().filter(|(of, ..)| *of == unit);
    let found = of_unit.clone().find(|(_, text, ..)| *text == written).and_then(|(_, _, over, under)| Number::fraction(*over, *under));
    found.ok_or_else(|| {
        let all: Vec<&str> = of_unit.by_ref().map(|(_, text, ..)| *text).filter(|text| !text.is_empty()).collect();
        format!("`{written}` is no unit of it: write one of {}", all.join(", "))
    })
}

/// Whether a value is one that a figure can have; the reason if not.
pub fn fits(values: Values, value: &Number) -> Result<(), &'static str> {
    match values {
        Values::Amount if value.is_negative() => Err("is below 0"),
        Values::Flag if !value.is_zero() && *value != Number::one() => Err("is 1 for yes or 0 for no"),
        Values::Count if value.is_negative() || value.floor() != *value => Err("is a count: 0, 1, 2 ..."),
        _ => Ok(()),
    }
}

/// Reads the period that a figure is for: a calendar year or month, `2025`, `2025-06`.
///
/// # Errors
/// What is wrong with it.
pub fn period(text: &str) -> Result<Period, String> {
    match text.parse::<Period>() {
        Ok(period) if matches!(period.kind(), PeriodKind::Year | PeriodKind::Month) => Ok(period),
        _ => Err(format!("`{text}` is no year such as 2025 and no month such as 2025-06")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_unit_that_can_be_written() {
        for figure in FIGURES.iter().filter(|figure| !figure.id.contains('*')) {
            let named = named(figure.id).unwrap();
            assert_eq!(factor(&named.unit, &named.unit), Ok(Number::one()), "{}", figure.id);
            assert!(figure.zh != figure.en && !figure.zh.is_empty(), "{}", figure.id);
        }
        assert!(fuels().count() > 5);
        for fuel in fuels() {
            for name in [format!("fuel.{}.opening", fuel.key), format!("feedstock.{}", fuel.key)] {
                let unit = named(&name).unwrap().unit;
                assert_eq!(factor(&unit, &unit), Ok(Number::one()), "{name}");
            }
        }
    }

    #[test]
    fn units_convert_exactly() {
        // 1 亿元 = 10,000 万元; 1 ha = 15 mu; 1 certificate = 1000 kWh; 1 CNY = 1/10,000 of 10k CNY.
        for (unit, written, over, under) in
            [(MONEY, "亿元", 10_000, 1), ("mu", "ha", 15, 1), ("kWh", "certificates", 1_000, 1), (MONEY, "元", 1, 10_000)]
        {
            assert_eq!(factor(unit, written).ok(), Number::fraction(over, under), "{written}");
        }
        assert_eq!(factor("GJ", "kWh").unwrap_err(), "`kWh` is no unit of it: write one of GJ, MJ");
    }

    #[test]
    fn unknown_names_are_told_with_the_nearest() {
        assert!(named("revenu").unwrap_err().contains("`revenue`"));
        assert!(named("fuel.disel.opening").unwrap_err().contains("`diesel`"));
        assert!(named("fuel.*.opening").is_err());
    }

    #[test]
    fn periods_are_years_and_months() {
        for text in ["2025", "2025-06"] {
            assert_eq!(period(text).unwrap().to_string(), text);
        }
        for text in ["", "25", "2025-6", "2025-13", "2025-06-01", "2025-06-01T08", "202506", "year"] {
            assert!(period(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (values, value, is_fine) in [
            (Values::Amount, "-1", false),
            (Values::Amount, "0", true),
            (Values::Signed, "-1", true),
            (Values::Flag, "1", true),
            (Values::Flag, "0.5", false),
            (Values::Count, "2", true),
            (Values::Count, "2.5", false),
        ] {
            assert_eq!(fits(values, &value.parse().unwrap()).is_ok(), is_fine, "{values:?} {value}");
        }
    }
}
