//! Requests in flight share their commits: with a slow disk, five on one connection give nearly five times the throughput of one.
//!
//! Simulated time. The log takes 10 ms for a commit and steps as the gateway's ledger does ([`GroupCommit`]); what arrives during
//! a commit waits for the next. The broker takes 0.2 ms for a request, one at a time.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, ProduceRequest};
use weir_audit::{Commit, Committed, GroupCommit, Step, Ticket};

use crate::batch::Batch;
use crate::messages::{HEARTBEAT, PRODUCE, code, heartbeat, produce, produced};
use crate::stage::{Heard, Stage, play_once};

const SYNC: Duration = Duration::from_millis(10);
const BROKER: Duration = Duration::from_micros(200);
/// Between the first requests of a client.
const APART: Duration = Duration::from_micros(1300);
/// What a client needs to send its next request after an answer.
const THINK: Duration = Duration::from_micros(50);
/// What a slow one needs. Its five requests arrive over 3 ms, so even a log that waited for all of them would do a round in 23.4 ms:
/// 4.2 times the throughput of one. From 0.9 ms on, no log of two commits of 10 ms each reaches four times.
const SLOW_THINK: Duration = Duration::from_micros(600);
const RUN: Duration = Duration::from_secs(4);

/// How the log groups commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// As the gateway does.
    Dwelling,
    /// What is queued is committed at once: no dwell.
    Eager,
    /// One commit at a time.
    Single,
}

/// A log with a disk that takes its time.
struct Disk {
    grouping: Grouping,
    group: GroupCommit,
    /// What arrived and is in no group yet.
    arrived: VecDeque<(Ticket, Commit)>,
    writing: Option<(Duration, Vec<(Ticket, Commit)>)>,
}

impl Disk {
    /// Begins a commit if one is due. The time at which to look again.
    fn step(&mut self, now: Duration) -> Option<Duration> {
        if let Some((done, _)) = self.writing {
            return Some(done);
        }
        let takes = if self.grouping == Grouping::Single { 1 } else { usize::MAX };
        while !self.arrived.is_empty() && (self.grouping != Grouping::Single || self.group.is_empty()) {
            for (ticket, commit) in self.arrived.drain(..self.arrived.len().min(takes)) {
                self.group.queue(ticket, commit);
            }
        }
        match self.group.step(now) {
            Step::Wait => None,
            Step::Dwell(wait) if self.grouping == Grouping::Dwelling => Some(now + wait),
            Step::Dwell(_) | Step::Commit => {
                self.writing = Some((now + SYNC, self.group.take()));
                Some(now + SYNC)
            }
        }
    }

    /// Ends a commit whose time is over.
    fn finish(&mut self, stage: &mut Stage, now: Duration) {
        let Some((_, group)) = self.writing.take_if(|(done, _)| *done <= now) else { return };
        let Committed { receipts, unrecorded } = stage.write(&group);
        assert!(unrecorded.is_empty());
        // As the ledger: what arrived during the commit is queued, then those released owe, then they learn of it.
        if self.grouping != Grouping::Single {
            self.arrived.drain(..).for_each(|(ticket, commit)| self.group.queue(ticket, commit));
        }
        self.group.released(&receipts, SYNC, now);
        stage.hand_out(receipts, &group);
    }
}

/// What the broker has to do.
enum Asked {
    Produce(Heard, ProduceRequest),
    Heartbeat(Heard),
}

/// Runs a client with so many Produce in flight, each sent that long after the one before, and a Heartbeat behind each tenth. Produce answered per second.
fn throughput(in_flight: usize, grouping: Grouping, think: Duration) -> f64 {
    let mut answered = 0.0;
    play_once(|stage| {
        stage.login();
        stage.hold_log();
        let begin = stage.now.monotonic;
        let mut disk = Disk { grouping, group: GroupCommit::new(), arrived: VecDeque::new(), writing: None };
        let mut sends: Vec<Duration> = (0..).map(|at| begin + APART * at).take(in_flight).collect();
        let mut broker: VecDeque<(Duration, Asked)> = VecDeque::new();
        let mut sent = 0_i32;
        while stage.now.monotonic < begin + RUN {
            let now = stage.now.monotonic;
            while let Some(at) = sends.iter().position(|send| *send <= now) {
                sends.swap_remove(at);
                stage.ask(PRODUCE, &produce("orders", &Batch::of(["{}"]).by(7, 0, sent)));
                sent += 1;
                if sent % 10 == 0 {
                    stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
                }
            }
            disk.finish(stage, now);
            disk.arrived.extend(stage.take_queued());
            while let api @ Some(_) = stage.next_heard() {
                let asked = match api {
                    Some(0) => {
                        let (heard, request) = stage.heard();
                        Asked::Produce(heard, request)
                    }
                    _ => Asked::Heartbeat(stage.heard::<HeartbeatRequest>().0),
                };
                let free = broker.back().map_or(now, |(done, _)| *done).max(now);
                broker.push_back((free + BROKER, asked));
            }
            while let Some((_, asked)) = broker.pop_front_if(|(done, _)| *done <= now) {
                match asked {
                    Asked::Produce(heard, request) => stage.say(&heard, &produced(&request, 0, 0)),
                    Asked::Heartbeat(heard) => stage.say(&heard, &HeartbeatResponse::default()),
                }
            }
            stage.settle();
            disk.arrived.extend(stage.take_queued());
            let mut next = now;
            while let Some(api) = stage.next_answer() {
                if api == 0 {
                    assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
                    answered += 1.0;
                    next += think;
                    sends.push(next);
                } else {
                    stage.answer::<HeartbeatRequest>();
                }
            }
            let due =
                disk.step(now).into_iter().chain(broker.front().map(|(done, _)| *done)).chain(sends.iter().copied());
            let due = due.min().unwrap();
            stage.wait(due.saturating_sub(now).max(Duration::from_micros(1)));
        }
        // What the disk still holds is not lost.
        let mut left = disk.writing.take().map(|(_, group)| group).unwrap_or_default();
        left.extend(disk.group.take());
        left.extend(disk.arrived);
        stage.give_back(left);
    });
    answered / RUN.as_secs_f64()
}

#[test]
fn five_in_flight_give_at_least_four_times_the_throughput_of_one() {
    let (one, five) = (throughput(1, Grouping::Dwelling, THINK), throughput(5, Grouping::Dwelling, THINK));
    assert!(one > 40.0, "one in flight: two commits of 10 ms each, {one} requests a second");
    assert!(five >= 4.0 * one, "{five} requests a second with five in flight, {one} with one");
}

#[test]
fn five_requests_that_each_come_apart_give_at_least_four_times_the_throughput_of_one() {
    let one = throughput(1, Grouping::Dwelling, SLOW_THINK);
    let five = throughput(5, Grouping::Dwelling, SLOW_THINK);
    assert!(five >= 4.0 * one, "{five} requests a second with five in flight, {one} with one");
}

#[test]
fn control_without_the_dwell_five_in_flight_give_less_than_four_times() {
    let (one, five) = (throughput(1, Grouping::Eager, THINK), throughput(5, Grouping::Eager, THINK));
    assert!(five < 4.0 * one, "{five} requests a second with five in flight, {one} with one");
}

#[test]
fn control_one_commit_at_a_time_gives_no_more_than_one_in_flight() {
    let (one, five) = (throughput(1, Grouping::Single, THINK), throughput(5, Grouping::Single, THINK));
    assert!(five < 1.5 * one, "{five} requests a second with five in flight, {one} with one");
}
