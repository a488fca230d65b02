//! Runs the tests that policies carry.
//!
//! A test is one record. It goes the way that a client's record goes: access, the rules of its topic, and a real record batch
//! rewritten by [`weir_protocol::records`]; what comes out is read back from the batch and compared with what the test expects.

mod batch;
mod diff;
pub(crate) mod fuzz;

use weir_protocol::records::{
    BatchError, Change, Limits, Options, Scratch as RecordScratch, rewrite_fetch, rewrite_produce,
};
use weir_yaml::Place;

use crate::access::Subject;
use crate::document::{Expect, ExpectValue, Given, TestDecision, TestEntry};
use crate::inspector::{Findings, Scratch};
use crate::policy_set::PolicySet;
use crate::rules::Direction;
use crate::ruleset::RuleSet;
use batch::Record;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// The test's name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Whether everything was as expected.
    pub passed: bool,
    /// What was not, line by line; empty for a test that passed. It shows the test's own data.
    pub detail: String,
}

/// What happened to the record of a test.
struct Outcome {
    decision: TestDecision,
    /// What was stored or delivered, unless the record was refused or denied.
    output: Option<Record>,
    /// The rules that did something, in the policy's order.
    rules: Vec<String>,
}

impl PolicySet {
    /// Runs the tests that the policies carry, each as one real record batch through access, rules and rewriting.
    #[must_use]
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        self.tests().map(|test| run(self, test)).collect()
    }
}

fn run(policy: &PolicySet, test: &TestEntry) -> TestOutcome {
    let detail = match outcome(policy, &test.given) {
        Ok(outcome) => compare(&test.given, &test.expect, &outcome),
        Err(error) => format!("the record could not be rewritten: {error}"),
    };
    TestOutcome { name: test.name.clone(), place: test.place.clone(), passed: detail.is_empty(), detail }
}

fn outcome(policy: &PolicySet, given: &Given) -> Result<Outcome, BatchError> {
    let subject = Subject { id: &given.principal, groups: &given.groups };
    let access = policy.access(&subject);
    let is_allowed = match given.direction {
        Direction::Produce => access.may_produce(&given.topic),
        Direction::Consume => access.may_consume(&given.topic),
    };
    if !is_allowed {
        return Ok(Outcome { decision: TestDecision::Denied, output: None, rules: Vec::new() });
    }
    let record = Record::of(given);
    let Some(set) = policy.rules(&subject, &given.topic, given.direction) else {
        return Ok(Outcome { decision: TestDecision::Pass, output: Some(record), rules: Vec::new() });
    };
    let (output, findings) = rewrite(&set, given.direction, &record)?;
    let decision = match &output {
        None => TestDecision::Refused,
        Some(output) if *output == record => TestDecision::Pass,
        Some(_) => TestDecision::Masked,
    };
    let mut rules: Vec<String> = findings.hits.iter().map(|hit| set.rule_name(hit.rule).to_owned()).collect();
    rules.dedup();
    Ok(Outcome { decision, output, rules })
}

/// Sends the record through a batch. None when it was refused.
fn rewrite(set: &RuleSet, direction: Direction, record: &Record) -> Result<(Option<Record>, Findings), BatchError> {
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let (mut scratch, mut records) = (Scratch::default(), RecordScratch::default());
    let mut inspector = set.inspector(&mut scratch);
    let mut bytes = batch::encode(record);
    let (change, is_refused) = match direction {
        Direction::Produce => {
            let done = rewrite_produce(&mut bytes, PRODUCE_VERSION, &options, &mut inspector, &mut records)?;
            (done.change, !done.refused.is_empty())
        }
        Direction::Consume => {
            let done = rewrite_fetch(&mut bytes, &options, &mut inspector, &mut records);
            if let Some(failure) = done.failures.into_iter().next() {
                return Err(failure);
            }
            (done.change, done.withheld_records > 0)
        }
    };
    let findings = inspector.finish();
    if is_refused {
        return Ok((None, findings));
    }
    if let Change::Replaced(replaced) = change {
        bytes = replaced.to_vec();
    }
    Ok((batch::decode(&mut bytes)?, findings))
}

/// Everything that is not as expected, line by line.
fn compare(given: &Given, expect: &Expect, outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    let Expect { value, key, headers, decision, rules } = expect;
    let wants_output = value.is_some() || key.is_some() || headers.is_some();
    if let Some(decision) = decision
        && *decision != outcome.decision
    {
        diff::differ("decision", decision.name(), outcome.decision.name(), &mut lines);
    }
    match &outcome.output {
        Some(output) => compare_output(value.as_ref(), key.as_ref(), headers.as_deref(), output, &mut lines),
        None if wants_output && decision.is_none() => {
            diff::differ("decision", "a record", outcome.decision.name(), &mut lines);
        }
        None => {}
    }
    if let Some(rules) = rules {
        let mut expected: Vec<&str> = rules.iter().map(|rule| rule.value.as_str()).collect();
        let mut actual: Vec<&str> = outcome.rules.iter().map(String::as_str).collect();
        let shown = [&expected, &actual].map(|names| format!("[{}]", names.join(", ")));
        for names in [&mut expected, &mut actual] {
            names.sort_unstable();
            names.dedup();
        }
        if expected != actual {
            let [expected, actual] = shown;
            diff::differ("rules", &expected, &actual, &mut lines);
        }
    }
    if !lines.is_empty() && outcome.decision == TestDecision::Denied {
        let Given { principal, groups, direction, topic, .. } = given;
        lines.push(format!(
            "no access entry lets `{principal}` in groups [{}] {} `{topic}`",
            groups.join(", "),
            direction.name()
        ));
    }
    lines.join("\n")
}

fn compare_output(
    value: Option<&ExpectValue>,
    key: Option<&Option<Vec<u8>>>,
    headers: Option<&[crate::document::TestHeader]>,
    output: &Record,
    lines: &mut Vec<String>,
) {
    match value {
        Some(ExpectValue::Null) if output.value.is_some() => {
            diff::differ("value", "null", &diff::shown(output.value.as_deref()), lines);
        }
        Some(ExpectValue::Raw(raw)) if output.value.as_ref() != Some(raw) => {
            diff::differ("value", &diff::shown(Some(raw)), &diff::shown(output.value.as_deref()), lines);
        }
        Some(ExpectValue::Json(json)) => diff::json(json, output.value.as_deref(), lines),
        Some(ExpectValue::Null | ExpectValue::Raw(_)) | None => {}
    }
    if let Some(key) = key
        && *key != output.key
    {
        diff::differ("key", &diff::shown(key.as_deref()), &diff::shown(output.key.as_deref()), lines);
    }
    if let Some(headers) = headers
        && headers != output.headers
    {
        diff::differ("headers", &diff::headers(headers), &diff::headers(&output.headers), lines);
    }
}

/// The Produce version of the test's batch; all from 3 treat an uncompressed batch alike.
const PRODUCE_VERSION: i16 = 9;
