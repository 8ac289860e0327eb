//! A package: the forms of a summary and what they rest on, with a signed list, so that anybody can check it anywhere.
//!
//! | file | what |
//! |---|---|
//! | `summary.json`, `summary.csv`, `summary.xlsx`, `summary.html` | the summary in its forms |
//! | `parameters.jsonl`, `limits.jsonl`, `marks.jsonl`, `corrections.jsonl`, `events.jsonl` | one object a line |
//! | `manifest.json` | [`Manifest`]: SHA-256 and length of each file above, what it is about, who signed |
//! | `manifest.sig` | the Ed25519 signature (RFC 8032) over exactly the bytes of `manifest.json`: 128 hexadecimal digits and a line feed |
//!
//! The same data and the same time make the same bytes. A signature says that nothing was changed since it was made,
//! and by a pinned key who made it. It does not say that a sensor told the truth.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::archive::{self, Archive, ArchiveError};
use super::key::{PublicKey, ReportKey, hex};

/// Media type of a package.
pub const MEDIA_TYPE: &str = "application/zip";
const FORMAT: &str = "parkgate emission package";
const VERSION: u32 = 1;
const ALGORITHM: &str = "Ed25519";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
/// Most bytes of the list and of its signature.
const MANIFEST_MAX: u64 = 1 << 20;
const SIGNATURE_MAX: u64 = 256;
/// Most bytes of all files together, unpacked.
const TOTAL_MAX: u64 = 1 << 30;

/// What a package is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Id of the park.
    pub park: String,
    /// Id of the outlet.
    pub outlet: String,
    /// `hour`, `day` or `month`.
    pub period: String,
    /// Start of the first row, RFC 3339.
    pub from: String,
    /// End of the last row, RFC 3339.
    pub to: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Program and version that made it.
    pub software: String,
}

/// The list of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What this is.
    pub format: String,
    /// Version of the format.
    pub version: u32,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// How it is signed.
    pub algorithm: String,
    /// Id of the key.
    pub key_id: String,
    /// The public key, in hexadecimal digits.
    pub public_key: String,
    /// All files but the list and its signature, in order.
    pub files: Vec<Listed>,
}

/// A file as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// Why a package is not good.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Outside, or a file that cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file that must be there is not.
    #[error("{0}: is missing")]
    Missing(String),
    /// A file is there that the list does not name.
    #[error("{0}: is not in the list of the package")]
    Extra(String),
    /// A file is not what was signed.
    #[error("{0}: is not what was signed")]
    Changed(String),
    /// The list is not what was signed.
    #[error("{MANIFEST}: the signature is not of this list")]
    Unsigned,
    /// The list cannot be read.
    #[error("{MANIFEST}: {0}")]
    Manifest(String),
    /// Signed with another key than the one that was asked for.
    #[error("{MANIFEST}: signed with key {found}, not with key {wanted}")]
    OtherKey {
        /// Id of the key in the package.
        found: String,
        /// Id of the key that was asked for.
        wanted: String,
    },
}

/// A package that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its list.
    pub manifest: Manifest,
    /// It is signed with the key that was given; else only with the one that came with it, which anybody can make.
    pub pinned: bool,
}

/// Packs and signs files.
///
/// # Errors
/// When they cannot be packed.
pub fn build(about: About, files: &[(&str, Vec<u8>)], key: &ReportKey) -> Result<Vec<u8>, ArchiveError> {
    let public = key.public();
    let listed = |(name, bytes): &(&str, Vec<u8>)| Listed {
        name: (*name).to_owned(),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: hex(&Sha256::digest(bytes)),
    };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        about,
        algorithm: ALGORITHM.to_owned(),
        key_id: public.id(),
        public_key: public.hex(),
        files: files.iter().map(listed).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    text.push(b'\n');
    let signature = format!("{}\n", hex(&key.sign(&text)));
    let mut all: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    all.extend([(MANIFEST, text.as_slice()), (SIGNATURE, signature.as_bytes())]);
    archive::write(&all)
}

/// Checks a package: first the signature of its list, by the pinned key or else by the one that came with it, then every
/// file. Unpacks no more than is listed.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(package: &[u8], pinned: Option<&PublicKey>) -> Result<Verified, Refused> {
    let archive = Archive::open(package)?;
    let read = |name: &str, most| match archive.file(name) {
        Some(file) => Ok(file.read(most)?),
        None => Err(Refused::Missing(name.to_owned())),
    };
    let (list, signature) = (read(MANIFEST, MANIFEST_MAX)?, read(SIGNATURE, SIGNATURE_MAX)?);
    let manifest: Manifest = serde_json::from_slice(&list).map_err(|error| Refused::Manifest(error.to_string()))?;
    let key = PublicKey::from_hex(&manifest.public_key).ok_or_else(|| Refused::Manifest("names no usable key".into()))?;
    if let Some(pinned) = pinned.filter(|pinned| **pinned != key) {
        return Err(Refused::OtherKey { found: key.id(), wanted: pinned.id() });
    }
    let signature = std::str::from_utf8(&signature).ok().and_then(|text| text.strip_suffix('\n'));
    if !signature.is_some_and(|signature| key.signed(&list, signature)) {
        return Err(Refused::Unsigned);
    }
    if manifest.format != FORMAT || manifest.version != VERSION || manifest.algorithm != ALGORITHM || manifest.key_id != key.id() {
        let found = format!("format `{}` version {}; use a newer program", manifest.format, manifest.version);
        return Err(Refused::Manifest(found));
    }
    let mut total = 0u64;
    for listed in &manifest.files {
        total = total.saturating_add(listed.bytes);
        let file = archive.file(&listed.name).ok_or_else(|| Refused::Missing(listed.name.clone()))?;
        if file.bytes != listed.bytes {
            return Err(Refused::Changed(listed.name.clone()));
        }
        if total > TOTAL_MAX {
            return Err(Refused::Manifest("names more than a package may hold".into()));
        }
        let mut hasher = Sha256::new();
        file.unpack(|piece| hasher.update(piece))?;
        if hex(&hasher.finalize()) != listed.sha256 {
            return Err(Refused::Changed(listed.name.clone()));
        }
    }
    let named = |name: &str| name == MANIFEST || name == SIGNATURE || manifest.files.iter().any(|listed| listed.name == name);
    if let Some(extra) = archive.files().iter().find(|file| !named(file.name)) {
        return Err(Refused::Extra(extra.name.to_owned()));
    }
    Ok(Verified { pinned: pinned.is_some(), manifest })
}

#[cfg(test)]
mod tests;
