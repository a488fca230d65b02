//! "Did you mean": the known word nearest to a mistyped one.

/// The word of `known` that is nearest to `word`: at most two letters inserted, removed, replaced or swapped with their neighbour, and
/// fewer than the word has, so that `a` never becomes `key`. `None` when nothing is that near, or when `word` is longer than any name.
pub fn suggest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(WORD_LENGTH_MAX.saturating_add(1)).collect();
    if letters.is_empty() || letters.len() > WORD_LENGTH_MAX {
        return None;
    }
    known
        .iter()
        .map(|name| (distance(&letters, &name.chars().collect::<Vec<_>>()), *name))
        .filter(|(distance, name)| *distance <= DISTANCE_MAX && *distance < letters.len().min(name.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Optimal string alignment distance: insertions, removals, replacements and swaps of neighbours, each counted once.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, &l) in left.iter().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row.saturating_add(1));
        for (column, &r) in right.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column).saturating_add(usize::from(l != r));
            let removed = at(&above, column.saturating_add(1)).saturating_add(1);
            let inserted = at(&current, column).saturating_add(1);
            let mut best = replaced.min(removed).min(inserted);
            let swapped = row > 0
                && column > 0
                && left.get(row.saturating_sub(1)) == Some(&r)
                && right.get(column.saturating_sub(1)) == Some(&l);
            if swapped {
                best = best.min(at(&before, column.saturating_sub(1)).saturating_add(1));
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

/// Further away than this, a suggestion is a guess.
const DISTANCE_MAX: usize = 2;
/// Characters; longer words are nobody's key, and comparing them would cost.
const WORD_LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["audience", "algorithms", "issuer", "jwks", "use", "id"];

    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(suggest(word, KNOWN), expected, "{word}");
    }

    #[test]
    fn finds_the_nearest_known_word() {
        check("audiance", Some("audience"));
        check("audeince", Some("audience"));
        check("algorithm", Some("algorithms"));
        check("isuer", Some("issuer"));
        check("jkws", Some("jwks"));
        check("usee", Some("use"));
    }

    #[test]
    fn suggests_nothing_when_nothing_is_near() {
        check("principal", None);
        check("", None);
        check("x", None);
        check("xy", None);
        check(&"a".repeat(100_000), None);
    }
}
