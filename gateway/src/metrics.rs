//! The gateway's metrics, one table.
