//! What it comes to: which log it is, what of it is covered, and what could not be compared.

use std::collections::BTreeSet;

use super::{Claim, Evidence, Reach, Source};
use crate::tree::Frontier;
use crate::verify::doubt::Doubt;
use crate::verify::report::{Class, Coverage, Finding, UNCOVERED_ENTRIES_MAX};

impl Evidence {
    /// The trust file has keys, and none of this log.
    pub(super) fn is_unheard_of(&self) -> bool {
        !self.other_keys.is_empty() && self.keys.as_ref().is_some_and(Vec::is_empty)
    }

    /// What is claimed of entries that are gone, as far as that can be told from where the log begins.
    pub(super) fn look_back(&mut self, begin: &Frontier) {
        for frontier in begin.prefixes() {
            self.compare(&frontier);
        }
        let mut by = 0;
        let mut out_of_turn = Vec::new();
        for (size, claims) in self.claims.range(..self.first) {
            let keys = || claims.iter().filter_map(|claim| claim.key);
            if keys().any(|key| key < by) {
                out_of_turn.push(*size);
            }
            by = keys().fold(by, usize::max);
        }
        self.epoch_min = by;
        out_of_turn.into_iter().for_each(|size| self.out_of_turn(size));
        let differs = |claims: &[Claim]| {
            let one = claims.first().map(|claim| claim.root);
            claims.iter().any(|claim| Some(claim.root) != one || claim.agrees == Some(false))
        };
        let forks = self.claims.range(..self.first).filter(|(_, claims)| differs(claims));
        let forks: Vec<u64> = forks.map(|(size, _)| *size).collect();
        forks.into_iter().for_each(|size| self.forked(size));
    }

    /// The log says that it was so when these entries went.
    pub(super) fn gone(&mut self, cut: &Frontier) {
        let first = self.first;
        for said in cut.prefixes().chain([cut.clone()]).filter(|said| said.size() < first) {
            let root = said.root();
            let other = |claim: &Claim| claim.agrees.is_none() && claim.root != root;
            if self.claims.get(&said.size()).is_some_and(|claims| claims.iter().any(other)) {
                self.forked(said.size());
            }
        }
    }

    fn forked(&mut self, size: u64) {
        let detail = "signed checkpoints of these entries, which were pruned since, contradict each other or what the log says of \
                      them: the log was rewritten";
        self.find(Class::Fork, 0, size.saturating_sub(1), detail);
    }

    /// What of it says that something is wrong by itself, and how many findings more there are.
    pub(in crate::verify) fn take_findings(&mut self, next: u64) -> (Vec<Finding>, u64) {
        let damaged = std::mem::take(&mut self.damaged).into_iter();
        let damaged = damaged.map(|detail| Finding { class: Class::BadSignature, first: next, last: next, detail });
        let last = next.saturating_sub(1).max(self.first);
        let other = self.other_log().map(|detail| Finding {
            class: Class::OtherLog,
            first: self.first,
            last,
            detail: detail.into(),
        });
        (std::mem::take(&mut self.findings).into_iter().chain(damaged).chain(other).collect(), self.left_out)
    }

    /// Why this is not the log that was to be there.
    fn other_log(&self) -> Option<String> {
        let chain = self.chain?.origin();
        if let Some(asked) = self.asked.filter(|asked| Some(*asked) != self.chain) {
            return Some(format!("this is {chain}, and {} was asked for", asked.origin()));
        }
        if self.is_unheard_of() {
            let names: BTreeSet<&str> = self.other_keys.iter().map(|key| key.name()).collect();
            let of = names.first().copied().unwrap_or_default();
            let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
            return Some(format!("this is {chain}, and the trust file has keys of {of}{more} alone"));
        }
        if self.anchors != Some(0) {
            return None;
        }
        let (other, checkpoints) = self.elsewhere.iter().max_by_key(|(_, checkpoints)| **checkpoints)?;
        let of = other.origin();
        Some(format!(
            "this is {chain}, and the collected checkpoints that a trusted key signed ({checkpoints}) are of {of}, none of this log"
        ))
    }

    /// Whether only what a trusted key signed counts.
    pub(in crate::verify) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// What of the log the checkpoints that are kept with it cover. Without a key to check them with they cover nothing.
    pub(in crate::verify) fn kept_coverage(&self, next: u64) -> Option<Coverage> {
        self.keys.as_ref().and_then(|_| self.kept.coverage(self.first, next))
    }

    /// What of the log collected checkpoints cover.
    pub(in crate::verify) fn anchored_coverage(&self, next: u64) -> Option<Coverage> {
        self.keys.as_ref().and_then(|_| self.anchored.coverage(self.first, next))
    }

    /// What keeps a log of so many rows and entries from being proven. `kept`: what covers it of what is kept with it.
    pub(in crate::verify) fn doubts(&mut self, rows: u64, next: u64, kept: Option<Coverage>) -> Vec<Doubt> {
        let told = std::mem::take(&mut self.told);
        if rows == 0 {
            return [Doubt::Empty].into_iter().chain(told).collect();
        }
        let anchored = self.anchored_coverage(next);
        let none = match (self.anchors, anchored, kept) {
            (Some(own), None, _) => Some(Doubt::NoAnchor { own, others: self.foreign }),
            (Some(_), Some(_), None) => Some(Doubt::NotKept),
            (None, _, None) => Some(Doubt::NoCheckpoint),
            (_, _, Some(_)) => None,
        };
        let newest = [kept, anchored].into_iter().flatten().map(|coverage| coverage.size).max();
        let entries = newest.map_or(0, |size| next.saturating_sub(size));
        let tail = (entries > UNCOVERED_ENTRIES_MAX).then_some(Doubt::Tail { entries });
        none.into_iter()
            .chain(tail)
            .chain(self.older_key())
            .chain(self.not_compared())
            .chain(self.which_log())
            .chain(told)
            .collect()
    }

    /// Whoever has an older key than the last can write anew what came after it, as long as he leaves the change out.
    fn older_key(&self) -> Option<Doubt> {
        let keys = self.keys.as_ref().filter(|_| self.trusted)?;
        let (signed, last) = (keys.get(self.newest_by?)?.id(), keys.last()?.id());
        (signed != last).then_some(Doubt::OlderKey { signed, last })
    }

    /// A checkpoint of entries that are gone can be of any log. One that an earlier verification found to agree is of this log, when a
    /// later one that it found to agree as well still does.
    fn not_compared(&self) -> Option<Doubt> {
        let collected = |claim: &&Claim| claim.source == Source::Anchor;
        let agrees = |claims: &Vec<Claim>| claims.iter().filter(collected).any(|claim| claim.agrees == Some(true));
        let proven = self.proven.max(self.first);
        let linked =
            self.claims.range(self.first..=proven).any(|(size, claims)| *size <= self.proven && agrees(claims));
        let open = self.claims.range(..self.first).filter(|(size, _)| !linked || **size > self.proven);
        let open = open.flat_map(|(_, claims)| claims).filter(collected).filter(|claim| claim.agrees.is_none());
        let checkpoints = u64::try_from(open.count()).unwrap_or(u64::MAX);
        (checkpoints > 0).then_some(Doubt::Pruned { checkpoints, first: self.first })
    }

    fn which_log(&self) -> Option<Doubt> {
        let names: BTreeSet<&str> = self.other_keys.iter().map(|key| key.name()).collect();
        let logs = u64::try_from(names.len()).unwrap_or(u64::MAX).saturating_add(1);
        (self.asked.is_none() && !names.is_empty()).then_some(Doubt::WhichLog { logs })
    }
}

impl Reach {
    /// A checkpoint of none of the entries that are there covers nothing.
    fn coverage(&self, first: u64, next: u64) -> Option<Coverage> {
        let size = self.agrees.filter(|size| *size > first)?;
        let newer = next.saturating_sub(size);
        Some(Coverage { size, newer, since: self.since.filter(|_| newer > 0) })
    }
}
