//! The key that packages are signed with: Ed25519 (RFC 8032), one per data directory, made at first use.
//!
//! The file `report.key` of the data directory holds a line that says what it is and the 32 secret bytes in hex. It is
//! for the user that runs the gateway alone (mode 0600), is never changed, and is in every backup with the rest of the
//! directory. Whoever has it can sign in the park's name; who receives packages keeps the public key that `parkgate
//! report key` prints, apart from the packages.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Name of the file in the data directory.
pub const NAME: &str = "report.key";
/// Its first line.
const HEAD: &str = "parkgate report key 1, Ed25519: keep secret";
/// Bytes of a secret key, of a public one, and of a signature.
const SECRET: usize = 32;
const PUBLIC: usize = 32;
const SIGNATURE: usize = 64;
/// Bytes of the public key's hash that make its id.
const ID_BYTES: usize = 8;
/// Most bytes of a key file that are read.
const FILE_MAX: u64 = 1024;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or made.
    #[error("{path}: {error}; the user that runs parkgate must be able to read and write there")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It holds something else.
    #[error("{0} holds no key of parkgate; put back the file of a backup, or move it away and a new key is made")]
    Damaged(PathBuf),
    /// The operating system gave no random bits.
    #[error(transparent)]
    NoRandom(#[from] crate::access::secret::NoRandom),
    /// A text that is no public key.
    #[error("`{0}` is no public key: 64 hexadecimal digits, as `parkgate report key` prints them, or a file that holds them")]
    NoPublicKey(String),
}

/// The secret half.
pub struct ReportKey(SigningKey);

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The public half, by which a signature is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl ReportKey {
    /// The key of a data directory; made when there is none. Of two that make one at once, both get the one that was first.
    ///
    /// # Errors
    /// When the file cannot be read, made, or holds something else.
    pub fn of(data_directory: &Path) -> Result<Self, KeyError> {
        let path = data_directory.join(NAME);
        if let Some(key) = Self::read(&path)? {
            return Ok(key);
        }
        Self::random()?.write(&path)?;
        // Ours, or the one that another process put there first.
        Self::read(&path)?.ok_or_else(|| KeyError::Io { path, error: io::ErrorKind::NotFound.into() })
    }

    /// From its secret bytes.
    pub fn from_secret(secret: &[u8; SECRET]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    fn random() -> Result<Self, KeyError> {
        Ok(Self::from_secret(&crate::access::secret::random()?))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs exactly these bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(bytes).to_bytes()
    }

    /// `None` when there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let failed = |error| KeyError::Io { path: path.to_owned(), error };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let found = file.metadata().map_err(failed)?;
        // A copy of a backup may have come with wider permissions.
        if found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
            tracing::warn!(path = %path.display(), "others could read the key of reports; now they cannot");
        }
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX), &mut text).map_err(failed)?;
        let secret = text.strip_prefix(HEAD).and_then(|rest| bytes::<SECRET>(rest.trim()));
        Ok(Some(Self::from_secret(&secret.ok_or_else(|| KeyError::Damaged(path.to_owned()))?)))
    }

    /// Writes the file unless there is one by then: beside, synced, then linked under its name.
    fn write(&self, path: &Path) -> Result<(), KeyError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!("{NAME}.{}-{count}.tmp", std::process::id()));
        let failed = |error| KeyError::Io { path: path.to_owned(), error };
        // Left by a process of that number that was killed.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(format!("{HEAD}\n{}\n", hex(self.0.as_bytes())).as_bytes())?;
            file.sync_all()?;
            match fs::hard_link(&beside, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all(),
            }
        };
        let written = write();
        let _ = fs::remove_file(&beside);
        written.map_err(failed)
    }
}

impl PublicKey {
    /// From its 64 hexadecimal digits, lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        VerifyingKey::from_bytes(&bytes::<PUBLIC>(text)?).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// From what somebody gives: the digits themselves, or a file whose last word they are (what `parkgate report key`
    /// printed).
    ///
    /// # Errors
    /// When neither is one.
    pub fn given(text: &str) -> Result<Self, KeyError> {
        let no_key = || KeyError::NoPublicKey(text.to_owned());
        if let Some(key) = Self::from_hex(&text.to_ascii_lowercase()) {
            return Ok(key);
        }
        let file = File::open(text).map_err(|_| no_key())?;
        let mut content = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX), &mut content).map_err(|_| no_key())?;
        content.split_whitespace().last().and_then(|word| Self::from_hex(&word.to_ascii_lowercase())).ok_or_else(no_key)
    }

    /// In hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(self.0.as_bytes())
    }

    /// What people call it: the first 16 digits of its SHA-256.
    pub fn id(&self) -> String {
        hex(Sha256::digest(self.0.as_bytes()).get(..ID_BYTES).unwrap_or_default())
    }

    /// Whether a signature in hexadecimal digits is of this key over exactly these bytes. Strict: one message, one form.
    pub fn signed(&self, bytes_signed: &[u8], signature: &str) -> bool {
        bytes::<SIGNATURE>(signature)
            .is_some_and(|signature| self.0.verify_strict(bytes_signed, &Signature::from_bytes(&signature)).is_ok())
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes from lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != N {
        return None;
    }
    let mut found = [0; N];
    for (byte, [high, low]) in found.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sign_as_the_standard_says() {
        // RFC 8032, 7.1, test 2: one byte, 72.
        let secret = bytes::<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = ReportKey::from_secret(&secret);
        let public = key.public();
        assert_eq!(public.hex(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex(&key.sign(&[0x72]));
        assert_eq!(
            signature,
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(public.signed(&[0x72], &signature));
        assert!(!public.signed(&[0x73], &signature) && !public.signed(&[0x72], &signature.to_uppercase()));
        assert_eq!(PublicKey::given(&public.hex().to_uppercase()).unwrap(), public);
        // The neutral point signs anything.
        assert_eq!(PublicKey::from_hex(&format!("01{}", "0".repeat(62))), None);
        assert!(PublicKey::given("12").is_err() && PublicKey::given("").is_err());
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| ReportKey::of(folder.path()).unwrap().public().hex())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
        let path = folder.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(ReportKey::of(folder.path()).unwrap().public().hex(), made[0]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let printed = folder.path().join("printed");
        fs::write(&printed, format!("id 12\npublic key {}\n", made[0])).unwrap();
        assert_eq!(PublicKey::given(printed.to_str().unwrap()).unwrap().hex(), made[0]);
        fs::write(&path, "something else").unwrap();
        assert!(matches!(ReportKey::of(folder.path()), Err(KeyError::Damaged(_))));
    }
}
