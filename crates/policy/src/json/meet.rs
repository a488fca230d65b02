//! Whether two paths meet: at all, and by what they say.

use super::path::Path;

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
        if left.selector.overlaps(&right.selector) {
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

/// Can the two paths select one span of one document, or one span inside the other's?
///
/// Walks both paths side by side over all words of names and indexes that both can follow. As soon as one path is
/// complete while the other is still alive, they meet: a live path can always be completed below.
pub(super) fn may_meet(a: &Path, b: &Path) -> bool {
    let (a, b) = (a.segments(), b.segments());
    let mut seen = vec![false; (a.len() + 1) * (b.len() + 1)];
    let mut todo = vec![(0_usize, 0_usize)];
    while let Some((i, j)) = todo.pop() {
        let (Some(left), Some(right)) = (a.get(i), b.get(j)) else { return true };
        let Some(seen) = seen.get_mut(i * (b.len() + 1) + j) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        if left.selector.overlaps(&right.selector) {
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

    #[test]
    fn knows_which_paths_may_meet() {
        for (a, b, expected) in [
            ("$.a", "$.a", true),
            ("$.a", "$.b", false),
            ("$.a", "$.a.b", true),
            ("$.a.b", "$.a.c", false),
            ("$.a[0]", "$.a[1]", false),
            ("$.a[*]", "$.a[1]", true),
            ("$.a[*].b", "$.a[1].c", false),
            ("$.a[0]", "$.a.b", false),
            ("$..email", "$.user.email", true),
            ("$..email", "$.user", true),
            ("$..email", "$..card", true),
            ("$.a..b", "$.c.b", false),
            ("$.a..b", "$.a.x.y.b.z", true),
            ("$", "$.a", true),
            ("$['a']", "$.*.b", true),
        ] {
            let (left, right) = (Path::parse(a).unwrap(), Path::parse(b).unwrap());
            assert_eq!(may_meet(&left, &right), expected, "{a} {b}");
            assert_eq!(may_meet(&right, &left), expected, "{b} {a}");
        }
    }
}
