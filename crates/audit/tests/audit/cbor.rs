//! Entries survive their encoding, one meaning has one encoding, and no input panics.

use proptest::prelude::*;
use weir_audit::{
    ChainId, ClientRef, Decision, Entry, EntryBody, EventId, Hash, IntentId, IntentRow, Kind, Outcome, Part,
    PrincipalKind, PrincipalRef, RuleHit, SessionId, Split,
};

fn kind() -> impl Strategy<Value = Kind> {
    (0_u64..9).prop_map(|code| Kind::from_code(code).unwrap())
}

fn decision() -> impl Strategy<Value = Decision> {
    (0_u64..5).prop_map(|code| Decision::from_code(code).unwrap())
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::None),
        Just(Outcome::Stored),
        Just(Outcome::Delivered),
        any::<i16>().prop_map(|code| Outcome::Refused { code }),
        any::<i16>().prop_map(|code| Outcome::BrokerError { code }),
        Just(Outcome::Unknown),
    ]
}

fn principal() -> impl Strategy<Value = PrincipalRef> {
    (0_u64..3, ".{0,12}").prop_map(|(kind, id)| PrincipalRef { kind: PrincipalKind::from_code(kind).unwrap(), id })
}

fn client() -> impl Strategy<Value = ClientRef> {
    (any::<std::net::IpAddr>(), any::<u16>(), any::<Option<String>>(), ".{0,12}", any::<bool>()).prop_map(
        |(address, port, client_id, listener, insecure)| ClientRef { address, port, client_id, listener, insecure },
    )
}

fn part() -> impl Strategy<Value = Part> {
    let place = (".{0,20}", any::<Option<[u8; 16]>>(), any::<i32>(), any::<Option<i64>>(), any::<Option<i64>>());
    let data = (any::<u32>(), any::<u64>(), any::<u64>(), any::<i16>(), any::<Option<(i64, i16, i32)>>());
    (place, data, any::<Option<[u8; 32]>>()).prop_map(|(place, data, digest)| {
        let (topic, topic_id, partition, base_offset, last_offset) = place;
        let (records, bytes_in, bytes_out, error_code, producer) = data;
        Part {
            topic,
            topic_id,
            partition,
            base_offset,
            last_offset,
            records,
            bytes_in,
            bytes_out,
            error_code,
            producer,
            digest,
        }
    })
}

fn rule_hit() -> impl Strategy<Value = RuleHit> {
    (".{0,12}", ".{0,8}", any::<u64>()).prop_map(|(rule, action, count)| RuleHit { rule, action, count })
}

fn body() -> impl Strategy<Value = EntryBody> {
    let what = (kind(), any::<[u8; 16]>(), any::<u64>(), any::<Option<u64>>(), any::<Option<[u8; 16]>>());
    let who = (proptest::option::of(principal()), proptest::option::of(client()), any::<Option<(i16, i16)>>());
    let why = (decision(), outcome(), proptest::option::of(".{0,20}"), any::<Option<[u8; 32]>>(), any::<u64>());
    let lists = (proptest::collection::vec(rule_hit(), 0..4), proptest::collection::vec(part(), 0..4));
    (what, who, why, lists).prop_map(|(what, who, why, (rule_hits, parts))| {
        let (kind, event, at, intent_at, session) = what;
        let (principal, client, api) = who;
        let (decision, outcome, reason, policy_digest, count) = why;
        EntryBody {
            intent_at,
            session: session.map(SessionId),
            principal,
            client,
            api,
            decision,
            outcome,
            reason,
            rule_hits,
            parts,
            policy_digest,
            count,
            ..EntryBody::new(kind, EventId(event), at)
        }
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let place = (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 32]>(), any::<Option<u64>>(), any::<Option<(u32, u32)>>());
    (place, body()).prop_map(|((log, seq, prev, at, split), body)| Entry {
        log: ChainId(log),
        seq,
        prev: Hash(prev),
        at: at.unwrap_or(body.at),
        split: split.map(|(part, of)| Split { part, of }),
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn entries_survive_their_encoding(entry in entry()) {
        let bytes = entry.encode();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn intents_survive_their_encoding(body in body()) {
        let row = IntentRow { id: IntentId([1; 16]), body };
        prop_assert_eq!(IntentRow::decode(row.id, &row.encode()), Ok(row));
    }

    #[test]
    fn bytes_that_decode_are_the_only_bytes_of_their_entry(entry in entry(), at in any::<usize>(), with in any::<u8>()) {
        let mut bytes = entry.encode();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(found) = Entry::decode(&bytes) {
            prop_assert_eq!(found.encode(), bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Entry::decode(&bytes));
        drop(IntentRow::decode(IntentId([0; 16]), &bytes));
        drop(weir_audit::ChainState::decode(&bytes));
        drop(String::from_utf8_lossy(&bytes).parse::<weir_audit::HeadNote>());
    }
}

#[test]
fn every_cut_and_every_added_byte_is_refused() {
    let bytes = crate::common::sealed(5).bytes;
    for cut in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for byte in 0..=255 {
        let mut longer = bytes.clone();
        longer.push(byte);
        assert!(Entry::decode(&longer).is_err(), "with {byte:#x} behind");
    }
}

#[test]
fn a_default_that_is_written_out_is_refused() {
    // Entry 0 of the test log is a map of 8 fields; with a count of 1 it means the same and is not the same bytes.
    let bytes = crate::common::sealed(0).bytes;
    let entry = Entry::decode(&bytes).unwrap();
    assert_eq!(entry.body.count, 1);
    let mut longer = bytes.clone();
    longer[0] += 1;
    longer.extend([19, 1]);
    assert_eq!(Entry::decode(&longer), Err(weir_audit::EntryError::NotCanonical));
    // Control: a count of 2 is a field like any other.
    *longer.last_mut().unwrap() = 2;
    assert_eq!(Entry::decode(&longer).map(|entry| entry.body.count), Ok(2));
}
