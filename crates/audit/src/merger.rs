//! Merges refusals, so that nobody can fill the log by being refused: per second and cause one entry with a count.
//!
//! A produce request whose *records* were refused is never given here: each of those is an entry of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::entry::{EntryBody, Kind, Outcome};

/// Collects refusals for a second. No clock: `now` is the wall clock in nanoseconds since 1970, as in entries.
#[derive(Debug, Default)]
pub struct Merger {
    opened_at: Option<u64>,
    before_login: HashMap<BeforeKey, EntryBody>,
    before_others: Option<EntryBody>,
    after_login: HashMap<AfterKey, EntryBody>,
    after_others: Option<EntryBody>,
}

/// Address and reason.
type BeforeKey = (Option<IpAddr>, Option<String>);

/// Principal, API, resource, code.
type AfterKey = (Option<String>, Option<i16>, String, Option<i16>);

impl Merger {
    /// Nothing collected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A refusal before login, merged with others of its client's address and its reason. Beyond [`BEFORE_LOGIN_ROWS_MAX`] such rows a
    /// second the rest becomes one row with reason `others` that names no address.
    pub fn before_login(&mut self, refusal: EntryBody, now: u64) {
        self.opened_at.get_or_insert(now);
        let key = (refusal.client.as_ref().map(|client| client.address), refusal.reason.clone());
        let full = self.before_login.len() >= BEFORE_LOGIN_ROWS_MAX;
        merge(&mut self.before_login, key, full, &mut self.before_others, refusal);
    }

    /// A refusal after login, merged with others of its principal, API, resource and code. `resource` is what was asked for, for example
    /// a topic. Beyond [`AFTER_LOGIN_ROWS_MAX`] such rows a second the rest becomes one row with reason `others`.
    ///
    /// A refusal in which a rule acted on records is given back: it is never merged.
    #[must_use = "what is given back is not merged and must be recorded by itself"]
    pub fn after_login(&mut self, refusal: EntryBody, resource: &str, now: u64) -> Option<EntryBody> {
        if !refusal.rule_hits.is_empty() {
            return Some(refusal);
        }
        self.opened_at.get_or_insert(now);
        let code = match refusal.outcome {
            Outcome::Refused { code } | Outcome::BrokerError { code } => Some(code),
            Outcome::None | Outcome::Stored | Outcome::Delivered | Outcome::Unknown => None,
        };
        let principal = refusal.principal.as_ref().map(|principal| principal.id.clone());
        let key = (principal, refusal.api.map(|(api, _)| api), resource.to_owned(), code);
        let full = self.after_login.len() >= AFTER_LOGIN_ROWS_MAX;
        merge(&mut self.after_login, key, full, &mut self.after_others, refusal);
        None
    }

    /// When [`Merger::poll`] will next have something: wall clock in nanoseconds since 1970.
    #[must_use]
    pub fn poll_at(&self) -> Option<u64> {
        let window = u64::try_from(MERGE_WINDOW.as_nanos()).unwrap_or(u64::MAX);
        self.opened_at.map(|opened| opened.saturating_add(window))
    }

    /// What was collected, once its second is over (or the clock was set back); the oldest first, the rest behind.
    pub fn poll(&mut self, now: u64) -> Vec<EntryBody> {
        let over = self.poll_at().is_some_and(|at| now >= at) || self.opened_at.is_some_and(|opened| now < opened);
        if over { self.flush() } else { Vec::new() }
    }

    /// What was collected, at once; for shutdown.
    pub fn flush(&mut self) -> Vec<EntryBody> {
        self.opened_at = None;
        let rows = self.before_login.drain().map(|(_, row)| row).chain(self.after_login.drain().map(|(_, row)| row));
        let mut rows: Vec<EntryBody> = rows.collect();
        rows.sort_by_key(|row| (row.at, row.event_id));
        rows.extend(self.before_others.take());
        rows.extend(self.after_others.take());
        rows
    }
}

fn merge<K: std::hash::Hash + Eq>(
    rows: &mut HashMap<K, EntryBody>,
    key: K,
    full: bool,
    others: &mut Option<EntryBody>,
    refusal: EntryBody,
) {
    if let Some(row) = rows.get_mut(&key) {
        row.count = row.count.saturating_add(refusal.count);
    } else if !full {
        rows.insert(key, refusal);
    } else if let Some(row) = others {
        row.count = row.count.saturating_add(refusal.count);
    } else {
        *others = Some(other(&refusal));
    }
}

/// The row for those that have none: its time and event are the first one's, and it names nobody.
fn other(refusal: &EntryBody) -> EntryBody {
    let kind = if refusal.kind == Kind::AuthFail { Kind::AuthFail } else { Kind::Block };
    EntryBody {
        decision: refusal.decision,
        reason: Some("others".to_owned()),
        count: refusal.count,
        ..EntryBody::new(kind, refusal.event_id, refusal.at)
    }
}

/// How long refusals are collected.
pub const MERGE_WINDOW: Duration = Duration::from_secs(1);

/// Rows a second for refusals before login: anyone who can reach the port can cause these.
pub const BEFORE_LOGIN_ROWS_MAX: usize = 16;

/// Rows a second for refusals after login: those who cause these have a name and can be revoked, so most may be told apart.
pub const AFTER_LOGIN_ROWS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ClientRef, Decision, PrincipalKind, PrincipalRef, RuleHit};
    use crate::ids::EventId;

    const SECOND: u64 = 1_000_000_000;

    fn login_refusal(address: [u8; 4], reason: &str, at: u64) -> EntryBody {
        EntryBody {
            client: Some(ClientRef {
                address: address.into(),
                port: 4000,
                client_id: None,
                listener: "apps".into(),
                insecure: false,
            }),
            decision: Decision::Refuse,
            reason: Some(reason.into()),
            ..EntryBody::new(Kind::AuthFail, EventId::new(at / 1_000_000, [0; 10]), at)
        }
    }

    fn refusal(principal: &str, api: i16, code: i16) -> EntryBody {
        EntryBody {
            principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: principal.into() }),
            api: Some((api, 9)),
            decision: Decision::Refuse,
            outcome: Outcome::Refused { code },
            ..EntryBody::new(Kind::Block, EventId([1; 16]), SECOND)
        }
    }

    fn counts(rows: &[EntryBody]) -> Vec<u64> {
        rows.iter().map(|row| row.count).collect()
    }

    #[test]
    fn refusals_before_login_are_merged_per_address_and_reason() {
        let mut merger = Merger::new();
        for i in 0..5 {
            merger.before_login(login_refusal([10, 0, 0, 1], "expired", SECOND + i), SECOND + i);
        }
        merger.before_login(login_refusal([10, 0, 0, 1], "bad_signature", SECOND + 7), SECOND + 7);
        merger.before_login(login_refusal([10, 0, 0, 2], "expired", SECOND + 8), SECOND + 8);
        assert_eq!(merger.poll(2 * SECOND - 1), vec![]);
        assert_eq!(merger.poll_at(), Some(2 * SECOND));
        assert_eq!(counts(&merger.poll(2 * SECOND)), [5, 1, 1]);
        assert_eq!(merger.poll_at(), None);
        assert_eq!(merger.poll(3 * SECOND), vec![]);
    }

    #[test]
    fn a_flood_before_login_is_sixteen_rows_and_one_for_the_others() {
        let mut merger = Merger::new();
        for i in 0..1000_u64 {
            let [.., high, low] = i.to_be_bytes();
            merger.before_login(login_refusal([10, 0, high, low], "expired", SECOND + i), SECOND + i);
        }
        let rows = merger.poll(2 * SECOND);
        assert_eq!(rows.len(), BEFORE_LOGIN_ROWS_MAX + 1);
        assert_eq!(counts(&rows).iter().sum::<u64>(), 1000);
        let others = rows.last().unwrap();
        assert_eq!((others.count, others.reason.as_deref(), &others.client), (984, Some("others"), &None));
    }

    #[test]
    fn refusals_after_login_are_merged_per_principal_api_resource_and_code() {
        let mut merger = Merger::new();
        let cases = [("a", 0, "t", 29), ("b", 0, "t", 29), ("a", 1, "t", 29), ("a", 0, "u", 29), ("a", 0, "t", 87)];
        for (principal, api, resource, code) in cases.into_iter().chain(cases) {
            assert_eq!(merger.after_login(refusal(principal, api, code), resource, SECOND), None);
        }
        assert_eq!(counts(&merger.poll(2 * SECOND)), [2; 5]);
    }

    #[test]
    fn a_flood_after_login_is_bounded_and_counted() {
        let mut merger = Merger::new();
        for i in 0..5000 {
            assert_eq!(merger.after_login(refusal("a", 0, 29), &format!("t{i}"), SECOND), None);
        }
        let rows = merger.flush();
        assert_eq!(rows.len(), AFTER_LOGIN_ROWS_MAX + 1);
        assert_eq!(counts(&rows).iter().sum::<u64>(), 5000);
    }

    #[test]
    fn refused_records_are_never_merged() {
        let mut merger = Merger::new();
        let mut body = refusal("a", 0, 87);
        body.rule_hits = vec![RuleHit { rule: "cards".into(), action: "refuse".into(), count: 1 }];
        assert_eq!(merger.after_login(body.clone(), "t", SECOND), Some(body));
        assert_eq!(merger.flush(), vec![]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_refusals() {
        let mut merger = Merger::new();
        merger.before_login(login_refusal([10, 0, 0, 1], "expired", 9 * SECOND), 9 * SECOND);
        assert_eq!(merger.poll(SECOND).len(), 1);
    }
}
