//! What the journal holds. These are the types in memory; the bytes on disk are described in the codec.

use crate::model::{Delivery, LinkKey, Sample, UtcMillis};

/// One journal entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Samples that arrived together.
    Samples(SampleRecord),
    /// A link or device went up or down.
    Link(LinkRecord),
    /// From here on this catalogue counts.
    Catalogue(CatalogueRecord),
    /// The wall clock jumped against the monotonic clock.
    Clock(ClockRecord),
    /// A dated statement about a point: meter exchange, CT/PT ratio. JSON text, by the type of the issue that makes it.
    Declared(DeclaredRecord),
}

/// Samples of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleRecord {
    /// Catalogue of their arrival.
    pub catalogue_version: u32,
    /// Random number of this run of the program.
    pub boot_id: u64,
    /// Monotonic clock at arrival.
    pub monotonic_ms: u64,
    /// The link they came by.
    pub link: LinkKey,
    /// Marks of messages without a time of their own, in order of arrival.
    pub deliveries: Vec<Delivery>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// See [`Record::Link`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The link.
    pub link: LinkKey,
    /// Device concerned; empty: the whole link.
    pub device: String,
    /// Reachable now.
    pub up: bool,
    /// Why.
    pub why: String,
    /// When.
    pub time: UtcMillis,
}

/// See [`Record::Catalogue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueRecord {
    /// Its version.
    pub version: u32,
    /// When it took effect.
    pub time: UtcMillis,
}

/// See [`Record::Clock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockRecord {
    /// This run of the program.
    pub boot_id: u64,
    /// Monotonic clock when the step was noticed.
    pub monotonic_ms: u64,
    /// Wall clock expected by the monotonic clock.
    pub expected: UtcMillis,
    /// Wall clock found.
    pub found: UtcMillis,
}

/// See [`Record::Declared`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRecord {
    /// Kind of statement: `exchange`, `ratio`.
    pub kind: String,
    /// When it was made.
    pub time: UtcMillis,
    /// JSON text.
    pub body: String,
}
