//! What a token is: 256 random bits of the operating system as text, shown once, and the SHA-256 of that text, which is
//! all that is kept.
//!
//! A fast hash is right here. Slow ones (argon2, scrypt) make guessing of passwords dear, since people choose from few;
//! nobody guesses 256 random bits, however fast the hash, and every request pays for it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What every token begins with, so that a token in a log or a repository is recognised.
pub const PREFIX: &str = "pkg_";
/// Random bytes of a token.
const BYTES: usize = 32;

/// The text of a new token. Only shown to who asked for it.
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The operating system gave no random bits.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// Random bytes of the operating system.
///
/// # Errors
/// When it has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    // getrandom(2), by way of the TLS library's provider, which is in the program anyway.
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no random numbers to give.
    pub fn new() -> Result<Self, NoRandom> {
        Ok(Self(format!("{PREFIX}{}", hex(&random::<BYTES>()?))))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

/// SHA-256 of a token's text.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl SecretHash {
    /// Of a text that is said to be a token.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// As it is stored.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the store.
    pub fn stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether both are of one token; takes as long for any two.
    pub fn is(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0u8, |all, (one, other)| all | (one ^ other));
        std::hint::black_box(differing) == 0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_found_by_their_hash_alone() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(one.reveal().len(), 4 + 64);
        assert!(one.reveal().starts_with(PREFIX) && one.reveal() != other.reveal());
        assert!(one.hash().is(&SecretHash::of(one.reveal())) && !one.hash().is(&other.hash()));
        assert_eq!(format!("{one:?}{:?}", one.hash()), "********");
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex(SecretHash::of("abc").bytes()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
