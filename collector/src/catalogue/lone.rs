//! A device made from a profile alone, without a configuration: to test the profile, or to probe a meter before it is
//! configured. It goes through the same loader as every other device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use garde::Validate;
use serde::Deserialize;

use super::bench::Variant;
use super::load::{Files, LoadError, MemoryFiles, OwnTable, load};
use super::registry::MemoryRegistry;
use super::spec::{Catalogue, Device};

/// Where a device is that no configuration has.
#[derive(Clone, Debug)]
pub struct Lone {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unit identifier.
    pub unit_id: u8,
    /// Time an answer may take, in milliseconds.
    pub timeout_ms: u32,
}

/// A device without a configuration.
#[derive(Debug)]
pub struct LoneDevice {
    /// A catalogue with this one device.
    pub catalogue: Catalogue,
    /// How variants of its profile are told apart.
    pub variants: Vec<Variant>,
}

/// Id of the device of a [`LoneDevice`].
pub const LONE_ID: &str = "device";
const MAIN: &str = "profile.toml";

/// The program's own table, of which there is none here.
#[derive(Debug, Default, Deserialize, Validate)]
#[garde(allow_unvalidated)]
struct NoTable {}

impl OwnTable for NoTable {}

/// Texts in memory beside the environment's variables.
struct Texts<'a> {
    texts: MemoryFiles,
    files: &'a dyn Files,
}

impl Files for Texts<'_> {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.texts.read(path)
    }
    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        self.texts.glob(pattern)
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.files.variable(name)
    }
}

/// Makes a device of the profile `id`: that of `text`, or the one of this id that comes with the program.
///
/// Errors: the problems of profile and address, in files that are named `devices/profile.toml` and `profile.toml`.
pub fn lone_device(id: &str, text: Option<String>, lone: &Lone, files: &dyn Files) -> Result<LoneDevice, LoadError> {
    // JSON texts are TOML texts.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let main = format!(
        "[park]\nid = \"park\"\n[[link]]\nid = \"link\"\ndriver = \"modbus_tcp\"\nhost = {}\nport = {}\ntimeout_ms = {}\n\
         [[device]]\nid = \"{LONE_ID}\"\nlink = \"link\"\nprofile = {}\nmodbus = {{ unit_id = {} }}\n",
        quoted(&lone.host),
        lone.port,
        lone.timeout_ms,
        quoted(id),
        lone.unit_id,
    );
    let mut texts = MemoryFiles::default();
    texts.files.insert(MAIN.into(), main);
    if let Some(text) = text {
        texts.files.insert(PathBuf::from("devices").join(MAIN), text);
    }
    let mut loaded = load::<NoTable>(Path::new(MAIN), &Texts { texts, files })?;
    let variants = loaded.variants.remove(id).unwrap_or_default();
    match loaded.draft.build(&mut MemoryRegistry::default()) {
        Ok(catalogue) => Ok(LoneDevice { catalogue, variants }),
        Err(error) => Err(LoadError::Unreadable { path: MAIN.into(), reason: error.to_string() }),
    }
}

/// The device that a profile's tests are of; `None` where the profile has problems, which were noted before.
pub(super) fn bench_device(id: &str, text: &str, files: &dyn Files) -> Option<Arc<Device>> {
    let lone = Lone { host: "meter".to_owned(), port: 502, unit_id: 1, timeout_ms: 1_000 };
    let made = lone_device(id, Some(text.to_owned()), &lone, files).ok()?;
    made.catalogue.devices.first().cloned()
}
