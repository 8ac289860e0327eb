//! What Modbus devices refused when it was read along with their points: listed, and forgotten device by device.

use anyhow::{Context as _, Result};
use parkgate_collector::driver::modbus::learned::{self, Entry, Learned};
use parkgate_collector::model::UtcMillis;
use serde::{Deserialize, Serialize};

use crate::store::DataDirectory;

/// What a device refused, as it is printed and told over the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRow {
    /// Stable id of the device.
    pub device: String,
    /// Its unit id then.
    pub unit_id: u8,
    /// Function code.
    pub function: u8,
    /// Of the first register, from 0.
    pub address: u16,
    /// How many; 0: only a border that no read crosses from below the address.
    pub quantity: u16,
    /// The same as manuals write it.
    pub what: String,
    /// When it was learned; `None`: before that was written down.
    pub since: Option<String>,
}

impl From<&Entry> for GapRow {
    fn from(entry: &Entry) -> Self {
        Self {
            device: entry.device.clone(),
            unit_id: entry.unit_id,
            function: entry.function.code(),
            address: entry.address,
            quantity: entry.quantity,
            what: entry.describe(),
            since: entry.since.map(|since: UtcMillis| since.to_string()),
        }
    }
}

/// Forgets what a device refused; what that was. Blocks.
pub fn forgotten(learned: &Learned, device: &str) -> Result<Vec<GapRow>> {
    let forgotten = learned.forget(device);
    let forgotten = forgotten.context("it is forgotten until the next start only: the file in the data directory cannot be written")?;
    Ok(forgotten.iter().map(GapRow::from).collect())
}

/// What the file in a data directory says.
pub fn listed(directory: &DataDirectory) -> Result<Vec<GapRow>> {
    let path = directory.learned();
    let listed = learned::list(&path).map_err(anyhow::Error::msg);
    let hint = || format!("{} cannot be read; it may be deleted while no gateway runs: devices are asked again", path.display());
    Ok(listed.with_context(hint)?.iter().map(GapRow::from).collect())
}
