//! Whether two paths meet by what they say, for the policy's check.

use super::path::{Path, Selector};

/// Whether two paths can select one span, or one by its own names a span inside the other's.
///
/// [`FieldTrie::may_meet`](super::FieldTrie::may_meet) is wider: there `$.card.number` meets `$..email`, since a number
/// might be an object with an `email` in it. To call that a mistake would forbid to name an `..email` beside anything
/// else, so a descendant segment that merely wanders into the other's value does not count here. When it happens, the
/// span is redacted.
///
/// Walks both paths side by side. They meet when a child that both take completes one of them.
pub(crate) fn plainly_meet(a: &Path, b: &Path) -> bool {
    let (a, b) = (a.segments(), b.segments());
    if a.is_empty() || b.is_empty() {
        return true; // `$` is around everything
    }
    let mut seen = vec![false; a.len() * b.len()];
    let mut todo = vec![(0_usize, 0_usize)];
    while let Some((i, j)) = todo.pop() {
        let (Some(left), Some(right)) = (a.get(i), b.get(j)) else { continue };
        match seen.get_mut(i * b.len() + j) {
            Some(seen) if !*seen => *seen = true,
            Some(_) | None => continue,
        }
        if overlap(&left.selector, &right.selector) {
            if i + 1 == a.len() || j + 1 == b.len() {
                return true;
            }
            todo.push((i + 1, j + 1));
        }
        // A descendant segment may also pass over the child that the other path takes.
        if right.descendant {
            todo.push((i + 1, j));
        }
        if left.descendant {
            todo.push((i, j + 1));
        }
    }
    false
}

fn overlap(left: &Selector, right: &Selector) -> bool {
    matches!(left, Selector::Any) || matches!(right, Selector::Any) || left == right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &str, b: &str, expected: bool) {
        let (left, right) = (Path::parse(a).unwrap(), Path::parse(b).unwrap());
        assert_eq!(plainly_meet(&left, &right), expected, "{a} {b}");
        assert_eq!(plainly_meet(&right, &left), expected, "{b} {a}");
    }

    #[test]
    fn tells_a_meeting_from_a_chance() {
        for (a, b, expected) in [
            ("$.a", "$.a", true),
            ("$.a", "$.b", false),
            ("$.a", "$.a.b", true),
            ("$.a.b", "$.a.c", false),
            ("$.a[*]", "$.a[1]", true),
            ("$.a[0]", "$.a[1]", false),
            ("$.a[0]", "$.a.b", false),
            ("$", "$..x", true),
            ("$..email", "$.user.email", true),
            ("$..email", "$..email", true),
            ("$..email", "$.email.work", true),
            ("$..email", "$.card.number", false),
            ("$..email", "$..card", false),
            ("$.a", "$.a..b", true),
            ("$.a..b", "$.c.b", false),
            ("$.a..b", "$.a.x.y.b.z", true),
            ("$..a.b", "$.x.b", false),
            ("$..a.b", "$.x.a.b", true),
            ("$..*", "$.a", true),
        ] {
            check(a, b, expected);
        }
    }
}
