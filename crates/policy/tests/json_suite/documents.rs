//! Random documents, paths and damage.

use proptest::prelude::*;

/// A document as text, with odd spellings and white space.
pub(crate) fn document() -> impl Strategy<Value = String> {
    let root = prop_oneof![1 => value().boxed(), 5 => container(container(value())).boxed()];
    (blank(), root, blank()).prop_map(|(before, value, behind)| format!("{before}{value}{behind}"))
}

fn value() -> impl Strategy<Value = String> + Clone {
    scalar().prop_recursive(5, 48, 6, container)
}

fn container(inner: impl Strategy<Value = String> + Clone + 'static) -> BoxedStrategy<String> {
    let element =
        (blank(), inner.clone(), blank()).prop_map(|(before, value, behind)| format!("{before}{value}{behind}"));
    let member = (blank(), name(), blank(), blank(), inner, blank())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"));
    prop_oneof![
        1 => (blank(), prop::collection::vec(element, 0..5)).prop_map(|(empty, elements)| match elements.as_slice() {
            [] => format!("[{empty}]"),
            elements => format!("[{}]", elements.join(",")),
        }),
        2 => (blank(), prop::collection::vec(member, 0..6)).prop_map(|(empty, members)| match members.as_slice() {
            [] => format!("{{{empty}}}"),
            members => format!("{{{}}}", members.join(",")),
        }),
    ]
    .boxed()
}

fn scalar() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => Just("null".to_owned()),
        4 => prop::sample::select(vec!["true", "false"]).prop_map(str::to_owned),
        8 => "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        1 => number(),
        8 => prop::collection::vec(text_piece(), 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat())),
    ]
}

/// Any number, also beyond what is in range.
pub(crate) fn number() -> impl Strategy<Value = String> + Clone {
    let exponent = prop_oneof![Just(String::new()), "[eE][+-]?[0-9]{1,3}", "[eE]-?[0-9]{1,12}"];
    let fraction = prop_oneof![3 => Just(String::new()), 2 => "\\.[0-9]{1,20}", 1 => "\\.0{300,330}[0-9]{1,3}"];
    let whole = prop_oneof![4 => "-?(0|[1-9][0-9]{0,22})", 1 => "-?[1-9][0-9]{290,320}"];
    (whole, fraction, exponent).prop_map(|(whole, fraction, exponent)| format!("{whole}{fraction}{exponent}"))
}

/// Raw inside of a JSON string.
pub(crate) fn text_piece() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,20}",
        1 => prop::sample::select(vec![
            "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "\\u0000",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["é", "€", "\u{1f600}", "\u{7f}", "Ж", "\u{2028}", "\u{feff}"]).prop_map(str::to_owned),
    ]
}

/// Raw inside of a member's name, from few names so that paths find them.
pub(crate) fn name() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec![
        "a",
        "a",
        "a",
        "b",
        "b",
        "b",
        "c",
        "email",
        "em\\u0061il",
        "\\u0065mail",
        "emaiL",
        "a name of more than eight bytes",
        "a name of more than eight bytez",
        "exactly8",
        "exactly9",
        "",
        "ключ",
        "\\u043aлюч",
        "\\n",
        "it's",
    ])
    .prop_map(str::to_owned)
}

pub(crate) fn blank() -> impl Strategy<Value = String> + Clone {
    prop_oneof![6 => Just(String::new()), 1 => Just(" ".to_owned()), 1 => "[ \n\r\t]{0,20}"]
}

/// Damages bytes: most of what comes out is no longer JSON, some is, and some is another document.
pub(crate) fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (
            any::<prop::sample::Index>(),
            prop::sample::select(b"\"\\{}[],:0-+.eE tfnu\n\x00\x1f\x7f\x80\xc3\xed\xa0\xff".to_vec())
        )
            .prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<prop::sample::Index>().prop_map(Damage::Remove),
        any::<prop::sample::Index>().prop_map(Damage::CutBehind),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(from, to)| Damage::Swap(from, to)),
    ];
    prop::collection::vec(one, 1..4)
}

#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    CutBehind(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

impl Damage {
    pub(crate) fn apply(&self, doc: &mut Vec<u8>) {
        if doc.is_empty() {
            return;
        }
        let place = |index: &prop::sample::Index| index.index(doc.len());
        match self {
            Damage::Set(at, byte) => {
                let at = place(at);
                doc[at] = *byte;
            }
            Damage::Insert(at, byte) => {
                let at = place(at);
                doc.insert(at, *byte);
            }
            Damage::Remove(at) => {
                let at = place(at);
                doc.remove(at);
            }
            Damage::CutBehind(at) => {
                let at = place(at);
                doc.truncate(at);
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
                let piece = doc[from..to].to_vec();
                doc.splice(to..to, piece);
            }
            Damage::Swap(from, to) => {
                let (from, to) = (place(from), place(to));
                doc.swap(from, to);
            }
        }
    }
}

/// One step of a path, and how a policy spells it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) descendant: bool,
    pub(crate) takes: Takes,
}

#[derive(Debug, Clone)]
pub(crate) enum Takes {
    Name(String),
    Index(usize),
    Any,
}

pub(crate) fn path() -> impl Strategy<Value = Vec<Step>> {
    let names = vec![
        "a",
        "a",
        "b",
        "b",
        "c",
        "email",
        "a name of more than eight bytes",
        "exactly8",
        "",
        "ключ",
        "\n",
        "it's",
        "none",
    ];
    let takes = prop_oneof![
        5 => prop::sample::select(names).prop_map(|name| Takes::Name(name.to_owned())),
        1 => (0_usize..4).prop_map(Takes::Index),
        2 => Just(Takes::Any),
    ];
    let step = (prop::bool::weighted(0.25), takes).prop_map(|(descendant, takes)| Step { descendant, takes });
    prop::collection::vec(step, 0..4)
}

pub(crate) fn spell(path: &[Step]) -> String {
    let mut text = "$".to_owned();
    for step in path {
        text += if step.descendant { ".." } else { "" };
        text += &match &step.takes {
            Takes::Name(name) => format!("['{}']", name.replace('\'', "\\'").replace('\n', "\\n")),
            Takes::Index(index) => format!("[{index}]"),
            Takes::Any => "[*]".to_owned(),
        };
    }
    text
}
