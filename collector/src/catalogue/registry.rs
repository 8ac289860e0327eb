//! Which number a point has: an append-only registry, kept by the gateway's store and handed in by `app`.

use std::collections::HashMap;

use thiserror::Error;

use crate::model::{PointId, PointIdentity};

/// Gives every point identity its PointId. Append-only: a number is never reused and never changes its identity.
pub trait PointRegistry {
    /// The PointId of `wanted`, a new one when this identity was not seen before. A stable id whose kind, unit or
    /// decimals changed is a new identity.
    fn resolve(&mut self, wanted: &PointIdentity) -> Result<PointId, RegistryError>;
}

/// The registry could not be read or written.
#[derive(Debug, Error)]
#[error("point registry: {0}")]
pub struct RegistryError(pub String);

/// A registry that forgets: for `check`, which does no I/O, and for tests. Numbers in order of asking, from 1.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    known: HashMap<PointIdentity, PointId>,
}

impl PointRegistry for MemoryRegistry {
    fn resolve(&mut self, wanted: &PointIdentity) -> Result<PointId, RegistryError> {
        let next =
            u32::try_from(self.known.len()).ok().and_then(|count| count.checked_add(1)).ok_or_else(|| RegistryError("full".into()))?;
        Ok(*self.known.entry(wanted.clone()).or_insert(PointId(next)))
    }
}
