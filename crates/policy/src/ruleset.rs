//! The rules that apply to a record, merged for one pass over it.

use std::sync::Arc;

use crate::bits::Bits;
use crate::inspector::{Inspector, Scratch};
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
    /// What happens to each path of the trie, by [`FieldId`]; only transforms.
    paths: Vec<Action>,
    /// The paths that refuse, in a trie of their own: of two values one inside the other only the outer is reported, and a
    /// transform around a field must not hide whether that field is null.
    refusals: Option<FieldTrie>,
    /// Each of those paths alone, with its rule.
    refusal_fields: Vec<(u16, FieldTrie)>,
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
            refusals: None,
            refusal_fields: Vec::new(),
            headers: Vec::new(),
            keys: Vec::new(),
            json_depth_max,
        };
        let mut paths: Vec<(FieldId, Path)> = Vec::new();
        let mut refusals: Vec<(FieldId, Path)> = Vec::new();
        // The policy set has at most `RULES_MAX` rules and `FIELDS_MAX` fields, both below 2^16.
        for (id, rule) in (0_u16..).zip(rules).filter(|(id, _)| bits.contains(usize::from(*id))) {
            let member = u16::try_from(set.rules.len()).unwrap_or(u16::MAX);
            let mut reads_json = false;
            for field in &rule.fields {
                let action = Action { member, action: field.action.clone() };
                match &field.target {
                    FieldTarget::Path(path) => {
                        reads_json = true;
                        match &field.action {
                            FieldAction::Transform(_) => {
                                paths.push((field_id(paths.len()), path.clone()));
                                set.paths.push(action);
                            }
                            FieldAction::Refuse => {
                                let field = (field_id(refusals.len()), path.clone());
                                set.refusal_fields.push((member, FieldTrie::build(std::slice::from_ref(&field))));
                                refusals.push(field);
                            }
                        }
                    }
                    FieldTarget::Header(name) => set.headers.push((name.clone(), action)),
                    FieldTarget::Key => set.keys.push(action),
                }
            }
            let on_failure = reads_json.then_some(rule.on_failure);
            set.rules.push(Member { id: RuleId(id), name: Arc::clone(&rule.name), on_failure });
        }
        set.trie = FieldTrie::build(&paths);
        set.refusals = (!refusals.is_empty()).then(|| FieldTrie::build(&refusals));
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

    /// Begins the inspection of a batch.
    pub fn inspector<'a>(&'a self, scratch: &'a mut Scratch) -> Inspector<'a> {
        Inspector::new(self, scratch)
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.rules
    }

    pub(crate) fn trie(&self) -> &FieldTrie {
        &self.trie
    }

    /// Whether a rule reads the record's value as JSON.
    pub(crate) fn reads_json(&self) -> bool {
        self.transforms_paths() || self.refusals.is_some()
    }

    /// Whether a rule transforms something inside the value.
    pub(crate) fn transforms_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    pub(crate) fn refusals(&self) -> Option<&FieldTrie> {
        self.refusals.as_ref()
    }

    pub(crate) fn refusal_fields(&self) -> &[(u16, FieldTrie)] {
        &self.refusal_fields
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

/// Field ids count fields of one set, of which there are at most `FIELDS_MAX`.
fn field_id(index: usize) -> FieldId {
    FieldId(u16::try_from(index).unwrap_or(u16::MAX))
}
