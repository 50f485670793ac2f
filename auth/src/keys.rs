//! [`KeyStore`]: signing keys and secrets in `auth.db`.
//!
//! Keys appear on first use. Two processes may reach that point together (`alula token create` while `alula serve`
//! starts), so creation is one immediate transaction that looks before it writes: both end with the same key.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alula_catalog::open_database;
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, aws_lc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

use crate::{Error, Result};

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// The shortest secret of an HS256 key: the size of the hash.
///
/// Source: RFC 7518 section 3.2.
const MIN_HMAC_SECRET_BYTES: usize = 32;

/// The keys of one data directory. All methods block on SQLite; clones share one connection.
#[derive(Clone)]
pub struct KeyStore {
    /// Guards the one connection; held for one statement or transaction, never across an await.
    connection: Arc<Mutex<Connection>>,
}

/// The key that signs new tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
}

/// A key that checks tokens, with the only algorithm it may be used for.
#[derive(Debug)]
pub(crate) struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// Every key that checks tokens, by `kid`.
pub(crate) type VerifyingKeys = HashMap<String, VerifyingKey>;

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").finish_non_exhaustive()
    }
}

impl KeyStore {
    /// Opens or creates the key store at `path`, readable by its owner alone.
    pub fn open(path: &Path) -> Result<Self> {
        // jsonwebtoken panics at its first use if it cannot tell its provider from the crate features; an error
        // only says that one is installed already.
        let _ = CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER);
        let connection =
            open_database(path, migrations::migrations::runner()).map_err(|source| Error::Open { source })?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// The 32 random bytes kept under `name`, made on first use.
    ///
    /// Durable: they survive power loss when this returns.
    pub fn secret(&self, name: &str) -> Result<[u8; 32]> {
        let connection = self.lock();
        if let Some(value) = find_secret(&connection, name)? {
            return Ok(value);
        }
        connection.execute(
            "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            (name, random::<32>()?),
        )?;
        // Read back: another process may have been first.
        find_secret(&connection, name)?.ok_or(Error::Database(rusqlite::Error::QueryReturnedNoRows))
    }

    /// The newest key that is not retired; an Ed25519 key is made if there is none.
    ///
    /// Durable: the key survives power loss when this returns.
    pub(crate) fn signing_key(&self) -> Result<SigningKey> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stored = match find_active_key(&transaction)? {
            Some(stored) => stored,
            None => {
                let created = StoredKey::generate()?;
                transaction.execute(
                    "INSERT INTO signing_keys (kid, algorithm, private_key) VALUES (?1, ?2, ?3)",
                    (&created.kid, &created.algorithm, &created.private_key),
                )?;
                created
            }
        };
        transaction.commit()?;
        stored.signing_key()
    }

    /// Every key, the retired ones too: their tokens are valid until they expire.
    pub(crate) fn verifying_keys(&self) -> Result<VerifyingKeys> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT kid, algorithm, private_key FROM signing_keys")?;
        let mut rows = statement.query([])?;
        let mut keys = VerifyingKeys::new();
        while let Some(row) = rows.next()? {
            let stored = StoredKey::read(row)?;
            let key = stored.verifying_key()?;
            keys.insert(stored.kid, key);
        }
        Ok(keys)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back; the connection itself stays sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `N` bytes from the operating system's generator, for secrets and for names that must not repeat.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::KeyGeneration)?;
    Ok(bytes)
}

struct StoredKey {
    kid: String,
    algorithm: String,
    /// PKCS#8 for `EdDSA`, the secret itself for `HS256`.
    private_key: Vec<u8>,
}

impl StoredKey {
    fn generate() -> Result<Self> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).map_err(|_| Error::KeyGeneration)?;
        Ok(Self {
            kid: URL_SAFE_NO_PAD.encode(random::<12>()?),
            algorithm: "EdDSA".to_owned(),
            private_key: document.as_ref().to_vec(),
        })
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { kid: row.get(0)?, algorithm: row.get(1)?, private_key: row.get(2)? })
    }

    fn signing_key(self) -> Result<SigningKey> {
        // Checks the key material too: a damaged key is reported here and not with the first token.
        let algorithm = self.verifying_key()?.algorithm;
        let key = match algorithm {
            Algorithm::HS256 => EncodingKey::from_secret(&self.private_key),
            _ => EncodingKey::from_ed_der(&self.private_key),
        };
        Ok(SigningKey { kid: self.kid, algorithm, key })
    }

    fn verifying_key(&self) -> Result<VerifyingKey> {
        match self.algorithm.as_str() {
            "EdDSA" => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.private_key).map_err(|_| self.invalid())?;
                // Despite its name, `from_ed_der` takes the 32 raw bytes of the public key.
                let key = DecodingKey::from_ed_der(pair.public_key().as_ref());
                Ok(VerifyingKey { algorithm: Algorithm::EdDSA, key })
            }
            "HS256" if self.private_key.len() >= MIN_HMAC_SECRET_BYTES => {
                let key = DecodingKey::from_secret(&self.private_key);
                Ok(VerifyingKey { algorithm: Algorithm::HS256, key })
            }
            _ => Err(self.invalid()),
        }
    }

    fn invalid(&self) -> Error {
        Error::InvalidKey { kid: self.kid.clone(), algorithm: self.algorithm.clone() }
    }
}

fn find_active_key(connection: &Connection) -> rusqlite::Result<Option<StoredKey>> {
    connection
        .query_row(
            "SELECT kid, algorithm, private_key FROM signing_keys WHERE retired_at IS NULL
             ORDER BY created_at DESC, kid LIMIT 1",
            [],
            StoredKey::read,
        )
        .optional()
}

fn find_secret(connection: &Connection, name: &str) -> rusqlite::Result<Option<[u8; 32]>> {
    connection.query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| row.get(0)).optional()
}

#[cfg(test)]
pub(crate) mod tests;
