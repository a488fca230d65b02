//! What signed checkpoints say of a log: those kept with it, and those that somebody collected elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::report::{Class, Coverage, Finding};
use crate::checkpoint::{SignatureFault, SignedCheckpoint, TrustedKeys, VerifierKey, prune_signed_by};
use crate::entry::{Entry, Kind};
use crate::hash::Hash;
use crate::ids::ChainId;
use crate::prune::Prune;
use crate::tree::Frontier;

/// Checkpoints to hold against the rows. A checkpoint that no known key signed is a finding and proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    chain: Option<ChainId>,
    /// In the order of their use; `None` = no key is known, and signatures are not checked.
    keys: Option<Vec<VerifierKey>>,
    /// Only signed checkpoints count: the keys are somebody's who does not trust the log.
    trusted: bool,
    claims: BTreeMap<u64, Vec<Claim>>,
    /// Whether collected checkpoints were asked for, and how many are of this log.
    anchors: Option<u64>,
    foreign: u64,
    findings: Vec<Finding>,
    left_out: u64,
    damaged: Vec<Cow<'static, str>>,
    /// Which key signs here; `None` = not known yet.
    epoch: Option<usize>,
    kept: Reach,
    anchored: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    source: Source,
    root: Hash,
    key: Option<usize>,
    agrees: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Kept,
    Anchor,
}

/// How far the checkpoints of one source agree with the rows.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    agrees: Option<u64>,
    /// First and last size of those that do not.
    differs: Option<(u64, u64)>,
    /// The largest size that is claimed.
    claimed: u64,
    /// When the first entry after those that agree was recorded.
    since: Option<u64>,
}

impl Evidence {
    /// Checkpoints of one chain. `keys` may sign them, in the order in which they were used; `None` = there is no key to check them
    /// with. `trusted`: the keys come from outside the log, and what is not signed by one of them says nothing.
    #[must_use]
    pub fn new(chain: ChainId, keys: Option<&TrustedKeys>, trusted: bool) -> Self {
        Self { chain: Some(chain), keys: keys.map(|keys| keys.of(&chain)), trusted, ..Self::default() }
    }

    /// A checkpoint that is kept with the log.
    pub fn kept(&mut self, checkpoint: &SignedCheckpoint) {
        if Some(checkpoint.checkpoint().chain) == self.chain {
            self.claim(Source::Kept, checkpoint);
        } else {
            self.damaged("a kept checkpoint is another chain's");
        }
    }

    /// Something that is kept as a checkpoint and is none.
    pub fn damaged(&mut self, detail: impl Into<Cow<'static, str>>) {
        if self.damaged.len() < FINDINGS_MAX {
            self.damaged.push(detail.into());
        } else {
            self.left_out += 1;
        }
    }

    /// Collected checkpoints are to be looked at, even if there turn out to be none.
    pub fn expect_anchors(&mut self) {
        self.anchors.get_or_insert(0);
    }

    /// A collected checkpoint. One of another log is counted and says nothing.
    pub fn anchor(&mut self, checkpoint: &SignedCheckpoint) {
        if Some(checkpoint.checkpoint().chain) == self.chain {
            *self.anchors.get_or_insert(0) += 1;
            self.claim(Source::Anchor, checkpoint);
        } else {
            self.expect_anchors();
            self.foreign += 1;
        }
    }

    /// Collected checkpoints of this log and of others; `None` = none were asked for.
    #[must_use]
    pub fn anchors(&self) -> Option<(u64, u64)> {
        self.anchors.map(|own| (own, self.foreign))
    }

    fn claim(&mut self, source: Source, checkpoint: &SignedCheckpoint) {
        let size = checkpoint.checkpoint().size;
        let key = match &self.keys {
            None => None,
            Some(keys) => match checkpoint.signed_by(keys) {
                Ok(key) => Some(key),
                Err(fault) => return self.fault(fault, size.saturating_sub(1)),
            },
        };
        let claim = Claim { source, root: checkpoint.checkpoint().root, key, agrees: None };
        let claims = self.claims.entry(size).or_default();
        if !claims.contains(&claim) {
            claims.push(claim);
        }
        let reach = self.reach(source);
        reach.claimed = reach.claimed.max(size);
    }

    fn reach(&mut self, source: Source) -> &mut Reach {
        match source {
            Source::Kept => &mut self.kept,
            Source::Anchor => &mut self.anchored,
        }
    }

    fn fault(&mut self, fault: SignatureFault, seq: u64) {
        let (class, detail) = match fault {
            SignatureFault::UnknownKey => (Class::UnknownKey, "no known key signed the checkpoint that ends here"),
            SignatureFault::Bad => {
                (Class::BadSignature, "the checkpoint that ends here is not by the key that it names")
            }
        };
        self.find(class, seq, seq, detail);
    }

    fn find(&mut self, class: Class, first: u64, last: u64, detail: &'static str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { class, first, last, detail: detail.into() });
        } else {
            self.left_out += 1;
        }
    }

    /// The log begins here, because what was before is gone: which key came first is not to be seen any more.
    pub(super) fn begins_at(&mut self, first: u64) {
        self.epoch = (first == 0).then_some(0);
    }

    /// The rows up to here come to this tree.
    pub(super) fn reached(&mut self, size: u64, frontier: &Frontier) {
        let Some(claims) = self.claims.get_mut(&size) else { return };
        let root = frontier.root();
        let mut misplaced = false;
        for claim in claims {
            let agrees = claim.root == root;
            claim.agrees = Some(agrees);
            let reach = match claim.source {
                Source::Kept => &mut self.kept,
                Source::Anchor => &mut self.anchored,
            };
            if agrees {
                reach.agrees = Some(size);
                reach.since = None;
            } else {
                reach.differs = Some((reach.differs.map_or(size, |(first, _)| first), size));
            }
            if let Some(key) = claim.key {
                misplaced |= *self.epoch.get_or_insert(key) != key;
            }
        }
        if misplaced {
            let seq = size.saturating_sub(1);
            self.find(
                Class::BadSignature,
                seq,
                seq,
                "a key signed the checkpoint that ends here that was not in use then",
            );
        }
    }

    /// A row that is in its place.
    pub(super) fn entry(&mut self, seq: u64, entry: &Entry) {
        self.kept.since.get_or_insert(entry.at);
        self.anchored.since.get_or_insert(entry.at);
        if entry.body.kind == Kind::KeyChange {
            self.key_change(seq, entry.body.reason.as_deref().unwrap_or_default());
        }
        if let Some(prune) = &entry.body.prune {
            self.prune(seq, prune);
        }
    }

    /// The entry holds the last checkpoint of the key before, so that whoever has the next key cannot write what came before anew.
    fn key_change(&mut self, seq: u64, note: &str) {
        let Some(keys) = &self.keys else { return };
        let Ok(before) = note.parse::<SignedCheckpoint>() else {
            return self.find(
                Class::BadSignature,
                seq,
                seq,
                "it changes the key and does not hold a checkpoint of the key before",
            );
        };
        let key = match before.signed_by(keys) {
            Ok(key) => key,
            Err(SignatureFault::UnknownKey) => {
                return self.find(Class::UnknownKey, seq, seq, "no known key signed the checkpoint that it holds");
            }
            Err(SignatureFault::Bad) => {
                return self.find(
                    Class::BadSignature,
                    seq,
                    seq,
                    "the checkpoint that it holds is not by the key that it names",
                );
            }
        };
        let said = before.checkpoint();
        let kept = |claim: &Claim| claim.root == said.root && claim.agrees != Some(false);
        if said.size > seq || !self.claims.get(&said.size).is_some_and(|claims| claims.iter().any(kept)) {
            return self.find(Class::BadSignature, seq, seq, "the checkpoint before this change of keys is not kept");
        }
        // The change is written again when weir ended before its new key signed.
        self.epoch = Some(self.epoch.unwrap_or(0).max(key + 1));
    }

    fn prune(&mut self, seq: u64, prune: &Prune) {
        let (Some(keys), Some(chain)) = (&self.keys, &self.chain) else { return };
        match prune_signed_by(prune, chain, keys) {
            Ok(Some(key)) if self.epoch.is_none_or(|epoch| epoch == key) => {}
            Ok(Some(_)) => {
                self.find(Class::BadSignature, seq, seq, "a key signed what it prunes that was not in use then")
            }
            Ok(None) => self.find(Class::BadSignature, seq, seq, "what it prunes is not signed"),
            Err(SignatureFault::UnknownKey) => {
                self.find(Class::UnknownKey, seq, seq, "no known key signed what it prunes");
            }
            Err(SignatureFault::Bad) => {
                self.find(Class::BadSignature, seq, seq, "the signature of what it prunes does not fit");
            }
        }
    }

    /// Entries that kept checkpoints, and collected ones, claim to be there.
    pub(super) fn claimed(&self) -> (u64, u64) {
        (self.kept.claimed, self.anchored.claimed)
    }

    /// Where checkpoints and rows disagree although the rows fit each other, as first and last sequence number.
    pub(super) fn forks(&self) -> impl Iterator<Item = (u64, u64, &'static str)> {
        let kept = "the rows fit each other and not a signed checkpoint: the log was rewritten";
        let anchored =
            "the rows fit each other and not a collected checkpoint: the log was rewritten, or an older copy went on";
        [(self.kept, kept), (self.anchored, anchored)].into_iter().filter_map(|(reach, detail)| {
            let (first, last) = reach.differs?;
            let from = reach.agrees.filter(|agrees| *agrees < first).unwrap_or(0);
            Some((from, last.saturating_sub(1), detail))
        })
    }

    /// What of it says that something was altered by itself, and how many findings more there are.
    pub(super) fn take_findings(&mut self, next: u64) -> (Vec<Finding>, u64) {
        let damaged = std::mem::take(&mut self.damaged).into_iter();
        let damaged = damaged.map(|detail| Finding { class: Class::BadSignature, first: next, last: next, detail });
        (std::mem::take(&mut self.findings).into_iter().chain(damaged).collect(), self.left_out)
    }

    /// Whether only what a trusted key signed counts.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// What of the log the checkpoints that are kept with it cover. Without a key to check them with they cover nothing.
    pub(super) fn kept_coverage(&self, next: u64) -> Option<Coverage> {
        self.keys.as_ref().and_then(|_| self.kept.coverage(next))
    }

    /// What of the log collected checkpoints cover.
    pub(super) fn anchored_coverage(&self, next: u64) -> Option<Coverage> {
        self.keys.as_ref().and_then(|_| self.anchored.coverage(next))
    }
}

impl Reach {
    fn coverage(&self, next: u64) -> Option<Coverage> {
        let size = self.agrees?;
        let newer = next.saturating_sub(size);
        Some(Coverage { size, newer, since: self.since.filter(|_| newer > 0) })
    }
}

/// Findings kept; more are counted.
const FINDINGS_MAX: usize = 1000;
