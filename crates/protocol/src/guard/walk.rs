//! One strict pass over a message, led by its schema.
//!
//! The walk allows exactly one reading of the bytes. It never looks ahead, allocates nothing, and its recursion follows
//! the nesting of the schema, not of the input. What it finds it tells a [`Visitor`], as spans: the guard's own visitor
//! collects the cleaning, the visitors in [`envelope`](crate::envelope) collect places to edit.

use std::ops::Range;

use super::fault::{Failure, Fault};
use super::reader::{Content, Reader, Width};
use crate::schema::{Field, Kind, size_min};

/// Structs inside structs, at most. The deepest schema of Kafka 4.4.0 that weir serves nests three.
const DEPTH_MAX: usize = 10;

/// What a walk meets, in the order of the bytes. Every method does nothing unless it is implemented.
pub(crate) trait Visitor {
    /// A value that is neither a struct nor an array.
    fn value(&mut self, _field: &'static Field, _value: &Value<'_>) -> Result<(), Fault> {
        Ok(())
    }

    /// An array starts: its count stands at `prefix`, and that many elements can fit.
    fn array_begin(&mut self, _field: &'static Field, _element: Kind, _array: &ArrayPrefix) -> Result<(), Fault> {
        Ok(())
    }

    /// The array ends in front of `at`.
    fn array_end(&mut self, _field: &'static Field, _at: usize) -> Result<(), Fault> {
        Ok(())
    }

    /// A struct starts at `at`: an element of the array `field`, or the field itself.
    fn struct_begin(&mut self, _field: &'static Field, _at: usize) {}

    /// The struct ends in front of `at`.
    fn struct_end(&mut self, _field: &'static Field, _at: usize) {}

    /// A section of tagged fields starts.
    fn tags_begin(&mut self, _count_at: Range<usize>, _count: u32) {}

    /// A tag that the schema knows; its value follows and takes `size` bytes.
    fn tag_begin(&mut self, _field: &'static Field, _tag: &TagPrefix) {}

    /// The value of that tag has ended.
    fn tag_end(&mut self) {}

    /// A tag that the schema does not know, whole.
    fn unknown_tag(&mut self, _whole: Range<usize>) {}

    /// The section has ended. `owner` is the struct that it belongs to, `None` for the message or header itself.
    fn tags_end(&mut self, _owner: Option<&'static Field>, _section: Range<usize>) {}
}

/// A value: the whole field, and what is in it.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    frame: &'a [u8],
    /// With the length in front, where there is one.
    pub(crate) whole: Range<usize>,
    /// Without it; `None` is null.
    pub(crate) content: Content,
}

/// Where an array's count stands.
#[derive(Debug, Clone)]
pub(crate) struct ArrayPrefix {
    /// The count itself.
    pub(crate) at: Range<usize>,
    /// `None` for a null array.
    pub(crate) count: Option<usize>,
}

/// Where a known tag and its size stand.
#[derive(Debug, Clone)]
pub(crate) struct TagPrefix {
    /// The size itself.
    pub(crate) size_at: Range<usize>,
    /// Bytes of the value behind it.
    pub(crate) size: u32,
}

impl Value<'_> {
    fn chunk<const N: usize>(&self) -> [u8; N] {
        self.bytes().first_chunk::<N>().copied().unwrap_or([0; N])
    }

    /// The bytes without their length; empty for null.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.content.clone().and_then(|content| self.frame.get(content)).unwrap_or_default()
    }

    /// The bytes of the whole field.
    pub(crate) fn encoded(&self) -> &[u8] {
        self.frame.get(self.whole.clone()).unwrap_or_default()
    }

    /// An `int8` field; 0 for anything else.
    pub(crate) fn int8(&self) -> i8 {
        i8::from_be_bytes(self.chunk())
    }

    /// An `int16` field; 0 for anything else.
    pub(crate) fn int16(&self) -> i16 {
        i16::from_be_bytes(self.chunk())
    }

    /// An `int32` field; 0 for anything else.
    pub(crate) fn int32(&self) -> i32 {
        i32::from_be_bytes(self.chunk())
    }

    /// An `int64` field; 0 for anything else.
    pub(crate) fn int64(&self) -> i64 {
        i64::from_be_bytes(self.chunk())
    }

    /// A `uuid` field; zero for anything else.
    pub(crate) fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_bytes(self.chunk())
    }
}

/// A walk in progress.
#[derive(Debug)]
pub(crate) struct Walk<'a, 'v, V> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    depth: usize,
    visitor: &'v mut V,
}

impl<'a, 'v, V: Visitor> Walk<'a, 'v, V> {
    pub(crate) fn new(frame: &'a [u8], at: usize, version: i16, flexible: bool, visitor: &'v mut V) -> Self {
        Self { reader: Reader::new(frame, at), version, flexible, depth: 0, visitor }
    }

    pub(crate) fn at(&self) -> usize {
        self.reader.at()
    }

    /// The client id of a request header: a classic string in every version of the header, null or not.
    pub(crate) fn client_id(&mut self) -> Result<(Range<usize>, Content), Failure> {
        let from = self.at();
        let content = self.reader.string(false).map_err(|fault| self.failure(fault).within("ClientId"))?;
        Ok((from..self.at(), content))
    }

    /// The tagged fields of a header, none of which is known.
    pub(crate) fn header_tags(&mut self) -> Result<(), Failure> {
        if self.flexible { self.tags(None, &[]) } else { Ok(()) }
    }

    /// A message body, which has to end where the frame does.
    pub(crate) fn body(&mut self, fields: &'static [Field]) -> Result<(), Failure> {
        self.fields(None, fields)?;
        if self.reader.remaining() > 0 { Err(self.failure(Fault::TrailingBytes)) } else { Ok(()) }
    }

    fn fields(&mut self, owner: Option<&'static Field>, fields: &'static [Field]) -> Result<(), Failure> {
        for field in fields {
            if field.tag.is_none() && field.versions.contain(self.version) {
                self.field(field).map_err(|failure| failure.within(field.name))?;
            }
        }
        if self.flexible { self.tags(owner, fields) } else { Ok(()) }
    }

    fn field(&mut self, field: &'static Field) -> Result<(), Failure> {
        if let Kind::Array(element) = field.kind {
            return self.array(field, *element);
        }
        let nullable = field.nullable.contain(self.version);
        // Only a struct that stands in the fields has a marker; a tagged one is simply left out.
        if nullable && field.tag.is_none() && matches!(field.kind, Kind::Struct(_)) {
            return match self.reader.int8().map_err(|fault| self.failure(fault))? {
                -1 => Ok(()),
                1 => self.value(field, field.kind, false),
                _ => Err(self.failure(Fault::Marker)),
            };
        }
        self.value(field, field.kind, nullable)
    }

    fn array(&mut self, field: &'static Field, element: Kind) -> Result<(), Failure> {
        let from = self.at();
        let count = self.reader.length(Width::Int32, self.flexible).map_err(|fault| self.failure(fault))?;
        let prefix = ArrayPrefix { at: from..self.at(), count };
        if count.is_none() && !field.nullable.contain(self.version) {
            return Err(self.failure(Fault::Null));
        }
        let count = count.unwrap_or(0);
        let size = size_min(element, self.version, self.flexible).max(1);
        if count > self.reader.remaining() / size {
            return Err(self.failure(Fault::Truncated));
        }
        self.visitor.array_begin(field, element, &prefix).map_err(|fault| self.failure(fault))?;
        match element {
            Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 | Kind::Float64 | Kind::Uuid => {
                self.reader.skip(count.saturating_mul(size)).map_err(|fault| self.failure(fault))?;
            }
            Kind::Bool | Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_) => {
                for _ in 0..count {
                    self.value(field, element, false)?;
                }
            }
        }
        let at = self.at();
        self.visitor.array_end(field, at).map_err(|fault| self.failure(fault))
    }

    /// One value of `kind`: a field's own, or an element of its array.
    fn value(&mut self, field: &'static Field, kind: Kind, nullable: bool) -> Result<(), Failure> {
        if let Kind::Struct(fields) = kind {
            return self.structure(field, fields);
        }
        let from = self.at();
        let content = self.content(kind).map_err(|fault| self.failure(fault))?;
        if content.is_none() && !nullable {
            return Err(self.failure(Fault::Null));
        }
        let value = Value { frame: self.reader.frame(), whole: from..self.at(), content };
        self.visitor.value(field, &value).map_err(|fault| self.failure(fault))
    }

    fn structure(&mut self, field: &'static Field, fields: &'static [Field]) -> Result<(), Failure> {
        if self.depth >= DEPTH_MAX {
            return Err(self.failure(Fault::TooDeep));
        }
        self.depth += 1;
        self.visitor.struct_begin(field, self.reader.at());
        self.fields(Some(field), fields)?;
        self.visitor.struct_end(field, self.reader.at());
        self.depth -= 1;
        Ok(())
    }

    fn content(&mut self, kind: Kind) -> Result<Content, Fault> {
        match kind {
            Kind::Bool => {
                let from = self.at();
                match self.reader.int8()? {
                    0 | 1 => Ok(Some(from..self.at())),
                    _ => Err(Fault::Marker),
                }
            }
            Kind::Int8 => self.reader.skip(1).map(Some),
            Kind::Int16 | Kind::Uint16 => self.reader.skip(2).map(Some),
            Kind::Int32 => self.reader.skip(4).map(Some),
            Kind::Int64 | Kind::Float64 => self.reader.skip(8).map(Some),
            Kind::Uuid => self.reader.skip(16).map(Some),
            Kind::String => self.reader.string(self.flexible),
            Kind::Bytes | Kind::Records => self.reader.bytes(self.flexible),
            // Kafka's schema language has no array of arrays, and structs are handled by the caller.
            Kind::Struct(_) | Kind::Array(_) => Err(Fault::TooDeep),
        }
    }

    /// A section of tagged fields: ascending, each exactly as long as announced.
    fn tags(&mut self, owner: Option<&'static Field>, fields: &'static [Field]) -> Result<(), Failure> {
        let from = self.at();
        let count = self.reader.unsigned_varint().map_err(|fault| self.failure(fault))?;
        if count > 0 {
            self.visitor.tags_begin(from..self.reader.at(), count);
            let mut last = None;
            for _ in 0..count {
                let tag = self.tag(fields)?;
                if last.is_some_and(|last| last >= tag) {
                    return Err(self.failure(Fault::TagOrder));
                }
                last = Some(tag);
            }
        }
        self.visitor.tags_end(owner, from..self.reader.at());
        Ok(())
    }

    fn tag(&mut self, fields: &'static [Field]) -> Result<u32, Failure> {
        let from = self.at();
        let tag = self.reader.unsigned_varint().map_err(|fault| self.failure(fault))?;
        let size_from = self.at();
        let size = self.reader.unsigned_varint().map_err(|fault| self.failure(fault))?;
        let size_at = size_from..self.at();
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        let known = fields.iter().find(|field| field.tag == Some(tag) && field.versions.contain(self.version));
        let Some(field) = known else {
            self.reader.skip(bytes).map_err(|fault| self.failure(fault))?;
            self.visitor.unknown_tag(from..self.reader.at());
            return Ok(tag);
        };
        let end = self.reader.narrow(bytes).map_err(|fault| self.failure(fault).within(field.name))?;
        self.visitor.tag_begin(field, &TagPrefix { size_at, size });
        self.field(field).map_err(|failure| failure.within(field.name))?;
        if self.reader.remaining() > 0 {
            return Err(self.failure(Fault::TagSize).within(field.name));
        }
        self.reader.widen(end);
        self.visitor.tag_end();
        Ok(tag)
    }

    fn failure(&self, fault: Fault) -> Failure {
        Failure::new(fault, self.at())
    }
}
