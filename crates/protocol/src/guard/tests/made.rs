//! Makes messages from the schema table and a string of random bytes.

use bytes::{BufMut as _, BytesMut};

use super::ID;
use crate::api::ApiKey;
use crate::schema::{self, Field, Kind};
use crate::splice::put_unsigned_varint;

/// Which of the two messages of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// One message twice: as it is, and with unknown tagged fields sprinkled into it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) clean: BytesMut,
    pub(super) dirty: BytesMut,
}

impl Side {
    /// Bytes that stay when bytes are flipped.
    pub(super) fn prefix_bytes(self) -> usize {
        match self {
            Self::Request => 8,
            Self::Response => 4,
        }
    }

    /// The header, without tags.
    pub(super) fn header(self, api: ApiKey, version: i16) -> BytesMut {
        let mut frame = BytesMut::new();
        let tagged = match self {
            Self::Request => {
                frame.put_i16(api.code());
                frame.put_i16(version);
                frame.put_i32(ID);
                frame.put_i16(4);
                frame.put_slice(b"test");
                api.request_header_version(version) >= 2
            }
            Self::Response => {
                frame.put_i32(ID);
                api.response_header_version(version) >= 1
            }
        };
        if tagged {
            frame.put_u8(0);
        }
        frame
    }
}

/// A message of one pair, from `entropy`.
pub(super) fn made(side: Side, api: ApiKey, version: i16, entropy: &[u8]) -> Made {
    let schemas = schema::api(api.code()).unwrap();
    let message = match side {
        Side::Request => &schemas.request,
        Side::Response => &schemas.response,
    };
    let header = side.header(api, version);
    let mut made = Made { clean: header.clone(), dirty: header };
    let mut maker = Maker { entropy, version, flexible: message.flexible.contain(version), serial: 0 };
    if match side {
        Side::Request => api.request_header_version(version) >= 2,
        Side::Response => api.response_header_version(version) >= 1,
    } {
        // The header's own section of tagged fields: once more, now with unknown ones.
        made.clean.truncate(made.clean.len() - 1);
        made.dirty.truncate(made.dirty.len() - 1);
        maker.tags(&[], &mut made);
    }
    maker.fields(message.fields, &mut made);
    made
}

impl Made {
    fn both(&mut self, put: impl Fn(&mut BytesMut)) {
        put(&mut self.clean);
        put(&mut self.dirty);
    }
}

struct Maker<'a> {
    entropy: &'a [u8],
    version: i16,
    flexible: bool,
    /// Makes every number, name and id different, so that nothing stands in a message twice and no field is at its
    /// default.
    serial: u16,
}

impl Maker<'_> {
    /// A number below `end`: the next byte of entropy, 0 when there is none left.
    fn pick(&mut self, end: u8) -> u8 {
        let Some((first, rest)) = self.entropy.split_first() else { return 0 };
        self.entropy = rest;
        first % end
    }

    fn next_serial(&mut self) -> u16 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    fn fields(&mut self, fields: &[Field], made: &mut Made) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.versions.contain(version)) {
            self.field(field, made);
        }
        if self.flexible {
            self.tags(fields, made);
        }
    }

    fn field(&mut self, field: &Field, made: &mut Made) {
        // A tagged field at null would be at its default, which a sender leaves out.
        let nullable = field.nullable.contain(self.version) && field.tag.is_none();
        if nullable && self.pick(4) == 1 {
            return match field.kind {
                Kind::Struct(_) => made.both(|to| to.put_i8(-1)),
                _ if self.flexible => made.both(|to| to.put_u8(0)),
                Kind::String => made.both(|to| to.put_i16(-1)),
                _ => made.both(|to| to.put_i32(-1)),
            };
        }
        match field.kind {
            Kind::Array(element) => {
                // A tagged array without elements is at its default.
                let count = usize::from(self.pick(4)).max(usize::from(field.tag.is_some()));
                self.length(count, false, made);
                for _ in 0..count {
                    self.value(*element, made);
                }
            }
            Kind::Struct(_) if nullable => {
                made.both(|to| to.put_i8(1));
                self.value(field.kind, made);
            }
            // False would be the default.
            Kind::Bool if field.tag.is_some() => made.both(|to| to.put_u8(1)),
            kind => self.value(kind, made),
        }
    }

    fn value(&mut self, kind: Kind, made: &mut Made) {
        let serial = self.next_serial();
        let low = u8::try_from(serial % 255 + 1).unwrap();
        let name = format!("n\u{fc}mber-{serial}");
        match kind {
            Kind::Bool => made.both(|to| to.put_u8(u8::from(serial % 2 == 1))),
            Kind::Int8 => made.both(|to| to.put_u8(low)),
            Kind::Int16 | Kind::Uint16 => made.both(|to| to.put_u16(serial)),
            Kind::Int32 => made.both(|to| to.put_u32(u32::from(serial) << 8)),
            Kind::Int64 => made.both(|to| to.put_u64(u64::from(serial) << 40)),
            Kind::Float64 => made.both(|to| to.put_f64(f64::from(serial))),
            Kind::Uuid => made.both(|to| to.put_u128(0x1234_0000_0000_0000_0000_0000_0000 | u128::from(serial))),
            Kind::String => {
                self.length(name.len(), true, made);
                made.both(|to| to.put_slice(name.as_bytes()));
            }
            Kind::Bytes | Kind::Records => {
                let length = usize::from(self.pick(200));
                self.length(length, false, made);
                made.both(|to| to.put_bytes(low, length));
            }
            Kind::Struct(fields) => self.fields(fields, made),
            Kind::Array(_) => panic!("the schema language has no array of arrays"),
        }
    }

    fn length(&self, length: usize, is_string: bool, made: &mut Made) {
        let flexible = self.flexible;
        made.both(|to| match (flexible, is_string) {
            (true, _) => put_unsigned_varint(u32::try_from(length).unwrap() + 1, to),
            (false, true) => to.put_i16(i16::try_from(length).unwrap()),
            (false, false) => to.put_i32(i32::try_from(length).unwrap()),
        });
    }

    fn tags(&mut self, fields: &[Field], made: &mut Made) {
        let known = |tag| fields.iter().find(|field| field.tag == Some(tag) && field.versions.contain(self.version));
        // Tags 0 to 3, whether known here or not, and one far away.
        let tags: Vec<_> = [0, 1, 2, 3, 300, 70_000].into_iter().map(|tag| (tag, known(tag))).collect();
        let mut sections = Made::default();
        let (mut clean, mut dirty) = (0, 0);
        for (tag, field) in tags {
            if self.pick(3) != 1 {
                continue;
            }
            let mut value = Made::default();
            match field {
                Some(field) => self.field(field, &mut value),
                None => {
                    let length = usize::from(self.pick(150));
                    value.dirty.put_bytes(0xee, length);
                }
            }
            dirty += 1;
            put_tag(tag, &value.dirty, &mut sections.dirty);
            if field.is_some() {
                clean += 1;
                put_tag(tag, &value.clean, &mut sections.clean);
            }
        }
        put_unsigned_varint(clean, &mut made.clean);
        made.clean.put_slice(&sections.clean);
        put_unsigned_varint(dirty, &mut made.dirty);
        made.dirty.put_slice(&sections.dirty);
    }
}

fn put_tag(tag: u32, value: &[u8], to: &mut BytesMut) {
    put_unsigned_varint(tag, to);
    put_unsigned_varint(u32::try_from(value.len()).unwrap(), to);
    to.put_slice(value);
}
