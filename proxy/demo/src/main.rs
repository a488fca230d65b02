#![doc = include_str!("../README.md")]

mod client;
mod compare;
mod error;
mod screen;
mod stage;

use std::env;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::Value;
use weir_testkit::Finished;

use crate::client::Delivery;
use crate::compare::compare;
use crate::error::DemoError;
use crate::screen::{Note, Screen};
use crate::stage::{Stage, TOPIC, Tampering};

/// Shows weir at work in front of an embedded broker. Every line is read back from the broker, a consumer or the log.
#[derive(Debug, Parser)]
#[command(name = "weir-demo", version)]
struct Arguments {
    /// The weir binary; the one beside this program if not given.
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// The policy weir works with; `none` has access and no rule, and shows clear text.
    #[arg(long, value_enum, default_value_t = Policy::Payments)]
    policy: Policy,
    /// Stay up afterwards, for your own clients, until Enter.
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    Payments,
    None,
}

impl Policy {
    /// `none` is the same file up to its rules: alike in who may do what.
    fn text(self) -> &'static str {
        match self {
            Self::Payments => PAYMENTS,
            Self::None => PAYMENTS.split_once(RULES).map_or(PAYMENTS, |(access, _)| access),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Payments => "policies/payments.yaml",
            Self::None => "access, and not one rule",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With no terminal left there is nobody to tell.
            drop(writeln!(io::stderr().lock(), "weir-demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), DemoError> {
    let started = Instant::now();
    let weir = match &arguments.weir {
        Some(path) => path.clone(),
        None => beside_this_program()?,
    };
    let stage = Stage::build(&weir, arguments.policy.text(), arguments.keep)?;
    let shown = show(&stage, arguments, started);
    if shown.is_err() {
        drop(writeln!(io::stderr().lock(), "what weir wrote:\n{}", stage.log()?));
    }
    shown?;
    stage.close()
}

fn show(stage: &Stage, arguments: &Arguments, started: Instant) -> Result<(), DemoError> {
    let mut screen = Screen::new();
    screen.line(&format!("weir demo    one embedded broker · weir in front of it · {}", arguments.policy.name()))?;
    screen.line("")?;
    one_order(stage, &mut screen)?;
    one_card_code(stage, &mut screen)?;
    one_expired_token(stage, &mut screen)?;
    the_log(stage, &mut screen)?;
    screen.line("")?;
    let (ready, whole) = (stage.ready_after().as_millis(), started.elapsed().as_secs_f32());
    screen.line(&format!("weir was ready after {ready} ms; the whole demonstration took {whole:.1} s"))?;
    if arguments.keep { keep(stage, &screen) } else { screen.line("try it with your own client:  ./justw demo --keep") }
}

/// An order is sent, stored and received by two groups.
fn one_order(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.step("checkout sends", ORDER, &Note::None)?;
    let offset = match client::send(&stage.door("checkout")?, TOPIC, ORDER)? {
        Delivery::Stored { offset } => offset,
        Delivery::Refused { error } => return screen.more("the client was told", &error, &refused()),
    };
    let stored = client::receive(&stage.back_door(), "demo-broker", TOPIC, offset)?;
    screen.read_back("the broker stored", ORDER, &stored, &changes(ORDER, &stored))?;
    for (at, group) in ["analytics", "fraud-desk"].into_iter().enumerate() {
        let received = client::receive(&stage.door(group)?, &format!("{group}-demo"), TOPIC, offset)?;
        let (label, note) = (format!("{group} receives"), changes(ORDER, &received));
        if at == 0 {
            screen.step_read_back(&label, ORDER, &received, &note)?;
        } else {
            screen.read_back(&label, ORDER, &received, &note)?;
        }
    }
    Ok(())
}

/// An order that must not be stored at all.
fn one_card_code(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.step("checkout sends", CARD_CODE, &Note::None)?;
    match client::send(&stage.door("checkout")?, TOPIC, CARD_CODE)? {
        Delivery::Refused { error } => {
            screen.more("the client was told", &error, &refused())?;
            let entry = stage.entry("block")?;
            let rule = entry.pointer("/rules/0/rule").and_then(Value::as_str).unwrap_or("-");
            screen.more("the log says", &format!("rule `{rule}`, event {}", event(&entry)), &Note::None)?;
        }
        Delivery::Stored { offset } => {
            let stored = client::receive(&stage.back_door(), "demo-broker", TOPIC, offset)?;
            screen.read_back("the broker stored", CARD_CODE, &stored, &changes(CARD_CODE, &stored))?;
        }
    }
    let count = client::count(&stage.back_door(), TOPIC)?;
    let records = format!("{count} record{}", if count == 1 { "" } else { "s" });
    screen.more("the broker holds", &records, &Note::None)
}

fn one_expired_token(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    let door = stage.expired_door("checkout", Duration::from_secs(180))?;
    screen.step("checkout logs in", "with a token that expired 3 minutes ago", &Note::None)?;
    match client::refusal(&door, TOPIC)? {
        Some(error) => {
            screen.more("the client was told", &error, &refused())?;
            let entry = stage.entry("auth_fail")?;
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("-");
            screen.more("the log says", &format!("{reason}, event {}", event(&entry)), &Note::None)
        }
        None => screen.more("the client", "is logged in", &Note::None),
    }
}

/// The log answers, proves itself, and does not prove a copy that was tampered with.
fn the_log(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    let queried = stage.verb(&["audit", "query", "--topic", TOPIC])?;
    screen.step(&format!("weir audit query --topic {TOPIC}"), "", &Note::None)?;
    screen.output(&queried.stdout)?;
    // A checkpoint follows each second.
    let verified = stage.verb_until(&["audit", "verify"], |answer| !answer.contains("in no checkpoint yet"))?;
    screen.step("weir audit verify", "", &exit_code(&verified))?;
    screen.output(&verified.stdout)?;
    for (label, tampering) in [("one bit flipped", Tampering::FlipBit), ("a copy cut short", Tampering::CutShort)] {
        let checked = stage.verify_tampered_copy(tampering)?;
        let said = [checked.stdout.as_str(), checked.stderr.as_str()].concat();
        screen.more(label, said.lines().next().unwrap_or_default(), &exit_code(&checked))?;
    }
    Ok(())
}

fn changes(sent: &str, read: &str) -> Note {
    let said = compare(sent, read);
    if sent == read { Note::Plain(said) } else { Note::Good(said) }
}

fn refused() -> Note {
    Note::Stopped("refused".to_owned())
}

fn event(entry: &Value) -> &str {
    entry.get("event").and_then(Value::as_str).unwrap_or("-")
}

fn exit_code(finished: &Finished) -> Note {
    let code = finished.status.code().map_or_else(|| finished.status.to_string(), |code| format!("exit {code}"));
    if finished.status.success() { Note::Good(code) } else { Note::Stopped(code) }
}

/// Leaves everything up until Enter.
fn keep(stage: &Stage, screen: &Screen) -> Result<(), DemoError> {
    let Some(visitors) = stage.visitors() else { return Ok(()) };
    screen.line("")?;
    screen.line(&format!("try it     kcat -b {visitors} -C -e -t {TOPIC}      (no token: in the group analytics)"))?;
    screen.line(&format!("metrics    http://{}/metrics", stage.metrics()))?;
    screen.line("Enter ends it")?;
    io::stdin().lock().read_line(&mut String::new()).map_err(DemoError::io("read the terminal"))?;
    Ok(())
}

fn beside_this_program() -> Result<PathBuf, DemoError> {
    let program = env::current_exe().map_err(DemoError::io("find this program"))?;
    Ok(program.with_file_name("weir"))
}

const PAYMENTS: &str = include_str!("../../../policies/payments.yaml");

/// The line where the rules of the policy begin.
const RULES: &str = "\nrules:\n";

/// A well-known test number of a card network, and an address that cannot exist.
const ORDER: &str = r#"{"order":17,"card":{"number":"4111111111111111"},"email":"ada@example.com"}"#;

const CARD_CODE: &str = r#"{"order":18,"card":{"number":"4111111111111111","cvv":"737"}}"#;

#[cfg(test)]
mod tests {
    use weir_policy::{KeyRing, PolicyLimits, PolicySet, Source};
    use weir_yaml::Problems;

    use super::Policy;

    /// Compiles without an error or a warning; returns the number of rules.
    fn check(policy: Policy) -> usize {
        let (keys, mut problems) = (KeyRing::new(Vec::new()), Problems::default());
        let source = Source { name: "payments.yaml".to_owned(), text: policy.text().to_owned() };
        let set = PolicySet::compile(&[source], &keys, &PolicyLimits::default(), &mut problems);
        assert!(problems.is_empty(), "{problems}");
        set.unwrap().rule_count()
    }

    #[test]
    fn one_policy_has_rules_and_the_other_none() {
        assert!(check(Policy::Payments) >= 3);
        assert_eq!(check(Policy::None), 0);
    }
}
