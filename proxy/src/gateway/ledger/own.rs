//! weir's own entries: its start and end, gaps, and what it does to its log.

use weir_audit::{Decision, EntryBody, EventId, Kind, Outcome, PrincipalKind, PrincipalRef};

use crate::gateway::clock::Clock;

/// Makes weir's own entries, each with an event id of its own.
pub(super) struct Own {
    seed: [u8; 32],
    next: u64,
}

impl Own {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, next: 0 }
    }

    pub(super) fn entry(&mut self, kind: Kind, reason: impl Into<String>) -> EntryBody {
        let mut entry = EntryBody::new(kind, self.event(), Clock::wall_ns());
        entry.principal = Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".to_owned() });
        entry.decision = Decision::Pass;
        entry.outcome = Outcome::None;
        entry.reason = Some(reason.into());
        entry
    }

    fn event(&mut self) -> EventId {
        self.next += 1;
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(self.next.to_be_bytes().iter().chain(&self.seed)) {
            *to = *from;
        }
        EventId::new(Clock::wall_ns() / 1_000_000, random)
    }
}
