//! Bytes to entry, strictly: what decodes is encoded again and must give the same bytes.

use std::net::IpAddr;

use super::encode::{VERSION, key};
use super::{
    ClientRef, Decision, ENTRY_BYTES_MAX, Entry, EntryBody, EntryError, IntentRow, Kind, Outcome, Part, PrincipalKind,
    PrincipalRef, RuleHit, Split,
};
use crate::cbor::{CborError, Decoder};
use crate::hash::Hash;
use crate::ids::{ChainId, EventId, IntentId, SessionId};
use crate::prune::Prune;

impl Entry {
    /// Reads a stored entry.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Entry::encode`] gives for some entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        let fields = Fields::read(bytes)?;
        let at = required(fields.at, key::AT)?;
        let wall = fields.wall.unwrap_or(at);
        let entry = Self {
            log: ChainId(required(fields.log, key::LOG)?),
            seq: required(fields.seq, key::SEQ)?,
            prev: Hash(required(fields.prev, key::PREV)?),
            at,
            split: fields.split,
            body: fields.body(wall)?,
        };
        if entry.encode() == bytes { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }
}

impl IntentRow {
    /// Reads a stored intent.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`IntentRow::encode`] gives for some intent.
    pub fn decode(id: IntentId, bytes: &[u8]) -> Result<Self, EntryError> {
        let fields = Fields::read(bytes)?;
        let at = required(fields.at, key::AT)?;
        let row = Self { id, body: fields.body(at)? };
        if row.encode() == bytes { Ok(row) } else { Err(EntryError::NotCanonical) }
    }
}

/// The fields found, before it is known which must be there.
#[derive(Default)]
struct Fields {
    version: Option<u64>,
    log: Option<[u8; 16]>,
    seq: Option<u64>,
    prev: Option<[u8; 32]>,
    at: Option<u64>,
    wall: Option<u64>,
    kind: Option<Kind>,
    event_id: Option<[u8; 16]>,
    intent_at: Option<u64>,
    session: Option<[u8; 16]>,
    principal: Option<PrincipalRef>,
    client: Option<ClientRef>,
    api: Option<(i16, i16)>,
    decision: Option<Decision>,
    outcome: Option<Outcome>,
    reason: Option<String>,
    rule_hits: Vec<RuleHit>,
    parts: Vec<Part>,
    policy_digest: Option<[u8; 32]>,
    count: Option<u64>,
    split: Option<Split>,
    prune: Option<Box<Prune>>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut fields = Self::default();
        let mut decoder = Decoder::new(bytes);
        decoder.map(|key, value| match u8::try_from(key) {
            Ok(key) => fields.field(key, value),
            Err(_) => Ok(None),
        })?;
        decoder.finish()?;
        match required(fields.version, key::V)? {
            VERSION => Ok(fields),
            version => Err(EntryError::Version { version }),
        }
    }

    fn field(&mut self, key: u8, value: &mut Decoder<'_>) -> Result<Option<()>, CborError> {
        match key {
            key::V => self.version = Some(value.unsigned()?),
            key::LOG => self.log = Some(value.fixed()?),
            key::SEQ => self.seq = Some(value.unsigned()?),
            key::PREV => self.prev = Some(value.fixed()?),
            key::AT => self.at = Some(value.unsigned()?),
            key::WALL => self.wall = Some(value.unsigned()?),
            key::KIND => self.kind = Some(coded(value, Kind::from_code)?),
            key::EVENT => self.event_id = Some(value.fixed()?),
            key::INTENT_AT => self.intent_at = Some(value.unsigned()?),
            key::SESSION => self.session = Some(value.fixed()?),
            key::PRINCIPAL => self.principal = Some(principal(value)?),
            key::CLIENT => self.client = Some(client(value)?),
            key::API => {
                value.array_of(2)?;
                self.api = Some((value.signed()?, value.signed()?));
            }
            key::DECISION => self.decision = Some(coded(value, Decision::from_code)?),
            key::OUTCOME => self.outcome = Some(outcome(value)?),
            key::REASON => self.reason = Some(value.text()?.to_owned()),
            key::RULE_HITS => self.rule_hits = list(value, rule_hit)?,
            key::PARTS => self.parts = list(value, part)?,
            key::POLICY_DIGEST => self.policy_digest = Some(value.fixed()?),
            key::COUNT => self.count = Some(value.unsigned()?),
            key::SPLIT => {
                value.array_of(2)?;
                self.split = Some(Split { part: value.number()?, of: value.number()? });
            }
            key::PRUNE => self.prune = Some(Box::new(Prune::decode(value)?)),
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn body(self, at: u64) -> Result<EntryBody, EntryError> {
        let kind = required(self.kind, key::KIND)?;
        if (kind == Kind::Prune) != self.prune.is_some() {
            return Err(EntryError::Cbor(CborError::Missing { key: u64::from(key::PRUNE) }));
        }
        Ok(EntryBody {
            kind,
            event_id: EventId(required(self.event_id, key::EVENT)?),
            at,
            intent_at: self.intent_at,
            session: self.session.map(SessionId),
            principal: self.principal,
            client: self.client,
            api: self.api,
            decision: required(self.decision, key::DECISION)?,
            outcome: self.outcome.unwrap_or(Outcome::None),
            reason: self.reason,
            rule_hits: self.rule_hits,
            parts: self.parts,
            policy_digest: self.policy_digest,
            count: self.count.unwrap_or(1),
            prune: self.prune,
        })
    }
}

fn required<T>(field: Option<T>, key: u8) -> Result<T, EntryError> {
    field.ok_or(EntryError::Cbor(CborError::Missing { key: u64::from(key) }))
}

fn coded<T>(value: &mut Decoder<'_>, from_code: impl Fn(u64) -> Option<T>) -> Result<T, CborError> {
    let at = value.at();
    from_code(value.unsigned()?).ok_or(CborError::OutOfRange { at })
}

/// A list. Nothing is reserved ahead: memory follows the items that were really there.
fn list<T>(
    value: &mut Decoder<'_>,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    (0..value.array()?).map(|_| item(value)).collect()
}

fn principal(value: &mut Decoder<'_>) -> Result<PrincipalRef, CborError> {
    value.array_of(2)?;
    Ok(PrincipalRef { kind: coded(value, PrincipalKind::from_code)?, id: value.text()?.to_owned() })
}

fn client(value: &mut Decoder<'_>) -> Result<ClientRef, CborError> {
    let (mut address, mut port, mut client_id, mut listener, mut insecure) = (None, None, None, None, false);
    value.map(|key, value| {
        match key {
            0 => address = Some(ip_address(value)?),
            1 => port = Some(value.number()?),
            2 => client_id = Some(value.text()?.to_owned()),
            3 => listener = Some(value.text()?.to_owned()),
            4 => {
                value.truth()?;
                insecure = true;
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    })?;
    let missing = |key| CborError::Missing { key };
    Ok(ClientRef {
        address: address.ok_or(missing(0))?,
        port: port.ok_or(missing(1))?,
        client_id,
        listener: listener.ok_or(missing(3))?,
        insecure,
    })
}

fn ip_address(value: &mut Decoder<'_>) -> Result<IpAddr, CborError> {
    let at = value.at();
    let bytes = value.bytes()?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| CborError::OutOfRange { at })
}

fn outcome(value: &mut Decoder<'_>) -> Result<Outcome, CborError> {
    let at = value.at();
    let items = value.array()?;
    match (value.unsigned()?, items) {
        (1, 1) => Ok(Outcome::Stored),
        (2, 1) => Ok(Outcome::Delivered),
        (3, 2) => Ok(Outcome::Refused { code: value.signed()? }),
        (4, 2) => Ok(Outcome::BrokerError { code: value.signed()? }),
        (5, 1) => Ok(Outcome::Unknown),
        _ => Err(CborError::OutOfRange { at }),
    }
}

fn rule_hit(value: &mut Decoder<'_>) -> Result<RuleHit, CborError> {
    value.array_of(3)?;
    Ok(RuleHit { rule: value.text()?.to_owned(), action: value.text()?.to_owned(), count: value.unsigned()? })
}

fn part(value: &mut Decoder<'_>) -> Result<Part, CborError> {
    let (mut topic, mut partition) = (None, None);
    let mut part = Part {
        topic: String::new(),
        topic_id: None,
        partition: 0,
        base_offset: None,
        last_offset: None,
        records: 0,
        bytes_in: 0,
        bytes_out: 0,
        error_code: 0,
        producer: None,
        digest: None,
    };
    value.map(|key, value| {
        match key {
            0 => topic = Some(value.text()?.to_owned()),
            1 => part.topic_id = Some(value.fixed()?),
            2 => partition = Some(value.signed()?),
            3 => part.base_offset = Some(value.signed()?),
            4 => part.last_offset = Some(value.signed()?),
            5 => part.records = value.number()?,
            6 => part.bytes_in = value.unsigned()?,
            7 => part.bytes_out = value.unsigned()?,
            8 => part.error_code = value.signed()?,
            9 => {
                value.array_of(3)?;
                part.producer = Some((value.signed()?, value.signed()?, value.signed()?));
            }
            10 => part.digest = Some(value.fixed()?),
            _ => return Ok(None),
        }
        Ok(Some(()))
    })?;
    part.topic = topic.ok_or(CborError::Missing { key: 0 })?;
    part.partition = partition.ok_or(CborError::Missing { key: 2 })?;
    Ok(part)
}
