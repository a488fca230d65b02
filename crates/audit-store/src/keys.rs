//! What a replica makes for itself at its first start: the name of its chain, and the key of its digests.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_audit::checkpoint::{TRUSTED_KEYS_MAX, TrustError, TrustedKeys};
use weir_audit::{ChainId, CheckpointKey, Hash, SignedCheckpoint, Signer};

use crate::error::StoreError;
use crate::files::{Layout, read_at_most, read_small, write_whole};
use crate::store::Opened;

/// The chain id and the digest key of one data directory.
#[derive(Clone)]
pub struct Keys {
    /// The name of the chain.
    pub chain: ChainId,
    /// Key of the BLAKE3 digests of records. Never leaves the process; with it, guessed records could be tried.
    pub digest: [u8; 32],
}

impl Keys {
    /// Reads the keys of a chain, or makes those that are not there yet when it `begins`: later, a missing one was taken away, and with
    /// another in its place nobody could tell any more which records the entries before mean.
    pub(crate) fn open(layout: &Layout, chain: ChainId, begins: bool) -> Result<Self, StoreError> {
        if read_chain(layout)?.is_none() {
            write_whole(&layout.chain_id, format!("{chain}\n").as_bytes())?;
        }
        let digest = match read_key(&layout.digest_key)? {
            Some(digest) => digest,
            None if !begins => return Err(StoreError::DigestKeyMissing { path: layout.digest_key.clone() }),
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
    chain.map(Some).map_err(|source| StoreError::ChainFile { path: layout.chain_id.clone(), source })
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

/// The signer of a log that goes on from its last checkpoint, with the key that is kept in its directory or the one that is `given`. The
/// public part is listed in `DATA_DIR/audit/vkeys` before anything is signed. [`Opened::signer`] also knows what the log says.
///
/// # Errors
/// When there is no usable key, when it was replaced by another before, or when the last checkpoint claims to be by it and is not.
pub fn signer(
    data_dir: &Path,
    chain: ChainId,
    last: Option<SignedCheckpoint>,
    given: Option<[u8; 32]>,
) -> Result<Signer, StoreError> {
    signer_after(data_dir, chain, last, true, given)
}

impl Opened {
    /// The signer of this log; see [`signer`]. A key that was listed and never came into use, since the start that was to change it ended
    /// too early, is no key of this log: the one before goes on.
    ///
    /// # Errors
    /// As [`signer`].
    pub fn signer(&self, data_dir: &Path, given: Option<[u8; 32]>) -> Result<Signer, StoreError> {
        let last = self.checkpoint.as_ref().map(|kept| kept.signed().clone());
        signer_after(data_dir, self.chain.chain, last, self.key_changed, given)
    }
}

/// `changed`: the log may say that the key of the last checkpoint signs nothing any more.
///
/// ```text
/// vkeys   … │ the key of the last checkpoint │ listed by starts that ended before it signed
///           │ stays, unless `changed`        │ the last one stays; another new key takes its place
/// ```
fn signer_after(
    data_dir: &Path,
    chain: ChainId,
    last: Option<SignedCheckpoint>,
    changed: bool,
    given: Option<[u8; 32]>,
) -> Result<Signer, StoreError> {
    let layout = Layout::new(data_dir);
    let seed = match given {
        Some(seed) => seed,
        None => checkpoint_seed(data_dir)?,
    };
    let key = CheckpointKey::from_seed(chain, &seed).map_err(|error| StoreError::Signer(error.into()))?;
    let listed = read_list(&layout)?;
    let keys = listed.as_ref().map_or(&[][..], TrustedKeys::all);
    let signed = last.as_ref().and_then(|last| last.signed_by(keys).ok());
    let used = match (&last, signed) {
        (None, _) => 0,
        (Some(_), Some(signed)) => signed + 1,
        (Some(_), None) => keys.len(),
    };
    let list = match keys.iter().position(|known| known == key.verifier()) {
        Some(at) if at + 1 == keys.len() => None,
        Some(at) if Some(at) == signed && !changed => Some(keys.get(..used).unwrap_or(keys).to_vec()),
        Some(_) => return Err(StoreError::KeyRetired { id: key.verifier().id().to_string() }),
        None => Some([keys.get(..used).unwrap_or(keys), std::slice::from_ref(key.verifier())].concat()),
    };
    let signer = Signer::new(key, last)?;
    if let Some(list) = list {
        if list.len() > TRUSTED_KEYS_MAX {
            return Err(StoreError::KeyList { path: layout.vkeys, source: TrustError::TooMany });
        }
        let text = list.iter().map(|key| format!("log {key}\n")).collect::<String>();
        write_whole(&layout.vkeys, text.as_bytes())?;
    }
    Ok(signer)
}

/// The keys that signed this log's checkpoints, as `DATA_DIR/audit/vkeys` lists them; `None` = it was never started. Whoever can write
/// there can list others.
///
/// # Errors
/// When the file cannot be read, or is not such a list.
pub fn listed_keys(data_dir: &Path) -> Result<Option<TrustedKeys>, StoreError> {
    read_list(&Layout::new(data_dir))
}

pub(crate) fn read_list(layout: &Layout) -> Result<Option<TrustedKeys>, StoreError> {
    let path = &layout.vkeys;
    let Some(text) = read_at_most(path, KEY_LIST_BYTES_MAX)? else { return Ok(None) };
    TrustedKeys::parse(&text).map(Some).map_err(|source| StoreError::KeyList { path: path.clone(), source })
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

/// Bytes read of the list of keys: as many keys as it may have, each a line of 102 bytes.
const KEY_LIST_BYTES_MAX: u64 = 128 * TRUSTED_KEYS_MAX as u64;
