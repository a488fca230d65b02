//! The identity of a policy set, for audit entries and logs.

/// BLAKE3 over the canonical form of the sources in order:
///
/// ```text
/// "weir policy v1\0"  count: u64  ( name length: u64  name  text length: u64  text ) ...        integers little-endian
/// ```
///
/// Lengths stand before the bytes, so that no two lists of sources share a form.
pub(crate) fn of_sources<'a>(sources: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    hasher.update(&(sources.len() as u64).to_le_bytes());
    for (name, text) in sources {
        for part in [name, text] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

const DOMAIN: &[u8] = b"weir policy v1\0";

#[cfg(test)]
mod tests {
    use super::of_sources;

    #[test]
    fn every_name_text_and_order_has_its_own_digest() {
        let lists: &[&[(&str, &str)]] = &[
            &[],
            &[("", "")],
            &[("a", "b")],
            &[("ab", "")],
            &[("", "ab")],
            &[("a", "b"), ("c", "d")],
            &[("c", "d"), ("a", "b")],
            &[("a", "bc"), ("", "d")],
        ];
        let digests: std::collections::HashSet<_> = lists.iter().map(|list| of_sources(list.iter().copied())).collect();
        assert_eq!(digests.len(), lists.len());
        assert_eq!(of_sources([("a", "b")].into_iter()), of_sources([("a", "b")].into_iter()));
    }
}
