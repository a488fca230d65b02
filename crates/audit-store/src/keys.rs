//! What a replica makes for itself at its first start: the name of its chain, and the key of its digests.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_audit::checkpoint::TrustedKeys;
use weir_audit::{ChainId, CheckpointKey, Hash, SignedCheckpoint, Signer};

use crate::error::StoreError;
use crate::files::{Layout, read_small, write_whole};

/// The chain id and the digest key of one data directory.
#[derive(Clone)]
pub struct Keys {
    /// The name of the chain.
    pub chain: ChainId,
    /// Key of the BLAKE3 digests of records. Never leaves the process; with it, guessed records could be tried.
    pub digest: [u8; 32],
}

impl Keys {
    /// Reads the keys, or makes those that are not there yet.
    pub(crate) fn open(layout: &Layout) -> Result<Self, StoreError> {
        let chain = match read_chain(layout)? {
            Some(chain) => chain,
            None => {
                let chain = ChainId(random()?);
                write_whole(&layout.chain_id, format!("{chain}\n").as_bytes())?;
                chain
            }
        };
        let digest = match read_key(&layout.digest_key)? {
            Some(digest) => digest,
            None => {
                let digest = Hash(random()?);
                write_whole(&layout.digest_key, format!("{digest}\n").as_bytes())?;
                digest.0
            }
        };
        Ok(Self { chain, digest })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys {{ chain: {}, digest: 32 bytes }}", self.chain)
    }
}

/// The chain's name; `None` = never started.
pub(crate) fn read_chain(layout: &Layout) -> Result<Option<ChainId>, StoreError> {
    let Some(text) = read_small(&layout.chain_id)? else { return Ok(None) };
    let chain = text.trim_end().parse();
    chain.map(Some).map_err(|source| StoreError::KeyFile { path: layout.chain_id.clone(), source })
}

/// The seed of the key that signs this log's checkpoints: read from `DATA_DIR/keys/checkpoint-key`, or made there at the first start.
/// The file holds 32 random bytes in base64 and has mode 0600.
///
/// # Errors
/// When the file cannot be read or made, is not such a key, or is open to everyone.
pub fn checkpoint_seed(data_dir: &Path) -> Result<[u8; 32], StoreError> {
    let layout = Layout::new(data_dir);
    layout.make()?;
    let path = &layout.checkpoint_key;
    if let Some(text) = read_secret(path)? {
        let bytes = STANDARD.decode(text.trim_end()).ok().and_then(|bytes| bytes.try_into().ok());
        return bytes.ok_or_else(|| StoreError::CheckpointKey { path: path.clone() });
    }
    let seed = random()?;
    write_whole(path, format!("{}\n", STANDARD.encode(seed)).as_bytes())?;
    Ok(seed)
}

/// The signer of an opened log, which goes on from its last checkpoint; with the key that is kept in its directory or the one that is
/// `given`. The public part is listed in
/// `DATA_DIR/audit/vkeys` before anything is signed.
///
/// # Errors
/// When there is no usable key, when it was replaced by another before, or when the last checkpoint claims to be by it and is not.
pub fn signer(
    data_dir: &Path,
    chain: ChainId,
    last: Option<SignedCheckpoint>,
    given: Option<[u8; 32]>,
) -> Result<Signer, StoreError> {
    let layout = Layout::new(data_dir);
    let seed = match given {
        Some(seed) => seed,
        None => checkpoint_seed(data_dir)?,
    };
    let key = CheckpointKey::from_seed(chain, &seed).map_err(|error| StoreError::Signer(error.into()))?;
    let vkey = key.verifier().to_string();
    let listed = read_small(&layout.vkeys)?.unwrap_or_default();
    match listed.lines().rev().position(|line| line.strip_prefix("log ") == Some(vkey.as_str())) {
        Some(0) => {}
        Some(_) => return Err(StoreError::KeyRetired { id: key.verifier().id().to_string() }),
        None => write_whole(&layout.vkeys, format!("{listed}log {vkey}\n").as_bytes())?,
    }
    Ok(Signer::new(key, last)?)
}

/// The keys that signed this log's checkpoints, as `DATA_DIR/audit/vkeys` lists them; `None` = it was never started. Whoever can write
/// there can list others.
///
/// # Errors
/// When the file cannot be read, or is not such a list.
pub fn listed_keys(data_dir: &Path) -> Result<Option<TrustedKeys>, StoreError> {
    let path = Layout::new(data_dir).vkeys;
    let Some(text) = read_small(&path)? else { return Ok(None) };
    TrustedKeys::parse(&text).map(Some).map_err(|source| StoreError::KeyList { path, source })
}

fn read_key(path: &Path) -> Result<Option<[u8; 32]>, StoreError> {
    let Some(text) = read_secret(path)? else { return Ok(None) };
    let key: Result<Hash, _> = text.trim_end().parse();
    key.map(|key| Some(key.0)).map_err(|source| StoreError::KeyFile { path: path.to_owned(), source })
}

/// Reads a file that not everyone may read.
fn read_secret(path: &Path) -> Result<Option<String>, StoreError> {
    let Some(text) = read_small(path)? else { return Ok(None) };
    let metadata = std::fs::metadata(path).map_err(StoreError::file("read", path))?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(StoreError::KeyExposed { path: path.to_owned() });
    }
    Ok(Some(text))
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|source| StoreError::Random { source })?;
    Ok(bytes)
}
