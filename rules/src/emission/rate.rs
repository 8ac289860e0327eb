//! Valid rate and transmission rate of a period.

use serde::{Deserialize, Serialize};

use super::period::HourCounts;
use crate::Number;

/// Rates as fractions; `None` when there is nothing to divide by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rates {
    /// Hours that were not stopped.
    pub operating_hours: u32,
    /// Valid hours / operating hours (HJ 75-2017).
    pub valid: Option<Number>,
    /// Hours of which data came / operating hours.
    pub transmission: Option<Number>,
    /// Valid hours / hours of which data came.
    pub validity: Option<Number>,
    /// 传输有效率 = transmission x validity; the same as `valid`, reached by the two parts that regulators ask for.
    pub effective: Option<Number>,
}

/// Rates of the hours of a period. A missing hour counts against the valid rate, a stopped one for nothing.
pub fn rates(hours: &HourCounts) -> Rates {
    let operating = hours.operating();
    let came = operating.saturating_sub(hours.missing);
    let share = |part: u32, of: u32| Number::fraction(i128::from(part), i128::from(of));
    let (transmission, validity) = (share(came, operating), share(hours.valid, came));
    let effective = match (&transmission, &validity) {
        (Some(transmission), Some(validity)) => Some(transmission * validity),
        // Nothing came: nothing of it is valid.
        (Some(_), None) => Some(Number::zero()),
        _ => None,
    };
    Rates { operating_hours: operating, valid: share(hours.valid, operating), transmission, validity, effective }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(valid: u32, invalid: u32, missing: u32, stopped: u32) -> HourCounts {
        HourCounts { hours: valid + invalid + missing + stopped, valid, invalid, missing, stopped }
    }

    #[test]
    fn stopped_hours_leave_the_denominator() {
        // 720 h, 20 stopped: 700 operating; 630 valid = 0.9. 35 missing: 665 came, 665 / 700 = 0.95; 630 / 665 = 18/19.
        let rates_of = rates(&counts(630, 35, 35, 20));
        assert_eq!(rates_of.operating_hours, 700);
        assert_eq!(rates_of.valid, Number::fraction(9, 10));
        assert_eq!(rates_of.transmission, Number::fraction(19, 20));
        assert_eq!(rates_of.validity, Number::fraction(18, 19));
        assert_eq!(rates_of.effective, rates_of.valid);
    }

    #[test]
    fn nothing_to_divide_by_is_no_rate() {
        assert_eq!(rates(&counts(0, 0, 0, 24)), Rates::default());
        let silent = rates(&counts(0, 0, 24, 0));
        assert_eq!((silent.valid, silent.validity), (Some(Number::zero()), None));
        assert_eq!(silent.effective, Some(Number::zero()));
    }
}
