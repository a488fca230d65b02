//! The keys that rules may name.

use std::fmt;
use std::sync::Arc;

use crate::transform::HashKey;

/// What a key may be used for. A key has one use, so that what one transform makes can never be undone or forged with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Keyed hashes of fields.
    Hash,
}

/// One key as the configuration gives it.
#[derive(Clone)]
pub struct Key {
    /// The id that rules name and that hashes carry.
    pub id: String,
    /// What it may be used for.
    pub use_: KeyUse,
    /// 32 random bytes.
    pub secret: [u8; 32],
    /// A retired key is recognised but makes nothing new: a rule must not name it.
    pub retired: bool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("use_", &self.use_)
            .field("secret", &format_args!("32 bytes"))
            .field("retired", &self.retired)
            .finish()
    }
}

/// All keys of a configuration.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    hash: Vec<Held>,
}

#[derive(Clone)]
struct Held {
    key: Arc<HashKey>,
    retired: bool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.key.id(), if self.retired { " (retired)" } else { "" })
    }
}

/// What looking a key up says.
pub(crate) enum Lookup<'a> {
    Found(&'a Arc<HashKey>),
    Retired,
    Absent,
}

impl KeyRing {
    /// Takes the keys over. Of two keys with one id and use, the first counts; the configuration's check reports the other.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        let mut ring = Self::default();
        for key in keys {
            match key.use_ {
                KeyUse::Hash if ring.hash.iter().any(|held| held.key.id() == key.id) => {}
                KeyUse::Hash => {
                    let held = Held { key: Arc::new(HashKey::new(key.id, key.secret)), retired: key.retired };
                    ring.hash.push(held);
                }
            }
        }
        ring
    }

    /// The key of this id for hashing.
    pub(crate) fn hash_key(&self, id: &str) -> Lookup<'_> {
        match self.hash.iter().find(|held| held.key.id() == id) {
            Some(held) if held.retired => Lookup::Retired,
            Some(held) => Lookup::Found(&held.key),
            None => Lookup::Absent,
        }
    }

    /// The ids of the keys that may hash.
    pub(crate) fn hash_ids(&self) -> impl Iterator<Item = &str> {
        self.hash.iter().filter(|held| !held.retired).map(|held| held.key.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, retired: bool) -> Key {
        Key { id: id.to_owned(), use_: KeyUse::Hash, secret: [0xab; 32], retired }
    }

    #[test]
    fn finds_keys_that_are_there_and_not_retired() {
        let ring = KeyRing::new(vec![key("a", false), key("b", true)]);
        assert!(matches!(ring.hash_key("a"), Lookup::Found(_)));
        assert!(matches!(ring.hash_key("b"), Lookup::Retired));
        assert!(matches!(ring.hash_key("c"), Lookup::Absent));
        assert_eq!(ring.hash_ids().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", key("a", false), KeyRing::new(vec![key("a", false)]));
        assert!(shown.contains("32 bytes") && !shown.contains("171") && !shown.contains("ab, "), "{shown}");
    }
}
