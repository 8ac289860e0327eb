//! A project before a park: what rules are asked about, and the amounts that several of them need.

use std::collections::BTreeMap;

use super::input::Project;
use super::park::ParkState;
use super::read::Field;
use super::tables::{COAL, ELECTRICITY, Tables};
use crate::Number;
use crate::ledger::Pollutant;
use crate::ledger::entry::{DECIMALS, given, taken};
use crate::period::Day;

/// Decimals of t of a pollutant in a review.
const TONNES: u32 = 2;

/// What rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The project.
    pub project: &'a Project,
    /// The park as it is then.
    pub park: &'a ParkState,
    /// Dated tables.
    pub tables: &'a Tables,
}

impl<'a> Case<'a> {
    /// Filing date.
    pub fn on(&self) -> Option<Day> {
        self.project.applied_on.given().copied()
    }

    /// Total energy, tce a year: sum of amount x coefficient / 1000 + `other_tce`; electricity at the equivalent value.
    /// `None` while a figure is missing. Source: GB/T 2589-2020 (definition of comprehensive energy).
    pub fn total_tce(&self) -> Option<Number> {
        self.tce(self.project.energy.given()?)
    }

    /// Energy that the quota has to give, tce a year: total - feedstock - certified kWh at the equivalent coefficient,
    /// never below 0. Source: 发改运行〔2022〕1258号 (renewables), notice of 2022-11-01 on feedstock energy.
    pub fn controlled_tce(&self) -> Option<Number> {
        let certified = self.project.certified_renewable.given()? * &self.kgce(ELECTRICITY)? * Number::decimal(1, 3);
        let feedstock = self.tce(self.project.feedstock.given()?)?;
        Some(self.as_taken((self.total_tce()? - feedstock - certified).at_least_zero()))
    }

    /// An amount that the project takes: exact, or as the program's ledger keeps it.
    pub fn as_taken(&self, amount: Number) -> Number {
        if self.park.ledger.is_kept { taken(&amount) } else { amount }
    }

    /// Own verified reduction of a pollutant, t a year: exact, or as the program's ledger keeps it; 0 when none is given.
    pub fn own_reduction(&self, pollutant: Pollutant) -> Number {
        let own = self.project.own_verified_reduction_t.get(&pollutant).cloned().unwrap_or_default();
        if self.park.ledger.is_kept { given(&own) } else { own }
    }

    /// t of a pollutant a year as they are shown: 2 decimals, and all that the program's ledger keeps.
    pub fn tonnes(&self, number: &Number) -> String {
        let is_finer = self.park.ledger.is_kept && number.rounded(TONNES) != *number;
        number.fixed(if is_finer { DECIMALS } else { TONNES })
    }

    /// Shortfall of the quota, tce: controlled energy less headroom, where that is above 0.
    pub fn shortfall_tce(&self) -> Option<Number> {
        let shortfall = self.controlled_tce()? - self.park.quota_headroom_tce.as_ref()?;
        shortfall.is_positive().then_some(shortfall)
    }

    /// Electricity, kWh a year; 0 when none is named.
    pub fn electricity_kwh(&self) -> Option<Number> {
        self.amount(ELECTRICITY)
    }

    /// Raw coal, t a year; 0 when none is named.
    pub fn coal_t(&self) -> Option<Number> {
        Some(self.amount(COAL)? * Number::decimal(1, 3))
    }

    fn amount(&self, name: &str) -> Option<Number> {
        match self.project.energy.given()?.get(name) {
            None | Some(Field::Absent) => Some(Number::zero()),
            Some(Field::Null) => None,
            Some(Field::Given(amount)) => Some(amount.clone()),
        }
    }

    /// kgce per unit on the filing date; that of today's tables where there is no date.
    fn kgce(&self, name: &str) -> Option<Number> {
        let on = self.on().or_else(|| self.tables.orders.last().map(|order| order.from))?;
        self.tables.kgce(name, on).ok()
    }

    fn tce(&self, energy: &BTreeMap<String, Field<Number>>) -> Option<Number> {
        let mut kgce = Number::zero();
        for (name, amount) in energy {
            kgce += &(amount.given()? * &self.kgce(name)?);
        }
        Some(kgce * Number::decimal(1, 3))
    }

    /// Names of energy in the project for which no coefficient is entered.
    pub fn without_coefficient(&self) -> Vec<&'a str> {
        let names = self.project.energy.given().into_iter().flat_map(BTreeMap::keys);
        names.map(String::as_str).filter(|name| self.kgce(name).is_none()).collect()
    }
}

/// tce as they are shown: 3 decimals.
pub fn tce(number: &Number) -> String {
    number.fixed(3)
}

/// Figures and ratios of land as they are shown: 4 decimals.
pub fn land(number: &Number) -> String {
    number.fixed(4)
}

/// Figures of the project or park, as they were given.
pub fn plain(number: &Number) -> String {
    number.text(6)
}
