//! What is recorded: one value of one point with its three times and what is known about it.

use super::point::PointId;
use super::quality::Status;
use super::time::UtcMillis;

/// One stored value. `value` times `10^-decimals` of the point is the number, in its canonical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which point.
    pub point: PointId,
    /// Quality, reason, origin, step, and whether there is a number at all.
    pub status: Status,
    /// Mantissa at the point's decimals; 0 where `status` says there is no number.
    pub value: i64,
    /// The device's stamp, if it gave one; may be wrong.
    pub source_time: Option<UtcMillis>,
    /// When it reached us.
    pub received_time: UtcMillis,
    /// The time that counts: chosen once, by the normaliser.
    pub record_time: UtcMillis,
}

impl Sample {
    /// The number's mantissa, `None` where there is no number.
    pub fn number(&self) -> Option<i64> {
        self.status.has_number().then_some(self.value)
    }

    /// The time that identifies the sample within its point: source time, else record time. History merges by it.
    pub fn key_time(&self) -> UtcMillis {
        self.source_time.unwrap_or(self.record_time)
    }
}
