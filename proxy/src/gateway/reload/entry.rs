//! What the audit log keeps of a change of the configuration.

use weir_audit::{Decision, EntryBody, EventId, Kind, Outcome, PrincipalKind, PrincipalRef};

use super::super::clock::Clock;

/// The entry of a change, which is durable before anything is decided by what changed.
pub(super) fn policy_change(before: [u8; 32], after: [u8; 32], keys: &str, files: &str) -> EntryBody {
    let wall_ns = Clock::wall_ns();
    let mut random = [0; 10];
    if getrandom::fill(&mut random).is_err() {
        // An event id need not be secret, only different from others: the time does that here, changes are rare.
        tracing::warn!(event = "config.no_random_bytes");
    }
    let mut entry = EntryBody::new(Kind::PolicyChange, EventId::new(wall_ns / 1_000_000, random), wall_ns);
    entry.principal = Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".to_owned() });
    entry.decision = Decision::Pass;
    entry.outcome = Outcome::None;
    entry.policy_digest = Some(after);
    let before = before.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    entry.reason = Some(format!("policy digest before: {before}; keys: {keys}; files: {files}"));
    entry
}
