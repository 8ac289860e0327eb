//! The park as a review sees it: what is left of the energy quota, verified reductions and their uses, last year's
//! quality, spare capacities, expansions, the land table. It stands alone in a file, or is put together from a live park.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::input::{Resource, numbers_schema};
use super::read::{Field, Object, Problem, Reader, Sign, tree};
use crate::Number;
use crate::ledger::Pollutant;
use crate::ledger::balance::{Amount, balance};
use crate::period::Day;

/// State of a park. What is not known is left out: a rule that needs it makes the outcome `incomplete` and names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(title = "parkgate review: park state", deny_unknown_fields, transform = nothing_is_required)]
pub struct ParkState {
    /// Name of the park, for answers.
    pub park: Option<String>,
    /// Headroom of the energy quota, tce: allowance less year-end forecast less energy of approved projects that do not
    /// produce yet. May be below 0.
    pub quota_headroom_tce: Option<Number>,
    /// Ledger of pollutant totals, t a year.
    pub ledger: ParkLedger,
    /// Whether quality was attained last year.
    pub last_year_attained: Attained,
    /// Spare capacity, capacity promised to others taken off.
    #[schemars(schema_with = "spare_schema")]
    pub spare_capacity: BTreeMap<Resource, Number>,
    /// Dated expansions.
    pub expansions: Vec<Expansion>,
    /// Land table: thresholds by industry code.
    pub land_table: Option<BTreeMap<String, LandRow>>,
    /// Document the land table is from.
    pub land_table_document: Option<String>,
    /// Industry codes of the park's leading industries. No rule tests them; the answer says whether the project is in one.
    pub leading_industries: Option<BTreeSet<String>>,
}

/// Ledger of pollutant totals: either balances, or the sources and uses they follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, transform = nothing_is_required)]
pub struct ParkLedger {
    /// Balance per pollutant, t a year, for a park that keeps its entries elsewhere. Not beside `sources` and `uses`.
    #[schemars(schema_with = "balances_schema")]
    pub balances_t: Option<BTreeMap<Pollutant, Number>>,
    /// Sources. With sources or uses the ledger is whole: a pollutant without a source has a balance of 0.
    pub sources: Option<Vec<ParkSource>>,
    /// Uses.
    pub uses: Option<Vec<ParkUse>>,
    /// Whether it is the ledger that the program keeps, into which a project is entered: then a need is rounded as it will be entered,
    /// so that a review shows what is reserved. A ledger from a file is exact.
    #[schemars(skip)]
    pub is_kept: bool,
}

/// A reduction that may be given to projects.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ParkSource {
    /// Id; with the pollutant it is there once.
    pub id: String,
    /// Pollutant.
    pub pollutant: Pollutant,
    /// Verified amount, t a year; null or not there while it is only claimed, then it does not count.
    pub verified_t: Option<Number>,
    /// Last day on which it counts.
    pub expiry: Option<Day>,
    /// Unit that gave it up.
    pub unit: Option<String>,
    /// What was done.
    pub measure: Option<String>,
    /// Emission before, t a year.
    pub before_t: Option<Number>,
    /// Emission after, t a year.
    pub after_t: Option<Number>,
    /// Basin, of water pollutants.
    pub basin: Option<String>,
    /// Document that verifies it.
    pub document: Option<String>,
    /// Its date.
    pub date: Option<Day>,
}

/// What a project took.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ParkUse {
    /// Project.
    pub project: String,
    /// Pollutant.
    pub pollutant: Pollutant,
    /// Amount taken, the ratio included; t a year.
    pub amount_t: Number,
    /// Increment of the project, t a year.
    pub increment_t: Option<Number>,
    /// Ratio.
    pub ratio: Option<Number>,
    /// Why this ratio.
    pub why: Option<String>,
    /// Document.
    pub document: Option<String>,
    /// Its date.
    pub date: Option<Day>,
}

/// Whether quality was attained last year.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Attained {
    /// Annual mean of PM2.5.
    pub pm25: Option<bool>,
    /// Water quality.
    pub water: Option<bool>,
}

/// Capacity that will be there.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Expansion {
    /// Resource, a name of `spare_capacity`.
    #[schemars(schema_with = "resource_schema")]
    pub resource: Resource,
    /// What it adds, in the resource's unit.
    pub adds: Number,
    /// First day it is there.
    pub ready_on: Day,
}

/// Thresholds of an industry; what is left empty is not tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LandRow {
    /// Fixed investment per mu, 10k CNY.
    #[schemars(rename = "investment_10kCNY_per_mu", with = "Option<Number>")]
    pub investment: Option<Number>,
    /// Output a year per mu, 10k CNY.
    #[schemars(rename = "output_10kCNY_per_mu", with = "Option<Number>")]
    pub output: Option<Number>,
    /// Tax a year per mu, 10k CNY.
    #[schemars(rename = "tax_10kCNY_per_mu", with = "Option<Number>")]
    pub tax: Option<Number>,
    /// R&D / revenue, a fraction.
    pub rd_ratio: Option<Number>,
}

const KEYS: [&str; 9] = [
    "park",
    "quota_headroom_tce",
    "ledger",
    "last_year_attained",
    "spare_capacity",
    "expansions",
    "land_table",
    "land_table_document",
    "leading_industries",
];
const SOURCE_KEYS: [&str; 11] =
    ["id", "pollutant", "verified_t", "expiry", "unit", "measure", "before_t", "after_t", "basin", "document", "date"];
const USE_KEYS: [&str; 8] = ["project", "pollutant", "amount_t", "increment_t", "ratio", "why", "document", "date"];

impl ParkState {
    /// Reads a state from JSON or TOML.
    ///
    /// # Errors
    /// All problems of the text, an over-committed ledger among them.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::read(&tree(text).map_err(|problem| vec![problem])?)
    }

    /// Reads a state from a tree.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(value: &Value) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::default();
        let mut state = Self::default();
        if let Some(object) = reader.object(value, "", &KEYS) {
            state.park = reader.text(&object, "park").into_given();
            state.quota_headroom_tce = reader.number(&object, "quota_headroom_tce", Sign::Any).into_given();
            state.land_table_document = reader.text(&object, "land_table_document").into_given();
            if let Field::Given(value) = reader.value(&object, "ledger") {
                state.ledger = ledger(&mut reader, value);
            }
            if let Field::Given(value) = reader.value(&object, "last_year_attained")
                && let Some(object) = reader.object(value, "last_year_attained", &["pm25", "water"])
            {
                let [pm25, water] = ["pm25", "water"].map(|key| reader.flag(&object, key).into_given());
                state.last_year_attained = Attained { pm25, water };
            }
            if let Field::Given(value) = reader.value(&object, "spare_capacity")
                && let Some(object) = reader.object(value, "spare_capacity", &Resource::NAMES)
            {
                let spare = |resource: Resource| Some((resource, reader.number(&object, resource.name(), Sign::Any).into_given()?));
                state.spare_capacity = Resource::ALL.into_iter().filter_map(spare).collect();
            }
            state.expansions = rows(&mut reader, &object, "expansions", expansion).unwrap_or_default();
            state.land_table = land_table(&mut reader, &object);
            state.leading_industries = leading(&mut reader, &object);
        }
        state.check(&mut reader);
        reader.finish(state)
    }

    /// What contradicts itself.
    fn check(&self, reader: &mut Reader) {
        let ParkLedger { balances_t, sources, uses, .. } = &self.ledger;
        if balances_t.is_some() && (sources.is_some() || uses.is_some()) {
            reader.problem("ledger", "has balances beside sources and uses: give the balances, or the entries they follow from");
            return;
        }
        let mut seen = BTreeSet::new();
        for source in sources.iter().flatten() {
            if !seen.insert((&source.id, source.pollutant)) {
                let name = source.pollutant.name();
                reader.problem("ledger.sources", format!("source `{}` of {name} is there twice; a source is used once", source.id));
            }
        }
        for pollutant in Pollutant::ALL {
            let found = balance(&self.amounts(pollutant).0, &self.amounts(pollutant).1, None);
            if found.overdrawn.is_positive() {
                let (name, over) = (pollutant.name(), found.overdrawn);
                reader.problem(
                    "ledger.uses",
                    format!("uses of {name} are {over} t/a more than the verified sources that counted on their days"),
                );
            }
        }
    }

    fn amounts(&self, pollutant: Pollutant) -> (Vec<Amount>, Vec<Amount>) {
        let sources = self.ledger.sources.iter().flatten().filter(|one| one.pollutant == pollutant);
        let verified = sources.filter_map(|one| Some(Amount { amount: one.verified_t.clone()?, day: one.expiry }));
        let uses = self.ledger.uses.iter().flatten().filter(|one| one.pollutant == pollutant);
        (verified.collect(), uses.map(|one| Amount { amount: one.amount_t.clone(), day: one.date }).collect())
    }

    /// Balance of a pollutant on a day, t a year; `None` when it is not known.
    pub fn balance(&self, pollutant: Pollutant, on: Option<Day>) -> Option<Number> {
        let ParkLedger { balances_t, sources, uses, .. } = &self.ledger;
        if sources.is_some() || uses.is_some() {
            let (sources, uses) = self.amounts(pollutant);
            return Some(balance(&sources, &uses, on).net());
        }
        balances_t.as_ref()?.get(&pollutant).cloned()
    }

    /// Balances that are known, by pollutant, t a year; expired sources are not left out, since no day is named.
    pub fn balances(&self) -> BTreeMap<&'static str, String> {
        let known = |one: Pollutant| Some((one.name(), self.balance(one, None)?.to_string()));
        Pollutant::ALL.into_iter().filter_map(known).collect()
    }

    /// As it stands in a file; exact, so that it can be read again.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        put("park", self.park.clone().map(Value::from));
        put("quota_headroom_tce", self.quota_headroom_tce.as_ref().map(exact));
        put("ledger", Some(self.ledger.to_value()));
        put("last_year_attained", Some(json!({ "pm25": self.last_year_attained.pm25, "water": self.last_year_attained.water })));
        let spare = self.spare_capacity.iter().map(|(resource, amount)| (resource.name().to_owned(), exact(amount)));
        put("spare_capacity", Some(Value::Object(spare.collect())));
        let expansions = self
            .expansions
            .iter()
            .map(|one| json!({ "resource": one.resource.name(), "adds": exact(&one.adds), "ready_on": one.ready_on.to_string() }));
        put("expansions", Some(expansions.collect()));
        let row = |row: &LandRow| {
            optional(&[
                ("investment_10kCNY_per_mu", row.investment.as_ref().map(exact)),
                ("output_10kCNY_per_mu", row.output.as_ref().map(exact)),
                ("tax_10kCNY_per_mu", row.tax.as_ref().map(exact)),
                ("rd_ratio", row.rd_ratio.as_ref().map(exact)),
            ])
        };
        let table = |table: &BTreeMap<String, LandRow>| {
            Value::Object(table.iter().map(|(industry, thresholds)| (industry.clone(), row(thresholds))).collect())
        };
        put("land_table", self.land_table.as_ref().map(table));
        put("land_table_document", self.land_table_document.clone().map(Value::from));
        put("leading_industries", self.leading_industries.as_ref().map(|all| all.iter().cloned().collect()));
        Value::Object(map)
    }
}

impl ParkLedger {
    fn to_value(&self) -> Value {
        let balances = self.balances_t.as_ref().map(|balances| {
            Value::Object(balances.iter().map(|(pollutant, amount)| (pollutant.name().to_owned(), exact(amount))).collect())
        });
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let day = |day: &Option<Day>| day.map(|day| Value::from(day.to_string()));
        let sources = self.sources.as_ref().map(|sources| {
            let row = |one: &ParkSource| {
                optional(&[
                    ("id", Some(one.id.clone().into())),
                    ("pollutant", Some(one.pollutant.name().into())),
                    ("verified_t", one.verified_t.as_ref().map(exact)),
                    ("expiry", day(&one.expiry)),
                    ("unit", text(&one.unit)),
                    ("measure", text(&one.measure)),
                    ("before_t", one.before_t.as_ref().map(exact)),
                    ("after_t", one.after_t.as_ref().map(exact)),
                    ("basin", text(&one.basin)),
                    ("document", text(&one.document)),
                    ("date", day(&one.date)),
                ])
            };
            sources.iter().map(row).collect()
        });
        let uses = self.uses.as_ref().map(|uses| {
            let row = |one: &ParkUse| {
                optional(&[
                    ("project", Some(one.project.clone().into())),
                    ("pollutant", Some(one.pollutant.name().into())),
                    ("amount_t", Some(exact(&one.amount_t))),
                    ("increment_t", one.increment_t.as_ref().map(exact)),
                    ("ratio", one.ratio.as_ref().map(exact)),
                    ("why", text(&one.why)),
                    ("document", text(&one.document)),
                    ("date", day(&one.date)),
                ])
            };
            uses.iter().map(row).collect()
        });
        optional(&[("balances_t", balances), ("sources", sources), ("uses", uses)])
    }
}

/// An exact decimal as text.
fn exact(number: &Number) -> Value {
    number.to_string().into()
}

fn optional(rows: &[(&str, Option<Value>)]) -> Value {
    Value::Object(rows.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?))).collect())
}

/// The rows of a list, each read by `read`.
fn rows<T>(reader: &mut Reader, object: &Object<'_>, key: &str, read: impl Fn(&mut Reader, &Value, &str) -> Option<T>) -> Option<Vec<T>> {
    let items = reader.list(object, key).into_given()?;
    let path = object.path(key);
    Some(items.iter().enumerate().filter_map(|(place, item)| read(reader, item, &format!("{path}[{place}]"))).collect())
}

/// A field without which a row means nothing.
fn needed<T>(reader: &mut Reader, object: &Object<'_>, key: &str, field: Field<T>) -> Option<T> {
    if field.given().is_none() && !reader.problems.iter().any(|problem| problem.path == object.path(key)) {
        reader.problem(object.path(key), "is missing");
    }
    field.into_given()
}

fn ledger(reader: &mut Reader, value: &Value) -> ParkLedger {
    let Some(object) = reader.object(value, "ledger", &["balances_t", "sources", "uses"]) else { return ParkLedger::default() };
    let mut ledger = ParkLedger::default();
    if let Field::Given(value) = reader.value(&object, "balances_t")
        && let Some(object) = reader.object(value, "ledger.balances_t", &Pollutant::ALL.map(Pollutant::name))
    {
        let balance = |one: Pollutant| Some((one, reader.number(&object, one.name(), Sign::NotNegative).into_given()?));
        ledger.balances_t = Some(Pollutant::ALL.into_iter().filter_map(balance).collect());
    }
    ledger.sources = rows(reader, &object, "sources", source);
    ledger.uses = rows(reader, &object, "uses", taken);
    ledger
}

fn source(reader: &mut Reader, value: &Value, path: &str) -> Option<ParkSource> {
    let object = reader.object(value, path, &SOURCE_KEYS)?;
    let id = reader.text(&object, "id");
    let (id, pollutant) = (needed(reader, &object, "id", id), pollutant(reader, &object));
    let [verified_t, before_t, after_t] =
        ["verified_t", "before_t", "after_t"].map(|key| reader.number(&object, key, Sign::NotNegative).into_given());
    let [unit, measure, basin, document] = ["unit", "measure", "basin", "document"].map(|key| reader.text(&object, key).into_given());
    let [expiry, date] = ["expiry", "date"].map(|key| reader.date(&object, key).into_given());
    Some(ParkSource { id: id?, pollutant: pollutant?, verified_t, expiry, unit, measure, before_t, after_t, basin, document, date })
}

fn taken(reader: &mut Reader, value: &Value, path: &str) -> Option<ParkUse> {
    let object = reader.object(value, path, &USE_KEYS)?;
    let project = reader.text(&object, "project");
    let (project, pollutant) = (needed(reader, &object, "project", project), pollutant(reader, &object));
    let amount_t = reader.number(&object, "amount_t", Sign::NotNegative);
    let amount_t = needed(reader, &object, "amount_t", amount_t);
    let [increment_t, ratio] = ["increment_t", "ratio"].map(|key| reader.number(&object, key, Sign::NotNegative).into_given());
    let [why, document] = ["why", "document"].map(|key| reader.text(&object, key).into_given());
    let date = reader.date(&object, "date").into_given();
    Some(ParkUse { project: project?, pollutant: pollutant?, amount_t: amount_t?, increment_t, ratio, why, document, date })
}

fn pollutant(reader: &mut Reader, object: &Object<'_>) -> Option<Pollutant> {
    let name = reader.text(object, "pollutant");
    let name = needed(reader, object, "pollutant", name)?;
    let found = Pollutant::named(&name);
    if found.is_none() {
        reader.unknown(&object.path("pollutant"), &name, &Pollutant::ALL.map(Pollutant::name));
    }
    found
}

fn expansion(reader: &mut Reader, value: &Value, path: &str) -> Option<Expansion> {
    let object = reader.object(value, path, &["resource", "adds", "ready_on"])?;
    let name = reader.text(&object, "resource");
    let name = needed(reader, &object, "resource", name);
    let resource = name.as_deref().and_then(Resource::named);
    if let (Some(name), None) = (&name, resource) {
        reader.unknown(&object.path("resource"), name, &Resource::NAMES);
    }
    let (adds, ready_on) = (reader.number(&object, "adds", Sign::NotNegative), reader.date(&object, "ready_on"));
    let (adds, ready_on) = (needed(reader, &object, "adds", adds), needed(reader, &object, "ready_on", ready_on));
    Some(Expansion { resource: resource?, adds: adds?, ready_on: ready_on? })
}

fn land_table(reader: &mut Reader, object: &Object<'_>) -> Option<BTreeMap<String, LandRow>> {
    let value = reader.value(object, "land_table").into_given()?;
    let table = reader.map(value, "land_table")?;
    let mut read = BTreeMap::new();
    for (industry, value) in table.entries() {
        let path = table.path(industry);
        let keys = ["investment_10kCNY_per_mu", "output_10kCNY_per_mu", "tax_10kCNY_per_mu", "rd_ratio"];
        if let Some(row) = reader.object(value, &path, &keys) {
            let [investment, output, tax, rd_ratio] = keys.map(|key| reader.number(&row, key, Sign::Positive).into_given());
            read.insert(industry.to_owned(), LandRow { investment, output, tax, rd_ratio });
        }
    }
    Some(read)
}

fn leading(reader: &mut Reader, object: &Object<'_>) -> Option<BTreeSet<String>> {
    rows(reader, object, "leading_industries", |reader, value, path| match value.as_str() {
        Some(code) => Some(code.to_owned()),
        None => {
            reader.problem(path, "is not a text");
            None
        }
    })
    .map(|codes| codes.into_iter().collect())
}

/// JSON Schema of a park state.
pub fn schema() -> Schema {
    schemars::schema_for!(ParkState)
}

/// A state may be known in part.
fn nothing_is_required(schema: &mut Schema) {
    schema.remove("required");
}

fn spare_schema(generator: &mut SchemaGenerator) -> Schema {
    let names = Resource::ALL.iter().map(|one| (one.name().to_owned(), format!("{}, {}", one.zh().0, one.zh().1)));
    numbers_schema(generator, names, &[])
}

fn balances_schema(generator: &mut SchemaGenerator) -> Schema {
    numbers_schema(generator, Pollutant::ALL.iter().map(|one| (one.name().to_owned(), format!("{}, t/a", one.zh()))), &[])
}

fn resource_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Resource::NAMES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_just_the_names_that_are_read() {
        let schema = schema().to_value();
        let names = |value: &Value| value["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(names(&schema), set(&KEYS));
        assert_eq!(names(&schema["$defs"]["ParkSource"]), set(&SOURCE_KEYS));
        assert_eq!(names(&schema["$defs"]["ParkUse"]), set(&USE_KEYS));
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn a_state_is_written_as_it_is_read() {
        let text = r#"{"park": "north", "quota_headroom_tce": "-1.5", "ledger": {
            "sources": [{"id": "s1", "pollutant": "NOx", "verified_t": 10.5, "expiry": "2027-12-31", "unit": "boiler"},
                {"id": "s2", "pollutant": "NOx", "before_t": 9, "after_t": 1}],
            "uses": [{"project": "old", "pollutant": "NOx", "amount_t": "4.25", "ratio": 2, "date": "2025-01-02"}]},
            "last_year_attained": {"pm25": false, "water": true}, "spare_capacity": {"power_MVA": 12},
            "expansions": [{"resource": "power_MVA", "adds": 20, "ready_on": "2026-06-30"}],
            "land_table": {"C30": {"investment_10kCNY_per_mu": 150, "tax_10kCNY_per_mu": 8}}, "leading_industries": ["C30"]}"#;
        let state = ParkState::parse(text).unwrap();
        assert_eq!(ParkState::read(&state.to_value()).unwrap(), state);
        // 10.5 - 4.25; the other source is only claimed.
        assert_eq!(state.balance(Pollutant::Nox, None), Some(Number::decimal(625, 2)));
        // Expired with what was left of it.
        assert_eq!(state.balance(Pollutant::Nox, "2028-01-01".parse().ok()), Some(Number::zero()));
        // A whole ledger without a source has nothing.
        assert_eq!(state.balance(Pollutant::Cod, None), Some(Number::zero()));
        let state = ParkState::parse(r#"{"ledger": {"balances_t": {"COD": 3}}}"#).unwrap();
        assert_eq!((state.balance(Pollutant::Cod, None), state.balance(Pollutant::Nox, None)), (Some(Number::from(3)), None));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, said) in [
            (r#"{"ledger": {"balances_t": {"COD": -1}}}"#, "`ledger.balances_t.COD`: -1 is below 0"),
            (r#"{"ledger": {"balances_t": {}, "uses": []}}"#, "`ledger`: has balances beside"),
            (r#"{"ledger": {"sources": [{"id": "a", "pollutant": "CO2"}]}}"#, "`ledger.sources[0].pollutant`: is not known"),
            (r#"{"ledger": {"sources": [{"pollutant": "COD"}]}}"#, "`ledger.sources[0].id`: is missing"),
            (
                r#"{"ledger": {"sources": [{"id": "a", "pollutant": "COD"}, {"id": "a", "pollutant": "COD"}]}}"#,
                "`ledger.sources`: source `a` of COD is there twice",
            ),
            (
                r#"{"ledger": {"uses": [{"project": "p", "pollutant": "COD", "amount_t": 0.001}]}}"#,
                "`ledger.uses`: uses of COD are 0.001 t/a more",
            ),
            (r#"{"quota_headroom": 1}"#, "`quota_headroom`: is not known; did you mean `quota_headroom_tce`?"),
            (r#"{"expansions": [{"resource": "power", "adds": 1, "ready_on": "2026-01-01"}]}"#, "`expansions[0].resource`: is not known"),
            (r#"{"land_table": {"C30": {"tax_10kCNY_per_mu": 0}}}"#, "`land_table.C30.tax_10kCNY_per_mu`: 0 is not above 0"),
        ] {
            let problems = ParkState::parse(text).unwrap_err();
            assert!(problems[0].to_string().starts_with(said), "{text}: {problems:?}");
        }
    }
}
