//! Mapping of JSON payloads: where records, times and values are. Pure.

/// A compiled path: `data.flow`, `values[2].v`; empty: the value itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValuePath {
    /// Steps from the outside in.
    pub steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// Member of an object.
    Key(String),
    /// Element of an array, from 0.
    Index(usize),
}

/// Where the records of a payload are and where each has its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMap {
    /// Path to an array of records, or `None`: the payload is one record (or, when it is an array, its elements are).
    pub records: Option<ValuePath>,
    /// Path to the time within a record (or, starting with the payload itself, `time_in_payload`); `None`: received time.
    pub time: Option<TimePath>,
}

/// Where a time is and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePath {
    /// Path to the time.
    pub path: ValuePath,
    /// The path starts at the payload, not at the record: one time for all its records.
    pub in_payload: bool,
    /// How it is written.
    pub format: TimeFormat,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970, may have decimals.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Microseconds since 1970.
    EpochMicros,
    /// Nanoseconds since 1970.
    EpochNanos,
    /// RFC 3339 with an offset.
    Rfc3339,
    /// Text without an offset by a strptime pattern, in the zone named.
    Local {
        /// strptime pattern, `%Y-%m-%d %H:%M:%S`.
        pattern: String,
        /// IANA zone, `Asia/Shanghai`.
        zone: String,
    },
}
