//! The key that signs tokens on this machine, beside the key set of its issuer.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weir_authn::{JWKS_BYTES_MAX, Jwks};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The configuration cannot be read so far.
    #[error("the configuration cannot be read\n{0}")]
    Config(String),
    /// No issuer at all.
    #[error("no issuer is configured; `weir init --with-tokens` writes one, or add  identity: {{ issuers: [ … ] }}")]
    NoIssuer,
    /// The keys of the issuer are not here.
    #[error("the keys of issuer `{issuer}` are not in a file, so only it can sign; ask it for a token")]
    NotAFile {
        /// The issuer.
        issuer: String,
    },
    /// Another name.
    #[error("no issuer is called `{issuer}`")]
    NoSuchIssuer {
        /// What was asked for.
        issuer: String,
    },
    /// More than one would do.
    #[error("several issuers have their keys in files: {names}; choose one with --issuer")]
    Several {
        /// All of them.
        names: String,
    },
    /// The issuer signs otherwise.
    #[error("issuer `{issuer}` does not allow ES256, with which this key signs; add it to `algorithms`")]
    Algorithm {
        /// The issuer.
        issuer: String,
    },
    /// A file.
    #[error("cannot {what} `{path}`: {source}")]
    File {
        /// Read or write.
        what: &'static str,
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the private key.
    #[error("key file `{path}` is open to others; make it yours alone:  chmod 600 {path}")]
    OpenToOthers {
        /// Which.
        path: String,
    },
    /// Not a key, or not a key set.
    #[error("`{path}` is not {what}; move it away to have a new one")]
    Unreadable {
        /// Which.
        path: String,
        /// What it should be.
        what: &'static str,
    },
    /// The system gave no random bytes, or the library refused.
    #[error("the key cannot be made or used")]
    Crypto,
}

/// A key that can sign for an issuer.
pub(crate) struct DevKey {
    /// Its id in the key set.
    pub(crate) id: String,
    /// What is to be said to whoever uses it.
    pub(crate) note: Option<String>,
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl DevKey {
    /// The signature as tokens carry it (RFC 7518, section 3.4).
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| TokenError::Crypto)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The key beside the key set `jwks`. It is made at first use, and its public half is in the key set afterwards.
///
/// # Errors
///
/// When a file cannot be read or written, or is not what it should be.
pub(crate) fn key(jwks: &Path) -> Result<DevKey, TokenError> {
    let path = key_path(jwks);
    if !path.exists() {
        make(&path)?;
    }
    let pair = read(&path)?;
    let public = pair.public_key().as_ref().to_vec();
    let digest: String = Sha256::digest(&public).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let id = format!("weir-dev-{digest}");
    let added = publish(jwks, &id, &public)?;
    let note =
        added.then(|| format!("added key `{id}` to {}; a weir that runs takes it within two seconds", jwks.display()));
    Ok(DevKey { id, note, pair })
}

/// `keys.json` has `keys.json.dev-key`.
fn key_path(jwks: &Path) -> PathBuf {
    let mut name = jwks.as_os_str().to_owned();
    name.push(".dev-key");
    PathBuf::from(name)
}

fn make(path: &Path) -> Result<(), TokenError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| TokenError::Crypto)?;
    let text = format!("{HEAD}\n{}\n{TAIL}\n", STANDARD.encode(document.as_ref()));
    // Whoever was quicker made a key that is as good.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(file_error("write", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<EcdsaKeyPair, TokenError> {
    let metadata = fs::metadata(path).map_err(|error| file_error("read", path, error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(TokenError::OpenToOthers { path: path.display().to_string() });
    }
    let text = fs::read_to_string(path).map_err(|error| file_error("read", path, error))?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body.trim()).ok();
    let pair = der.and_then(|der| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok());
    pair.ok_or_else(|| TokenError::Unreadable { path: path.display().to_string(), what: "a key of `weir token --dev`" })
}

/// Adds the public key to the key set, unless it is there; true when it was added. A reader sees the old set or the new one.
fn publish(path: &Path, id: &str, public: &[u8]) -> Result<bool, TokenError> {
    let unreadable = || TokenError::Unreadable { path: path.display().to_string(), what: "a key set" };
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => r#"{"keys":[]}"#.to_owned(),
        Err(error) => return Err(file_error("read", path, error)),
        Ok(metadata) if metadata.len() > u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX) => return Err(unreadable()),
        Ok(_) => fs::read_to_string(path).map_err(|error| file_error("read", path, error))?,
    };
    let mut set: Value = serde_json::from_str(&text).map_err(|_| unreadable())?;
    let keys = set.get_mut("keys").and_then(Value::as_array_mut).ok_or_else(unreadable)?;
    if keys.iter().any(|key| key.get("kid").and_then(Value::as_str) == Some(id)) {
        return Ok(false);
    }
    let [4, point @ ..] = public else { return Err(TokenError::Crypto) };
    let (x, y) = point.split_at_checked(COORDINATE_BYTES).ok_or(TokenError::Crypto)?;
    let coordinate = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    keys.push(json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": coordinate(x), "y": coordinate(y) }));
    let fresh = format!("{set:#}\n");
    Jwks::parse(&fresh).map_err(|_| unreadable())?;
    replace(path, &fresh).map_err(|error| file_error("write", path, error))?;
    Ok(true)
}

/// Writes beside the file and renames over it; through a link, over what it leads to.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = target.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    fs::write(&beside, text)?;
    if let Ok(metadata) = fs::metadata(&target) {
        fs::set_permissions(&beside, metadata.permissions())?;
    }
    fs::rename(&beside, &target)
}

fn file_error(what: &'static str, path: &Path, source: io::Error) -> TokenError {
    TokenError::File { what, path: path.display().to_string(), source }
}

const HEAD: &str = "-----BEGIN PRIVATE KEY-----";
const TAIL: &str = "-----END PRIVATE KEY-----";
/// Of a point on P-256.
const COORDINATE_BYTES: usize = 32;
