//! The session: its state, what goes in, what comes out.

mod deadlines;
mod ledger;
mod login;
mod own;
mod replies;
mod requests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use weir_audit::{Commit, ConnectionId, EventId, Receipt, SessionId, Ticket};
use weir_authn::Principal;
use weir_protocol::FrameReader;

use crate::api::produce::RefusedProducers;
use crate::caller::{Caller, ClientIdentity};
use crate::cleared::Cleared;
use crate::context::{ClusterView, Context, Door, DoorAuth, Peer};
use crate::event::{CloseReason, Ending, Event};
use crate::job::{Done, Job};
use crate::pending::{PendingQueue, ReplyStage, RequestStage, Slot};
use crate::session::deadlines::Deadlines;
use crate::session::ledger::Waiter;
use crate::session::login::HeldLogin;
pub use crate::session::login::KEYS_WAIT_MAX;
use crate::session::own::BrokerLogin;
use crate::time::Now;

/// Bytes that are asked of a socket at once.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a frame's size prefix.
const SIZE_PREFIX_BYTES: usize = 4;

/// What a session is born with.
#[derive(Debug)]
pub struct Start {
    /// Its name in this process: receipts are inert in any other session.
    pub id: ConnectionId,
    /// The door that the client came in by.
    pub door: Arc<Door>,
    /// The world.
    pub context: Arc<Context>,
    /// The client's address.
    pub peer: Peer,
    /// Fresh random bytes, from which the session's and its events' ids are derived.
    pub seed: [u8; 32],
    /// The time.
    pub now: Now,
}

/// One client connection.
///
/// Call a `handle_*` whenever something happened, then drain every `poll_*`. None of them blocks, and none reads a clock.
pub struct Session {
    id: ConnectionId,
    door: Arc<Door>,
    context: Arc<Context>,
    /// The last view in which the broker of this port is: a view without it says that it is away, not what it speaks.
    view: Option<Arc<ClusterView>>,
    identity: ClientIdentity,
    ids: EventIds,
    login: Login,
    held_login: Option<HeldLogin>,
    broker_login: BrokerLogin,
    client: FrameReader,
    broker: FrameReader,
    link: Link,
    pending: PendingQueue,
    jobs: VecDeque<Job>,
    jobs_running: usize,
    commits: VecDeque<(Ticket, Commit)>,
    tickets: HashMap<u64, Waiter>,
    next_ticket: u64,
    events: VecDeque<Event>,
    refused_producers: RefusedProducers,
    deadlines: Deadlines,
    /// A reply in the queue is the last: nothing more is read of the client.
    ending: bool,
    /// weir is stopping: nothing more is read from the client.
    draining: bool,
    closing: bool,
}

/// How far the client is with proving who it is.
enum Login {
    /// Nothing proven.
    Fresh,
    /// The mechanism was agreed on.
    Handshaken,
    /// Proven; `again` between the handshake and the token of a further login (KIP-368).
    LoggedIn { caller: Caller, again: bool },
}

/// The broker's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not needed yet.
    None,
    /// Asked for.
    Connecting,
    /// There.
    Up,
    /// Gone.
    Down,
}

/// Event ids: ULIDs whose random part is derived from the session's seed.
struct EventIds {
    seed: [u8; 32],
    next: u64,
}

impl EventIds {
    fn next(&mut self, now: Now) -> EventId {
        let hash = blake3::keyed_hash(&self.seed, &self.next.to_be_bytes());
        self.next += 1;
        let mut random = [0; 10];
        random.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        EventId::new(now.wall_ms(), random)
    }
}

impl Session {
    /// A session for a client that has just connected.
    pub fn new(start: Start) -> Self {
        let Start { id, door, context, peer, seed, now } = start;
        let mut session_id = [0; 16];
        let hash = blake3::keyed_hash(&seed, b"session");
        session_id.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        let identity = ClientIdentity {
            session: SessionId(session_id),
            peer,
            listener: door.listener.clone(),
            insecure: door.insecure,
        };
        let login = match &door.auth {
            DoorAuth::Oauthbearer => Login::Fresh,
            DoorAuth::Anonymous { groups } => {
                let principal = Arc::new(Principal::anonymous(groups.clone()));
                let caller = Caller::new(principal, Arc::clone(&context), Arc::clone(&door), identity.clone());
                Login::LoggedIn { caller, again: false }
            }
        };
        let deadlines = Deadlines::new(&context.limits, matches!(login, Login::LoggedIn { .. }), now);
        let view = context.view_of(door.node);
        Self {
            id,
            door,
            context,
            view,
            identity,
            ids: EventIds { seed, next: 0 },
            login,
            held_login: None,
            broker_login: BrokerLogin::new(seed),
            client: FrameReader::new(),
            broker: FrameReader::new(),
            link: Link::None,
            pending: PendingQueue::default(),
            jobs: VecDeque::new(),
            jobs_running: 0,
            commits: VecDeque::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            events: VecDeque::new(),
            refused_producers: RefusedProducers::default(),
            deadlines,
            ending: false,
            draining: false,
            closing: false,
        }
    }

    /// The name that its tickets carry.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Bytes from the client. At most [`Session::wants_client_bytes`] should be handed in; more is taken, and buffered.
    pub fn handle_client_bytes(&mut self, bytes: &[u8], now: Now) {
        if self.closing || self.ending {
            return;
        }
        self.client.push(bytes);
        self.deadlines.client_sent(now);
        self.read_client_frames(now);
        self.advance(now);
    }

    /// Bytes from the broker.
    pub fn handle_broker_bytes(&mut self, bytes: &[u8], now: Now) {
        if self.link != Link::Up {
            return;
        }
        self.deadlines.broker_sent(now);
        self.broker.push(bytes);
        self.read_broker_frames(now);
        self.advance(now);
    }

    /// The result of a job of this session.
    pub fn handle_done(&mut self, done: Done, now: Now) {
        self.jobs_running = self.jobs_running.saturating_sub(1);
        self.take_inspection(done, now);
        self.advance(now);
    }

    /// Proof that something of this session was recorded. The receipt of another session changes nothing.
    pub fn handle_receipt(&mut self, receipt: Receipt, now: Now) {
        self.take_receipt(receipt, now);
        self.advance(now);
    }

    /// Something of this session could not be recorded.
    pub fn handle_unrecorded(&mut self, ticket: Ticket, now: Now) {
        self.take_unrecorded(ticket, now);
        self.advance(now);
    }

    /// Whether something is held until this commit is recorded. Nothing is for topics with [`Durability::Async`](crate::Durability).
    #[must_use]
    pub fn is_awaited(&self, ticket: Ticket) -> bool {
        !matches!(self.tickets.get(&ticket.serial()), Some(Waiter::Nobody))
    }

    /// An entry of this session, which is closing, was taken over by the log's owner, who records it as soon as it can.
    pub fn handle_owed(&mut self, ticket: Ticket) {
        self.take_owed(ticket);
    }

    /// Another world: policies, keys or the view of the cluster changed.
    pub fn handle_context(&mut self, context: Arc<Context>, now: Now) {
        if let Login::LoggedIn { caller, .. } = &mut self.login {
            *caller = caller.under(Arc::clone(&context));
        }
        self.view = context.view_of(self.door.node).or(self.view.take());
        self.context = context;
        self.retry_login(now);
        self.retry_waiting(now);
        self.advance(now);
    }

    /// The broker that [`Event::ConnectBroker`] asked for is connected.
    pub fn handle_broker_up(&mut self, now: Now) {
        if self.link == Link::Connecting {
            self.link = Link::Up;
            self.introduce(now);
        }
        self.advance(now);
    }

    /// The broker is gone, or could not be reached. `detail` is what the socket said, for the log.
    pub fn handle_broker_down(&mut self, detail: &str, now: Now) {
        self.link = Link::Down;
        self.close(CloseReason::BrokerDown { detail: detail.to_owned() }, now);
    }

    /// The client sends no more. What it sent goes on and is answered, as a broker does: a producer that asks for no answer may
    /// close behind its last batch.
    pub fn handle_client_eof(&mut self, now: Now) {
        if self.closing || self.deadlines.client_ended() {
            return;
        }
        self.deadlines.end_client(now);
        self.close_if_done(now);
    }

    /// The client's socket failed.
    pub fn handle_client_gone(&mut self, now: Now) {
        let have = self.client.buffered();
        let announced = (have >= SIZE_PREFIX_BYTES)
            .then(|| have.saturating_add(self.client.missing()).saturating_sub(SIZE_PREFIX_BYTES));
        let reason =
            if self.has_open_frame() { CloseReason::FrameCut { have, announced } } else { CloseReason::ClientGone };
        self.close(reason, now);
    }

    /// What the client began to send did not become whole in time, beneath the frames that are read here: a record of TLS.
    pub fn handle_client_late(&mut self, now: Now) {
        self.close(CloseReason::BodyTimeout(self.context.limits.body_timeout), now);
    }

    /// weir is stopping: the client is cut once it has no request open, or at once with `force`.
    pub fn handle_shutdown(&mut self, force: bool, now: Now) {
        self.draining = true;
        if force || self.pending.is_empty() {
            self.close(CloseReason::Drained, now);
        }
    }

    /// [`Session::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.check_deadlines(now);
        self.advance(now);
    }

    /// What may be written to the broker next.
    pub fn poll_to_broker(&mut self, now: Now) -> Option<Cleared> {
        if self.link != Link::Up || self.closing {
            return None;
        }
        let slot = self.pending.next_to_send()?;
        slot.memory = 0;
        slot.watch.begin(now);
        let RequestStage::Ready(cleared) = std::mem::replace(&mut slot.request, RequestStage::Sent) else {
            return None;
        };
        Some(cleared)
    }

    /// What may be written to the client next.
    pub fn poll_to_client(&mut self, now: Now) -> Option<Cleared> {
        loop {
            let front = self.pending.front()?;
            if !matches!(front.reply, ReplyStage::Ready(_))
                || !matches!(front.request, RequestStage::Sent | RequestStage::Local)
            {
                return None;
            }
            let was_full = self.wants_client_bytes() == 0;
            let slot = self.pending.pop()?;
            self.deadlines.answered(was_full, slot.is_own(), now);
            // Without an answer the end of the connection is one, but for a request that asked for none (acks=0).
            let cut = matches!(slot.reply, ReplyStage::Ready(None)) && !slot.swallow;
            let ending = if cut { Ending::Refused } else { slot.ending };
            self.events.extend(slot.ended(ending, now));
            if slot.last {
                self.finish(now);
            }
            let cleared = match slot.reply {
                ReplyStage::Ready(Some(cleared)) => cleared,
                ReplyStage::Ready(None) => {
                    self.read_client_frames(now);
                    self.close_if_done(now);
                    self.advance(now);
                    continue;
                }
                ReplyStage::Nothing
                | ReplyStage::Broker(_)
                | ReplyStage::Inspecting { .. }
                | ReplyStage::Recording { .. } => return None,
            };
            self.read_client_frames(now);
            self.close_if_done(now);
            self.advance(now);
            return Some(cleared);
        }
    }

    /// What must be inspected next; its [`Done`] comes back through [`Session::handle_done`].
    pub fn poll_job(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.jobs_running += 1;
        Some(job)
    }

    /// What must be recorded next, in this order; its receipt comes back through [`Session::handle_receipt`], or its ticket through
    /// [`Session::handle_unrecorded`].
    pub fn poll_commit(&mut self) -> Option<(Ticket, Commit)> {
        self.commits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many bytes the client may be read for; 0 = stop reading.
    pub fn wants_client_bytes(&self) -> usize {
        if self.closing
            || self.ending
            || self.draining
            || self.held_login.is_some()
            || self.deadlines.client_ended()
            || self.pending.len() >= self.context.limits.inflight_requests_max
        {
            return 0;
        }
        // The frame that is arriving may always finish: what came before it drains without it.
        let full = self.held_bytes() >= self.context.limits.session_bytes_max;
        if full && !self.pending.is_empty() { 0 } else { READ_CHUNK_BYTES }
    }

    /// How many bytes the broker may be read for; 0 = stop reading.
    pub fn wants_broker_bytes(&self) -> usize {
        if self.link != Link::Up || self.closing {
            return 0;
        }
        let full = self.held_bytes() >= self.context.limits.session_bytes_max;
        if full && !self.waits_for_broker() { 0 } else { READ_CHUNK_BYTES }
    }

    /// Whether the client's next reply is the broker's to give: nothing drains before it is read.
    pub fn waits_for_broker(&self) -> bool {
        self.pending.front().is_some_and(|slot| matches!(slot.reply, ReplyStage::Broker(_)))
    }

    /// Frame bytes that this session keeps alive.
    pub fn held_bytes(&self) -> usize {
        self.pending.held_bytes() + self.client.buffered() + self.broker.buffered()
    }

    /// Whether the sockets are to be closed once everything polled is written.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether nothing is left to do: closed, every job back, every commit answered.
    pub fn is_drained(&self) -> bool {
        self.closing
            && self.jobs.is_empty()
            && self.jobs_running == 0
            && self.commits.is_empty()
            && self.tickets.is_empty()
    }

    /// The client's principal, after login.
    pub fn principal(&self) -> Option<&str> {
        match &self.login {
            Login::LoggedIn { caller, .. } => Some(&caller.principal.id),
            Login::Fresh | Login::Handshaken => None,
        }
    }

    /// Whether a frame has begun to arrive and is not whole. Whole frames that wait for their turn are not open.
    pub(super) fn has_open_frame(&self) -> bool {
        self.client.missing() > 0 || (1..SIZE_PREFIX_BYTES).contains(&self.client.buffered())
    }

    /// Ends a connection that will get no further request, once it has answered all.
    fn close_if_done(&mut self, now: Now) {
        if !self.pending.is_empty() {
            return;
        }
        if self.draining {
            self.close(CloseReason::Drained, now);
        } else if self.deadlines.client_ended() {
            self.handle_client_gone(now);
        }
    }

    /// Brings everything forward that can go forward.
    fn advance(&mut self, now: Now) {
        self.settle_inspected(now);
        if self.link == Link::None && !self.closing && self.pending.wants_broker() {
            self.link = Link::Connecting;
            self.events.push_back(Event::ConnectBroker { node: self.door.node });
        }
    }

    /// Ends the connection without regard to what is open; open intents are closed as unknown.
    fn close(&mut self, reason: CloseReason, now: Now) {
        if self.closing {
            return;
        }
        if !self.ending {
            self.note_refused_close(&reason, now);
            self.events.push_back(Event::Closing { reason });
        }
        self.finish(now);
    }

    /// Ends the connection once everything that came before is answered: for a fault of the client, which changes nothing about
    /// its requests before. `serial` is the request at fault, if it has a slot.
    fn end(&mut self, serial: Option<u64>, reason: CloseReason, now: Now) {
        if self.closing || self.ending {
            return;
        }
        let serial = serial.unwrap_or_else(|| self.pending.push(Slot::local(now)));
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.memory = 0;
            slot.request = RequestStage::Local;
            slot.reply = ReplyStage::Ready(None);
        }
        self.note_refused_close(&reason, now);
        self.end_after(serial, reason);
        if self.pending.front().is_some_and(|slot| slot.last) {
            self.finish(now);
        }
    }

    /// Ends the connection once the reply in this slot is written. What stands behind it goes nowhere.
    fn end_after(&mut self, serial: u64, reason: CloseReason) {
        if self.closing || self.ending {
            return;
        }
        self.ending = true;
        self.events.push_back(Event::Closing { reason });
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.last = true;
        }
    }

    fn finish(&mut self, now: Now) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.deadlines.stop();
        self.jobs.clear();
        self.held_login = None;
        self.abandon(now);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("pending", &self.pending.len())
            .field("link", &self.link)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}
