//! What is on record, what is owed to the record and what was lost: the ledger without its thread, queue and clock.

use std::collections::HashSet;
use std::fmt::Display;

use weir_audit::{
    ChainState, Commit, Committed, Committer, ConnectionId, EntryBody, EntrySink, EventId, IntentId, IntentRow,
    KeptCheckpoint, Outcome, Receipt, Ticket,
};

/// The connection id of weir's own entries; clients begin at 1.
const OWN: ConnectionId = ConnectionId(0);

/// Events that are remembered one by one while the log cannot be written; further ones are counted.
const LOST_EVENTS_MAX: usize = 65_536;

/// weir's own entries that wait while the log cannot be written, merged refusals among them; further ones are lost.
const OWED_MAX: usize = 16_384;

/// What opening a log again gives.
pub(super) enum Reopening<S> {
    /// The log, where it stands, the intents that are open in it, and its last checkpoint, whose row may have been in the batch that failed.
    Open(S, ChainState, Vec<IntentRow>, Option<Box<KeptCheckpoint>>),
    /// Not now, and why.
    Later(String),
    /// The log is not what it was: nothing may be added to it.
    Never(String),
}

/// What came of a group of commits.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) receipts: Vec<Receipt>,
    pub(super) unrecorded: Vec<Ticket>,
    /// Why the log went down, when it just did.
    pub(super) failure: Option<String>,
}

/// What came of a look at a log that is down.
pub(super) enum Look {
    /// It can be written again.
    Up { size: u64, disowned: usize },
    /// Still not.
    Down(String),
    /// Never again in this process.
    Ended(String),
}

/// The log and what is open in it. One owner, one thread.
///
/// After a failed write it is unknown what is durable, so nothing is numbered before the log was opened again ([`Book::reopen`]);
/// until then everything is unrecorded at once. An intent that was told unrecorded may be durable all the same: its request was
/// not forwarded, and the reopened log says so.
pub(super) struct Book<S: EntrySink> {
    log: Log<S>,
    reopening: Box<dyn FnMut() -> Reopening<S> + Send>,
    /// Intents that somebody has a receipt for and that no recorded entry closes yet.
    intents: HashSet<IntentId>,
    /// weir's own entries, until they are durable.
    owed: Vec<(EntryBody, Vec<IntentId>)>,
    lost: HashSet<EventId>,
    lost_beyond: u64,
    own_tickets: u64,
    /// Nothing new is taken; see [`Book::pause`].
    paused: bool,
}

enum Log<S: EntrySink> {
    Up(Committer<S>),
    Down,
    Ended,
}

/// What one commit does once it is durable.
enum Effect {
    Open(IntentId),
    Record { event: EventId, closes: Vec<IntentId> },
}

impl<S: EntrySink<Error: Display>> Book<S> {
    pub(super) fn new(sink: S, state: ChainState, reopening: impl FnMut() -> Reopening<S> + Send + 'static) -> Self {
        Self {
            log: Log::Up(Committer::open(sink, state)),
            reopening: Box::new(reopening),
            intents: HashSet::new(),
            owed: Vec::new(),
            lost: HashSet::new(),
            lost_beyond: 0,
            own_tickets: 0,
            paused: false,
        }
    }

    /// Takes an entry of weir's own. It is written before whatever is committed next, and again until it is durable.
    pub(super) fn owe(&mut self, entry: EntryBody, closes: Vec<IntentId>) {
        if self.owed.len() < OWED_MAX {
            self.owed.push((entry, closes));
        } else {
            self.lose(Effect::Record { event: entry.event_id, closes });
        }
    }

    /// Entries of weir's own that are not durable yet.
    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Whether this one is not.
    pub(super) fn owes(&self, event: EventId) -> bool {
        self.owed.iter().any(|(entry, _)| entry.event_id == event)
    }

    /// Whether the log waits for [`Book::reopen`].
    pub(super) fn is_down(&self) -> bool {
        matches!(self.log, Log::Down)
    }

    /// Whether the log can be written, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.log, Log::Up(_))
    }

    /// From now on nothing new is taken: there is no room for it. What closes an open intent is written all the same, since its request
    /// was forwarded, and there are no more of these than intents. weir's own entries wait.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Everything is taken again.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether entries of weir's own are due.
    pub(super) fn has_due(&self) -> bool {
        !self.paused && !self.owed.is_empty()
    }

    /// The log itself; `None` while it is down.
    pub(super) fn sink_mut(&mut self) -> Option<&mut S> {
        match &mut self.log {
            Log::Up(committer) => Some(committer.sink_mut()),
            Log::Down | Log::Ended => None,
        }
    }

    /// What a checkpoint may say: everything in it is durable. `None` while that is unknown.
    pub(super) fn state(&self) -> Option<&ChainState> {
        match &self.log {
            Log::Up(committer) => Some(committer.state()),
            Log::Down | Log::Ended => None,
        }
    }

    /// Has a checkpoint written with the next entries.
    pub(super) fn keep(&mut self, checkpoint: KeptCheckpoint) {
        if let Log::Up(committer) = &mut self.log {
            committer.keep(checkpoint);
        }
    }

    /// Events whose entries were unrecorded since this was asked last. Those that a client waits for are tried again, so it is the
    /// most that can be missing.
    pub(super) fn take_lost(&mut self) -> u64 {
        let remembered = u64::try_from(std::mem::take(&mut self.lost).len()).unwrap_or(u64::MAX);
        remembered.saturating_add(std::mem::take(&mut self.lost_beyond))
    }

    /// Commits what is owed and what was queued, in this order. While paused, only what closes an intent.
    pub(super) fn commit(&mut self, queued: Vec<(Ticket, Commit)>) -> Written {
        let paused = self.paused;
        let (queued, refused) = queued.into_iter().partition::<Vec<_>, _>(|(_, commit)| !paused || closes(commit));
        let effects = queued.iter().map(|(_, commit)| Effect::of(commit)).collect::<Vec<_>>();
        let mut batch = Vec::with_capacity(self.owed.len() + queued.len());
        if !paused && matches!(self.log, Log::Up(_)) {
            for (entry, closes) in &self.owed {
                self.own_tickets += 1;
                let commit = Commit::Entry { entry: entry.clone(), closes: closes.clone() };
                batch.push((Ticket::new(OWN, self.own_tickets), commit));
            }
        }
        batch.extend(queued);
        let Written { mut receipts, mut unrecorded, failure } = self.write(batch);
        // Commits are answered in order: once one is unrecorded, so is all that follows.
        self.owed.drain(..receipts.iter().filter(|receipt| receipt.ticket().connection() == OWN).count());
        receipts.retain(|receipt| receipt.ticket().connection() != OWN);
        unrecorded.retain(|ticket| ticket.connection() != OWN);
        for (at, effect) in effects.into_iter().enumerate() {
            if at < receipts.len() { self.take_effect(effect) } else { self.lose(effect) }
        }
        for (ticket, commit) in refused {
            self.lose(Effect::of(&commit));
            unrecorded.push(ticket);
        }
        Written { receipts, unrecorded, failure }
    }

    /// Writes one entry of weir's own at once, paused or not: it is durable, or nobody tries it again.
    pub(super) fn say(&mut self, entry: EntryBody) -> (bool, Option<String>) {
        self.own_tickets += 1;
        let commit = Commit::Entry { entry, closes: Vec::new() };
        let written = self.write(vec![(Ticket::new(OWN, self.own_tickets), commit)]);
        (!written.receipts.is_empty(), written.failure)
    }

    fn write(&mut self, batch: Vec<(Ticket, Commit)>) -> Written {
        let Log::Up(committer) = &mut self.log else {
            let unrecorded = batch.into_iter().map(|(ticket, _)| ticket).collect();
            return Written { unrecorded, ..Written::default() };
        };
        let Committed { receipts, unrecorded } = committer.commit(batch);
        let mut failure = None;
        if committer.is_poisoned() {
            let fault = committer.fault().map(|fault| fault.to_string());
            let error = committer.take_error().map(|error| error.to_string());
            failure = Some(error.or(fault).unwrap_or_default());
            self.log = Log::Down;
        }
        Written { receipts, unrecorded, failure }
    }

    /// Opens a log that is down again. `now`: wall clock, nanoseconds since 1970.
    pub(super) fn reopen(&mut self, now: u64) -> Look {
        match (self.reopening)() {
            Reopening::Later(why) => Look::Down(why),
            Reopening::Never(why) => {
                self.log = Log::Ended;
                Look::Ended(why)
            }
            Reopening::Open(sink, state, found, checkpoint) => {
                let size = state.head.size();
                self.log = Log::Up(Committer::open(sink, state));
                checkpoint.into_iter().for_each(|kept| self.keep(*kept));
                Look::Up { size, disowned: self.compare(found, now) }
            }
        }
    }

    /// Compares the intents that are open in the log with those that somebody answers for.
    fn compare(&mut self, found: Vec<IntentRow>, now: u64) -> usize {
        let ids = found.iter().map(|intent| intent.id).collect::<HashSet<_>>();
        self.intents.retain(|id| ids.contains(id));
        // What closes an intent and is found closed was durable after all.
        self.owed.retain(|(_, closes)| closes.is_empty() || closes.iter().any(|id| ids.contains(id)));
        let answered = self.owed.iter().flat_map(|(_, closes)| closes).chain(&self.intents).copied();
        let answered = answered.collect::<HashSet<_>>();
        let disowned = found.into_iter().filter(|intent| !answered.contains(&intent.id)).collect::<Vec<_>>();
        for intent in &disowned {
            let mut entry = intent.recovered(now);
            entry.outcome = Outcome::None;
            entry.reason = Some("its write could not be confirmed, so its request was not forwarded".to_owned());
            self.owe(entry, vec![intent.id]);
        }
        disowned.len()
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Open(id) => {
                self.intents.insert(id);
            }
            Effect::Record { closes, .. } => closes.iter().for_each(|id| {
                self.intents.remove(id);
            }),
        }
    }

    fn lose(&mut self, effect: Effect) {
        // Without its intent a request does not leave: nothing happened that is not on record.
        let Effect::Record { event, .. } = effect else { return };
        if self.lost.len() < LOST_EVENTS_MAX {
            self.lost.insert(event);
        } else if !self.lost.contains(&event) {
            self.lost_beyond = self.lost_beyond.saturating_add(1);
        }
    }
}

/// Whether a commit ends something that is open in the log.
fn closes(commit: &Commit) -> bool {
    match commit {
        Commit::Intent(_) => false,
        Commit::Entry { closes, .. } => !closes.is_empty(),
    }
}

impl Effect {
    fn of(commit: &Commit) -> Self {
        match commit {
            Commit::Intent(row) => Self::Open(row.id),
            Commit::Entry { entry, closes } => Self::Record { event: entry.event_id, closes: closes.clone() },
        }
    }
}

#[cfg(test)]
mod tests;
