//! The client or the broker goes: what was open is closed, and the session comes to its end.

use kafka_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use weir_audit::{
    ChainId, ChainState, Commit, Committer, ConnectionId, Decision, EntryBody, EventId, Kind, MemorySink, Outcome,
    Ticket,
};
use weir_session::Done;

use crate::batch::Batch;
use crate::messages::{FETCH, METADATA, PRODUCE, code, fetch, fetched, metadata, metadata_answer, produce, produced};
use crate::stage::{CONNECTION, Stage, play};

/// The one entry about a Produce.
#[track_caller]
fn closing_entry(stage: &mut Stage) -> EntryBody {
    let entries: Vec<_> = stage.entries().into_iter().filter(|entry| entry.kind == Kind::Produce).collect();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    entry.clone()
}

#[test]
fn a_client_gone_while_the_intent_is_recorded() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.heard_nothing();
        stage.client_goes();
        assert!(!stage.session.is_drained(), "the intent will be durable and open");
        stage.record(1);
        assert_eq!(stage.open_intents().len(), 1);
        stage.record(1);
        assert!(stage.session.is_drained());
        assert_eq!(stage.open_intents(), []);
        let entry = closing_entry(stage);
        assert_eq!((entry.outcome, entry.decision), (Outcome::None, Decision::Pass));
        stage.heard_nothing();
        stage.closed_by("client_gone");
    });
}

#[test]
fn a_client_gone_while_the_intent_is_recorded_which_then_fails() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.client_goes();
        stage.fail_log();
        stage.record(1);
        assert!(stage.session.is_drained());
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn what_a_client_sent_before_it_closed_its_side_goes_on_and_is_answered() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.client_ends();
        assert!(!stage.session.is_closing(), "its batch is not stored yet");
        stage.release_log();
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.closed_by("client_gone");
        assert_eq!(closing_entry(stage).outcome, Outcome::Stored);
    });
}

#[test]
fn a_client_gone_when_the_request_may_leave_and_has_not() {
    play(|stage| {
        stage.login();
        stage.connects = false;
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.heard_nothing();
        assert_eq!(stage.open_intents().len(), 1);
        stage.client_goes();
        assert_eq!(stage.open_intents(), []);
        assert_eq!(closing_entry(stage).outcome, Outcome::None);
        assert!(stage.session.is_drained());
    });
}

#[test]
fn a_client_gone_when_the_broker_has_the_request() {
    play(|stage| {
        stage.login();
        for topic in ["orders", "outcomes", "clicks"] {
            stage.ask(PRODUCE, &produce(topic, &Batch::of(["a"])));
            stage.heard::<ProduceRequest>();
        }
        stage.client_goes();
        let entries: Vec<_> = stage.entries().into_iter().filter(|entry| entry.kind == Kind::Produce).collect();
        assert_eq!(entries.len(), 3, "with an intent or without");
        for entry in entries {
            assert_eq!((entry.outcome, entry.decision), (Outcome::Unknown, Decision::Unknown));
        }
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_client_gone_while_the_outcome_is_recorded() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.hold_log();
        stage.say(&asked, &produced(&request, 3, 0));
        stage.client_goes();
        assert!(!stage.session.is_drained());
        stage.record(1);
        assert!(stage.session.is_drained());
        assert_eq!(closing_entry(stage).outcome, Outcome::Stored);
    });
}

#[test]
fn a_client_gone_while_the_outcome_is_recorded_which_then_fails() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.hold_log();
        stage.say(&asked, &produced(&request, 3, 0));
        stage.client_goes();
        stage.fail_log();
        stage.record(1);
        assert!(!stage.session.is_drained(), "the records are stored: their entry is tried again");
        stage.heal_log();
        stage.record(1);
        assert!(stage.session.is_drained());
        assert_eq!(closing_entry(stage).outcome, Outcome::Stored);
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_client_gone_while_an_outcome_waits_to_be_tried_again() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.fail_log();
        stage.say(&asked, &produced(&request, 3, 0));
        stage.no_answer();
        stage.heal_log();
        stage.client_goes();
        assert!(stage.session.is_drained());
        assert_eq!(closing_entry(stage).outcome, Outcome::Stored);
    });
}

#[test]
fn an_entry_that_the_log_takes_over_is_not_waited_for() {
    play(|stage| {
        stage.leaves_intents = true;
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.heard::<ProduceRequest>();
        stage.hold_log();
        stage.client_goes();
        let taken = stage.take_queued();
        assert_eq!(taken.len(), 1);
        assert!(!stage.session.is_drained());
        for (ticket, _) in taken {
            stage.session.handle_owed(ticket);
        }
        assert!(stage.session.is_drained());
    });
}

#[test]
fn what_a_client_sent_before_it_ended_goes_on_and_is_answered() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.ask_silently(PRODUCE, &produce("orders", &Batch::of(["b"])).with_acks(0));
        stage.client_ends();
        assert_eq!(stage.session.wants_client_bytes(), 0);
        let first = stage.heard::<ProduceRequest>();
        let second = stage.heard::<ProduceRequest>();
        for (asked, request) in [first, second] {
            stage.say(&asked, &produced(&request, 0, 0));
        }
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.no_answer();
        stage.closed_by("client_gone");
        assert!(stage.session.is_drained());
        assert_eq!(stage.entries().iter().filter(|entry| entry.outcome == Outcome::Stored).count(), 2);
    });
}

#[test]
fn what_a_client_sent_before_it_ended_is_read_though_it_waited_for_its_turn() {
    play(|stage| {
        stage.login();
        for _ in 0..10 {
            stage.ask(METADATA, &metadata());
        }
        let first: Vec<_> = (0..8).map(|_| stage.heard::<MetadataRequest>().0).collect();
        for asked in &first {
            stage.say(asked, &metadata_answer());
            stage.answer::<MetadataRequest>();
        }
        let last: Vec<_> = (0..2).map(|_| stage.heard::<MetadataRequest>().0).collect();
        stage.client_ends();
        for asked in &last {
            stage.say(asked, &metadata_answer());
            stage.answer::<MetadataRequest>();
        }
        stage.closed_by("client_gone");
    });
}

#[test]
fn a_client_that_ended_is_waited_for_only_as_long_as_the_log() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.heard::<MetadataRequest>();
        stage.client_ends();
        stage.wait(10 * crate::world::SECOND - crate::world::TICK);
        stage.stays_open();
        stage.wait(crate::world::TICK);
        stage.closed_by("client_gone");
    });
    play(|stage| {
        stage.login();
        stage.client_ends();
        stage.closed_by("client_gone");
    });
}

#[test]
fn a_client_gone_in_the_middle_of_a_frame() {
    play(|stage| {
        stage.login();
        stage.send_raw(&[0, 0, 0, 9, 1]);
        stage.client_goes();
        stage.closed_by("frame_cut");
    });
}

#[test]
fn a_client_gone_while_its_records_are_inspected() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let job = stage.take_job();
        stage.session.handle_client_gone(stage.now);
        assert!(!stage.session.is_drained(), "its job is out");
        stage.finish_job(job);
        stage.heard_nothing();
        assert!(stage.session.is_drained());
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_broker_gone_before_its_answer_and_in_the_middle_of_it() {
    for part in [0, 3, 20] {
        play(|stage| {
            stage.login();
            stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
            stage.ask(METADATA, &metadata());
            let (asked, request) = stage.heard::<ProduceRequest>();
            let answer = crate::stage::response_bytes(&asked, &produced(&request, 0, 0));
            stage.say_raw(&answer[..part]);
            stage.broker_goes();
            stage.no_answer();
            stage.closed_by("broker_down");
            assert_eq!(closing_entry(stage).outcome, Outcome::Unknown);
            assert_eq!(stage.open_intents(), []);
        });
    }
}

#[test]
fn a_broker_that_is_not_reached_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.connects = false;
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        assert_eq!(stage.asked_for().last().unwrap(), "broker Some(0)");
        stage.broker_goes();
        stage.no_answer();
        stage.closed_by("broker_down");
    });
}

#[test]
fn requests_wait_for_a_broker_that_comes_late() {
    play(|stage| {
        stage.login();
        stage.connects = false;
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        stage.wait(3 * crate::world::SECOND);
        stage.broker_comes();
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
    });
}

#[test]
fn an_answer_of_the_broker_that_cannot_be_read_leaves_no_intent_open() {
    let spoil: [fn(&mut Vec<u8>); 3] =
        [|answer| answer[7] ^= 1, |answer| answer.truncate(answer.len() - 1), |answer| answer.extend([1, 2, 3])];
    for spoil in spoil {
        play(|stage| {
            stage.login();
            stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
            let (asked, request) = stage.heard::<ProduceRequest>();
            let mut answer = crate::stage::response_bytes(&asked, &produced(&request, 0, 0));
            let mut frame = answer.split_off(4);
            spoil(&mut frame);
            stage.say_raw(&crate::stage::sized(&frame));
            stage.no_answer();
            stage.closed_by("malformed_response");
            assert_eq!(closing_entry(stage).outcome, Outcome::Unknown);
            assert_eq!(stage.open_intents(), []);
        });
    }
}

#[test]
fn a_partition_missing_in_the_answer_leaves_no_intent_open() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        let mut answer = produced(&request, 0, 0);
        answer.responses[0].partition_responses.clear();
        stage.say(&asked, &answer);
        stage.no_answer();
        stage.closed_by("malformed_response");
        assert_eq!(closing_entry(stage).outcome, Outcome::Unknown);
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_failed_job_ends_the_connection_and_what_it_held_goes_nowhere() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let job = stage.take_job();
        stage.session.handle_done(Done::failed(job.slot()), stage.now);
        stage.heard_nothing();
        stage.no_answer();
        stage.closed_by("inspection_failed");
        assert!(stage.session.is_drained());
    });
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.say(&asked, &fetched(&request, &Batch::of(["a"]).encode()));
        let job = stage.take_job();
        stage.session.handle_done(Done::failed(job.slot()), stage.now);
        stage.no_answer();
        stage.closed_by("inspection_failed");
    });
}

#[test]
fn a_receipt_of_another_session_changes_nothing() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.settle();
        // The same serial numbers, another connection, another log.
        let other = ConnectionId(CONNECTION.0 + 1);
        let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([8; 16])));
        let entry = || EntryBody::new(Kind::Boot, EventId::new(0, [0; 10]), 0);
        let commits = (0..8).map(|at| (Ticket::new(other, at), Commit::Entry { entry: entry(), closes: vec![] }));
        for receipt in committer.commit(commits.collect()).receipts {
            stage.session.handle_receipt(receipt, stage.now);
        }
        for serial in 0..8 {
            stage.session.handle_unrecorded(Ticket::new(other, serial), stage.now);
        }
        stage.heard_nothing();
        stage.no_answer();
        stage.record(1);
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.release_log();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn whatever_happens_to_a_session_that_is_over_is_harmless() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.heard::<ProduceRequest>();
        stage.client_goes();
        let now = stage.now;
        stage.session.handle_client_bytes(&[0, 0, 0, 1, 1], now);
        stage.session.handle_broker_bytes(&[0, 0, 0, 1, 1], now);
        stage.session.handle_broker_up(now);
        stage.session.handle_broker_down("late", now);
        stage.session.handle_client_gone(now);
        stage.session.handle_timeout(now);
        stage.session.handle_shutdown(true, now);
        stage.session.handle_done(Done::failed(0), now);
        stage.session.handle_unrecorded(Ticket::new(CONNECTION, 0), now);
        stage.swap(crate::world::context());
        stage.no_answer();
        stage.heard_nothing();
        stage.closed_by("client_gone");
        assert!(stage.session.is_drained());
    });
}
