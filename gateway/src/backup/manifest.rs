//! `manifest.json`: what a backup holds. One JSON object, its keys in the order of the struct; `check` is the SHA-256 of
//! the same object with an empty `check`, written as this module writes it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::UtcMillis;
use serde::{Deserialize, Serialize};

use super::store::hex_of;
use super::{BackupError, failed};

/// Its name.
pub const NAME: &str = "manifest.json";
/// The format that this program writes.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the backup.
    pub format: u32,
    /// Version of the program that made it.
    pub parkgate: String,
    /// Id of the park; `null` for a directory that no gateway has used.
    pub park: Option<String>,
    /// When it was begun, RFC 3339.
    pub time: String,
    /// Version of the layout of the data directory.
    pub data_version: u32,
    /// Last journal entry in it; `null` when no gateway ran: then all there was.
    pub journal_position: Option<u64>,
    /// The files, by path.
    pub files: Vec<Entry>,
    /// See the module.
    pub check: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Path in the data directory, with `/`.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal: its name under `objects`.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(park: Option<String>, now: UtcMillis, data_version: u32, position: Option<Sequence>) -> Self {
        Self {
            format: FORMAT,
            parkgate: env!("CARGO_PKG_VERSION").to_owned(),
            park,
            time: now.to_string(),
            data_version,
            journal_position: position.map(|position| position.0),
            files: Vec::new(),
            check: String::new(),
        }
    }

    /// All bytes that its files have.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let signed = Self { check: self.checksum(), ..self.clone() };
        let mut bytes = serde_json::to_vec_pretty(&signed).expect("a struct of text and numbers is JSON");
        bytes.push(b'\n');
        bytes
    }

    fn checksum(&self) -> String {
        let unsigned = Self { check: String::new(), ..self.clone() };
        hex_of(&serde_json::to_vec_pretty(&unsigned).expect("a struct of text and numbers is JSON"))
    }

    /// Reads the list of the backup in `folder`.
    ///
    /// # Errors
    /// It is not there, damaged, or of a newer program.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(BackupError::Incomplete(folder.to_owned())),
            Err(error) => return Err(failed(&path)(error)),
        };
        let damaged = |reason: String| BackupError::Manifest { path: path.clone(), reason };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let format = value["format"].as_u64().and_then(|format| u32::try_from(format).ok()).unwrap_or(0);
        if format > FORMAT {
            return Err(BackupError::Newer { path, found: format, known: FORMAT });
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if manifest.check != manifest.checksum() {
            return Err(damaged("its checksum does not fit".into()));
        }
        // A list made by hand must not lead out of the folder.
        let inside = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match manifest.files.iter().find(|file| file.path.is_empty() || !inside(&file.path) || !hex(&file.sha256)) {
            Some(file) => Err(damaged(format!("`{}` is no file of a data directory", file.path))),
            None => Ok(manifest),
        }
    }
}
