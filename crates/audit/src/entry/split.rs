//! Keeps every entry within its limit: long texts are clipped, long lists become several entries of one event.

use super::encode::{put_part, put_rule_hit};
use super::{ENTRY_BYTES_MAX, EntryBody, Part, RuleHit, Split};
use crate::cbor::Encoder;
use crate::text::{TEXT_BYTES_MAX, clip_text};

/// Cuts one body into the bodies of as many entries as it needs, in order. All carry the same event id; each has its share of rule hits
/// and parts. Nothing is lost but the tails of over-long texts.
pub(crate) fn split(mut body: EntryBody) -> Vec<(Option<Split>, EntryBody)> {
    clip(&mut body);
    if lists_bytes_at_most(&body) <= LISTS_BYTES_MAX {
        return vec![(None, body)];
    }
    let hits = std::mem::take(&mut body.rule_hits);
    let parts = std::mem::take(&mut body.parts);
    let mut bins = Bins { done: Vec::new(), open: Bin::default() };
    for hit in hits {
        bins.reserve(size(|encoder| put_rule_hit(encoder, &hit)));
        bins.open.hits.push(hit);
    }
    for part in parts {
        bins.reserve(size(|encoder| put_part(encoder, &part)));
        bins.open.parts.push(part);
    }
    bins.done.push(bins.open);
    let of = u32::try_from(bins.done.len()).unwrap_or(u32::MAX);
    let shares = (1..).zip(bins.done);
    let split = shares.map(|(part, Bin { hits, parts, .. })| {
        let share = EntryBody { rule_hits: hits, parts, ..body.clone() };
        ((of > 1).then_some(Split { part, of }), share)
    });
    split.collect()
}

/// More than the lists can need, found without encoding them.
fn lists_bytes_at_most(body: &EntryBody) -> usize {
    let hits = body.rule_hits.iter().map(|hit| hit.rule.len() + hit.action.len() + RULE_HIT_NUMBERS);
    let parts = body.parts.iter().map(|part| part.topic.len() + PART_NUMBERS);
    hits.chain(parts).sum()
}

#[derive(Default)]
struct Bin {
    bytes: usize,
    hits: Vec<RuleHit>,
    parts: Vec<Part>,
}

struct Bins {
    done: Vec<Bin>,
    open: Bin,
}

impl Bins {
    /// Makes room for an item of `bytes`.
    fn reserve(&mut self, bytes: usize) {
        if self.open.bytes + bytes > LISTS_BYTES_MAX {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.bytes += bytes;
    }
}

fn size(put: impl FnOnce(&mut Encoder)) -> usize {
    let mut encoder = Encoder::new();
    put(&mut encoder);
    encoder.len()
}

fn clip(body: &mut EntryBody) {
    let principal = body.principal.iter_mut().map(|principal| &mut principal.id);
    let client = body.client.iter_mut().flat_map(|client| client.client_id.iter_mut().chain([&mut client.listener]));
    let hits = body.rule_hits.iter_mut().flat_map(|hit| [&mut hit.rule, &mut hit.action]);
    let parts = body.parts.iter_mut().map(|part| &mut part.topic);
    for text in principal.chain(client).chain(body.reason.iter_mut()).chain(hits).chain(parts) {
        if let std::borrow::Cow::Owned(clipped) = clip_text(text) {
            *text = clipped;
        }
    }
}

/// Bytes of one rule hit beside its texts at most: their heads, its count, its array.
const RULE_HIT_NUMBERS: usize = 1 + 3 + 3 + 9;

/// Bytes of one part beside its topic at most: heads and keys, ids, offsets, sizes, producer, digest.
const PART_NUMBERS: usize = 1 + 4 + 18 + 6 + 10 + 10 + 6 + 10 + 10 + 4 + 20 + 35;

/// Bytes of the lists of one entry. What is beside them has four texts of [`TEXT_BYTES_MAX`] and less than 400 bytes of numbers,
/// hashes and heads; the largest item has two texts, so each fits.
const LISTS_BYTES_MAX: usize = ENTRY_BYTES_MAX - 4 * TEXT_BYTES_MAX - 400;
