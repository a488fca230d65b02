//! Reads one entry of `access`.

use weir_yaml::{MapReader, Node, Problems};

use super::{AccessEntry, Located, read_name, read_patterns, read_principals, refuse_later, values};
use crate::pattern::Pattern;

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<AccessEntry> {
    let mut map = MapReader::new(node, "an access entry", problems)?;
    let name = read_name(&mut map, "access entry", problems);
    let cure = "say for whom:  principals: { groups: [ … ] }";
    let principals = map.required("principals", cure, problems).and_then(|node| read_principals(node, problems));
    refuse_later(&mut map, &["require_approval", "deny"], problems);
    let mut entry = AccessEntry {
        name: name.unwrap_or_else(|| Located { value: String::new(), place: node.place.clone() }),
        principals: principals.unwrap_or_default(),
        produce: Vec::new(),
        consume: Vec::new(),
        consumer_groups: Vec::new(),
        consume_place: None,
    };
    let cure = "say what they may do:  allow: [ { consume: [ … ], consumer_groups: [ … ] } ]";
    if let Some(allow) = map.required("allow", cure, problems)
        && let Some(items) = allow.as_list("allow", problems)
    {
        if items.is_empty() {
            problems.error(&allow.place, "`allow` is empty and allows nothing", "");
        }
        for item in items {
            read_allow(item, &mut entry, problems);
        }
    }
    map.finish(problems);
    Some(entry)
}

/// One statement of `allow`. Its keys are independent of each other: what it names is added to the entry.
fn read_allow(node: &Node, entry: &mut AccessEntry, problems: &mut Problems) {
    let Some(mut map) = MapReader::new(node, "an item of allow", problems) else { return };
    let later = refuse_later(&mut map, &["operations", "topics", "transactional_ids"], problems);
    let mut found = later;
    if let Some(node) = map.take("produce") {
        entry.produce.extend(values(read_patterns(node, "produce", Pattern::parse_topic, problems)));
        found = true;
    }
    if let Some(node) = map.take("consume") {
        entry.consume.extend(values(read_patterns(node, "consume", Pattern::parse_topic, problems)));
        entry.consume_place.get_or_insert_with(|| node.place.clone());
        found = true;
    }
    if let Some(node) = map.take("consumer_groups") {
        entry.consumer_groups.extend(values(read_patterns(node, "consumer_groups", Pattern::parse, problems)));
        found = true;
    }
    let errors = problems.errors();
    map.finish(problems);
    if !found && problems.errors() == errors {
        problems.error(
            &node.place,
            "an item of `allow` allows nothing",
            "add `produce`, `consume` or `consumer_groups`",
        );
    }
}
