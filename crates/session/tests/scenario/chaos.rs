//! Whatever happens in whatever order: the witness finds nothing, and the session comes to its end with no intent open.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, HeartbeatRequest, HeartbeatResponse, MetadataRequest, ProduceRequest,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use proptest::prelude::*;

use crate::batch::Batch;
use crate::messages::{
    FETCH, HEARTBEAT, METADATA, PRODUCE, fetch, fetched, heartbeat, metadata, metadata_answer, produce, produced,
};
use crate::stage::{Heard, Setup, Stage, play_way};
use crate::upstream;

const TOPICS: [&str; 5] = ["orders", "payments.eu", "clicks", "outcomes", "salaries"];
const VALUES: [&str; 4] = ["{}", r#"{"card":{"number":"4111111111111111"}}"#, r#"{"card":{"cvc":"123"}}"#, "no json"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    Produce {
        topic: usize,
        value: usize,
        silent: bool,
    },
    Fetch {
        topic: usize,
    },
    Metadata,
    Heartbeat {
        granted: bool,
    },
    ApiVersions,
    /// The broker answers its oldest request, with an error or without.
    Answer {
        code: i16,
        value: usize,
    },
    HoldLog,
    ReleaseLog,
    FailLog,
    HealLog,
    Record,
    Wait(u64),
    ClientEnds,
    ClientGoes,
    BrokerGoes,
    Malformed,
}

fn act() -> impl Strategy<Value = Act> {
    let topic = 0..TOPICS.len();
    let value = 0..VALUES.len();
    prop_oneof![
        8 => (topic.clone(), value.clone(), prop::bool::weighted(0.1))
            .prop_map(|(topic, value, silent)| Act::Produce { topic, value, silent }),
        4 => topic.prop_map(|topic| Act::Fetch { topic }),
        2 => Just(Act::Metadata),
        2 => any::<bool>().prop_map(|granted| Act::Heartbeat { granted }),
        1 => Just(Act::ApiVersions),
        12 => (prop_oneof![4 => Just(0), 1 => Just(19)], value).prop_map(|(code, value)| Act::Answer { code, value }),
        2 => Just(Act::HoldLog),
        2 => Just(Act::ReleaseLog),
        1 => Just(Act::FailLog),
        2 => Just(Act::HealLog),
        4 => Just(Act::Record),
        2 => (1..3000_u64).prop_map(Act::Wait),
        1 => prop_oneof![
            Just(Act::ClientEnds), Just(Act::ClientGoes), Just(Act::BrokerGoes), Just(Act::Malformed)
        ],
    ]
}

/// A request that the broker has not answered.
enum Open {
    Produce(Heard, ProduceRequest),
    Fetch(Heard, FetchRequest),
    Metadata(Heard),
    Heartbeat(Heard),
    /// weir's own login, in two steps.
    Handshake(Heard),
    Password(Heard),
}

/// How long the broker lets weir in, so that it is renewed within a run.
const LOGIN_MS: i64 = 3000;

fn listen(stage: &mut Stage, open: &mut VecDeque<Open>) {
    while let Some(api) = stage.next_heard() {
        open.push_back(match api {
            0 => {
                let (heard, request) = stage.heard();
                Open::Produce(heard, request)
            }
            1 => {
                let (heard, request) = stage.heard();
                Open::Fetch(heard, request)
            }
            3 => Open::Metadata(stage.heard::<MetadataRequest>().0),
            17 => Open::Handshake(stage.heard::<SaslHandshakeRequest>().0),
            36 => Open::Password(stage.heard::<SaslAuthenticateRequest>().0),
            _ => Open::Heartbeat(stage.heard::<HeartbeatRequest>().0),
        });
    }
}

fn answer(stage: &mut Stage, open: Open, code: i16, value: usize) {
    match open {
        Open::Produce(heard, request) => stage.say(&heard, &produced(&request, 0, code)),
        Open::Fetch(heard, request) => stage.say(&heard, &fetched(&request, &Batch::of([VALUES[value]]).encode())),
        Open::Metadata(heard) => stage.say(&heard, &metadata_answer()),
        Open::Heartbeat(heard) => stage.say(&heard, &HeartbeatResponse::default()),
        Open::Handshake(heard) => stage.say(&heard, &SaslHandshakeResponse::default()),
        // What is an error to a Produce is a refusal here.
        Open::Password(heard) if code == 0 => stage.let_in(&heard, "", LOGIN_MS),
        Open::Password(heard) => stage.say(&heard, &SaslAuthenticateResponse::default().with_error_code(58)),
    }
}

fn run(stage: &mut Stage, acts: &[Act]) {
    stage.login();
    let (mut open, mut sequence) = (VecDeque::new(), 0);
    for act in acts {
        listen(stage, &mut open);
        match act {
            Act::Produce { topic, value, silent } => {
                let request = produce(TOPICS[*topic], &Batch::of([VALUES[*value]]).by(7, 0, sequence));
                sequence += 1;
                if *silent {
                    stage.ask_silently(PRODUCE, &request.with_acks(0));
                } else {
                    stage.ask(PRODUCE, &request);
                }
            }
            Act::Fetch { topic } => {
                stage.ask(FETCH, &fetch(&[TOPICS[*topic]]));
            }
            Act::Metadata => {
                stage.ask(METADATA, &metadata());
            }
            Act::Heartbeat { granted } => {
                stage.ask(HEARTBEAT, &heartbeat(if *granted { "checkout-1" } else { "payroll" }));
            }
            Act::ApiVersions => {
                stage.ask(0, &ApiVersionsRequest::default());
            }
            Act::Answer { code, value } => {
                if let Some(asked) = open.pop_front() {
                    answer(stage, asked, *code, *value);
                }
            }
            Act::HoldLog => stage.hold_log(),
            Act::ReleaseLog => stage.release_log(),
            Act::FailLog => {
                stage.leaves_intents = true;
                stage.fail_log();
            }
            Act::HealLog => stage.heal_log(),
            Act::Record => {
                let count = stage.queued().len().min(1);
                stage.record(count);
            }
            Act::Wait(milliseconds) => stage.wait(Duration::from_millis(*milliseconds)),
            Act::ClientEnds => stage.client_ends(),
            Act::ClientGoes => stage.client_goes(),
            Act::BrokerGoes => stage.broker_goes(),
            Act::Malformed => stage.send_raw(&[0, 0, 0, 2, 1, 1]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn order_and_proof_hold_whatever_happens(way in 0..6_usize, acts in prop::collection::vec(act(), 1..60)) {
        play_way(way, Setup::default(), |stage| run(stage, &acts));
    }

    #[test]
    fn nor_does_a_login_to_the_broker_change_it(way in 0..6_usize, acts in prop::collection::vec(act(), 1..60)) {
        play_way(way, Setup { context: upstream::context(), ..Setup::default() }, |stage| run(stage, &acts));
    }
}

/// Negative control: a session that does not wait for entries is found out.
#[cfg(feature = "sabotage")]
#[test]
#[should_panic(expected = "no entry")]
fn control_answers_before_their_entries_are_found() {
    use proptest::test_runner::TestRunner;

    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 16, ..ProptestConfig::with_cases(256) };
    let found = TestRunner::new(config).run(&(0..6_usize, prop::collection::vec(act(), 40..60)), |(way, acts)| {
        let mut setup = Setup::default();
        setup.context.sabotage = Some(weir_session::Sabotage::AckBeforeEntry);
        play_way(way, setup, |stage| run(stage, &acts));
        Ok(())
    });
    panic!("{found:?}");
}
