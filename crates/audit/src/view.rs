//! Entries as people and programs read them: JSON with stable keys. A view, never evidence: the stored bytes are.

use serde::Serialize;

use crate::Hash;
use crate::chain::leaf_hash;
use crate::entry::{Entry, Outcome, Part};
use crate::ids::SessionId;

/// One entry as JSON. The keys are documented in `docs/audit-format.md` and only ever added to. No field holds a byte of a record,
/// because no field of an entry does.
#[derive(Clone, Debug, Serialize)]
pub struct EntryView<'a> {
    seq: u64,
    time: String,
    clock: Option<String>,
    kind: &'static str,
    event: String,
    intent_time: Option<String>,
    session: Option<String>,
    principal: Option<PrincipalView<'a>>,
    client: Option<ClientView<'a>>,
    api: Option<ApiView>,
    decision: &'static str,
    outcome: Option<&'static str>,
    error_code: Option<i16>,
    reason: Option<&'a str>,
    rules: Vec<RuleView<'a>>,
    parts: Vec<PartView<'a>>,
    policy_digest: Option<String>,
    count: u64,
    part: Option<u32>,
    part_of: Option<u32>,
    prune: Option<PruneView<'a>>,
    chain: String,
    prev: String,
    leaf: String,
}

#[derive(Clone, Debug, Serialize)]
struct PrincipalView<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
}

#[derive(Clone, Debug, Serialize)]
struct ClientView<'a> {
    address: String,
    port: u16,
    client_id: Option<&'a str>,
    listener: &'a str,
    insecure: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ApiView {
    key: i16,
    version: i16,
}

#[derive(Clone, Debug, Serialize)]
struct RuleView<'a> {
    rule: &'a str,
    action: &'a str,
    count: u64,
}

#[derive(Clone, Debug, Serialize)]
struct PartView<'a> {
    topic: &'a str,
    topic_id: Option<String>,
    partition: i32,
    base_offset: Option<i64>,
    last_offset: Option<i64>,
    records: u32,
    bytes_in: u64,
    bytes_out: u64,
    error_code: i16,
    producer: Option<ProducerView>,
    digest: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct ProducerView {
    id: i64,
    epoch: i16,
    base_sequence: i32,
}

#[derive(Clone, Debug, Serialize)]
struct PruneView<'a> {
    from: u64,
    to: u64,
    last: String,
    root: String,
    note: Option<&'a str>,
}

impl<'a> EntryView<'a> {
    /// A view of an entry and the bytes that it was decoded from.
    #[must_use]
    pub fn new(entry: &'a Entry, bytes: &[u8]) -> Self {
        let body = &entry.body;
        let error_code = match body.outcome {
            Outcome::Refused { code } | Outcome::BrokerError { code } => Some(code),
            Outcome::None | Outcome::Stored | Outcome::Delivered | Outcome::Unknown => None,
        };
        Self {
            seq: entry.seq,
            time: rfc3339(entry.at),
            clock: (body.at != entry.at).then(|| rfc3339(body.at)),
            kind: body.kind.name(),
            event: body.event_id.to_string(),
            intent_time: body.intent_at.map(rfc3339),
            session: body.session.as_ref().map(SessionId::to_string),
            principal: body.principal.as_ref().map(|it| PrincipalView { kind: it.kind.name(), id: &it.id }),
            client: body.client.as_ref().map(|it| ClientView {
                address: it.address.to_string(),
                port: it.port,
                client_id: it.client_id.as_deref(),
                listener: &it.listener,
                insecure: it.insecure,
            }),
            api: body.api.map(|(key, version)| ApiView { key, version }),
            decision: body.decision.name(),
            outcome: outcome_name(body.outcome),
            error_code,
            reason: body.reason.as_deref(),
            rules: body
                .rule_hits
                .iter()
                .map(|it| RuleView { rule: &it.rule, action: &it.action, count: it.count })
                .collect(),
            parts: body.parts.iter().map(part_view).collect(),
            policy_digest: body.policy_digest.map(|digest| Hash(digest).to_string()),
            count: body.count,
            part: entry.split.map(|split| split.part),
            part_of: entry.split.map(|split| split.of),
            prune: body.prune.as_deref().map(|it| PruneView {
                from: it.from,
                to: it.cut.size(),
                last: it.cut.last.to_string(),
                root: it.cut.frontier.root().to_string(),
                note: it.note.as_deref(),
            }),
            chain: entry.log.to_string(),
            prev: entry.prev.to_string(),
            leaf: leaf_hash(bytes).to_string(),
        }
    }

    /// One line of JSON, without its line end.
    ///
    /// # Errors
    /// Never in practice: every field is a number, a text or a list of these.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn part_view(part: &Part) -> PartView<'_> {
    PartView {
        topic: &part.topic,
        topic_id: part.topic_id.map(|id| SessionId(id).to_string()),
        partition: part.partition,
        base_offset: part.base_offset,
        last_offset: part.last_offset,
        records: part.records,
        bytes_in: part.bytes_in,
        bytes_out: part.bytes_out,
        error_code: part.error_code,
        producer: part.producer.map(|(id, epoch, base_sequence)| ProducerView { id, epoch, base_sequence }),
        digest: part.digest.map(|digest| Hash(digest).to_string()),
    }
}

fn outcome_name(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::None => None,
        Outcome::Stored => Some("stored"),
        Outcome::Delivered => Some("delivered"),
        Outcome::Refused { .. } => Some("refused"),
        Outcome::BrokerError { .. } => Some("broker_error"),
        Outcome::Unknown => Some("unknown"),
    }
}

/// A wall clock in nanoseconds since 1970 as RFC 3339 in UTC, with nanoseconds.
#[must_use]
pub fn rfc3339(wall_ns: u64) -> String {
    let (seconds, nanos) = (wall_ns / 1_000_000_000, wall_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Days since 1970 to a date of the Gregorian calendar, counted in eras of 400 years that start in March, so that the leap day is last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, expected: &str) {
        assert_eq!(rfc3339(seconds * 1_000_000_000 + 5), format!("{expected}.000000005Z"));
    }

    #[test]
    fn times_are_utc_dates() {
        check(0, "1970-01-01T00:00:00");
        check(951_782_399, "2000-02-28T23:59:59");
        check(951_782_400, "2000-02-29T00:00:00");
        check(951_868_800, "2000-03-01T00:00:00");
        check(1_700_000_000, "2023-11-14T22:13:20");
        check(4_107_542_400, "2100-03-01T00:00:00");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
