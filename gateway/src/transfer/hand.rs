//! Who read a value by hand: the body of an entry beside the value in the record, which tells only that it was read so.

use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};

/// The body of an entry of kind `hand_reading`; its subject is the stable id of the point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandReading {
    /// When the meter was read.
    pub at: Time,
    /// What it showed, in the point's unit.
    pub value: String,
    /// Anything else, in words.
    #[serde(default)]
    pub note: Option<String>,
    /// The record had another number at that time, which is kept as a correction.
    #[serde(default)]
    pub replaced: bool,
}
