//! One client connection: a task that owns its session and both sockets.
//!
//! Full duplex: a write that does not go on never stops the other direction. Nothing is buffered here beyond the frame that is
//! being written to each socket; what may be read is the session's to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_audit::{Commit, Ticket};
use weir_session::{BrokerNode, Context, Event, Session, Start};

use super::broker_logins::{BrokerLoginPlace, BrokerLogins};
use super::budget::{Budget, Share};
use super::clock::Clock;
use super::dial::Dialer;
use super::inbox::{Inbox, Message};
use super::keys::Keys;
use super::ledger::Ledger;
use super::places::Handshake;
use super::pool::{self, Pool};
use super::salting::Saltings;
use super::socket::{Read, Socket};
use super::telemetry::Telemetry;
use super::world::World;
use crate::config::HostPort;

/// How long a closing connection may take to write what was polled.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take nothing of what is there for it: its replies count against the budget of all.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) pool: Pool,
    pub(crate) budget: Budget,
    pub(crate) telemetry: Telemetry,
    pub(crate) keys: Keys,
    pub(crate) bootstrap: Vec<HostPort>,
    pub(crate) dialer: Dialer,
    pub(crate) broker_logins: BrokerLogins,
    pub(crate) saltings: Saltings,
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    session: Session,
    client: Socket,
    broker: Option<Socket>,
    inbox: Inbox,
    messages: mpsc::UnboundedReceiver<Message>,
    share: Share<'a>,
    connect: Option<tokio::task::JoinHandle<Result<Reached, String>>>,
    peer: SocketAddr,
    listener: String,
    /// Given back once the client is logged in.
    handshake: Option<Handshake>,
    /// Given back once weir is logged in to the broker.
    broker_login: Option<BrokerLoginPlace>,
    /// When the client took something, last.
    write_progress: Option<std::time::Instant>,
}

/// A connection to a broker, and the place among those that log in.
type Reached = (Socket, Option<BrokerLoginPlace>);

/// Serves one client until its session is drained.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: Socket,
    start: Start,
    handshake: Option<Handshake>,
    mut stopping: watch::Receiver<Stopping>,
) {
    let (sender, messages) = mpsc::unbounded_channel();
    let peer = start.peer.address;
    let listener = start.door.listener.clone();
    let share = shared.budget.share(start.id.0);
    let mut context = shared.world.subscribe();
    context.mark_changed();
    let mut connection = Connection {
        session: Session::new(start),
        shared: &shared,
        client,
        broker: None,
        inbox: Inbox::new(sender),
        messages,
        share,
        connect: None,
        peer,
        listener,
        handshake,
        broker_login: None,
        write_progress: None,
    };
    while connection.turn(&mut context, &mut stopping).await {}
    connection.finish().await;
}

/// How far the process is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// It is not.
    No,
    /// Connections end as soon as nothing is open on them.
    Drain,
    /// Connections end.
    Now,
}

impl Connection<'_> {
    /// Waits for something to happen and lets the session deal with it; false when the sockets are done.
    async fn turn(
        &mut self,
        context: &mut watch::Receiver<Arc<Context>>,
        stopping: &mut watch::Receiver<Stopping>,
    ) -> bool {
        self.pump();
        // A socket that always has bytes never lets the timer below have its turn: it gets one here, and others theirs.
        tokio::task::consume_budget().await;
        let clock = self.shared.clock;
        let now = clock.now();
        if self.session.poll_timeout().is_some_and(|at| at <= now.monotonic) {
            self.session.handle_timeout(now);
        }
        if context.has_changed().unwrap_or(false) {
            self.session.handle_context(Arc::clone(&context.borrow_and_update()), now);
        }
        if self.is_stalled() {
            self.session.handle_client_gone(now);
        }
        let record_due = self.check_records(context.borrow().limits.body_timeout);
        if self.session.is_closing() {
            return false;
        }
        let budget = &self.shared.budget;
        let mut freed = std::pin::pin!(budget.freed());
        freed.as_mut().enable();
        let client_wants = self.session.wants_client_bytes();
        let may_read = self.share.may_read();
        let broker_wants = self.session.wants_broker_bytes();
        let stalled_at = self.write_progress.filter(|_| !self.client.is_flushed()).map(|at| at + WRITE_TIMEOUT);
        let deadline = self.session.poll_timeout().map(|at| clock.instant(at)).into_iter();
        let deadline = deadline.chain(stalled_at).chain(record_due).min();
        let broker = self.broker.as_ref();
        tokio::select! {
            biased;
            Some(message) = self.messages.recv() => self.deliver(message),
            ready = self.client.readable(), if client_wants > 0 && may_read => self.read_client(ready, client_wants),
            ready = self.client.writable(), if !self.client.is_flushed() => self.write_client(ready),
            ready = readable(broker), if broker_wants > 0 && (may_read || self.session.waits_for_broker()) => self.read_broker(ready, broker_wants),
            ready = writable(broker), if broker.is_some_and(|broker| !broker.is_flushed()) => self.write_broker(ready),
            connected = join(self.connect.as_mut()), if self.connect.is_some() => self.connected(connected),
            Ok(()) = context.changed() => {
                let context = Arc::clone(&context.borrow_and_update());
                self.session.handle_context(context, clock.now());
            }
            Ok(()) = stopping.changed() => {
                let how = *stopping.borrow_and_update();
                self.session.handle_shutdown(how == Stopping::Now, clock.now());
            }
            () = freed, if !may_read => {}
            () = sleep_until(deadline) => self.session.handle_timeout(clock.now()),
        }
        if *stopping.borrow() != Stopping::No {
            self.session.handle_shutdown(*stopping.borrow() == Stopping::Now, clock.now());
        }
        true
    }

    /// Carries out whatever the session wants, until it wants nothing more.
    fn pump(&mut self) {
        let clock = self.shared.clock;
        loop {
            let mut idle = true;
            while let Some(event) = self.session.poll_event() {
                idle = false;
                self.handle(event);
            }
            while let Some(job) = self.session.poll_job() {
                idle = false;
                match pool::run_inline(job, &self.shared.telemetry) {
                    Ok(done) => self.session.handle_done(done, clock.now()),
                    Err(job) => self.shared.pool.submit(self.session.id(), *job, self.inbox.clone()),
                }
            }
            while let Some(salting) = self.session.poll_salting() {
                idle = false;
                self.shared.saltings.submit(salting, self.inbox.clone());
            }
            while let Some((ticket, commit)) = self.session.poll_commit() {
                idle = false;
                submit(self.shared, &mut self.session, &self.inbox, (ticket, commit));
            }
            if let Some(broker) = self.broker.as_mut().filter(|broker| broker.is_flushed())
                && let Some(cleared) = self.session.poll_to_broker(clock.now())
            {
                idle = false;
                self.shared.telemetry.metrics.traffic.to_broker.inc_by(cleared.len() as u64);
                broker.queue(cleared);
                self.write_broker(Ok(()));
            }
            if self.client.is_flushed()
                && let Some(cleared) = self.session.poll_to_client(clock.now())
            {
                idle = false;
                self.shared.telemetry.metrics.traffic.to_client.inc_by(cleared.len() as u64);
                self.client.queue(cleared);
                self.write_progress = Some(std::time::Instant::now());
                self.write_client(Ok(()));
            }
            if idle {
                break;
            }
        }
        let beside = |socket: &Socket| socket.unsent() + socket.unread();
        let beside = beside(&self.client) + self.broker.as_ref().map_or(0, beside);
        self.share.set(self.session.held_bytes() + beside);
        if self.handshake.is_some() && self.session.principal().is_some() {
            self.handshake = None;
        }
        if self.broker_login.is_some() && self.session.is_broker_open() {
            self.broker_login = None;
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ConnectBroker { node } => self.connect(node),
            Event::ResolveTopics { ids } => self.shared.world.ask_topics(ids),
            Event::FetchKeys { issuer, login } => self.shared.keys.ask(&issuer, login, self.inbox.clone()),
            Event::Refused { .. } => {
                self.shared.telemetry.record(&event, &self.listener, self.peer, self.session.principal());
                if let Event::Refused { entry, resource, .. } = event {
                    self.shared.ledger.refusal(*entry, resource);
                }
            }
            Event::LoggedIn { .. }
            | Event::BrokerLoggedIn { .. }
            | Event::RecordsRefused { .. }
            | Event::Inspected { .. }
            | Event::RequestEnded { .. }
            | Event::Closing { .. } => {
                self.shared.telemetry.record(&event, &self.listener, self.peer, self.session.principal());
            }
        }
    }

    /// Connects to the broker of the port; from the bootstrap port to any that can be reached.
    fn connect(&mut self, node: Option<i32>) {
        let context = self.shared.world.context();
        let brokers = context.view.iter().flat_map(|view| &view.brokers);
        let mut addresses = brokers
            .filter(|(id, _)| node.is_none_or(|node| node == **id))
            .map(|(_, broker)| (broker.host.clone(), broker.port))
            .collect::<Vec<_>>();
        if node.is_none() {
            addresses.extend(self.shared.bootstrap.iter().map(|address| (address.host.clone(), address.port)));
        }
        let brokers = self.brokers(&context);
        let dialer = self.shared.dialer.clone();
        let logins = context.upstream.is_some().then(|| self.shared.broker_logins.clone());
        self.connect = Some(tokio::spawn(async move {
            let mut failure = format!("the cluster has no broker {}", node.unwrap_or(-1));
            for (host, port) in addresses {
                match dialer.dial(&host, port).await {
                    Ok(socket) => {
                        return match logins {
                            Some(logins) => {
                                let place = logins.enter(HostPort { host, port }, brokers).await;
                                place.map(|place| (socket, Some(place)))
                            }
                            None => Ok((socket, None)),
                        };
                    }
                    Err(error) => failure = error.to_string(),
                }
            }
            Err(failure)
        }));
    }

    /// How many addresses weir may log in to: those of the brokers, and of `bootstrap` those that are none of them.
    fn brokers(&self, context: &Context) -> usize {
        let view = context.view.as_deref();
        let named = |address: &&HostPort| {
            let is = |broker: &BrokerNode| broker.host == address.host && broker.port == address.port;
            view.is_some_and(|view| view.brokers.values().any(is))
        };
        let others = self.shared.bootstrap.iter().filter(|address| !named(address)).count();
        view.map_or(0, |view| view.brokers.len()) + others
    }

    fn connected(&mut self, result: Result<Reached, String>) {
        self.connect = None;
        let now = self.shared.clock.now();
        match result {
            Ok((socket, place)) => {
                self.broker = Some(socket);
                self.broker_login = place;
                self.session.handle_broker_up(now);
            }
            Err(detail) => self.session.handle_broker_down(&detail, now),
        }
    }

    fn deliver(&mut self, message: Message) {
        let now = self.shared.clock.now();
        match message {
            Message::Receipt(receipt) => self.session.handle_receipt(receipt, now),
            Message::Unrecorded(ticket) => self.session.handle_unrecorded(ticket, now),
            Message::Done(done) => self.session.handle_done(done, now),
            Message::Salted(salted) => self.session.handle_salted(&salted, now),
            Message::Keys { login, fetched } => {
                self.session.handle_keys(login, fetched, self.shared.world.context(), now);
            }
        }
    }

    fn read_client(&mut self, ready: std::io::Result<()>, wanted: usize) {
        let (session, now) = (&mut self.session, self.shared.clock.now());
        let received = &self.shared.telemetry.metrics.traffic.from_client;
        let take = |bytes: &[u8]| {
            received.inc_by(bytes.len() as u64);
            session.handle_client_bytes(bytes, now);
        };
        let read = ready.and_then(|()| self.client.read(wanted, take));
        match read {
            Ok(Read::Taken(()) | Read::Nothing) => {}
            Ok(Read::Closed) => self.session.handle_client_eof(now),
            Err(_) => self.session.handle_client_gone(now),
        }
    }

    fn read_broker(&mut self, ready: std::io::Result<()>, wanted: usize) {
        let Some(broker) = &mut self.broker else { return };
        let (session, now) = (&mut self.session, self.shared.clock.now());
        let received = &self.shared.telemetry.metrics.traffic.from_broker;
        let take = |bytes: &[u8]| {
            received.inc_by(bytes.len() as u64);
            session.handle_broker_bytes(bytes, now);
        };
        let read = ready.and_then(|()| broker.read(wanted, take));
        match read {
            Ok(Read::Taken(()) | Read::Nothing) => {}
            Ok(Read::Closed) => self.session.handle_broker_down("the broker closed the connection", now),
            Err(error) => self.session.handle_broker_down(&error.to_string(), now),
        }
    }

    fn write_client(&mut self, ready: std::io::Result<()>) {
        match ready.and_then(|()| self.client.write()) {
            Ok(true) => self.write_progress = Some(std::time::Instant::now()),
            Ok(false) => {}
            Err(_) => self.session.handle_client_gone(self.shared.clock.now()),
        }
    }

    /// Whether the client has taken nothing of what is there for it for too long.
    fn is_stalled(&self) -> bool {
        !self.client.is_flushed() && self.write_progress.is_some_and(|at| at.elapsed() >= WRITE_TIMEOUT)
    }

    /// Ends a connection on which half a TLS record came, and not its rest in time; and when that is to be looked at again. A peer that is
    /// not read cannot finish.
    fn check_records(&mut self, within: Duration) -> Option<std::time::Instant> {
        let now = std::time::Instant::now();
        if self.session.wants_client_bytes() == 0 {
            self.client.give_time();
        }
        if let Some(broker) = self.broker.as_mut().filter(|_| self.session.wants_broker_bytes() == 0) {
            broker.give_time();
        }
        let of_client = self.client.record_due(within);
        let of_broker = self.broker.as_ref().and_then(|broker| broker.record_due(within));
        if of_client.is_some_and(|due| due <= now) {
            self.session.handle_client_late(self.shared.clock.now());
        }
        if of_broker.is_some_and(|due| due <= now) {
            let detail = format!("half a TLS record came, and not the rest of it within {within:?}");
            self.session.handle_broker_down(&detail, self.shared.clock.now());
        }
        of_client.into_iter().chain(of_broker).min()
    }

    fn write_broker(&mut self, ready: std::io::Result<()>) {
        let Some(broker) = &mut self.broker else { return };
        if let Err(error) = ready.and_then(|()| broker.write()) {
            self.session.handle_broker_down(&error.to_string(), self.shared.clock.now());
        }
    }

    /// Writes what was cleared for the client, closes the sockets, and stays until nothing of the session is open.
    async fn finish(mut self) {
        self.pump();
        // What is held for others to wait for goes back now: the log may take its time with what is open.
        (self.handshake, self.broker_login) = (None, None);
        if let Some(connect) = self.connect.take() {
            connect.abort();
        }
        let flush = async {
            self.client.flush().await?;
            self.client.close();
            self.client.flush().await
        };
        if !matches!(tokio::time::timeout(FLUSH_TIMEOUT, flush).await, Ok(Ok(()))) {
            tracing::debug!(event = "connection.unflushed");
        }
        if let Some(mut broker) = self.broker.take() {
            broker.close();
            // A broker that does not take the goodbye now goes without.
            broker.write().unwrap_or_default();
        }
        drop(self.client);
        let clock = self.shared.clock;
        while !self.session.is_drained() {
            while let Some((ticket, commit)) = self.session.poll_commit() {
                submit(self.shared, &mut self.session, &self.inbox, (ticket, commit));
            }
            if self.session.is_drained() {
                break;
            }
            match self.messages.recv().await {
                Some(Message::Receipt(receipt)) => self.session.handle_receipt(receipt, clock.now()),
                Some(Message::Unrecorded(ticket)) => self.session.handle_unrecorded(ticket, clock.now()),
                Some(Message::Done(done)) => self.session.handle_done(done, clock.now()),
                // The logins that asked for them went with their client.
                Some(Message::Keys { .. } | Message::Salted(_)) => {}
                None => break,
            }
        }
        self.share.set(0);
        self.shared.telemetry.closed(&self.listener);
    }
}

/// Hands a commit to the ledger. Once the sockets are gone nobody can hold a reply for an entry: the ledger owes it then.
fn submit(shared: &Shared, session: &mut Session, inbox: &Inbox, (ticket, commit): (Ticket, Commit)) {
    match commit {
        Commit::Entry { entry, closes } if session.is_closing() => {
            shared.ledger.owe(entry, closes);
            session.handle_owed(ticket);
        }
        Commit::Entry { .. } | Commit::Intent(_) => {
            if !shared.ledger.submit(ticket, commit, inbox.clone(), session.is_awaited(ticket)) {
                session.handle_unrecorded(ticket, shared.clock.now());
            }
        }
    }
}

async fn readable(socket: Option<&Socket>) -> std::io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

async fn writable(socket: Option<&Socket>) -> std::io::Result<()> {
    match socket {
        Some(socket) => socket.writable().await,
        None => std::future::pending().await,
    }
}

async fn join(handle: Option<&mut tokio::task::JoinHandle<Result<Reached, String>>>) -> Result<Reached, String> {
    match handle {
        Some(handle) => handle.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
