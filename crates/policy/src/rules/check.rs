//! Mistakes that only rules together can make.

use weir_yaml::Problems;

use super::{Field, FieldAction, FieldTarget, Location, Rule, same_transform};
use crate::access::AccessTable;
use crate::pattern::{Overlap, Pattern, is_internal_topic};
use crate::rules::Direction;

/// Reports pairs of different transforms that can meet on one span of one record. `strictest wins` has no answer for a mask that
/// meets a hash; where it is not seen here (two regular expressions), the span is redacted when it happens.
pub(super) fn meetings(rules: &[Rule], problems: &mut Problems) {
    for (index, rule) in rules.iter().enumerate() {
        let rest = rules.get(index..).unwrap_or_default();
        for other in rest.iter().filter(|other| surely_share_a_topic(rule, other)) {
            let same_rule = std::ptr::eq(rule, other);
            for (at, field) in rule.fields.iter().enumerate() {
                let others = if same_rule { other.fields.get(at + 1..) } else { other.fields.get(..) };
                for second in others.unwrap_or_default().iter().filter(|second| can_meet(field, second)) {
                    let whom = if same_rule {
                        "another field of its rule".to_owned()
                    } else {
                        format!("rule `{}`", rule.name)
                    };
                    let message =
                        format!("a field of rule `{}` can meet {whom} on one span with another transform", other.name);
                    let cure = format!("the other is at {}; give both the same transform, or keep one", field.place);
                    problems.error(&second.place, message, cure);
                }
            }
        }
    }
}

/// Whether one record can be subject to both rules, as far as it can be told.
fn surely_share_a_topic(left: &Rule, right: &Rule) -> bool {
    std::ptr::eq(left, right)
        || left.directions.iter().any(|direction| right.directions.contains(direction))
            && left.topics.iter().any(|a| right.topics.iter().any(|b| a.overlap(b) == Overlap::Yes))
}

fn can_meet(left: &Field, right: &Field) -> bool {
    let (FieldAction::Transform(a), FieldAction::Transform(b)) = (&left.action, &right.action) else {
        // A field that refuses wins over whatever it meets.
        return false;
    };
    if same_transform(a, b) {
        return false;
    }
    match (&left.target, &right.target) {
        (FieldTarget::Inside(place, a), FieldTarget::Inside(other, b)) => place == other && a.plainly_meets(b),
        (FieldTarget::Header(a), FieldTarget::Header(b) | FieldTarget::Inside(Location::Header(b), _))
        | (FieldTarget::Inside(Location::Header(a), _), FieldTarget::Header(b)) => a == b,
        (FieldTarget::Key, FieldTarget::Key | FieldTarget::Inside(Location::Key, _))
        | (FieldTarget::Inside(Location::Key, _), FieldTarget::Key) => true,
        (FieldTarget::Inside(..) | FieldTarget::Header(_) | FieldTarget::Key, _) => false,
    }
}

/// Warns of rules that no record can come to, since no access entry reaches their topics. With no access at all, that is a policy
/// file of its own that has yet to be put beside others.
pub(super) fn unreachable(rules: &[Rule], access: &AccessTable, problems: &mut Problems) {
    if access.grants().is_empty() {
        return;
    }
    for rule in rules {
        let reached = rule.directions.iter().any(|direction| {
            let granted = access.grants().iter().flat_map(|grant| match direction {
                Direction::Produce => &grant.produce,
                Direction::Consume => &grant.consume,
            });
            granted.into_iter().any(|grant| rule.topics.iter().any(|topic| may_reach(grant, topic)))
        });
        if !reached {
            let message = format!("rule `{}` is for topics that no access entry reaches", rule.name);
            problems.warning(&rule.place, message, "correct the topics of `match`, or add an access entry");
        }
    }
}

fn may_reach(grant: &Pattern, topic: &Pattern) -> bool {
    let hidden = topic.is_literal() && is_internal_topic(topic.text()) && !grant.is_literal();
    !hidden && grant.overlap(topic) != Overlap::No
}
