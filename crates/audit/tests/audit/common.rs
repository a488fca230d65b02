//! Logs for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_audit::{
    ChainId, ChainState, ClientRef, Commit, Committer, ConnectionId, Decision, EntryBody, EventId, IntentId, IntentRow,
    Kind, MemorySink, Outcome, Part, PrincipalKind, PrincipalRef, RuleHit, SealedEntry, SessionId, Ticket,
};

pub(crate) const START: u64 = 1_760_000_000_000_000_000;

pub(crate) fn committer() -> Committer<MemorySink> {
    Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])))
}

pub(crate) fn ticket(serial: u64) -> Ticket {
    Ticket::new(ConnectionId(serial % 3), serial)
}

pub(crate) fn entry(body: EntryBody) -> Commit {
    Commit::Entry { entry: body, closes: Vec::new() }
}

pub(crate) fn intent(serial: u8) -> IntentRow {
    IntentRow { id: IntentId([serial; 16]), body: body(u64::from(serial)) }
}

/// Appends the bodies of these numbers, one batch each.
pub(crate) fn log_of(committer: &mut Committer<MemorySink>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let committed = committer.commit(vec![(ticket(number), entry(body(number)))]);
        assert_eq!(committed.receipts.len(), 1);
    }
}

/// The last entry of a log of this many and one more.
pub(crate) fn sealed(number: u64) -> SealedEntry {
    let mut committer = committer();
    log_of(&mut committer, 0..number + 1);
    committer.sink_mut().entries().last().unwrap().clone()
}

/// A body of some kind, with fields that depend on the number.
pub(crate) fn body(number: u64) -> EntryBody {
    let at = START + number * 1_000_000;
    let bare = EntryBody::new(Kind::Boot, EventId::new(at / 1_000_000, [3; 10]), at);
    let client = ClientRef {
        address: if number.is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))
        } else {
            Ipv6Addr::LOCALHOST.into()
        },
        port: 50_000,
        client_id: (!number.is_multiple_of(4)).then(|| "checkout-7".to_owned()),
        listener: "apps".to_owned(),
        insecure: number.is_multiple_of(5),
    };
    let known = EntryBody {
        session: Some(SessionId([4; 16])),
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: "checkout".to_owned() }),
        client: Some(client),
        ..bare.clone()
    };
    match number % 6 {
        0 => EntryBody { principal: Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".into() }), ..bare },
        1 => EntryBody { kind: Kind::AuthOk, ..known },
        2 => EntryBody {
            decision: Decision::Refuse,
            count: 17,
            reason: Some("expired".into()),
            kind: Kind::AuthFail,
            ..known
        },
        3 => {
            EntryBody { outcome: Outcome::Refused { code: 29 }, decision: Decision::Refuse, kind: Kind::Block, ..known }
        }
        4 => EntryBody { kind: Kind::Fetch, outcome: Outcome::Delivered, parts: vec![part(number)], ..known },
        _ => EntryBody {
            kind: Kind::Produce,
            intent_at: Some(at - 5_000),
            api: Some((0, 9)),
            decision: Decision::Mask,
            outcome: Outcome::Stored,
            rule_hits: vec![RuleHit { rule: "card-numbers".into(), action: "mask".into(), count: 2 }],
            parts: vec![part(number)],
            policy_digest: Some([5; 32]),
            ..known
        },
    }
}

pub(crate) fn part(number: u64) -> Part {
    Part {
        topic: "payments.eu".to_owned(),
        topic_id: (number.is_multiple_of(2)).then_some([6; 16]),
        partition: 3,
        base_offset: Some(i64::try_from(number).unwrap_or_default() * 100),
        last_offset: Some(i64::try_from(number).unwrap_or_default() * 100 + 9),
        records: 10,
        bytes_in: 10_240,
        bytes_out: 10_180,
        error_code: 0,
        producer: Some((4000, 0, 10)),
        digest: Some([8; 32]),
    }
}
