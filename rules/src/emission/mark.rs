//! Marks: letters that say that a value, though there is one, is no valid measurement. A mark never erases a value.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::time::{Period, UtcMillis};

/// Data marks of HJ 212-2017 table 8.
///
/// Their order is which one a minute is counted by when it has several: a source that stands still before everything, a
/// broken monitor before work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Letter {
    /// 停运: the source stands still.
    F,
    /// 故障: fault.
    D,
    /// 校准: calibration.
    C,
    /// 维护: maintenance.
    M,
    /// 超上限: over the upper range of the meter.
    T,
    /// 通讯中断: link between meter and logger lost.
    B,
    /// 手工: set by hand.
    S,
    /// 正常: normal; says nothing against the value.
    N,
}

/// A mark that somebody entered. It holds in `[from, to)`, also when it is entered later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Its id, permanent.
    pub id: String,
    /// The outlet.
    pub outlet: String,
    /// The factor, or `o2`, `temperature`, `pressure`, `humidity`, `flow`; none: all of them.
    #[serde(default)]
    pub factor: Option<String>,
    /// What it says.
    pub letter: Letter,
    /// The condition in words: 启炉, 停炉, 校准, 故障 and so on.
    #[serde(default)]
    pub condition: String,
    /// From when.
    pub from: UtcMillis,
    /// Until when; none: until it is ended.
    #[serde(default)]
    pub to: Option<UtcMillis>,
    /// Who set it.
    pub author: String,
    /// When it was set.
    pub set_at: UtcMillis,
}

impl Letter {
    /// All, in their order.
    pub const ALL: [Self; 8] = [Self::F, Self::D, Self::C, Self::M, Self::T, Self::B, Self::S, Self::N];

    /// The letter itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::F => "F",
            Self::D => "D",
            Self::C => "C",
            Self::M => "M",
            Self::T => "T",
            Self::B => "B",
            Self::S => "S",
            Self::N => "N",
        }
    }

    /// The letter of a text such as `C` or `c`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|letter| letter.name().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Mark {
    /// Whether it speaks of this channel of the outlet (a factor, or `o2` and the like).
    pub fn speaks_of(&self, outlet: &str, channel: &str) -> bool {
        self.outlet == outlet && self.factor.as_deref().is_none_or(|factor| factor == channel)
    }

    /// Whether any part of the period is marked.
    pub fn touches(&self, period: &Period) -> bool {
        self.from < period.to && self.to.is_none_or(|to| period.from < to && self.from < to)
    }
}

/// The letter of a minute by entered marks: the first in the order of [`Letter`]; `None` when there is none but N. A mark that
/// touches a part of the minute marks all of it.
pub fn letter_of(marks: &[&Mark], minute: &Period) -> Option<Letter> {
    marks.iter().filter(|mark| mark.touches(minute)).map(|mark| mark.letter).filter(|letter| *letter != Letter::N).min()
}
