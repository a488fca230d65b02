//! The rules that apply to a record, merged for one pass over it.

use std::sync::Arc;

use crate::bits::Bits;
use crate::json::{FieldId, FieldTrie, Path};
use crate::rules::{FieldAction, FieldTarget, OnFailure, Rule, RuleId};

/// What stands for a value that a rule has withheld: a JSON string, so that consumers of JSON keep working (R5 of the design).
pub const PLACEHOLDER: &str = "\"[redacted]\"";

/// A distinct set of rules with one field trie for all of their paths. Shared between all sessions and topics that it fits.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules, ascending by id.
    rules: Vec<Member>,
    trie: FieldTrie,
    /// What happens to each path of the trie, by [`FieldId`].
    paths: Vec<Action>,
    /// Each path that refuses, alone, with its rule: of two values one inside the other the trie reports the outer only, which
    /// does not tell whether the inner is null.
    refusals: Vec<(u16, FieldTrie)>,
    headers: Vec<(Box<[u8]>, Action)>,
    keys: Vec<Action>,
    json_depth_max: usize,
}

/// One rule of the set.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: RuleId,
    name: Arc<str>,
    /// What happens when the value cannot be read, for a rule that reads it.
    pub(crate) on_failure: Option<OnFailure>,
}

/// What one field of one rule does.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// The rule, as an index into the members of the set.
    pub(crate) member: u16,
    pub(crate) action: FieldAction,
}

impl RuleSet {
    pub(crate) fn new(rules: &[Rule], bits: &Bits, json_depth_max: usize) -> Self {
        let mut set = Self {
            rules: Vec::new(),
            trie: FieldTrie::build(&[]),
            paths: Vec::new(),
            refusals: Vec::new(),
            headers: Vec::new(),
            keys: Vec::new(),
            json_depth_max,
        };
        let mut paths: Vec<(FieldId, Path)> = Vec::new();
        // The policy set has at most `RULES_MAX` rules.
        for (id, rule) in (0_u16..).zip(rules).filter(|(id, _)| bits.contains(usize::from(*id))) {
            let member = u16::try_from(set.rules.len()).unwrap_or(u16::MAX);
            let mut reads_json = false;
            for field in &rule.fields {
                let action = Action { member, action: field.action.clone() };
                match &field.target {
                    FieldTarget::Path(path) => {
                        // The policy set has at most `FIELDS_MAX` fields.
                        let field = (FieldId(u16::try_from(paths.len()).unwrap_or(u16::MAX)), path.clone());
                        if matches!(action.action, FieldAction::Refuse) {
                            set.refusals.push((member, FieldTrie::build(std::slice::from_ref(&field))));
                        }
                        paths.push(field);
                        set.paths.push(action);
                        reads_json = true;
                    }
                    FieldTarget::Header(name) => set.headers.push((name.clone(), action)),
                    FieldTarget::Key => set.keys.push(action),
                }
            }
            let on_failure = reads_json.then_some(rule.on_failure);
            set.rules.push(Member { id: RuleId(id), name: Arc::clone(&rule.name), on_failure });
        }
        set.trie = FieldTrie::build(&paths);
        set
    }

    /// The name of a rule of this set; empty for any other id.
    #[must_use]
    pub fn rule_name(&self, id: RuleId) -> &str {
        self.rules.iter().find(|member| member.id == id).map_or("", |member| &member.name)
    }

    /// The rules of the set, in the policy's order.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &str)> {
        self.rules.iter().map(|member| (member.id, &*member.name))
    }

    /// What stands for a value that is withheld.
    #[must_use]
    pub fn placeholder(&self) -> &'static [u8] {
        PLACEHOLDER.as_bytes()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.rules
    }

    pub(crate) fn trie(&self) -> &FieldTrie {
        &self.trie
    }

    /// Whether a rule reads the record's value as JSON.
    pub(crate) fn reads_json(&self) -> bool {
        !self.paths.is_empty()
    }

    pub(crate) fn refusals(&self) -> &[(u16, FieldTrie)] {
        &self.refusals
    }

    pub(crate) fn path_action(&self, field: FieldId) -> Option<&Action> {
        self.paths.get(usize::from(field.0))
    }

    pub(crate) fn header_actions(&self) -> &[(Box<[u8]>, Action)] {
        &self.headers
    }

    pub(crate) fn key_actions(&self) -> &[Action] {
        &self.keys
    }

    pub(crate) fn json_depth_max(&self) -> usize {
        self.json_depth_max
    }
}
