//! The rules that apply to a record, merged for one pass over it.

use std::sync::Arc;

use crate::bits::Bits;
use crate::formats::{Pairs, Part, Reader, Table};
use crate::json::{FieldId, FieldTrie, Path};
use crate::rules::{FieldAction, FieldTarget, Location, OnFailure, Rule, RuleId};

/// What stands for a value that a rule has withheld: a JSON string, so that consumers of JSON keep working (R5 of the design). It is
/// a field of a table and a line of text as well.
pub const PLACEHOLDER: &str = "\"[redacted]\"";

/// A distinct set of rules with one reader for all of their fields of one format. Shared between all sessions and topics that it
/// fits.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// The rules, ascending by id.
    rules: Vec<Member>,
    /// What happens to each field inside of something, by [`FieldId`].
    fields: Vec<Action>,
    /// Documents in strings that fields go on in, by [`FieldId`] less [`INNER_FIRST`].
    inner: Vec<InnerDocument>,
    value: Option<Inside>,
    key: Option<Inside>,
    headers: Vec<(Box<[u8]>, Inside)>,
    whole_headers: Vec<(Box<[u8]>, Action)>,
    whole_keys: Vec<Action>,
    json_depth_max: usize,
}

/// One rule of the set.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: RuleId,
    name: Arc<str>,
    /// What happens when something that it reads cannot be read.
    pub(crate) on_failure: OnFailure,
}

/// What one field of one rule does.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// The rule, as an index into the members of the set.
    pub(crate) member: u16,
    pub(crate) action: FieldAction,
}

/// The fields inside of a value, key or header.
#[derive(Debug)]
pub(crate) struct Inside {
    /// All of the fields.
    fields: Vec<FieldId>,
    /// One for each format.
    readings: Vec<Reading>,
    /// Each field that refuses, alone: of two values one inside the other the outer only is reported, which does not tell whether
    /// the inner is null.
    refusals: Vec<Refusal>,
    nests: bool,
}

/// A format in which rules read something.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) reader: Reader,
    /// The rules that do, ascending.
    pub(crate) members: Vec<u16>,
}

/// A field that refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) member: u16,
    pub(crate) reader: Reader,
}

/// A document in a string.
#[derive(Debug)]
pub(crate) struct InnerDocument {
    pub(crate) trie: FieldTrie,
    /// All fields in it, and in documents in its strings.
    pub(crate) fields: Vec<FieldId>,
}

impl RuleSet {
    pub(crate) fn new(rules: &[Rule], bits: &Bits, json_depth_max: usize) -> Self {
        let mut set = Self { json_depth_max, ..Self::default() };
        let mut parts: Vec<(&Location, FieldId, &Part)> = Vec::new();
        // The policy set has at most `RULES_MAX` rules.
        for (id, rule) in (0_u16..).zip(rules).filter(|(id, _)| bits.contains(usize::from(*id))) {
            let member = u16::try_from(set.rules.len()).unwrap_or(u16::MAX);
            for field in &rule.fields {
                let action = Action { member, action: field.action.clone() };
                match &field.target {
                    FieldTarget::Inside(location, part) => {
                        // The policy set has at most `FIELDS_MAX` fields.
                        parts.push((location, FieldId(u16::try_from(set.fields.len()).unwrap_or(u16::MAX)), part));
                        set.fields.push(action);
                    }
                    FieldTarget::Header(name) => set.whole_headers.push((name.clone(), action)),
                    FieldTarget::Key => set.whole_keys.push(action),
                }
            }
            set.rules.push(Member { id: RuleId(id), name: Arc::clone(&rule.name), on_failure: rule.on_failure });
        }
        while let Some((location, _, _)) = parts.first() {
            let location = *location;
            let here: Vec<(FieldId, &Part)> =
                parts.extract_if(.., |(other, ..)| *other == location).map(|(_, field, part)| (field, part)).collect();
            let inside = set.compile(&here);
            match location {
                Location::Value => set.value = Some(inside),
                Location::Key => set.key = Some(inside),
                Location::Header(name) => set.headers.push((name.clone(), inside)),
            }
        }
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

    pub(crate) fn value_inside(&self) -> Option<&Inside> {
        self.value.as_ref()
    }

    pub(crate) fn key_inside(&self) -> Option<&Inside> {
        self.key.as_ref()
    }

    pub(crate) fn headers_inside(&self) -> &[(Box<[u8]>, Inside)] {
        &self.headers
    }

    pub(crate) fn header_actions(&self) -> &[(Box<[u8]>, Action)] {
        &self.whole_headers
    }

    pub(crate) fn looks_at_headers(&self) -> bool {
        !self.headers.is_empty() || !self.whole_headers.is_empty()
    }

    pub(crate) fn key_actions(&self) -> &[Action] {
        &self.whole_keys
    }

    pub(crate) fn json_depth_max(&self) -> usize {
        self.json_depth_max
    }

    /// What the field does to what it selects itself. None where it goes on in the text at it.
    pub(crate) fn path_action(&self, field: FieldId) -> Option<&Action> {
        self.fields.get(usize::from(field.0))
    }

    /// The document in the string that is selected under this id, where fields go on in it.
    pub(crate) fn inner(&self, field: FieldId) -> Option<&InnerDocument> {
        self.inner.get(usize::from(field.0.checked_sub(INNER_FIRST)?))
    }

    /// What the field does, or all those that go on in the text at it.
    pub(crate) fn actions<'r>(&'r self, field: &'r FieldId) -> impl Iterator<Item = &'r Action> + Clone + use<'r> {
        let fields = self.inner(*field).map_or(std::slice::from_ref(field), |inner| &inner.fields);
        fields.iter().filter_map(|field| self.path_action(*field))
    }

    /// Whether something that is selected under this id, and is not null, may be refused.
    #[inline]
    pub(crate) fn may_refuse(&self, field: FieldId) -> bool {
        self.actions(&field).any(|action| matches!(action.action, FieldAction::Refuse))
    }

    /// The rules of the fields.
    pub(crate) fn members_of<'r>(&'r self, fields: &'r [FieldId]) -> impl Iterator<Item = u16> + use<'r> {
        fields.iter().filter_map(|field| self.path_action(*field)).map(|action| action.member)
    }

    fn compile(&mut self, parts: &[(FieldId, &Part)]) -> Inside {
        let inner_before = self.inner.len();
        let mut readings: Vec<Reading> = Vec::new();
        let mut rest = parts.to_vec();
        while let Some((_, part)) = rest.first() {
            let part = *part;
            let alike: Vec<(FieldId, &Part)> = rest.extract_if(.., |(_, other)| part.shares_reader(other)).collect();
            let fields: Vec<FieldId> = alike.iter().map(|(field, _)| *field).collect();
            let mut members: Vec<u16> = self.members_of(&fields).collect();
            members.dedup();
            readings.push(Reading { reader: self.reader(&alike), members });
        }
        let nests = self.inner.len() > inner_before;
        let mut refusals = Vec::new();
        for part in parts {
            let Some(Action { member, action: FieldAction::Refuse }) = self.path_action(part.0) else { continue };
            let member = *member;
            refusals.push(Refusal { member, reader: self.reader(std::slice::from_ref(part)) });
        }
        Inside { fields: parts.iter().map(|(field, _)| *field).collect(), readings, refusals, nests }
    }

    /// One reader for parts that share one.
    fn reader(&mut self, parts: &[(FieldId, &Part)]) -> Reader {
        let (mut routes, mut columns, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        let mut shape = None;
        for (field, part) in parts {
            match part {
                Part::Route { route, lines } => {
                    routes.push((*field, route.paths()));
                    shape = lines.then_some(Shape::Lines);
                }
                Part::Column { index, separator, columns: count } => {
                    columns.push((*index, *field));
                    shape = Some(Shape::Table(*separator, *count));
                }
                Part::Pair(name) => {
                    pairs.push((name.clone(), *field));
                    shape = Some(Shape::Pairs);
                }
            }
        }
        match shape {
            None => Reader::Json(self.trie(&routes)),
            Some(Shape::Lines) => Reader::Ndjson(self.trie(&routes)),
            Some(Shape::Table(separator, count)) => Reader::Table(Table::new(separator, count, columns)),
            Some(Shape::Pairs) => Reader::Pairs(Pairs::new(pairs)),
        }
    }

    /// The trie of the first path of each route. Routes that go on from one path share one id and one [`InnerDocument`].
    fn trie(&mut self, routes: &[(FieldId, &[Path])]) -> FieldTrie {
        let mut paths: Vec<(FieldId, Path)> = Vec::new();
        let mut inner: Vec<(&Path, Vec<_>)> = Vec::new();
        for (field, route) in routes {
            match route {
                [] => {}
                [path] => paths.push((*field, path.clone())),
                [path, rest @ ..] => match inner.iter_mut().find(|(other, _)| *other == path) {
                    Some((_, routes)) => routes.push((*field, rest)),
                    None => inner.push((path, vec![(*field, rest)])),
                },
            }
        }
        for (path, routes) in inner {
            // At most `Route::NESTING_MAX` calls deep.
            let trie = self.trie(&routes);
            let fields = routes.iter().map(|(field, _)| *field).collect();
            // There are fewer than fields, each once for all and once for a refusal.
            let id = u16::try_from(self.inner.len()).unwrap_or(u16::MAX).saturating_add(INNER_FIRST);
            self.inner.push(InnerDocument { trie, fields });
            paths.push((FieldId(id), path.clone()));
        }
        FieldTrie::build(&paths)
    }
}

/// What a reader reads, if not one JSON document.
enum Shape {
    Lines,
    Table(u8, Option<u32>),
    Pairs,
}

impl Inside {
    pub(crate) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    pub(crate) fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Whether fields go on in documents in strings.
    pub(crate) fn nests(&self) -> bool {
        self.nests
    }

    /// Whether what is found must be joined: of several formats, or of one whose spans can lie one inside the other.
    pub(crate) fn joins(&self) -> bool {
        self.readings.len() > 1 || self.readings.iter().any(|reading| reading.reader.overlaps())
    }

    /// The rules that look into it; some more than once.
    pub(crate) fn members(&self) -> impl Iterator<Item = u16> {
        self.readings.iter().flat_map(|reading| reading.members.iter().copied())
    }

    /// What all of its fields do.
    pub(crate) fn actions<'r>(&'r self, set: &'r RuleSet) -> impl Iterator<Item = &'r Action> + Clone + use<'r> {
        self.fields.iter().filter_map(|field| set.path_action(*field))
    }
}

/// Ids from here on name documents in strings, not fields.
const INNER_FIRST: u16 = 1 << 15;
