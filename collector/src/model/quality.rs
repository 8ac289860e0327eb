//! What is known about a value beside the number: quality with its reason, origin, and the counter step.

use serde::{Deserialize, Serialize};

/// Declares a small enum that has a fixed code on disk and a snake_case name in JSON, config and metrics.
macro_rules! coded {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $code:literal $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_meta])* $variant = $code,)* }

        impl $name {
            /// Every value, in order of its code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code on disk; never reused for another meaning.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value of a code, `None` for one this version does not know.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name in JSON, config and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
pub(crate) use coded;

coded! {
    /// How far a value can be trusted.
    Quality {
        /// As the device gave it, every check passed.
        Good = 0 "good",
        /// A number is there, but a check raised a doubt.
        Uncertain = 1 "uncertain",
        /// Not to be used; there may be no number at all.
        Bad = 2 "bad",
    }
}

coded! {
    /// Why a value is not simply good.
    Reason {
        /// Nothing to say.
        None = 0 "none",
        /// Outside the point's valid range.
        Range = 1 "range",
        /// NaN, infinity or no number.
        NotANumber = 2 "not_a_number",
        /// The device's own marker for "no value".
        NotAvailable = 3 "not_available",
        /// The device's clock is off; the received time is used.
        Clock = 4 "clock",
        /// No answer in time.
        Timeout = 5 "timeout",
        /// The link was down: nothing could be asked.
        LinkDown = 6 "link_down",
        /// The device answered with an exception.
        DeviceException = 7 "device_exception",
        /// The answer was damaged or did not fit the request.
        BadAnswer = 8 "bad_answer",
        /// A counter fell and R-DELTA calls it suspect.
        SuspectStep = 9 "suspect_step",
        /// The number does not fit the point's resolution in 64 bits.
        Overflow = 10 "overflow",
        /// The device itself flagged the value.
        DeviceFlag = 11 "device_flag",
        /// A plausibility rule that has no reason of its own.
        Implausible = 12 "implausible",
        /// Unchanged for longer than the quantity can be (`flat_after_ms`).
        FlatLine = 13 "flat_line",
        /// Changed faster than the quantity can (`change_max_per_minute`).
        Jump = 14 "jump",
        /// An input of the point's formula is missing or too old.
        MissingInput = 15 "missing_input",
    }
}

coded! {
    /// Where a value comes from.
    Origin {
        /// Read from a device.
        Metered = 0 "metered",
        /// Estimated by a rule.
        Estimated = 1 "estimated",
        /// Declared by a person.
        Declared = 2 "declared",
        /// Read off a meter by a person.
        HandRead = 3 "hand_read",
        /// Replaced by a correction.
        Corrected = 4 "corrected",
        /// Imported from another system.
        Imported = 5 "imported",
        /// Made by a simulator.
        Simulated = 6 "simulated",
    }
}

coded! {
    /// How a counter register relates to the one before it (R-DELTA). A classification only: the register is stored.
    Step {
        /// The point is no counter, or there is no number.
        None = 0 "none",
        /// First register known of this point.
        First = 1 "first",
        /// Not below the one before: the difference is the consumption.
        Delta = 2 "delta",
        /// Wrapped at the modulus, plausibly by the highest rate.
        Rollover = 3 "rollover",
        /// First register after a recorded meter exchange.
        Exchange = 4 "exchange",
        /// Fell implausibly: no difference may be formed.
        Suspect = 5 "suspect",
    }
}

/// Quality, reason, origin, step and "has a number", packed as they are stored.
///
/// Bits: 0-1 quality, 2-4 origin, 5 no number, 6-8 step, 9-14 reason, 15 zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

impl Status {
    const NO_NUMBER: u16 = 1 << 5;

    /// Packs the parts.
    pub const fn new(quality: Quality, reason: Reason, origin: Origin, step: Step) -> Self {
        Self((quality as u16) | ((origin as u16) << 2) | ((step as u16) << 6) | ((reason as u16) << 9))
    }

    /// The same status for a sample that carries no number.
    pub const fn without_number(self) -> Self {
        Self(self.0 | Self::NO_NUMBER)
    }

    /// The stored form.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Reads the stored form; `None` when a part is unknown to this version.
    pub fn from_bits(bits: u16) -> Option<Self> {
        let known = bits >> 15 == 0
            && Quality::from_code((bits & 3) as u8).is_some()
            && Origin::from_code((bits >> 2 & 7) as u8).is_some()
            && Step::from_code((bits >> 6 & 7) as u8).is_some()
            && Reason::from_code((bits >> 9 & 63) as u8).is_some();
        known.then_some(Self(bits))
    }

    /// How far the value can be trusted.
    pub fn quality(self) -> Quality {
        Quality::from_code((self.0 & 3) as u8).expect("checked when made")
    }

    /// Why it is not simply good.
    pub fn reason(self) -> Reason {
        Reason::from_code((self.0 >> 9 & 63) as u8).expect("checked when made")
    }

    /// Where the value comes from.
    pub fn origin(self) -> Origin {
        Origin::from_code((self.0 >> 2 & 7) as u8).expect("checked when made")
    }

    /// The counter step.
    pub fn step(self) -> Step {
        Step::from_code((self.0 >> 6 & 7) as u8).expect("checked when made")
    }

    /// Whether the sample carries a number.
    pub const fn has_number(self) -> bool {
        self.0 & Self::NO_NUMBER == 0
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.quality().name())?;
        for (part, none) in [(self.reason().name(), "none"), (self.step().name(), "none"), (self.origin().name(), "metered")] {
            if part != none {
                write!(f, " {part}")?;
            }
        }
        if self.has_number() { Ok(()) } else { write!(f, " no number") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_keeps_every_combination() {
        for &quality in Quality::ALL {
            for &reason in Reason::ALL {
                for &origin in Origin::ALL {
                    for &step in Step::ALL {
                        let status = Status::new(quality, reason, origin, step);
                        for status in [status, status.without_number()] {
                            assert_eq!(Status::from_bits(status.bits()), Some(status));
                            assert_eq!(
                                (status.quality(), status.reason(), status.origin(), status.step()),
                                (quality, reason, origin, step)
                            );
                        }
                        assert!(status.has_number() && !status.without_number().has_number());
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        for bits in [3, 7 << 2, 7 << 6, 63 << 9, 1 << 15] {
            assert_eq!(Status::from_bits(bits), None, "{bits:#x}");
        }
    }

    #[test]
    fn names_agree_with_serde() {
        for &reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{}\"", reason.name()));
        }
        for &origin in Origin::ALL {
            assert_eq!(serde_json::to_string(&origin).unwrap(), format!("\"{}\"", origin.name()));
        }
    }
}
