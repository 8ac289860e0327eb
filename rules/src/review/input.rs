//! A project as its file describes it. Money in 10k CNY, yearly amounts after start-up.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::read::{Field, Problem, Reader, Sign, tree};
use super::tables::{OTHER_TCE, Tables};
use crate::Number;
use crate::ledger::Pollutant;
use crate::period::Day;

/// A resource of which a project needs a peak and a park has a spare capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Electric power, MVA.
    Power,
    /// Gas, Nm3 an hour.
    Gas,
    /// Fresh water, m3 a day.
    Water,
    /// Waste water, m3 a day.
    Wastewater,
}

impl Resource {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Power, Self::Gas, Self::Water, Self::Wastewater];
    /// Their names.
    pub const NAMES: [&'static str; 4] = ["power_MVA", "gas_Nm3_per_h", "water_m3_per_d", "wastewater_m3_per_d"];

    /// Its name in files and answers, with the unit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Power => "power_MVA",
            Self::Gas => "gas_Nm3_per_h",
            Self::Water => "water_m3_per_d",
            Self::Wastewater => "wastewater_m3_per_d",
        }
    }

    /// Chinese name and unit.
    pub const fn zh(self) -> (&'static str, &'static str) {
        match self {
            Self::Power => ("供电", "MVA"),
            Self::Gas => ("供气", "Nm³/h"),
            Self::Water => ("供水", "m³/d"),
            Self::Wastewater => ("污水处理", "m³/d"),
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// A project that asks for admission. A field marked "required" that is not there, or null where null is no value, makes
/// the outcome `incomplete`; it is never taken for zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(title = "parkgate review: project", deny_unknown_fields, transform = null_is_a_value_but_absence_is_not)]
pub struct Project {
    /// Id or name of the project, for answers and the ledger; the name of the file unless given.
    #[schemars(with = "Option<String>")]
    pub project: Option<String>,
    /// Industry code, key of the park's land table.
    #[schemars(with = "String")]
    pub industry: Field<String>,
    /// Filing date, `2025-09-01`.
    #[schemars(with = "Day")]
    pub applied_on: Field<Day>,
    /// Planned start of production.
    #[schemars(with = "Day")]
    pub production_on: Field<Day>,
    /// Land, mu; above 0.
    #[schemars(with = "Number")]
    pub land_mu: Field<Number>,
    /// Fixed investment, 10k CNY.
    #[schemars(rename = "fixed_investment_10kCNY", with = "Number")]
    pub fixed_investment: Field<Number>,
    /// Output a year, 10k CNY.
    #[schemars(rename = "annual_output_10kCNY", with = "Number")]
    pub annual_output: Field<Number>,
    /// Tax a year, 10k CNY.
    #[schemars(rename = "annual_tax_10kCNY", with = "Number")]
    pub annual_tax: Field<Number>,
    /// R&D / revenue, a fraction (0.025 is 2.5 %); null where there is no figure, which counts as 0.
    #[schemars(with = "Option<Number>")]
    pub rd_ratio: Field<Number>,
    /// Energy a year, by kind in physical units, and `other_tce` for what is in tce already. A kind that is not there is
    /// not used.
    #[schemars(schema_with = "energy_schema")]
    pub energy: Field<BTreeMap<String, Field<Number>>>,
    /// The part of `energy` that is used as material, with the same keys; `{}` for none.
    #[schemars(schema_with = "energy_schema")]
    pub feedstock: Field<BTreeMap<String, Field<Number>>>,
    /// Certified renewable electricity, kWh a year; 0 for none.
    #[schemars(rename = "certified_renewable_kWh", with = "Number")]
    pub certified_renewable: Field<Number>,
    /// Yearly increment of pollutants, t; dust may be left out, the others are required.
    #[schemars(schema_with = "pollutants_schema")]
    pub pollutants_t_per_a: Field<BTreeMap<Pollutant, Field<Number>>>,
    /// Peak demand; all four are required.
    #[schemars(schema_with = "resources_schema")]
    pub demand: Field<BTreeMap<Resource, Field<Number>>>,
    /// Whether the zoning unit admits it.
    #[schemars(with = "bool")]
    pub zoning_compatible: Field<bool>,
    /// Name of a prohibited process, or null.
    #[schemars(with = "Option<String>")]
    pub prohibited_process: Field<String>,
    /// Whether the demands on safety and environment are met.
    #[schemars(with = "bool")]
    pub safety_ok: Field<bool>,
    /// Level by the product's limit standard (1 the best); null where there is no limit standard.
    #[schemars(with = "Option<u32>")]
    pub unit_product_energy_level: Field<u32>,
    /// Whether the energy review is approved; false unless given.
    #[schemars(with = "Option<bool>")]
    pub energy_review_approved: bool,
    /// Opinion of the province; `follow` means that it will provide the energy. None unless given.
    #[schemars(with = "Option<String>")]
    pub province_pre_review: Option<String>,
    /// Own verified reductions per pollutant, t a year; none unless given.
    #[schemars(schema_with = "reductions_schema")]
    pub own_verified_reduction_t: BTreeMap<Pollutant, Number>,
    /// Verified replacement energy, tce; 0 unless given.
    #[schemars(with = "Option<Number>")]
    pub replacement_energy_tce: Number,
}

/// Names of a project file.
const KEYS: [&str; 22] = [
    "project",
    "industry",
    "applied_on",
    "production_on",
    "land_mu",
    "fixed_investment_10kCNY",
    "annual_output_10kCNY",
    "annual_tax_10kCNY",
    "rd_ratio",
    "energy",
    "feedstock",
    "certified_renewable_kWh",
    "pollutants_t_per_a",
    "demand",
    "zoning_compatible",
    "prohibited_process",
    "safety_ok",
    "unit_product_energy_level",
    "energy_review_approved",
    "province_pre_review",
    "own_verified_reduction_t",
    "replacement_energy_tce",
];

impl Project {
    /// Reads a project from TOML or JSON.
    ///
    /// # Errors
    /// All problems of the text: names that are not known, values of another kind, figures below 0.
    pub fn parse(text: &str, tables: &Tables) -> Result<Self, Vec<Problem>> {
        Self::read(&tree(text).map_err(|problem| vec![problem])?, "", tables)
    }

    /// Reads a project from a tree; `path` leads to it, in messages.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(value: &Value, path: &str, tables: &Tables) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::default();
        let mut project = Self::default();
        if let Some(object) = reader.object(value, path, &KEYS) {
            let (not_negative, positive) = (Sign::NotNegative, Sign::Positive);
            project = Self {
                project: reader.text(&object, "project").into_given(),
                industry: reader.text(&object, "industry"),
                applied_on: reader.date(&object, "applied_on"),
                production_on: reader.date(&object, "production_on"),
                land_mu: reader.number(&object, "land_mu", positive),
                fixed_investment: reader.number(&object, "fixed_investment_10kCNY", not_negative),
                annual_output: reader.number(&object, "annual_output_10kCNY", not_negative),
                annual_tax: reader.number(&object, "annual_tax_10kCNY", not_negative),
                rd_ratio: reader.number(&object, "rd_ratio", not_negative),
                energy: Field::Absent,
                feedstock: Field::Absent,
                certified_renewable: reader.number(&object, "certified_renewable_kWh", not_negative),
                pollutants_t_per_a: Field::Absent,
                demand: Field::Absent,
                zoning_compatible: reader.flag(&object, "zoning_compatible"),
                prohibited_process: reader.text(&object, "prohibited_process"),
                safety_ok: reader.flag(&object, "safety_ok"),
                unit_product_energy_level: reader.level(&object, "unit_product_energy_level"),
                energy_review_approved: reader.flag(&object, "energy_review_approved").into_given().unwrap_or(false),
                province_pre_review: reader.text(&object, "province_pre_review").into_given(),
                own_verified_reduction_t: BTreeMap::new(),
                replacement_energy_tce: reader.number(&object, "replacement_energy_tce", not_negative).into_given().unwrap_or_default(),
            };
            let kinds = tables.energy_names();
            for (key, field) in [("energy", &mut project.energy), ("feedstock", &mut project.feedstock)] {
                let found = reader.value(&object, key);
                *field = numbers(&mut reader, found, &object.path(key), &kinds, |name| Some(name.to_owned()));
            }
            let names = Pollutant::ALL.map(Pollutant::name);
            let found = reader.value(&object, "pollutants_t_per_a");
            project.pollutants_t_per_a = numbers(&mut reader, found, &object.path("pollutants_t_per_a"), &names, Pollutant::named);
            let found = reader.value(&object, "own_verified_reduction_t");
            let own = numbers(&mut reader, found, &object.path("own_verified_reduction_t"), &names, Pollutant::named);
            let own = own.into_given().unwrap_or_default().into_iter();
            project.own_verified_reduction_t = own.filter_map(|(pollutant, amount)| Some((pollutant, amount.into_given()?))).collect();
            let found = reader.value(&object, "demand");
            project.demand = numbers(&mut reader, found, &object.path("demand"), &Resource::NAMES, Resource::named);
        }
        reader.finish(project)
    }
}

/// A table of numbers of 0 or more under known names.
fn numbers<K: Ord>(
    reader: &mut Reader,
    found: Field<&Value>,
    path: &str,
    names: &[&str],
    named: impl Fn(&str) -> Option<K>,
) -> Field<BTreeMap<K, Field<Number>>> {
    let value = match found {
        Field::Absent => return Field::Absent,
        Field::Null => return Field::Null,
        Field::Given(value) => value,
    };
    let Some(object) = reader.object(value, path, names) else { return Field::Absent };
    let mut read = BTreeMap::new();
    for (key, _) in object.entries().filter(|(key, _)| names.contains(key)) {
        let number = reader.number(&object, key, Sign::NotNegative);
        if let Some(known) = named(key) {
            read.insert(known, number);
        }
    }
    Field::Given(read)
}

/// JSON Schema of a project file.
pub fn schema() -> Schema {
    schemars::schema_for!(Project)
}

/// A table whose properties are numbers.
pub(super) fn numbers_schema(generator: &mut SchemaGenerator, names: impl Iterator<Item = (String, String)>, required: &[&str]) -> Schema {
    let number = generator.subschema_for::<Number>();
    let mut properties = serde_json::Map::new();
    for (name, description) in names {
        properties.insert(name, serde_json::json!({ "description": description, "minimum": 0, "allOf": [number] }));
    }
    let mut schema = json_schema!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn energy_schema(generator: &mut SchemaGenerator) -> Schema {
    let tables = Tables::shipped();
    let known = tables.energy.values().map(|one| (one.name.clone(), format!("{}, 当量值", one.factor)));
    let other = [(OTHER_TCE.to_owned(), "其他能源，已折标准煤 tce".to_owned())];
    numbers_schema(generator, known.chain(other), &[])
}

fn pollutants_schema(generator: &mut SchemaGenerator) -> Schema {
    let names = Pollutant::ALL.iter().map(|one| (one.name().to_owned(), format!("{}, t/a", one.zh())));
    let required: Vec<&str> = Pollutant::REQUIRED.iter().map(|one| one.name()).collect();
    numbers_schema(generator, names, &required)
}

fn reductions_schema(generator: &mut SchemaGenerator) -> Schema {
    numbers_schema(generator, Pollutant::ALL.iter().map(|one| (one.name().to_owned(), format!("{}, t/a", one.zh()))), &[])
}

fn resources_schema(generator: &mut SchemaGenerator) -> Schema {
    numbers_schema(generator, Resource::ALL.iter().map(|one| (one.name().to_owned(), one.zh().0.to_owned())), &Resource::NAMES)
}

/// Fields whose null is a value have to be there all the same.
fn null_is_a_value_but_absence_is_not(schema: &mut Schema) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        for name in ["rd_ratio", "prohibited_process", "unit_product_energy_level"] {
            if !required.iter().any(|one| one.as_str() == Some(name)) {
                required.push(name.into());
            }
        }
    }
    // Reductions have a default.
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|one| one.as_str() != Some("own_verified_reduction_t"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_just_the_names_that_are_read() {
        let schema = schema().to_value();
        let mut known: Vec<&str> = KEYS.to_vec();
        let mut shown: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        known.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, known);
        assert_eq!(schema["additionalProperties"], false);
        let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let optional: Vec<&str> = KEYS.into_iter().filter(|key| !required.contains(key)).collect();
        let with_default =
            ["project", "energy_review_approved", "province_pre_review", "own_verified_reduction_t", "replacement_energy_tce"];
        assert_eq!(optional, with_default);
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let text = r#"
            industy = "glass"
            applied_on = "1 September"
            land_mu = 0
            energy = { electricity_kwh = 1, coal_kg = -2, gas_Nm3 = "many" }
            pollutants_t_per_a = { nox = 1 }
            demand = 7
        "#;
        let said: Vec<String> = Project::parse(text, &Tables::shipped()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 8, "{said:#?}");
        for part in [
            "`industy`: is not known; did you mean `industry`?",
            "`applied_on`: \"1 September\" is not a date",
            "`land_mu`: 0 is not above 0",
            "`energy.electricity_kwh`: is not known; did you mean `electricity_kWh`?",
            "`energy.coal_kg`: -2 is below 0",
            "`energy.gas_Nm3`: \"many\" is not a decimal number",
            "`pollutants_t_per_a.nox`: is not known; did you mean `NOx`?",
            "`demand`: a number stands where a table with keys is due",
        ] {
            assert!(said.iter().any(|one| one.starts_with(part)), "{part} is not in {said:#?}");
        }
    }

    #[test]
    fn absent_and_null_are_two_things() {
        let project = Project::parse(
            r#"{"rd_ratio": null, "pollutants_t_per_a": {"COD": null}, "replacement_energy_tce": null}"#,
            &Tables::shipped(),
        )
        .unwrap();
        assert_eq!((project.rd_ratio, project.land_mu), (Field::Null, Field::Absent));
        assert_eq!(project.pollutants_t_per_a.given().unwrap()[&Pollutant::Cod], Field::Null);
        assert_eq!((project.replacement_energy_tce, project.energy_review_approved), (Number::zero(), false));
    }
}
