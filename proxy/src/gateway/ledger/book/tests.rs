//! A log that fails, in each of its ways, and what the ledger makes of it.

use std::sync::{Arc, Mutex};

use weir_audit::{ChainId, Checkpoint, CheckpointKey, Decision, Kind, MemorySink, SinkBatch};

use super::*;

/// How the next appends end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fails {
    No,
    /// Nothing is durable.
    Before,
    /// It is durable, and nobody is told so.
    After,
}

/// The disk: it stays while sinks on it come and go.
struct Disk {
    stored: MemorySink,
    fails: Fails,
    opens: Result<(), bool>,
    /// The checkpoint in the file beside it, and the sizes of those that are kept in it.
    checkpoint: Option<KeptCheckpoint>,
    kept: Vec<u64>,
}

struct Sink(Arc<Mutex<Disk>>);

impl EntrySink for Sink {
    type Error = &'static str;

    fn append_durably(&mut self, batch: &SinkBatch) -> Result<(), &'static str> {
        let mut disk = self.0.lock().unwrap();
        if disk.fails != Fails::Before {
            disk.stored.append_durably(batch).map_err(|_| "memory")?;
            disk.kept.extend(batch.checkpoint.as_ref().map(|kept| kept.signed().checkpoint().size));
        }
        if disk.fails == Fails::No { Ok(()) } else { Err("no space left on device") }
    }
}

struct Ground {
    disk: Arc<Mutex<Disk>>,
    book: Book<Sink>,
    serial: u64,
}

const CHAIN: ChainId = ChainId([7; 16]);
const CLIENT: ConnectionId = ConnectionId(1);

impl Ground {
    fn new() -> Self {
        let stored = MemorySink::default();
        let disk = Disk { stored, fails: Fails::No, opens: Ok(()), checkpoint: None, kept: Vec::new() };
        let disk = Arc::new(Mutex::new(disk));
        let again = Arc::clone(&disk);
        let book = Book::new(Sink(Arc::clone(&disk)), ChainState::new(CHAIN), move || {
            let held = again.lock().unwrap();
            match held.opens {
                Ok(()) => Reopening::Open(
                    Sink(Arc::clone(&again)),
                    held.stored.state(CHAIN),
                    held.stored.intents(),
                    held.checkpoint.clone().map(Box::new),
                ),
                Err(false) => Reopening::Later("no space left on device".to_owned()),
                Err(true) => Reopening::Never("the log was rewritten".to_owned()),
            }
        });
        Self { disk, book, serial: 0 }
    }

    fn fails(&self, fails: Fails) {
        self.disk.lock().unwrap().fails = fails;
    }

    fn opens(&self, opens: Result<(), bool>) {
        self.disk.lock().unwrap().opens = opens;
    }

    /// Commits, and gives how many were recorded and how many not.
    fn commit(&mut self, commits: Vec<Commit>) -> (usize, usize) {
        let queued = commits.into_iter().map(|commit| {
            self.serial += 1;
            (Ticket::new(CLIENT, self.serial), commit)
        });
        let queued = queued.collect();
        let written = self.book.commit(queued);
        assert!(
            written.receipts.iter().all(|receipt| receipt.ticket().connection() == CLIENT),
            "own receipts stay inside"
        );
        assert!(written.unrecorded.iter().all(|ticket| ticket.connection() == CLIENT));
        (written.receipts.len(), written.unrecorded.len())
    }

    fn open_intents(&self) -> Vec<IntentId> {
        self.disk.lock().unwrap().stored.intents().into_iter().map(|intent| intent.id).collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.disk.lock().unwrap().stored.entries().iter().map(|sealed| sealed.entry.body.kind).collect()
    }
}

fn body(kind: Kind, event: u8) -> EntryBody {
    EntryBody::new(kind, EventId([event; 16]), u64::from(event))
}

fn intent(event: u8) -> Commit {
    Commit::Intent(IntentRow { id: IntentId([event; 16]), body: body(Kind::Produce, event) })
}

fn entry(event: u8) -> Commit {
    Commit::Entry { entry: body(Kind::Produce, event), closes: vec![IntentId([event; 16])] }
}

fn is_up(look: &Look) -> bool {
    matches!(look, Look::Up { .. })
}

#[test]
fn own_entries_come_first_and_keep_their_receipts() {
    let mut ground = Ground::new();
    ground.book.owe(body(Kind::Boot, 1), Vec::new());
    assert_eq!(ground.commit(vec![intent(2), entry(2)]), (2, 0));
    assert_eq!(ground.kinds(), [Kind::Boot, Kind::Produce]);
    assert_eq!((ground.book.owed(), ground.book.take_lost()), (0, 0));
    assert_eq!(ground.book.state().unwrap().head.size(), 2);
}

#[test]
fn nothing_is_recorded_between_a_failed_write_and_the_reopened_log() {
    let mut ground = Ground::new();
    assert_eq!(ground.commit(vec![intent(1)]), (1, 0));
    ground.fails(Fails::Before);
    let written = ground.book.commit(vec![(Ticket::new(CLIENT, 9), entry(1))]);
    assert_eq!(written.failure.as_deref(), Some("no space left on device"));
    assert!(ground.book.is_down());
    assert_eq!(ground.book.state(), None, "nobody knows what a checkpoint may say");
    ground.fails(Fails::No);
    assert_eq!(ground.commit(vec![entry(1), intent(2)]), (0, 2), "the disk is well, the position is unknown");
    ground.opens(Err(false));
    assert!(matches!(ground.book.reopen(0), Look::Down(_)));
    assert_eq!(ground.commit(vec![entry(1)]), (0, 1));
    ground.opens(Ok(()));
    assert!(is_up(&ground.book.reopen(0)));
    assert_eq!(ground.commit(vec![entry(1)]), (1, 0), "the same entry, tried again");
    assert_eq!(ground.open_intents(), []);
    assert_eq!(ground.kinds(), [Kind::Produce]);
}

#[test]
fn what_is_owed_waits_for_the_reopened_log() {
    let mut ground = Ground::new();
    ground.fails(Fails::Before);
    ground.book.owe(body(Kind::Boot, 1), Vec::new());
    assert_eq!(ground.commit(vec![intent(2)]), (0, 1));
    assert_eq!(ground.book.owed(), 1);
    ground.fails(Fails::No);
    assert!(is_up(&ground.book.reopen(0)));
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    assert_eq!(ground.kinds(), [Kind::Boot]);
    assert_eq!(ground.book.owed(), 0);
}

/// The last checkpoint of a key that was replaced may be in its file alone: once the next key signs, the row is all that is left of it.
#[test]
fn a_checkpoint_whose_batch_failed_is_kept_with_the_change_of_keys() {
    let mut ground = Ground::new();
    assert_eq!(ground.commit(vec![intent(1)]), (1, 0));
    let state = ground.book.state().unwrap().clone();
    let signed = CheckpointKey::from_seed(CHAIN, &[1; 32]).unwrap().sign(&Checkpoint::of(&state)).unwrap();
    let kept = KeptCheckpoint::new(signed, state.head.frontier).unwrap();
    ground.disk.lock().unwrap().checkpoint = Some(kept.clone());
    ground.book.keep(kept);
    let change = body(Kind::KeyChange, 2);
    ground.book.owe(change.clone(), Vec::new());
    for _ in 0..3 {
        ground.fails(Fails::Before);
        assert_eq!(ground.commit(Vec::new()), (0, 0));
        assert!(ground.book.owes(change.event_id), "nothing may be signed yet");
        ground.fails(Fails::No);
        assert!(is_up(&ground.book.reopen(0)));
        assert!(ground.book.owes(change.event_id));
    }
    ground.book.pause();
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    assert!(ground.book.owes(change.event_id), "not while nothing is written either");
    ground.book.resume();
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    assert!(!ground.book.owes(change.event_id));
    assert_eq!((ground.kinds(), ground.disk.lock().unwrap().kept.clone()), (vec![Kind::KeyChange], vec![0]));
}

#[test]
fn an_intent_that_was_durable_after_all_is_closed_as_not_forwarded() {
    let mut ground = Ground::new();
    assert_eq!(ground.commit(vec![intent(1)]), (1, 0), "a request that is under way all the time");
    ground.fails(Fails::After);
    assert_eq!(ground.commit(vec![intent(2)]), (0, 1), "its client is told 56");
    assert_eq!(ground.open_intents().len(), 2);
    ground.fails(Fails::No);
    assert!(matches!(ground.book.reopen(77), Look::Up { disowned: 1, .. }));
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    assert_eq!(ground.open_intents(), [IntentId([1; 16])], "only what somebody answers for is open");
    let disk = ground.disk.lock().unwrap();
    let closed = &disk.stored.entries().last().unwrap().entry.body;
    assert_eq!((closed.kind, closed.outcome, closed.decision), (Kind::Recovered, Outcome::None, Decision::Pass));
    assert_eq!(closed.event_id, EventId([2; 16]));
}

#[test]
fn a_recovered_intent_is_not_recovered_twice() {
    let mut ground = Ground::new();
    ground.fails(Fails::No);
    assert_eq!(ground.commit(vec![intent(1)]), (1, 0));
    // The process before this one left it open: this one owes its end.
    ground.book.intents.clear();
    ground.book.owe(body(Kind::Recovered, 1), vec![IntentId([1; 16])]);
    ground.fails(Fails::After);
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    ground.fails(Fails::No);
    assert!(matches!(ground.book.reopen(0), Look::Up { disowned: 0, .. }));
    assert_eq!(ground.book.owed(), 0, "it was durable");
    assert_eq!(ground.commit(Vec::new()), (0, 0));
    assert_eq!(ground.kinds(), [Kind::Recovered]);
}

#[test]
fn lost_events_are_counted_once_and_intents_not_at_all() {
    let mut ground = Ground::new();
    ground.fails(Fails::Before);
    assert_eq!(ground.commit(vec![entry(1), entry(2)]), (0, 2));
    assert_eq!(ground.commit(vec![entry(2), entry(3), intent(4)]), (0, 3));
    assert_eq!(ground.book.take_lost(), 3);
    assert_eq!(ground.book.take_lost(), 0);
}

#[test]
fn a_log_that_was_rewritten_is_never_written_again() {
    let mut ground = Ground::new();
    ground.fails(Fails::Before);
    assert_eq!(ground.commit(vec![entry(1)]), (0, 1));
    ground.fails(Fails::No);
    ground.opens(Err(true));
    assert!(matches!(ground.book.reopen(0), Look::Ended(_)));
    assert!(!ground.book.is_down(), "nobody tries again");
    assert_eq!(ground.commit(vec![entry(1), intent(2)]), (0, 2));
    assert_eq!(ground.kinds(), []);
}

#[test]
fn what_is_owed_while_the_log_is_down_is_bounded() {
    let mut ground = Ground::new();
    ground.fails(Fails::Before);
    assert_eq!(ground.commit(vec![entry(1)]), (0, 1));
    for _ in 0..OWED_MAX + 10 {
        ground.book.owe(body(Kind::Block, 9), Vec::new());
    }
    assert_eq!(ground.book.owed(), OWED_MAX);
    assert_eq!(ground.book.take_lost(), 2, "the entry, and the event that found no place");
}

#[test]
fn while_paused_only_what_closes_an_intent_is_written() {
    let mut ground = Ground::new();
    assert_eq!(ground.commit(vec![intent(1), intent(2)]), (2, 0));
    ground.book.owe(body(Kind::AuthFail, 3), Vec::new());
    ground.book.pause();
    assert!(!ground.book.has_due());
    let fetched = Commit::Entry { entry: body(Kind::Fetch, 5), closes: Vec::new() };
    assert_eq!(ground.commit(vec![intent(4), entry(1), fetched]), (1, 2));
    assert_eq!(ground.open_intents(), [IntentId([2; 16])]);
    assert_eq!((ground.book.owed(), ground.book.take_lost()), (1, 1), "the fetch; an intent alone is no event");
    assert_eq!(ground.book.say(body(Kind::Degraded, 6)), (true, None));
    ground.book.resume();
    assert_eq!(ground.commit(vec![entry(2)]), (1, 0));
    assert_eq!(ground.kinds(), [Kind::Produce, Kind::Degraded, Kind::AuthFail, Kind::Produce]);
}

#[test]
fn what_is_said_once_is_not_tried_again() {
    let mut ground = Ground::new();
    ground.fails(Fails::Before);
    assert!(matches!(ground.book.say(body(Kind::Prune, 1)), (false, Some(_))));
    assert!(ground.book.is_down());
    ground.fails(Fails::No);
    assert_eq!(ground.book.say(body(Kind::Prune, 1)), (false, None), "it is down");
    assert!(is_up(&ground.book.reopen(0)));
    assert_eq!(ground.commit(vec![]), (0, 0));
    assert_eq!(ground.kinds(), []);
}
