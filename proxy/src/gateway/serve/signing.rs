//! Who signs the log's checkpoints, how often, and who hears of them.

use weir_audit_store::{Opened, Store, StoreError};

use crate::config::{CheckpointConfig, Config};
use crate::gateway::ledger::Signing;

/// Goes on from the last checkpoint of an opened log; of a log that begins it makes the first.
pub(super) fn signing(config: &Config, store: &mut Store, opened: &Opened) -> Result<Signing, StoreError> {
    let CheckpointConfig { every, idle, key } = config.audit.checkpoint;
    let mut signer = opened.signer(&config.data_dir, key)?;
    if opened.begins {
        // From the first moment on there is a checkpoint: that it is missing later means something.
        store.sync_checkpoint(&mut signer)?;
    }
    if signer.last_by_another_key().is_some() {
        tracing::warn!(event = "audit.key_changed", key = %signer.key().verifier().id(),
            hint = "add the new key to trust files, behind the old one: weir audit key");
    }
    Ok(Signing { signer, every, idle, anchors: config.audit.anchors.clone() })
}
