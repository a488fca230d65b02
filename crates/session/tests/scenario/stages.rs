//! What is said of a request once it is over: how it ended, how long it took, and on what.

use std::time::Duration;

use kafka_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use weir_protocol::ApiKey;
use weir_session::{Ending, Stages};

use crate::batch::Batch;
use crate::messages::{
    FETCH, METADATA, PRODUCE, code, fetch, fetched, metadata, metadata_answer, partition, produce, produced,
};
use crate::stage::{Ended, Stage, play};
use crate::world::SECOND;

const CARD: &str = r#"{"card":{"number":"4111111111111111"}}"#;
const SECRET: &str = r#"{"card":{"cvc":"123"}}"#;

/// The requests that ended since this was asked last.
fn ended(stage: &mut Stage) -> Vec<Ended> {
    stage.ended().0
}

#[track_caller]
fn endings(stage: &mut Stage, expected: &[(ApiKey, Ending)]) {
    let found = ended(stage).iter().map(|ended| (ended.api.unwrap(), ended.ending)).collect::<Vec<_>>();
    assert_eq!(found, expected);
}

fn seconds(seconds: u32) -> Option<Duration> {
    Some(SECOND * seconds)
}

#[test]
fn a_produce_is_timed_by_stage() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([CARD, CARD])));
        let job = stage.take_job();
        stage.wait(SECOND);
        stage.finish_job(job);
        stage.wait(SECOND * 2);
        stage.record(1);
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.wait(SECOND * 4);
        stage.say(&asked, &produced(&request, 0, 0));
        stage.settle();
        stage.wait(SECOND * 3);
        let rules = vec![("card-numbers".to_owned(), "mask".to_owned(), 2)];
        assert_eq!(stage.ended(), (Vec::new(), vec![(ApiKey::Produce, 2, 2, rules)]));
        stage.release_log();
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        let stages = Stages { inspect: seconds(1), commit: seconds(5), broker: seconds(4) };
        let expected = Ended { api: Some(ApiKey::Produce), ending: Ending::Answered, took: SECOND * 10, stages };
        assert_eq!(ended(stage), [expected]);
    });
}

#[test]
fn a_fetch_is_timed_by_stage() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.wait(SECOND * 4);
        stage.hold_log();
        stage.say(&asked, &fetched(&request, &Batch::of(["a", "b"]).encode()));
        let job = stage.take_job();
        stage.wait(SECOND);
        stage.finish_job(job);
        stage.wait(SECOND * 2);
        stage.release_log();
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 0);
        let (ended, inspected) = stage.ended();
        let stages = Stages { inspect: seconds(1), commit: seconds(2), broker: seconds(4) };
        let expected = Ended { api: Some(ApiKey::Fetch), ending: Ending::Answered, took: SECOND * 7, stages };
        assert_eq!(ended, [expected]);
        assert_eq!(inspected, [(ApiKey::Fetch, 2, 0, Vec::new())]);
    });
}

#[test]
fn a_login_waits_for_the_log_and_metadata_for_the_broker() {
    play(|stage| {
        stage.login();
        let login = ended(stage);
        let apis = login.iter().map(|ended| ended.api.unwrap()).collect::<Vec<_>>();
        assert_eq!(apis, [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate]);
        assert!(login[0].stages == Stages::default() && login[1].stages.commit.is_some());
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.wait(SECOND);
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        let stages = Stages { broker: seconds(1), ..Stages::default() };
        let expected = Ended { api: Some(ApiKey::Metadata), ending: Ending::Answered, took: SECOND, stages };
        assert_eq!(ended(stage), [expected], "weir's own ApiVersions is nobody's request");
    });
}

#[test]
fn what_weir_refuses_is_counted_as_refused() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([SECRET])));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 87);
        stage.ask(PRODUCE, &produce("salaries", &Batch::of(["a"])));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 29);
        stage.ask(FETCH, &fetch(&["salaries"]));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 29);
        let refused = [ApiKey::Produce, ApiKey::Produce, ApiKey::Fetch].map(|api| (api, Ending::Refused));
        endings(stage, &refused);
    });
}

#[test]
fn what_cannot_be_recorded_is_counted_as_unrecorded() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.fail_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 56);
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.say(&asked, &fetched(&request, &Batch::of(["a"]).encode()));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 56);
        endings(stage, &[(ApiKey::Produce, Ending::Unrecorded), (ApiKey::Fetch, Ending::Unrecorded)]);
    });
}

#[test]
fn a_request_whose_connection_ends_is_unanswered() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.ask(METADATA, &metadata());
        stage.heard::<MetadataRequest>();
        stage.broker_goes();
        endings(stage, &[(ApiKey::Metadata, Ending::Unanswered)]);
    });
}

#[test]
fn a_request_that_asks_for_no_answer_is_counted_too() {
    play(|stage| {
        stage.login();
        stage.ended();
        stage.ask_silently(PRODUCE, &produce("orders", &Batch::of(["a"])).with_acks(0));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        stage.settle();
        endings(stage, &[(ApiKey::Produce, Ending::Answered)]);
    });
}
