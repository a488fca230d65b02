//! What the formats find: spans of bytes, the fields that select them, and how their bytes are to be read.

use std::cmp::Reverse;
use std::ops::Range;

/// Names a field of a policy; what it means is the caller's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u16);

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonKind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`; the span includes the quotes.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// How the bytes of a selected span are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON value.
    Json(JsonKind),
    /// Text that stands for itself.
    Plain,
    /// The inside of a quoted field of a table, in which `""` stands for `"`; the span does not include the quotes.
    Quoted,
}

impl Kind {
    /// Is there nothing in it that a rule could protect?
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self, Self::Json(JsonKind::Null))
    }

    /// Is it text, and not a number, a boolean or a container?
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json(JsonKind::String) | Self::Plain | Self::Quoted)
    }
}

/// Whether other fields select the same span, or something inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// This field alone selects the span. (It may also select something inside it; that is not reported.)
    Alone,
    /// Several fields select the span or parts of it; this is the first report of it. The span is to be redacted.
    First,
    /// A further field of the span that was just reported as [`Share::First`]. There is nothing more to do with it.
    Further,
}

/// A value that a field selects.
///
/// The spans of one document are ascending and disjoint: of two values one inside the other, the outer is reported.
/// Where several fields meet, each is reported with the same span, one after the other, and [`Share`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The bytes of the value within the document.
    pub span: Range<usize>,
    /// The field that selects it.
    pub field: FieldId,
    /// How its bytes are to be read.
    pub kind: Kind,
    /// Whether other fields meet this one here.
    pub share: Share,
    /// Objects and arrays around it.
    pub depth: u32,
}

/// Splits what was found into the groups of fields that share a span.
pub(crate) fn groups(found: &[Selected]) -> impl Iterator<Item = &[Selected]> {
    found.chunk_by(|_, next| next.share == Share::Further)
}

/// Joins what several looks at the same bytes found: afterwards the spans are ascending and disjoint, and a span holds the
/// fields of every span inside it.
///
/// # Errors
///
/// [`Crossing`] when two spans overlap and neither is inside the other: no edit does justice to both.
pub(crate) fn join(found: &mut [Selected]) -> Result<(), Crossing> {
    found.sort_by_key(|selected| (selected.span.start, Reverse(selected.span.end)));
    let mut rest = found;
    while let Some((outer, behind)) = rest.split_first_mut() {
        let inside = behind.iter().take_while(|next| next.span.start < outer.span.end).count();
        let Some((inner, next)) = behind.split_at_mut_checked(inside) else { return Err(Crossing) };
        outer.share = if inner.is_empty() { Share::Alone } else { Share::First };
        for selected in inner {
            if selected.span.end > outer.span.end {
                return Err(Crossing);
            }
            *selected = Selected { field: selected.field, share: Share::Further, ..outer.clone() };
        }
        rest = next;
    }
    Ok(())
}

/// Two spans overlap in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossing;

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans as `start..end`, in any order; expected: groups as `start..end:fields`.
    fn check(spans: &[Range<usize>], expected: Result<&[&str], Crossing>) {
        let mut found: Vec<Selected> = (0..)
            .zip(spans)
            .map(|(field, span)| Selected {
                span: span.clone(),
                field: FieldId(field),
                kind: Kind::Plain,
                share: Share::Alone,
                depth: 0,
            })
            .collect();
        let joined = join(&mut found).map(|()| {
            let shown = |group: &[Selected]| {
                assert!(group.iter().all(|each| each.span == group[0].span));
                assert_eq!(group[0].share == Share::Alone, group.len() == 1);
                let fields: Vec<String> = group.iter().map(|each| each.field.0.to_string()).collect();
                format!("{}..{}:{}", group[0].span.start, group[0].span.end, fields.join(","))
            };
            groups(&found).map(shown).collect::<Vec<_>>()
        });
        assert_eq!(
            joined,
            expected.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect()),
            "{spans:?}"
        );
    }

    #[test]
    fn the_outer_span_takes_the_fields_of_those_inside() {
        check(&[], Ok(&[]));
        check(&[4..6, 0..2], Ok(&["0..2:1", "4..6:0"]));
        check(&[0..2, 2..4], Ok(&["0..2:0", "2..4:1"]));
        check(&[3..4, 0..9, 5..9, 9..10], Ok(&["0..9:1,0,2", "9..10:3"]));
        check(&[1..5, 1..5, 1..6], Ok(&["1..6:2,0,1"]));
    }

    #[test]
    fn spans_that_cross_are_an_error() {
        check(&[0..5, 4..6], Err(Crossing));
        check(&[0..9, 1..3, 8..10], Err(Crossing));
    }
}
