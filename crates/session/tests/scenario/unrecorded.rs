//! What cannot be recorded does not happen, or is not told.

use kafka_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use weir_audit::{Commit, Kind, Outcome};
use weir_session::Context;

use crate::batch::Batch;
use crate::messages::{
    FETCH, METADATA, PRODUCE, code, codes, fetch, fetched, metadata, metadata_answer, partition, produce, produce_to,
    produced,
};
use crate::stage::{authentication, play};
use crate::world::{SECOND, context, token};

#[test]
fn an_intent_that_cannot_be_written_gets_56_and_nothing_goes_on() {
    play(|stage| {
        stage.login();
        stage.fail_log();
        let batch = Batch::of(["a"]).encode();
        stage.ask(
            PRODUCE,
            &produce_to(vec![("orders", vec![(0, batch.clone()), (1, batch.clone())]), ("salaries", vec![(0, batch)])]),
        );
        let answer = stage.answer::<ProduceRequest>();
        let expected =
            [("orders".to_owned(), vec![(0, 56, -1), (1, 56, -1)]), ("salaries".to_owned(), vec![(0, 29, -1)])];
        assert_eq!(codes(&answer), expected);
        stage.heard_nothing();
        stage.stays_open();
        stage.heal_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn a_batch_does_not_overtake_one_of_its_producer_that_could_not_be_recorded() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        let batch = |sequence: i32| Batch::of(["{}"]).by(7, 0, sequence);
        stage.ask(PRODUCE, &produce("orders", &batch(5)));
        stage.ask(PRODUCE, &produce("orders", &batch(6)));
        stage.ask(PRODUCE, &produce("payments.eu", &batch(6)));
        stage.settle();
        // The log fails for the first intent alone.
        stage.fail_log();
        stage.record(1);
        stage.heal_log();
        stage.record(2);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 56);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 56);
        let (asked, request) = stage.heard::<ProduceRequest>();
        assert_eq!(request.topic_data[0].name, crate::messages::topic("payments.eu"));
        stage.release_log();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        let outcomes: Vec<_> = stage.entries().iter().map(|entry| entry.outcome).collect();
        assert!(outcomes.contains(&Outcome::Refused { code: 56 }), "{outcomes:?}");
        assert_eq!(stage.open_intents(), []);
        // The one behind still may not pass; the one that failed may, and then all may.
        stage.ask(PRODUCE, &produce("orders", &batch(6)));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 45);
        for sequence in [5, 6] {
            stage.ask(PRODUCE, &produce("orders", &batch(sequence)));
            let (asked, request) = stage.heard::<ProduceRequest>();
            stage.say(&asked, &produced(&request, 0, 0));
            assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        }
    });
}

#[test]
fn an_outcome_that_cannot_be_written_is_held_and_never_56() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.fail_log();
        stage.say(&asked, &produced(&request, 0, 0));
        stage.no_answer();
        stage.wait(9 * SECOND);
        stage.no_answer();
        stage.heal_log();
        stage.wait(SECOND / 2);
        // Tried again meanwhile: the answer is the broker's.
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        assert_eq!(stage.entries().iter().filter(|entry| entry.kind == Kind::Produce).count(), 1);
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn an_outcome_that_stays_unwritten_ends_the_connection_and_the_client_is_told_nothing() {
    play(|stage| {
        stage.leaves_intents = true;
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.fail_log();
        stage.say(&asked, &produced(&request, 0, 0));
        stage.wait(10 * SECOND - crate::world::TICK);
        stage.stays_open();
        stage.wait(crate::world::TICK);
        stage.no_answer();
        stage.closed_by("audit_hold");
        // The intent is the evidence that is left.
        assert_eq!(stage.open_intents().len(), 1);
    });
}

#[test]
fn what_is_behind_a_held_outcome_waits_with_it() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.ask(METADATA, &metadata());
        let (first, request) = stage.heard::<ProduceRequest>();
        let (second, _) = stage.heard::<MetadataRequest>();
        stage.fail_log();
        stage.say(&first, &produced(&request, 0, 0));
        stage.say(&second, &metadata_answer());
        stage.wait(SECOND);
        stage.no_answer();
        stage.heal_log();
        stage.wait(SECOND);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.answer::<MetadataRequest>();
    });
}

#[test]
fn a_refusal_that_cannot_be_written_is_held_too() {
    play(|stage| {
        stage.login();
        stage.fail_log();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([r#"{"card":{"cvc":"123"}}"#])));
        stage.no_answer();
        stage.heal_log();
        stage.wait(SECOND);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 87);
    });
}

#[test]
fn fetched_records_that_cannot_be_recorded_are_withheld_with_56() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders", "payments.eu"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.fail_log();
        stage.say(&asked, &fetched(&request, &Batch::of(["{}"]).encode()));
        let answer = stage.answer::<FetchRequest>();
        for topic in &answer.responses {
            assert_eq!(topic.partitions[0].error_code, 56);
            assert!(topic.partitions[0].records.as_ref().is_none_or(bytes::Bytes::is_empty));
        }
        stage.stays_open();
        stage.heal_log();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.say(&asked, &fetched(&request, &Batch::of(["{}"]).encode()));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 0);
    });
}

#[test]
fn a_login_that_cannot_be_recorded_ends_the_connection() {
    play(|stage| {
        stage.handshake();
        stage.fail_log();
        stage.ask(2, &authentication(&token("svc-1", "checkout", stage.now, 60 * SECOND)));
        stage.no_answer();
        stage.closed_by("audit_hold");
    });
}

#[test]
fn a_request_behind_acks_0_that_cannot_be_recorded_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.fail_log();
        stage.ask_silently(PRODUCE, &produce("orders", &Batch::of(["a"])).with_acks(0));
        stage.heard_nothing();
        stage.no_answer();
        stage.closed_by("silent_request_refused");
    });
}

#[test]
fn durability_outcome_waits_for_the_outcome_alone() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("outcomes", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        assert_eq!(stage.queued(), []);
        stage.say(&asked, &produced(&request, 0, 0));
        stage.no_answer();
        assert!(matches!(&stage.queued()[..], [Commit::Entry { closes, .. }] if closes.is_empty()));
        stage.record(1);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn durability_async_waits_for_nothing_and_is_recorded_all_the_same() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("clicks", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.release_log();
        assert_eq!(stage.entries().last().unwrap().outcome, Outcome::Stored);
    });
}

#[test]
fn while_the_log_cannot_be_written_async_topics_do_not_move_either() {
    play(|stage| {
        stage.login();
        stage.fail_log();
        stage.swap(Context { recording: false, ..context() });
        stage.ask(PRODUCE, &produce("clicks", &Batch::of(["a"])));
        stage.heard_nothing();
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 56);
        stage.heal_log();
        stage.swap(context());
        stage.ask(PRODUCE, &produce("clicks", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn the_surest_durability_of_a_request_holds_for_all_of_it() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        let batch = Batch::of(["a"]).encode();
        stage.ask(PRODUCE, &produce_to(vec![("clicks", vec![(0, batch.clone())]), ("orders", vec![(0, batch)])]));
        stage.heard_nothing();
        stage.record(1);
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        stage.no_answer();
        stage.record(1);
        stage.answer::<ProduceRequest>();
    });
}

#[test]
fn a_login_again_that_cannot_be_recorded_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.wait(SECOND);
        stage.handshake();
        stage.fail_log();
        let again = token("svc-1", "checkout", stage.now, 60 * SECOND);
        stage.ask(2, &authentication(&again));
        stage.no_answer();
        stage.closed_by("audit_hold");
    });
}
