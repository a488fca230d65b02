//! The test vectors in `docs/audit-format.md` are what the code makes, and the code reads what they say.

use std::fmt::Write;

use weir_audit::{
    ChainState, Checkpoint, CheckpointKey, ClientRef, Decision, Entry, EntryBody, EventId, HeadNote, IntentId,
    IntentRow, Kind, Outcome, Part, PrincipalKind, PrincipalRef, RuleHit, SessionId, chain,
};

use crate::common::{START, committer, entry, ticket};

const DOCS: &str = include_str!("../../../../docs/audit-format.md");

fn bodies() -> [EntryBody; 4] {
    let event = |seed| EventId::new(START / 1_000_000, [seed; 10]);
    let boot = EntryBody {
        principal: Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".into() }),
        ..EntryBody::new(Kind::Boot, event(0), START)
    };
    let client = |address: &str| ClientRef {
        address: address.parse().unwrap(),
        port: 50_123,
        client_id: Some("checkout-7".into()),
        listener: "apps".into(),
        insecure: false,
    };
    let refused = EntryBody {
        client: Some(ClientRef { client_id: None, insecure: true, ..client("10.0.0.7") }),
        decision: Decision::Refuse,
        reason: Some("expired".into()),
        count: 17,
        ..EntryBody::new(Kind::AuthFail, event(1), START + 2_000_000_000)
    };
    let part = Part {
        topic: "payments.eu".into(),
        topic_id: Some([6; 16]),
        partition: 3,
        base_offset: Some(1_000_000),
        last_offset: Some(1_000_009),
        records: 10,
        bytes_in: 10_240,
        bytes_out: 10_180,
        error_code: 0,
        producer: Some((4000, 0, -1)),
        digest: Some([8; 32]),
    };
    let produce = EntryBody {
        intent_at: Some(START + 900_000_000),
        session: Some(SessionId([4; 16])),
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: "checkout".into() }),
        client: Some(client("10.0.0.7")),
        api: Some((0, 9)),
        decision: Decision::Mask,
        outcome: Outcome::Stored,
        rule_hits: vec![RuleHit { rule: "card-numbers".into(), action: "mask".into(), count: 10 }],
        parts: vec![part.clone()],
        policy_digest: Some([5; 32]),
        ..EntryBody::new(Kind::Produce, event(2), START + 1_000_000_000)
    };
    let fetch = EntryBody {
        session: Some(SessionId([9; 16])),
        principal: Some(PrincipalRef { kind: PrincipalKind::Anonymous, id: "anonymous".into() }),
        client: Some(client("2001:db8::7")),
        api: Some((1, 13)),
        outcome: Outcome::Delivered,
        parts: vec![
            Part { topic_id: None, producer: None, ..part.clone() },
            Part { error_code: 29, records: 0, bytes_in: 0, bytes_out: 0, ..part },
        ],
        ..EntryBody::new(Kind::Fetch, event(3), START + 3_000_000_000)
    };
    [boot, refused, produce, fetch]
}

/// The block, as one text.
fn vectors() -> String {
    let mut committer = committer();
    let chain = committer.state().chain;
    let mut text = format!("chain {chain}\norigin {}\norigin-hash {}\n", chain.origin(), committer.state().head.last);
    for (seq, body) in bodies().into_iter().enumerate() {
        assert_eq!(committer.commit(vec![(ticket(0), entry(body))]).receipts.len(), 1);
        let head = committer.state().head.clone();
        let bytes = committer.sink_mut().entries().last().unwrap().bytes.clone();
        writeln!(
            text,
            "entry {seq} {}\nleaf {seq} {}\nroot {} {}",
            hex(&bytes),
            head.last,
            seq + 1,
            head.frontier.root()
        )
        .unwrap();
    }
    let intent = IntentRow { id: IntentId([2; 16]), body: bodies()[2].clone() };
    writeln!(text, "intent {}", hex(&intent.encode())).unwrap();
    let head = &committer.state().head;
    writeln!(text, "head {}", hex(&head.encode(&chain))).unwrap();
    text + &head.note(chain).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap()).collect()
}

fn documented() -> &'static str {
    DOCS.split_once("```vectors\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_documented_vectors_are_what_is_written() {
    assert_eq!(documented(), vectors(), "docs/audit-format.md has other vectors");
}

#[test]
fn the_documented_checkpoint_is_what_is_signed() {
    let mut committer = committer();
    bodies().into_iter().for_each(|body| drop(committer.commit(vec![(ticket(0), entry(body))])));
    let key = CheckpointKey::from_seed(committer.state().chain, &[1; 32]).unwrap();
    let signed = key.sign(&Checkpoint::of(committer.state())).unwrap();
    let documented = DOCS.split_once("```checkpoint\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(documented, format!("{}\n\n{signed}", key.verifier()), "docs/audit-format.md has another checkpoint");
    assert_eq!(documented.split_once("\n\n").unwrap().1.parse(), Ok(signed));
}

#[test]
fn the_documented_vectors_are_read_and_linked() {
    let value = |name: &str| documented().lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let mut prev = value("origin-hash ").to_owned();
    for (seq, body) in bodies().into_iter().enumerate() {
        let bytes = from_hex(value(&format!("entry {seq} ")));
        let stored = Entry::decode(&bytes).unwrap();
        assert_eq!((stored.prev.to_string(), &stored.body), (prev, &body));
        prev = chain::leaf_hash(&bytes).to_string();
        assert_eq!(prev, value(&format!("leaf {seq} ")));
    }
    let state = ChainState::decode(&from_hex(value("head "))).unwrap();
    assert_eq!((state.head.size(), state.head.last.to_string()), (4, prev));
    let note = documented().split_once("weir-audit-head").map(|(_, rest)| format!("weir-audit-head{rest}")).unwrap();
    assert_eq!(note.parse::<HeadNote>().unwrap(), state.head.note(state.chain));
    let intent = IntentRow::decode(IntentId([2; 16]), &from_hex(value("intent "))).unwrap();
    assert_eq!(intent.body, bodies()[2]);
}

#[test]
fn the_documented_codes_are_the_codes() {
    let line = |name: &str| DOCS.lines().find(|line| line.starts_with(name)).unwrap().split_once("; ").unwrap().1;
    let kinds: Vec<_> = (0..).map_while(Kind::from_code).map(Kind::name).collect();
    assert_eq!(line("kind ="), kinds.join(" "));
    let decisions: Vec<_> = (0..).map_while(Decision::from_code).map(Decision::name).collect();
    assert_eq!(line("decision ="), decisions.join(" "));
    let types: Vec<_> = (0..).map_while(PrincipalKind::from_code).map(PrincipalKind::name).collect();
    assert_eq!(line("principal-type ="), types.join(" "));
}
