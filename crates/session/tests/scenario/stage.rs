//! The stage: one session, a client and a broker that do what the script says, a log, a clock.

mod verbs;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use weir_audit::verify::{Expected, verify};
use weir_audit::{
    ChainId, ChainState, Commit, Committed, Committer, ConnectionId, EntryBody, MemorySink, Receipt, Ticket,
};
use weir_protocol::{ApiKey, FrameReader, peek_request};
use weir_session::{Cleared, Context, Door, DoorAuth, Ending, Event, Job, Now, Peer, Scratch, Session, Stages, Start};

use crate::witness::{Asked, Witness, decode_request};
use crate::world::{self, START};

pub(crate) use verbs::{Heard, authentication, heard, request_bytes, response_bytes, sized, spoken};

const CHAIN: ChainId = ChainId([7; 16]);
pub(crate) const CONNECTION: ConnectionId = ConnectionId(1);
/// More steps than any script needs: a session that never comes to rest is a fault of its own.
const STEPS_MAX: usize = 4_000_000;

/// How bytes arrive.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    OneByte,
    Random(u64),
}

/// When jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jobs {
    AtOnce,
    /// Once nothing else can go on, the newest first.
    NewestFirst,
    /// By the script alone.
    ByHand,
}

const WAYS: [(Cut, Jobs); 6] = [
    (Cut::Whole, Jobs::AtOnce),
    (Cut::Whole, Jobs::NewestFirst),
    (Cut::OneByte, Jobs::AtOnce),
    (Cut::OneByte, Jobs::NewestFirst),
    (Cut::Random(0x9e37_79b9), Jobs::AtOnce),
    (Cut::Random(0x7f4a_7c15), Jobs::NewestFirst),
];

/// What a script starts with.
pub(crate) struct Setup {
    pub(crate) context: Context,
    pub(crate) door: Door,
}

impl Default for Setup {
    fn default() -> Self {
        Self { context: world::context(), door: world::door(DoorAuth::Oauthbearer) }
    }
}

/// Everything that came of a script, but for what may depend on how the bytes came.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    to_client: Vec<Bytes>,
    to_broker: Vec<Bytes>,
    log: Vec<EntryBody>,
    closings: Vec<String>,
    refused: Vec<(i16, &'static str, Option<String>)>,
    records_refused: Vec<(String, i32, String, u64)>,
    asked_for: Vec<String>,
    ended: Vec<Ended>,
    inspected: Vec<Inspected>,
}

/// A request that is over, as the session told it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) api: Option<ApiKey>,
    pub(crate) ending: Ending,
    pub(crate) took: Duration,
    pub(crate) stages: Stages,
}

/// Records that were inspected: how many, how many were changed, and what each rule did.
pub(crate) type Inspected = (ApiKey, u64, u64, Vec<(String, String, u64)>);

/// Plays a script in every way, and holds the outcomes against each other.
pub(crate) fn play(script: impl Fn(&mut Stage)) {
    play_in(Setup::default, script);
}

pub(crate) fn play_in(setup: impl Fn() -> Setup, script: impl Fn(&mut Stage)) {
    let mut first: Option<Outcome> = None;
    for way in WAYS {
        let mut stage = Stage::new(setup(), way);
        script(&mut stage);
        let outcome = stage.finish();
        match &first {
            None => first = Some(outcome),
            Some(first) => assert_eq!(&outcome, first, "{way:?} against {:?}", WAYS[0]),
        }
    }
}

/// Plays a script in one way, for those that last long and cut nothing.
pub(crate) fn play_once(script: impl FnOnce(&mut Stage)) {
    play_way(0, Setup::default(), script);
}

/// Plays a script in one of the six ways.
pub(crate) fn play_way(way: usize, setup: Setup, script: impl FnOnce(&mut Stage)) {
    let mut stage = Stage::new(setup, WAYS[way]);
    script(&mut stage);
    stage.finish();
}

/// When the log writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// As soon as it is asked.
    Prompt,
    /// When the script says so.
    Held,
}

pub(crate) struct Stage {
    pub(crate) session: Session,
    pub(crate) now: Now,
    /// Whether a broker that the session asks for is there at once.
    pub(crate) connects: bool,
    /// Whether the broker answers weir's own ApiVersions by itself.
    pub(crate) greets: bool,
    /// Why the session closes, in its own words.
    pub(crate) last_words: String,
    /// Whether intents may stay open at the end: the log failed when they were to be closed.
    pub(crate) leaves_intents: bool,
    cut: Cut,
    jobs_run: Jobs,
    committer: Option<Committer<MemorySink>>,
    log: Log,
    queued: VecDeque<(Ticket, Commit)>,
    jobs: Vec<Job>,
    scratch: Scratch,
    witness: Witness,
    from_client: VecDeque<u8>,
    from_broker: VecDeque<u8>,
    /// What the client got and the script did not look at yet.
    client_got: VecDeque<(Asked, Bytes)>,
    /// What the broker got and the script did not look at yet.
    broker_got: VecDeque<Bytes>,
    next_correlation_id: i32,
    /// How many ended requests and inspections the script has looked at.
    looked_at: (usize, usize),
    outcome: Outcome,
}

impl Stage {
    fn new(setup: Setup, (cut, jobs_run): (Cut, Jobs)) -> Self {
        let context = Arc::new(setup.context);
        let start = Start {
            id: CONNECTION,
            door: Arc::new(setup.door),
            context: Arc::clone(&context),
            peer: Peer { address: "10.0.0.7:50000".parse().unwrap() },
            seed: [3; 32],
            now: START,
        };
        Self {
            session: Session::new(start),
            now: START,
            connects: true,
            greets: true,
            last_words: String::new(),
            leaves_intents: false,
            cut,
            jobs_run,
            committer: Some(Committer::open(MemorySink::default(), ChainState::new(CHAIN))),
            log: Log::Prompt,
            queued: VecDeque::new(),
            jobs: Vec::new(),
            scratch: Scratch::default(),
            witness: Witness::new(context),
            from_client: VecDeque::new(),
            from_broker: VecDeque::new(),
            client_got: VecDeque::new(),
            broker_got: VecDeque::new(),
            next_correlation_id: 1,
            looked_at: (0, 0),
            outcome: Outcome::default(),
        }
    }

    /// Lets everything happen that can happen at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let mut idle = !self.feed();
            while let Some(event) = self.session.poll_event() {
                idle = false;
                self.take_event(event);
            }
            while let Some(job) = self.session.poll_job() {
                idle = false;
                self.jobs.push(job);
            }
            while let Some(salting) = self.session.poll_salting() {
                idle = false;
                self.session.handle_salted(&salting.run(), self.now);
            }
            while let Some(commit) = self.session.poll_commit() {
                idle = false;
                self.queued.push_back(commit);
            }
            if self.log == Log::Prompt && !self.queued.is_empty() {
                idle = false;
                self.commit(self.queued.len());
            }
            while let Some(cleared) = self.session.poll_to_broker(self.now) {
                idle = false;
                self.write_to_broker(&cleared);
            }
            while let Some(cleared) = self.session.poll_to_client(self.now) {
                idle = false;
                self.write_to_client(&cleared);
            }
            let runs = match self.jobs_run {
                Jobs::AtOnce => true,
                Jobs::NewestFirst => idle,
                Jobs::ByHand => false,
            };
            if runs && let Some(job) = self.jobs.pop() {
                idle = false;
                let done = job.run(&mut self.scratch);
                self.session.handle_done(done, self.now);
            }
            if idle {
                return;
            }
        }
        panic!("the session does not come to rest");
    }

    /// Hands in bytes that are there, as many as are wanted and as the cut says. False when there was nothing to do.
    fn feed(&mut self) -> bool {
        let to_session = self.portion(self.from_client.len().min(self.session.wants_client_bytes()));
        if to_session > 0 {
            let bytes = self.from_client.drain(..to_session).collect::<Vec<_>>();
            self.session.handle_client_bytes(&bytes, self.now);
            return true;
        }
        let to_session = self.portion(self.from_broker.len().min(self.session.wants_broker_bytes()));
        if to_session > 0 {
            let bytes = self.from_broker.drain(..to_session).collect::<Vec<_>>();
            self.session.handle_broker_bytes(&bytes, self.now);
        }
        to_session > 0
    }

    fn portion(&mut self, available: usize) -> usize {
        match &mut self.cut {
            Cut::Whole => available,
            Cut::OneByte => available.min(1),
            Cut::Random(state) => {
                // xorshift64
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                available.min(1 + usize::try_from(*state % 97).unwrap())
            }
        }
    }

    fn take_event(&mut self, event: Event) {
        let outcome = &mut self.outcome;
        match event {
            Event::ConnectBroker { node } => {
                outcome.asked_for.push(format!("broker {node:?}"));
                if self.connects {
                    self.session.handle_broker_up(self.now);
                }
            }
            Event::ResolveTopics { ids } => outcome.asked_for.push(format!("topics {ids:?}")),
            Event::FetchKeys { issuer, login } => outcome.asked_for.push(format!("keys of {issuer} for {login}")),
            Event::BrokerLoggedIn { again, lifetime } => {
                outcome.asked_for.push(format!("in, again {again}, for {lifetime:?}"));
            }
            Event::LoggedIn { principal, .. } => outcome.asked_for.push(format!("login of {principal}")),
            Event::Refused { code, reason, resource, .. } => outcome.refused.push((code, reason, resource)),
            Event::RecordsRefused { topic, partition, rule, records, .. } => {
                outcome.records_refused.push((topic, partition, rule, records));
            }
            Event::Closing { reason } => {
                outcome.closings.push(reason.code().to_owned());
                self.last_words = reason.to_string();
            }
            Event::Inspected { api, records, changed, rules, .. } => {
                let rules = rules.into_iter().map(|hit| (hit.rule, hit.action, hit.count)).collect();
                outcome.inspected.push((api, records, changed, rules));
            }
            Event::RequestEnded { api, ending, took, stages } => {
                outcome.ended.push(Ended { api, ending, took, stages })
            }
        }
    }

    fn write_to_broker(&mut self, cleared: &Cleared) {
        let frame = whole_frame(cleared);
        self.witness.broker_gets(&frame).unwrap_or_else(|error| panic!("{error}"));
        let prefix = peek_request(&frame).unwrap();
        if prefix.api_key == ApiKey::ApiVersions.code() && self.greets {
            let asked: ApiVersionsRequest = decode_request(&frame);
            assert_eq!(&*asked.client_software_name, "weir", "weir's own request");
            let answer = ApiVersionsResponse::default();
            self.from_broker.extend(response_bytes(&heard(&frame), &answer));
            return;
        }
        self.outcome.to_broker.push(frame.clone());
        self.broker_got.push_back(frame);
    }

    fn write_to_client(&mut self, cleared: &Cleared) {
        let frame = whole_frame(cleared);
        let asked = self.witness.client_gets(&frame).unwrap_or_else(|error| panic!("{error}"));
        self.outcome.to_client.push(frame.clone());
        self.client_got.push_back((asked, frame));
    }

    /// Records the first so many of what is queued, as one group.
    fn commit(&mut self, count: usize) {
        let group = self.queued.drain(..count).collect::<Vec<_>>();
        let committed = self.write(&group);
        self.hand_out(committed.receipts, &group);
        for ticket in committed.unrecorded {
            self.session.handle_unrecorded(ticket, self.now);
        }
    }

    /// Writes a group, and tells nobody of it yet. After a failure the log is opened again, as the gateway does.
    pub(crate) fn write(&mut self, group: &[(Ticket, Commit)]) -> Committed {
        let committed = self.committer.as_mut().unwrap().commit(group.to_vec());
        if self.committer.as_ref().unwrap().is_poisoned() {
            let sink = self.committer.take().unwrap().into_sink();
            let state = sink.state(CHAIN);
            self.committer = Some(Committer::open(sink, state));
        }
        committed
    }

    /// Tells the session of what is durable.
    pub(crate) fn hand_out(&mut self, receipts: Vec<Receipt>, group: &[(Ticket, Commit)]) {
        for receipt in receipts {
            let (_, commit) = group.iter().find(|(ticket, _)| *ticket == receipt.ticket()).unwrap();
            self.witness.receipt(commit);
            self.session.handle_receipt(receipt, self.now);
        }
    }

    /// The script is over: the client goes if it is still there, the log works again, and the session must come to its end.
    fn finish(mut self) -> Outcome {
        self.settle();
        self.session.handle_client_gone(self.now);
        self.sink().heal();
        self.log = Log::Prompt;
        self.settle();
        assert!(self.session.is_drained(), "{:?} is not drained", self.session);
        assert_eq!(self.session.poll_timeout(), None, "a drained session waits for nothing");
        // How much was read when a connection ended depends on how it came.
        self.outcome.ended.retain(|ended| ended.ending != Ending::Unanswered);
        let leaves_intents = self.leaves_intents;
        let open = self.sink().intents();
        assert!(open.is_empty() || leaves_intents, "intents stay open: {open:?}");
        let state = self.committer.as_ref().unwrap().state().clone();
        let entries = self.sink().entries().to_vec();
        let expected = Expected { chain: CHAIN, head: Some(state), note: None, cut: None };
        let report = verify(expected, entries.iter().map(|sealed| (sealed.entry.seq, sealed.bytes.as_slice())));
        assert_eq!(report.findings, []);
        self.outcome.log = entries.into_iter().map(|sealed| sealed.entry.body).collect();
        // Requests have an order, and so have replies; the entries of requests that are open together have none.
        self.outcome.log.sort_by_key(|entry| entry.event_id);
        self.outcome
    }

    fn sink(&mut self) -> &mut MemorySink {
        self.committer.as_mut().unwrap().sink_mut()
    }
}

pub(crate) fn whole_frame(cleared: &Cleared) -> Bytes {
    let mut reader = FrameReader::new();
    cleared.segments().for_each(|segment| reader.push(segment));
    assert!(!cleared.is_empty());
    let frame = reader.next_frame(usize::MAX).unwrap().unwrap_or_else(|| panic!("a cleared frame is whole"));
    assert!(reader.is_idle(), "a cleared frame is one frame");
    frame.freeze()
}
