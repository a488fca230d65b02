//! Entry to bytes. `docs/audit-format.md` is the specification.

use std::net::IpAddr;

use super::{
    ClientRef, Decision, Entry, EntryBody, IntentRow, Kind, Outcome, Part, PrincipalKind, PrincipalRef, RuleHit, Split,
};
use crate::cbor::{Encoder, MapEncoder};

impl Entry {
    /// The bytes that are stored, hashed and chained.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(|map| {
            map.field(key::V).unsigned(VERSION);
            map.field(key::LOG).bytes(&self.log.0);
            map.field(key::SEQ).unsigned(self.seq);
            map.field(key::PREV).bytes(&self.prev.0);
            map.field(key::AT).unsigned(self.at);
            if self.body.at != self.at {
                map.field(key::WALL).unsigned(self.body.at);
            }
            put_body(map, &self.body);
            if let Some(Split { part, of }) = self.split {
                let split = map.field(key::SPLIT);
                split.array(2);
                split.unsigned(u64::from(part));
                split.unsigned(u64::from(of));
            }
            if let Some(prune) = &self.body.prune {
                prune.encode(map.field(key::PRUNE));
            }
        });
        encoder.into_bytes()
    }
}

impl IntentRow {
    /// The bytes of the durable row; its id is the row's key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(|map| {
            map.field(key::V).unsigned(VERSION);
            map.field(key::AT).unsigned(self.body.at);
            put_body(map, &self.body);
        });
        encoder.into_bytes()
    }
}

/// Everything between the times and the split, in the order of the keys.
fn put_body(map: &mut MapEncoder<'_>, body: &EntryBody) {
    map.field(key::KIND).unsigned(u64::from(body.kind.code()));
    map.field(key::EVENT).bytes(&body.event_id.0);
    if let Some(at) = body.intent_at {
        map.field(key::INTENT_AT).unsigned(at);
    }
    if let Some(session) = body.session {
        map.field(key::SESSION).bytes(&session.0);
    }
    if let Some(principal) = &body.principal {
        put_principal(map.field(key::PRINCIPAL), principal);
    }
    if let Some(client) = &body.client {
        put_client(map.field(key::CLIENT), client);
    }
    if let Some((api, version)) = body.api {
        let pair = map.field(key::API);
        pair.array(2);
        pair.signed(i64::from(api));
        pair.signed(i64::from(version));
    }
    map.field(key::DECISION).unsigned(u64::from(body.decision.code()));
    put_outcome(map, body.outcome);
    if let Some(reason) = &body.reason {
        map.field(key::REASON).text(reason);
    }
    if !body.rule_hits.is_empty() {
        let hits = map.field(key::RULE_HITS);
        hits.array(body.rule_hits.len());
        body.rule_hits.iter().for_each(|hit| put_rule_hit(hits, hit));
    }
    if !body.parts.is_empty() {
        let parts = map.field(key::PARTS);
        parts.array(body.parts.len());
        body.parts.iter().for_each(|part| put_part(parts, part));
    }
    if let Some(digest) = &body.policy_digest {
        map.field(key::POLICY_DIGEST).bytes(digest);
    }
    if body.count != 1 {
        map.field(key::COUNT).unsigned(body.count);
    }
}

fn put_principal(encoder: &mut Encoder, principal: &PrincipalRef) {
    encoder.array(2);
    encoder.unsigned(u64::from(principal.kind.code()));
    encoder.text(&principal.id);
}

fn put_client(encoder: &mut Encoder, client: &ClientRef) {
    encoder.map(|map| {
        match client.address {
            IpAddr::V4(address) => map.field(0).bytes(&address.octets()),
            IpAddr::V6(address) => map.field(0).bytes(&address.octets()),
        }
        map.field(1).unsigned(u64::from(client.port));
        if let Some(client_id) = &client.client_id {
            map.field(2).text(client_id);
        }
        map.field(3).text(&client.listener);
        if client.insecure {
            map.field(4).truth();
        }
    });
}

fn put_outcome(map: &mut MapEncoder<'_>, outcome: Outcome) {
    let (number, code) = match outcome {
        Outcome::None => return,
        Outcome::Stored => (1, None),
        Outcome::Delivered => (2, None),
        Outcome::Refused { code } => (3, Some(code)),
        Outcome::BrokerError { code } => (4, Some(code)),
        Outcome::Unknown => (5, None),
    };
    let encoder = map.field(key::OUTCOME);
    encoder.array(if code.is_some() { 2 } else { 1 });
    encoder.unsigned(number);
    if let Some(code) = code {
        encoder.signed(i64::from(code));
    }
}

pub(super) fn put_rule_hit(encoder: &mut Encoder, hit: &RuleHit) {
    encoder.array(3);
    encoder.text(&hit.rule);
    encoder.text(&hit.action);
    encoder.unsigned(hit.count);
}

pub(super) fn put_part(encoder: &mut Encoder, part: &Part) {
    encoder.map(|map| {
        map.field(0).text(&part.topic);
        if let Some(id) = &part.topic_id {
            map.field(1).bytes(id);
        }
        map.field(2).signed(i64::from(part.partition));
        if let Some(offset) = part.base_offset {
            map.field(3).signed(offset);
        }
        if let Some(offset) = part.last_offset {
            map.field(4).signed(offset);
        }
        for (key, number) in [(5, u64::from(part.records)), (6, part.bytes_in), (7, part.bytes_out)] {
            if number != 0 {
                map.field(key).unsigned(number);
            }
        }
        if part.error_code != 0 {
            map.field(8).signed(i64::from(part.error_code));
        }
        if let Some((id, epoch, sequence)) = part.producer {
            let producer = map.field(9);
            producer.array(3);
            producer.signed(id);
            producer.signed(i64::from(epoch));
            producer.signed(i64::from(sequence));
        }
        if let Some(digest) = &part.digest {
            map.field(10).bytes(digest);
        }
    });
}

macro_rules! codes {
    ($($name:ty { $($variant:ident = $code:literal $word:literal),* $(,)? })*) => {$(
        impl $name {
            /// The number in the encoding.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code),* }
            }

            /// The variant of a number.
            #[must_use]
            pub fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The word in tables and JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    )*};
}

codes! {
    Kind {
        Boot = 0 "boot", Shutdown = 1 "shutdown", AuthOk = 2 "auth_ok", AuthFail = 3 "auth_fail", Produce = 4 "produce",
        Fetch = 5 "fetch", Block = 6 "block", Recovered = 7 "recovered", Gap = 8 "gap", Prune = 9 "prune", Degraded = 10 "degraded",
        Resumed = 11 "resumed", Heartbeat = 12 "heartbeat", KeyChange = 13 "key_change", AcceptLoss = 14 "accept_loss",
        PolicyChange = 15 "policy_change",
    }
    Decision { Pass = 0 "passed", Mask = 1 "masked", Refuse = 2 "refused", Withhold = 3 "withheld", Unknown = 4 "unknown" }
    PrincipalKind { Anonymous = 0 "anonymous", Oauthbearer = 1 "oauthbearer", System = 2 "system" }
}

/// Format version of entries and intents.
pub(super) const VERSION: u64 = 1;

/// Map keys of an entry.
pub(super) mod key {
    pub(in crate::entry) const V: u8 = 0;
    pub(in crate::entry) const LOG: u8 = 1;
    pub(in crate::entry) const SEQ: u8 = 2;
    pub(in crate::entry) const PREV: u8 = 3;
    pub(in crate::entry) const AT: u8 = 4;
    pub(in crate::entry) const WALL: u8 = 5;
    pub(in crate::entry) const KIND: u8 = 6;
    pub(in crate::entry) const EVENT: u8 = 7;
    pub(in crate::entry) const INTENT_AT: u8 = 8;
    pub(in crate::entry) const SESSION: u8 = 9;
    pub(in crate::entry) const PRINCIPAL: u8 = 10;
    pub(in crate::entry) const CLIENT: u8 = 11;
    pub(in crate::entry) const API: u8 = 12;
    pub(in crate::entry) const DECISION: u8 = 13;
    pub(in crate::entry) const OUTCOME: u8 = 14;
    pub(in crate::entry) const REASON: u8 = 15;
    pub(in crate::entry) const RULE_HITS: u8 = 16;
    pub(in crate::entry) const PARTS: u8 = 17;
    pub(in crate::entry) const POLICY_DIGEST: u8 = 18;
    pub(in crate::entry) const COUNT: u8 = 19;
    pub(in crate::entry) const SPLIT: u8 = 20;
    pub(in crate::entry) const PRUNE: u8 = 21;
}
