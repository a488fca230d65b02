//! `keys`: the secrets that policies name.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use weir_policy::{Key, KeyUse};
use weir_yaml::{MapReader, Node, Problems};
use zeroize::Zeroizing;

use super::files::SecretFileError;
use super::{Loader, unsupported};

impl Loader<'_> {
    pub(super) fn keys(&self, node: Option<&Node>, problems: &mut Problems) -> Option<Vec<Key>> {
        let Some(node) = node else { return Some(Vec::new()) };
        let items = node.as_list("keys", problems)?;
        let mut ids = HashSet::new();
        let mut keys: Vec<Key> = items.iter().filter_map(|item| self.key(item, &mut ids, problems)).collect();
        for id in ids {
            if keys.iter().all(|key| key.id != id) {
                // It was reported. Policies that name it are compiled all the same, see `PolicyInput`.
                keys.push(Key { id, use_: KeyUse::Hash, secret: [0; SECRET_BYTES], retired: false });
            }
        }
        Some(keys)
    }

    /// Reads one key; `ids` are those of all keys so far, also of those that were refused.
    fn key(&self, node: &Node, ids: &mut HashSet<String>, problems: &mut Problems) -> Option<Key> {
        let mut map = MapReader::new(node, "a key", problems)?;
        let id_node = map.required("id", "policies name the key by it", problems);
        let id = id_node.and_then(|node| read_id(node, problems).map(|id| (id, node)));
        if let Some((id, node)) = &id
            && !ids.insert(id.clone())
        {
            problems.error(&node.place, format!("key `{id}` is listed twice"), "each key has an id of its own");
        }
        let usage = map.required("use", "use: hash", problems).and_then(|node| read_use(node, problems));
        let mut literal = false;
        for key in ["secret", "value", "key"] {
            if let Some(node) = map.take(key) {
                literal = true;
                problems.error(&node.place, format!("`keys.{key}` is a literal"), "use  file: …  or  env: …");
            }
        }
        let secret = self.secret(&mut map, literal, problems);
        let retired = match map.take("retired") {
            Some(node) => node.as_bool("retired", problems),
            None => Some(false),
        };
        map.finish(problems);
        Some(Key { id: id?.0, use_: usage?, secret: secret?, retired: retired? })
    }

    /// Takes the secret from `file` or `env`; neither is missed when a `literal` was reported. No message shows what stands there: it might be the secret itself.
    pub(super) fn secret(
        &self,
        map: &mut MapReader<'_>,
        literal: bool,
        problems: &mut Problems,
    ) -> Option<[u8; SECRET_BYTES]> {
        let (place, text) = match (map.take("file"), map.take("env")) {
            (Some(node), None) => (&node.place, self.secret_of_file(node, problems)?),
            (None, Some(node)) => (&node.place, self.secret_of_variable(node, problems)?),
            (Some(_), Some(node)) => {
                problems.error(&node.place, "a key has both `file` and `env`", "keep one of them");
                return None;
            }
            (None, None) if literal => return None,
            (None, None) => {
                problems.error(map.place(), "a key needs `file` or `env`", "a file with 32 random bytes in base64");
                return None;
            }
        };
        let bytes = STANDARD.decode(text.trim()).ok().map(Zeroizing::new);
        let secret = bytes.and_then(|bytes| <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()).ok());
        if secret.is_none() {
            let cure = "make one:  head -c 32 /dev/urandom | base64";
            problems.error(place, format!("this key is not {SECRET_BYTES} bytes in base64"), cure);
        }
        secret
    }

    fn secret_of_file(&self, node: &Node, problems: &mut Problems) -> Option<Zeroizing<String>> {
        let name = node.as_str("file", problems)?;
        match self.files.read_secret(&self.base.join(name), SECRET_FILE_BYTES_MAX) {
            Ok(text) => Some(text),
            Err(SecretFileError::OpenToOthers) => {
                let cure = format!("its owner and group are enough:  chmod o-rwx {name}");
                problems.error(&node.place, format!("key file `{name}` is open to every user of this machine"), cure);
                None
            }
            Err(SecretFileError::Unreadable(_)) if looks_like_a_key(name) => {
                problems.error(&node.place, "`keys.file` is a literal", "name a file with the key in it");
                None
            }
            Err(SecretFileError::Unreadable(reason)) => {
                problems.error(&node.place, format!("cannot read key file `{name}`: {reason}"), "");
                None
            }
        }
    }

    fn secret_of_variable(&self, node: &Node, problems: &mut Problems) -> Option<Zeroizing<String>> {
        let name = node.as_str("env", problems)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(legal) {
            problems.error(
                &node.place,
                "`env` is not the name of an environment variable",
                "as in  env: WEIR_HASH_KEY",
            );
            return None;
        }
        let value = (self.surroundings.variable)(name);
        if value.is_none() {
            problems.error(&node.place, "the environment variable that `env` names is not set", "");
        }
        value.map(Zeroizing::new)
    }
}

/// Whether somebody wrote the key where its file should stand: 32 bytes in either base64 or in hexadecimal.
fn looks_like_a_key(text: &str) -> bool {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    decoded.is_ok_and(|bytes| bytes.len() == SECRET_BYTES)
        || (text.len() == 2 * SECRET_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn read_id(node: &Node, problems: &mut Problems) -> Option<String> {
    let id = node.as_str("id", problems)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(legal) {
        let cure = format!("letters, digits, `-`, `_` and `.`, at most {ID_BYTES_MAX}: it stands in each hash");
        problems.error(&node.place, "this is not an id for a key", cure);
        return None;
    }
    Some(id.to_owned())
}

fn read_use(node: &Node, problems: &mut Problems) -> Option<KeyUse> {
    match node.as_str("use", problems)? {
        "hash" => Some(KeyUse::Hash),
        later @ ("token" | "encrypt") => {
            unsupported::value(&node.place, &format!("use: {later}"), "this build has  use: hash", problems);
            None
        }
        _ => {
            problems.error(&node.place, "`use` has an unknown value", "use: hash");
            None
        }
    }
}

/// Bytes of a key: 256 bits.
const SECRET_BYTES: usize = 32;
/// A key file holds 44 characters and perhaps a line feed.
const SECRET_FILE_BYTES_MAX: usize = 4096;
/// Bytes of a key's id.
const ID_BYTES_MAX: usize = 64;
