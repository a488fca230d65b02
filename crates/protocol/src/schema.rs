//! Kafka's message schemas as static data, and how the rest of the crate reads them.
//!
//! The data itself, [`table`], is generated from the message JSON inside Kafka's clients artifact (`schema-gen` in
//! `weir-testkit`) and committed. This file holds the types it is made of and the few questions asked of it.
//!
//! Sources: KIP-482 (flexible versions and tagged fields), Kafka's
//! `clients/src/main/resources/common/message/README.md`.

mod table;

pub(crate) use table::id;

/// One API: a request and a response schema under one key.
#[derive(Debug)]
pub(crate) struct Api {
    /// Kafka's API key.
    pub(crate) key: i16,
    /// What a client sends.
    pub(crate) request: Message,
    /// What a broker answers.
    pub(crate) response: Message,
}

/// The schema of one message body (the headers are not part of it).
#[derive(Debug)]
pub(crate) struct Message {
    /// The name in Kafka's message JSON, such as `FetchRequest`.
    pub(crate) name: &'static str,
    /// Versions that exist.
    pub(crate) versions: Versions,
    /// Versions with compact lengths and tagged fields (KIP-482).
    pub(crate) flexible: Versions,
    /// The fields in wire order; tagged ones stand among them and are written behind the others.
    pub(crate) fields: &'static [Field],
}

/// One field of a message or of a struct inside it.
#[derive(Debug)]
pub(crate) struct Field {
    /// A number unique within the message, so that a visitor can match on constants of [`id`].
    pub(crate) id: u16,
    /// The name in Kafka's message JSON.
    pub(crate) name: &'static str,
    /// What is on the wire.
    pub(crate) kind: Kind,
    /// Versions in which the field exists.
    pub(crate) versions: Versions,
    /// Versions in which it may be null.
    pub(crate) nullable: Versions,
    /// The tag under which it is written; a field with a tag is tagged in all its versions.
    pub(crate) tag: Option<u32>,
    /// What a sender that does not know better writes.
    pub(crate) default: Default,
}

/// The wire type of a field or an array element.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, one byte.
    Int8,
    /// Signed, two bytes.
    Int16,
    /// Unsigned, two bytes.
    Uint16,
    /// Signed, four bytes.
    Int32,
    /// Signed, eight bytes.
    Int64,
    /// IEEE 754, eight bytes.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8 behind its length.
    String,
    /// Bytes behind their length.
    Bytes,
    /// Record batches behind their length; written like `Bytes`.
    Records,
    /// Fields in order, behind a marker byte where nullable.
    Struct(&'static [Field]),
    /// A count and that many elements.
    Array(&'static Kind),
}

/// The default value of a field, where it is not the zero of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// Zero, false, empty, or a struct of defaults.
    Zero,
    /// Null.
    Null,
    /// A number, or 1 for true.
    Number(i64),
}

/// A range of versions, empty when `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Versions {
    /// No version.
    pub(crate) const NONE: Self = Self { min: 1, max: 0 };

    /// Whether `version` is one of them.
    pub(crate) const fn contain(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl Field {
    /// Marks the versions in which the field may be null.
    pub(crate) const fn nullable(mut self, versions: Versions) -> Self {
        self.nullable = versions;
        self
    }

    /// Makes the field a tagged one.
    pub(crate) const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Sets a default other than zero.
    pub(crate) const fn default(mut self, default: Default) -> Self {
        self.default = default;
        self
    }
}

/// A field that is never null, not tagged and zero by default.
pub(crate) const fn field(id: u16, name: &'static str, kind: Kind, versions: Versions) -> Field {
    Field { id, name, kind, versions, nullable: Versions::NONE, tag: None, default: Default::Zero }
}

/// One side of an API.
pub(crate) const fn message(
    name: &'static str,
    versions: Versions,
    flexible: Versions,
    fields: &'static [Field],
) -> Message {
    Message { name, versions, flexible, fields }
}

/// `min` and every later version.
pub(crate) const fn since(min: i16) -> Versions {
    Versions { min, max: i16::MAX }
}

/// `min` to `max`, both included.
pub(crate) const fn between(min: i16, max: i16) -> Versions {
    Versions { min, max }
}

/// The schemas of the API with this key, when Kafka has one.
pub(crate) fn api(key: i16) -> Option<&'static Api> {
    table::APIS.binary_search_by_key(&key, |api| api.key).ok().and_then(|at| table::APIS.get(at))
}

/// The fewest bytes that a value of `kind` can take at a version.
///
/// A tagged section costs at least its count byte. Never 0 in practice: a struct without fields does not exist in a
/// version that is not flexible (a test holds the table to it), and the callers treat 0 as 1.
pub(crate) fn size_min(kind: Kind, version: i16, flexible: bool) -> usize {
    match kind {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 | Kind::Float64 => 8,
        Kind::Uuid => 16,
        Kind::String => {
            if flexible {
                1
            } else {
                2
            }
        }
        Kind::Bytes | Kind::Records | Kind::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct(fields) => struct_size_min(fields, version, flexible),
    }
}

fn struct_size_min(fields: &[Field], version: i16, flexible: bool) -> usize {
    let own: usize = fields
        .iter()
        .filter(|field| field.tag.is_none() && field.versions.contain(version))
        .map(|field| {
            let is_marked = matches!(field.kind, Kind::Struct(_)) && field.nullable.contain(version);
            if is_marked { 1 } else { size_min(field.kind, version, flexible) }
        })
        .sum();
    own + usize::from(flexible)
}
