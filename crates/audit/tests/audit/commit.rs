//! The committer: what it promises, and what it does when its sink fails.

use weir_audit::{
    BATCH_ENTRIES_MAX, BatchFault, ChainState, ClientRef, Commit, Committer, ENTRY_BYTES_MAX, Entry, EntryBody,
    EntrySink, EventId, IntentRow, Kind, Outcome, PrincipalRef, RuleHit, SinkBatch, Split, TEXT_BYTES_MAX,
};

use crate::common::{START, body, committer, entry, intent, part, ticket};

#[test]
fn receipts_come_for_intents_and_entries_alike_and_an_entry_closes_its_intents() {
    let mut committer = committer();
    let (first, second) = (intent(1), intent(2));
    let queued = vec![(ticket(1), Commit::Intent(first.clone())), (ticket(2), Commit::Intent(second.clone()))];
    let committed = committer.commit(queued);
    let tickets: Vec<_> = committed.receipts.iter().map(|receipt| receipt.ticket()).collect();
    assert_eq!(tickets, [ticket(1), ticket(2)]);
    assert_eq!(committer.sink_mut().intents(), [first.clone(), second.clone()]);
    assert_eq!(committer.state().head.size(), 0, "intents are not chained");

    let closing = Commit::Entry { entry: body(5), closes: vec![first.id] };
    assert_eq!(committer.commit(vec![(ticket(3), closing)]).receipts.len(), 1);
    assert_eq!(committer.sink_mut().intents(), [second]);
    assert_eq!(committer.state().head.size(), 1);
}

#[test]
fn what_is_queued_becomes_one_batch_up_to_the_cap() {
    let mut committer = committer();
    let queue = |count: u64| (0..count).map(|i| (ticket(i), entry(body(i)))).collect::<Vec<_>>();
    let cap = u64::try_from(BATCH_ENTRIES_MAX).unwrap();
    assert_eq!(committer.commit(queue(100)).receipts.len(), 100);
    assert_eq!(committer.sink_mut().batches(), 1);
    assert_eq!(committer.commit(queue(cap + 1)).receipts.len(), BATCH_ENTRIES_MAX + 1);
    assert_eq!(committer.sink_mut().batches(), 3);
    assert_eq!(committer.commit(Vec::new()).receipts.len(), 0);
    assert_eq!(committer.sink_mut().batches(), 3, "nothing queued is no batch");
}

#[test]
fn after_a_failed_append_nothing_is_recorded_until_reopened() {
    let mut committer = committer();
    assert_eq!(committer.commit(vec![(ticket(0), entry(body(0)))]).receipts.len(), 1);
    committer.sink_mut().fail_from_now();
    let failed = committer.commit(vec![(ticket(1), entry(body(1))), (ticket(2), Commit::Intent(intent(1)))]);
    assert_eq!((failed.receipts.len(), failed.unrecorded), (0, vec![ticket(1), ticket(2)]));
    assert!(committer.is_poisoned());
    assert!(committer.take_error().is_some());

    // The sink is well again, and yet the position is unknown.
    committer.sink_mut().heal();
    let refused = committer.commit(vec![(ticket(3), entry(body(3)))]);
    assert_eq!((refused.receipts.len(), refused.unrecorded), (0, vec![ticket(3)]));
    assert_eq!(committer.sink_mut().batches(), 1);

    let chain = committer.state().chain;
    let sink = committer.into_sink();
    let state = sink.state(chain);
    let mut reopened = Committer::open(sink, state);
    assert_eq!(reopened.commit(vec![(ticket(4), entry(body(4)))]).receipts.len(), 1);
    let seqs: Vec<_> = reopened.sink_mut().entries().iter().map(|sealed| sealed.entry.seq).collect();
    assert_eq!(seqs, [0, 1]);
}

#[test]
fn of_several_batches_only_those_before_the_failure_get_receipts() {
    let mut committer = committer();
    committer.sink_mut().fail_after(1);
    let cap = u64::try_from(BATCH_ENTRIES_MAX).unwrap();
    let committed = committer.commit((0..cap + 5).map(|i| (ticket(i), entry(body(i)))).collect());
    assert_eq!((committed.receipts.len(), committed.unrecorded.len()), (BATCH_ENTRIES_MAX, 5));
}

#[test]
fn time_never_goes_back_and_the_clock_as_read_is_kept() {
    let mut committer = committer();
    for (wall, at) in [(START, START), (START - 7, START), (START + 1, START + 1)] {
        let body = EntryBody { at: wall, ..body(0) };
        assert_eq!(committer.commit(vec![(ticket(0), entry(body))]).receipts.len(), 1);
        let sealed = committer.sink_mut().entries().last().unwrap().clone();
        let stored = Entry::decode(&sealed.bytes).unwrap();
        assert_eq!((stored.at, stored.body.at), (at, wall));
    }
}

#[test]
fn long_lists_become_several_entries_of_one_event() {
    let mut committer = committer();
    let parts: Vec<_> = (0..3000).map(part).collect();
    let hits: Vec<_> =
        (0..900).map(|i| RuleHit { rule: format!("rule-{i}"), action: "mask".into(), count: 1 }).collect();
    let long = EntryBody { parts: parts.clone(), rule_hits: hits.clone(), ..body(5) };
    let committed = committer.commit(vec![(ticket(1), entry(long.clone())), (ticket(2), entry(body(1)))]);
    assert_eq!(committed.receipts.len(), 2, "one ticket, one receipt");
    let entries = committer.sink_mut().entries().to_vec();
    let (last, split) = entries.split_last().unwrap();
    assert_eq!(last.entry.split, None);
    let of = u32::try_from(split.len()).unwrap();
    assert!(of > 3, "{of} entries");
    for (sealed, part) in split.iter().zip(1..) {
        assert!(sealed.bytes.len() <= ENTRY_BYTES_MAX);
        assert_eq!(sealed.entry.split, Some(Split { part, of }));
        assert_eq!(sealed.entry.body.event_id, long.event_id);
    }
    assert_eq!(split.iter().flat_map(|sealed| sealed.entry.body.parts.clone()).collect::<Vec<_>>(), parts);
    assert_eq!(split.iter().flat_map(|sealed| sealed.entry.body.rule_hits.clone()).collect::<Vec<_>>(), hits);
}

#[test]
fn no_text_makes_an_entry_too_long() {
    let long = "é".repeat(40_000);
    let mut committer = committer();
    let hit = RuleHit { rule: long.clone(), action: long.clone(), count: u64::MAX };
    let mut body = body(5);
    body.principal = body.principal.map(|principal| PrincipalRef { id: long.clone(), ..principal });
    body.client =
        body.client.map(|client| ClientRef { client_id: Some(long.clone()), listener: long.clone(), ..client });
    body.reason = Some(long.clone());
    body.rule_hits = vec![hit; 100];
    body.parts.iter_mut().for_each(|part| part.topic.clone_from(&long));
    assert_eq!(committer.commit(vec![(ticket(1), entry(body))]).receipts.len(), 1);
    for sealed in committer.sink_mut().entries() {
        assert!(sealed.bytes.len() <= ENTRY_BYTES_MAX, "{} bytes", sealed.bytes.len());
        let stored = Entry::decode(&sealed.bytes).unwrap();
        let principal = stored.body.principal.unwrap().id;
        assert!(principal.len() <= TEXT_BYTES_MAX);
        assert_eq!(principal, weir_audit::clip_text(&long));
    }
    assert_ne!(weir_audit::clip_text(&long), weir_audit::clip_text(&"é".repeat(40_001)), "two long texts stay two");
}

/// A sink that keeps the batch as it was given.
#[derive(Default)]
struct Keep(Option<SinkBatch>);

impl EntrySink for Keep {
    type Error = std::convert::Infallible;

    fn append_durably(&mut self, batch: &SinkBatch) -> Result<(), Self::Error> {
        self.0 = Some(batch.clone());
        Ok(())
    }
}

#[test]
fn a_bit_that_flips_between_hashing_and_writing_is_found_before_the_write() {
    let state = ChainState::new(weir_audit::ChainId([7; 16]));
    let mut committer = Committer::open(Keep::default(), state.clone());
    assert_eq!(committer.commit((0..6).map(|i| (ticket(i), entry(body(i)))).collect()).receipts.len(), 6);
    let batch = committer.into_sink().0.unwrap();
    // Control: the batch as it is.
    assert_eq!(batch.check(&state), Ok(()));
    for at in 0..batch.entries.len() {
        for bit in 0..batch.entries[at].bytes.len() * 8 {
            let mut bad = batch.clone();
            bad.entries[at].bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(bad.check(&state).is_err(), "entry {at}, bit {bit}");
        }
    }
    let mut bad = batch.clone();
    bad.head.last.0[0] ^= 1;
    assert_eq!(bad.check(&state), Err(BatchFault::Head));
    let mut bad = batch;
    bad.entries.swap(1, 2);
    assert_eq!(bad.check(&state), Err(BatchFault::Link { seq: 2 }));
}

#[test]
fn an_intent_left_by_a_crash_becomes_an_entry_with_unknown_outcome() {
    let row: IntentRow = intent(5);
    let recovered = row.recovered(START + 99);
    assert_eq!((recovered.kind, recovered.outcome), (Kind::Recovered, Outcome::Unknown));
    assert_eq!((recovered.intent_at, recovered.at), (Some(row.body.at), START + 99));
    assert_eq!((recovered.event_id, recovered.parts), (row.body.event_id, row.body.parts));
    let _: EventId = recovered.event_id;
}
