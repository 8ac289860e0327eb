//! The collector's metrics, one table.
