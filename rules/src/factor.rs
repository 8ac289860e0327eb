//! Dated factors: coefficients to standard coal, carbon factors, grid factors. Data with standard, edition, validity and a
//! mark of how sure it is; a row without a value is a place where someone enters the official figure.
//!
//! The built-in rows are `config/factors/*.toml`, compiled in. Rows of the inputs come before them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Number;
use crate::period::Day;

/// What a factor turns into what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// Energy to standard coal at the equivalent value, kgce per unit.
    Equivalent,
    /// Electricity to standard coal at the equal value, kgce per kWh.
    EqualValue,
    /// Working medium to standard coal at the equal value, kgce per unit.
    Medium,
    /// Average factor of a grid, kgCO2 per kWh; the key is the region.
    Grid,
    /// Fuel to CO2, kgCO2 per unit.
    FuelCarbon,
    /// Bought heat to CO2, tCO2 per GJ.
    HeatCarbon,
}

/// How sure a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mark {
    /// An official text or two independent sources, or arithmetic reproduces it.
    H,
    /// One secondary source.
    M,
    /// Low.
    L,
    /// Entered by the user, who answers for it.
    #[serde(rename = "entered")]
    Entered,
}

/// A row of a factor table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorRow {
    /// What it turns into what.
    pub kind: FactorKind,
    /// Energy, medium or region.
    pub key: String,
    /// Chinese name.
    #[serde(default)]
    pub zh: String,
    /// English name.
    #[serde(default)]
    pub en: String,
    /// Unit of the energy: kWh, MJ, GJ, kg, t, m3.
    pub unit: String,
    /// The factor; absent: not known yet, or it follows from the next three.
    #[serde(default)]
    pub value: Option<Number>,
    /// Net calorific value, MJ per unit.
    #[serde(default)]
    pub ncv_mj: Option<Number>,
    /// Carbon content, tC per TJ.
    #[serde(default)]
    pub carbon_t_per_tj: Option<Number>,
    /// Oxidised share, a fraction.
    #[serde(default)]
    pub oxidation: Option<Number>,
    /// Year of the data.
    #[serde(default)]
    pub year: Option<i16>,
    /// Day of publication; a grid factor counts from then on.
    #[serde(default)]
    pub published_on: Option<Day>,
    /// Standard, notice or document.
    pub standard: String,
    /// Its edition.
    #[serde(default)]
    pub edition: String,
    /// First day of validity; absent: since ever.
    #[serde(default)]
    pub valid_from: Option<Day>,
    /// Last day of validity; absent: open.
    #[serde(default)]
    pub valid_to: Option<Day>,
    /// How sure it is.
    #[serde(default = "entered")]
    pub mark: Mark,
    /// What to know, and where to enter a value that is lacking.
    #[serde(default)]
    pub note: String,
}

/// A factor row as a result names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct FactorUse {
    /// What it turns into what.
    pub kind: FactorKind,
    /// Energy, medium or region.
    pub key: String,
    /// The factor, at most 30 decimals.
    pub value: Number,
    /// Its unit, `kgce/kWh`.
    pub unit: String,
    /// Standard, notice or document.
    pub standard: String,
    /// Its edition, or the year of the data.
    pub edition: String,
    /// First day of validity, or of publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Day>,
    /// Last day of validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Day>,
    /// How sure it is.
    pub mark: Mark,
}

fn entered() -> Mark {
    Mark::Entered
}

impl FactorRow {
    /// The factor, exact: as given, else NCV x carbon content x oxidation x 44/12 / 1000 in kgCO2 per unit (GB/T 32150-2015).
    pub fn factor(&self) -> Option<Number> {
        if let Some(value) = &self.value {
            return Some(value.clone());
        }
        let carbon = self.ncv_mj.as_ref()? * self.carbon_t_per_tj.as_ref()? * self.oxidation.as_ref()?;
        // MJ x tC/TJ = g of carbon; 44/12 makes CO2 of it, /1000 kg.
        Some(carbon * Number::fraction(44, 12_000)?)
    }

    /// The row as a result names it; `None` while it has no value.
    pub fn used(&self) -> Option<FactorUse> {
        let per = match self.kind {
            FactorKind::Equivalent | FactorKind::EqualValue | FactorKind::Medium => "kgce",
            FactorKind::Grid | FactorKind::FuelCarbon => "kgCO2",
            FactorKind::HeatCarbon => "tCO2",
        };
        Some(FactorUse {
            kind: self.kind,
            key: self.key.clone(),
            value: self.factor()?,
            unit: format!("{per}/{}", self.unit),
            standard: self.standard.clone(),
            edition: match self.year {
                Some(year) if self.edition.is_empty() => year.to_string(),
                _ => self.edition.clone(),
            },
            valid_from: self.valid_from.or(self.published_on),
            valid_to: self.valid_to,
            mark: self.mark,
        })
    }

    fn valid_on(&self, day: Day) -> bool {
        self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day <= to)
    }
}

/// Why there is no factor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    /// No row.
    #[error("no row `{key}` in the table of {kind:?} factors is valid on {day}: give one in `factors`")]
    None {
        /// Table.
        kind: FactorKind,
        /// Key.
        key: String,
        /// Day asked for.
        day: Day,
    },
    /// A row without value.
    #[error("the row `{key}` of {kind:?} factors has no value yet: enter it from {standard}{note}")]
    Empty {
        /// Table.
        kind: FactorKind,
        /// Key.
        key: String,
        /// Where the value is to come from.
        standard: String,
        /// What the row says about it.
        note: String,
    },
}

/// A file of factors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorFile {
    /// Rows.
    pub factor: Vec<FactorRow>,
}

/// The files compiled in, name and text.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("equivalent.toml", include_str!("../../config/factors/equivalent.toml")),
    ("equal_value.toml", include_str!("../../config/factors/equal_value.toml")),
    ("media.toml", include_str!("../../config/factors/media.toml")),
    ("grid.toml", include_str!("../../config/factors/grid.toml")),
    ("carbon.toml", include_str!("../../config/factors/carbon.toml")),
];

/// Reads a file of factors.
pub fn read(text: &str) -> Result<Vec<FactorRow>, toml::de::Error> {
    toml::from_str::<FactorFile>(text).map(|file| file.factor)
}

/// Rows by table and key.
type Rows = BTreeMap<(FactorKind, String), Vec<FactorRow>>;

/// Factor rows by table and key; rows given come before the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct Factors {
    given: Rows,
    built_in: Rows,
}

impl Factors {
    /// The built-in rows.
    pub fn built_in() -> Self {
        Self::with(Vec::new())
    }

    /// The built-in rows behind others.
    pub fn with(given: Vec<FactorRow>) -> Self {
        let by_key = |all: &mut Rows, row: FactorRow| all.entry((row.kind, row.key.clone())).or_default().push(row);
        let (mut first, mut second) = (Rows::new(), Rows::new());
        given.into_iter().for_each(|row| by_key(&mut first, row));
        // A test reads every file; one that cannot be read would show as missing factors, by name.
        let built_in = BUILT_IN.iter().filter_map(|(_, text)| read(text).ok()).flatten();
        built_in.for_each(|row| by_key(&mut second, row));
        Self { given: first, built_in: second }
    }

    /// Whether a table has a key at all.
    pub fn knows(&self, kind: FactorKind, key: &str) -> bool {
        let key = (kind, key.to_owned());
        self.given.contains_key(&key) || self.built_in.contains_key(&key)
    }

    /// All rows of a table, given ones first.
    pub fn table(&self, kind: FactorKind) -> impl Iterator<Item = &FactorRow> {
        self.given.iter().chain(&self.built_in).filter(move |((of, _), _)| *of == kind).flat_map(|(_, rows)| rows)
    }

    /// The row valid on a day: a given one before a built-in one, then the one whose validity began last; only rows with a value.
    pub fn valid(&self, kind: FactorKind, key: &str, day: Day) -> Result<&FactorRow, FactorError> {
        self.best(kind, key, day, |row| row.valid_on(day), |row| row.valid_from)
    }

    /// The row with the newest data published by a day (the rule of grid factors): a given one before a built-in one.
    pub fn newest(&self, kind: FactorKind, key: &str, closed_on: Day) -> Result<&FactorRow, FactorError> {
        let published = |row: &FactorRow| row.published_on.is_none_or(|day| day <= closed_on) && row.valid_on(closed_on);
        self.best(kind, key, closed_on, published, |row| row.year)
    }

    fn best<O: Ord>(
        &self,
        kind: FactorKind,
        key: &str,
        day: Day,
        fits: impl Fn(&FactorRow) -> bool,
        order: impl Fn(&FactorRow) -> O,
    ) -> Result<&FactorRow, FactorError> {
        let key = (kind, key.to_owned());
        let mut empty = None;
        for rows in [&self.given, &self.built_in] {
            let fitting = || rows.get(&key).into_iter().flatten().filter(|row| fits(row));
            if let Some(row) = fitting().filter(|row| row.factor().is_some()).max_by_key(|row| order(row)) {
                return Ok(row);
            }
            empty = fitting().next().or(empty);
        }
        let (kind, key) = key;
        Err(match empty {
            Some(row) => FactorError::Empty {
                kind,
                key,
                standard: row.standard.clone(),
                note: if row.note.is_empty() { String::new() } else { format!(" ({})", row.note) },
            },
            None => FactorError::None { kind, key, day },
        })
    }
}
