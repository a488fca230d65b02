//! What signed checkpoints say of a log: those kept with it, and those that somebody collected elsewhere.

mod judge;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::doubt::Doubt;
use super::report::{Class, Finding};
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
    /// Trusted keys of other logs.
    other_keys: Vec<VerifierKey>,
    /// Only signed checkpoints count: the keys are somebody's who does not trust the log.
    trusted: bool,
    /// Which log this should be.
    asked: Option<ChainId>,
    /// Entries up to which an earlier verification compared collected checkpoints.
    proven: u64,
    /// Doubts that others have.
    told: Vec<Doubt>,
    claims: BTreeMap<u64, Vec<Claim>>,
    /// Whether collected checkpoints were asked for, and how many are of this log.
    anchors: Option<u64>,
    foreign: u64,
    /// Those of other logs that a trusted key signed.
    elsewhere: BTreeMap<ChainId, u64>,
    findings: Vec<Finding>,
    left_out: u64,
    damaged: Vec<Cow<'static, str>>,
    /// The first entry that is left.
    first: u64,
    /// Which key signs here; `None` = not known yet.
    epoch: Option<usize>,
    /// Earlier ones than this do not.
    epoch_min: usize,
    /// Which key signed the newest checkpoint that agrees.
    newest_by: Option<usize>,
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
    /// Up to where they agreed before the first that does not, and the last size of those.
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
        let origin = chain.origin();
        let others = keys.filter(|_| trusted).map_or(&[][..], TrustedKeys::all).iter();
        let other_keys = others.filter(|key| key.name() != origin).cloned().collect();
        Self { chain: Some(chain), keys: keys.map(|keys| keys.of(&chain)), other_keys, trusted, ..Self::default() }
    }

    /// The log that is looked for. Without, any will do that a trust file has keys of.
    pub fn asked(&mut self, chain: ChainId) {
        self.asked = Some(chain);
    }

    /// An earlier verification compared collected checkpoints of up to so many entries, and they agreed. Those of them that lie before
    /// what was pruned since need no comparison, as long as one of them still can be made.
    pub fn proven(&mut self, entries: u64) {
        self.proven = entries;
    }

    /// Something else that keeps the log from being proven.
    pub fn doubt(&mut self, doubt: Doubt) {
        self.told.push(doubt);
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
            self.foreign(1);
            let known = self.asked.is_none() && checkpoint.signed_by(&self.other_keys).is_ok();
            if known {
                *self.elsewhere.entry(checkpoint.checkpoint().chain).or_default() += 1;
            }
        }
    }

    /// So many collected checkpoints of other logs.
    pub fn foreign(&mut self, checkpoints: u64) {
        self.expect_anchors();
        self.foreign += checkpoints;
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
            // That the log is another one is said once.
            Some(_) if self.is_unheard_of() => return,
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
    pub(super) fn begins_at(&mut self, begin: &Frontier) {
        self.first = begin.size();
        self.epoch = (self.first == 0).then_some(0);
        self.look_back(begin);
    }

    /// The rows up to here come to this tree.
    pub(super) fn reached(&mut self, frontier: &Frontier) {
        let (size, epoch) = (frontier.size(), self.epoch);
        let Some(claims) = self.compare(frontier) else { return };
        let key = claims.iter().find_map(|claim| claim.key);
        let here = epoch.or(key);
        let misplaced = |claim: &Claim| claim.key.is_some_and(|key| Some(key) != here);
        let (misplaced, newest) = (
            claims.iter().any(misplaced),
            claims.iter().filter(|claim| claim.agrees == Some(true)).filter_map(|claim| claim.key).max(),
        );
        self.epoch = here;
        self.newest_by = newest.or(self.newest_by);
        if misplaced || key.is_some_and(|key| key < self.epoch_min) {
            self.out_of_turn(size);
        }
    }

    /// Holds what is claimed of so many entries against the tree over them.
    fn compare(&mut self, frontier: &Frontier) -> Option<&[Claim]> {
        let size = frontier.size();
        let claims = self.claims.get_mut(&size)?;
        let root = frontier.root();
        for claim in claims.iter_mut() {
            let agrees = claim.root == root;
            claim.agrees = Some(agrees);
            let reach = match claim.source {
                Source::Kept => &mut self.kept,
                Source::Anchor => &mut self.anchored,
            };
            if agrees {
                reach.agrees = Some(size);
                reach.since = None;
            } else if size >= self.first {
                let from = reach.differs.map_or(reach.agrees.unwrap_or(0), |(from, _)| from);
                reach.differs = Some((from, size));
            }
        }
        Some(claims)
    }

    fn out_of_turn(&mut self, size: u64) {
        let seq = size.saturating_sub(1);
        let detail = "a key signed the checkpoint that ends here that was not in use then";
        self.find(Class::BadSignature, seq, seq, detail);
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
        let Some(keys) = self.keys.as_ref().filter(|_| !self.is_unheard_of()) else { return };
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
        self.gone(&prune.cut.frontier);
        let keys = self.keys.as_ref().filter(|_| !self.is_unheard_of());
        let (Some(keys), Some(chain)) = (keys, &self.chain) else { return };
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
            let (from, size) = reach.differs?;
            Some((from, size.saturating_sub(1), detail))
        })
    }
}

/// Findings kept; more are counted.
const FINDINGS_MAX: usize = 1000;
