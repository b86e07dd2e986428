//! Sets and maps.

use neli::consts::nl::NlmF;

use super::data::{describe, types_of};
use super::message::{Kind, attributes, check_name, message};
use super::table::none_if_absent;
use super::{Batch, DataType, Listed, Socket, Table, Userdata};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::reply::{self, Reply, be32_at, be64_at, read_string};

const TABLE: u16 = 1;
const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_TYPE: u16 = 4;
const KEY_LENGTH: u16 = 5;
const DATA_TYPE: u16 = 6;
const DATA_LENGTH: u16 = 7;
const DESCRIPTION: u16 = 9;
const ID: u16 = 10;
const USERDATA: u16 = 13;
const OBJECT_TYPE: u16 = 15;
const HANDLE: u16 = 16;
/// `NFTA_SET_DESC_SIZE`, `NFTA_SET_DESC_CONCAT`, `NFTA_LIST_ELEM`, `NFTA_SET_FIELD_LEN`.
const SIZE: u16 = 1;
const CONCATENATION: u16 = 2;
const PART: u16 = 1;
const PART_LENGTH: u16 = 1;

/// `NFT_SET_`.
const ANONYMOUS: u32 = 1;
const CONSTANT: u32 = 2;
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const TIMEOUT: u32 = 0x10;
const DYNAMIC: u32 = 0x20;
const OBJECT: u32 = 0x40;
const CONCATENATED: u32 = 0x80;

/// `NFT_DATA_VERDICT`.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// `NFTNL_UDATA_SET_KEYBYTEORDER`, `…_DATABYTEORDER`, `…_COMMENT`; nft(8)'s numbers for byte orders, 0 for
/// none.
const KEY_ORDER: u8 = 0;
const DATA_ORDER: u8 = 1;
const COMMENT: u8 = 7;
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;

/// A set or a map, without its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name, 1 to 255 bytes. Of an anonymous one the kernel takes a pattern: `__set%d`.
    pub name: String,
    /// The type of its keys; of several ones each key is a concatenation.
    pub key: Vec<DataType>,
    /// What a map leads to; a set leads to nothing.
    pub data: Option<SetData>,
    /// Its elements may be ranges.
    pub interval: bool,
    /// Its elements do not change once a rule uses it.
    pub constant: bool,
    /// It belongs to the rule that uses it, and goes with it.
    pub anonymous: bool,
    /// Its elements may go by themselves.
    pub timeout: bool,
    /// Rules may add elements.
    pub dynamic: bool,
    /// The most elements that it takes.
    pub size: Option<u32>,
    /// A comment, as nft(8) shows it.
    pub comment: Option<String>,
}

/// What a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetData {
    /// Values; of several types each is a concatenation.
    Values(Vec<DataType>),
    /// Verdicts.
    Verdicts,
    /// Objects of that type (`NFT_OBJECT_`): counters, quotas. Elements do not show theirs.
    Objects(u32),
}

impl Set {
    /// A set.
    pub fn new(name: impl Into<String>, key: impl Into<Vec<DataType>>) -> Self {
        Set {
            name: name.into(),
            key: key.into(),
            data: None,
            interval: false,
            constant: false,
            anonymous: false,
            timeout: false,
            dynamic: false,
            size: None,
            comment: None,
        }
    }

    /// A map from keys to values.
    pub fn map(
        name: impl Into<String>,
        key: impl Into<Vec<DataType>>,
        data: impl Into<Vec<DataType>>,
    ) -> Self {
        Set { data: Some(SetData::Values(data.into())), ..Set::new(name, key) }
    }

    /// A map from keys to verdicts.
    pub fn verdicts(name: impl Into<String>, key: impl Into<Vec<DataType>>) -> Self {
        Set { data: Some(SetData::Verdicts), ..Set::new(name, key) }
    }

    /// The same, whose elements may be ranges.
    pub fn of_ranges(self) -> Self {
        Set { interval: true, ..self }
    }

    /// Whether the kernel keeps a range as two elements, its beginning and what follows its end.
    pub(super) fn has_two_ended_ranges(&self) -> bool {
        self.interval && self.key.len() == 1
    }

    fn flags(&self) -> u32 {
        let concatenated_ranges = self.interval && self.key.len() > 1;
        [
            (self.anonymous, ANONYMOUS),
            (self.constant, CONSTANT),
            (self.interval, INTERVAL),
            (matches!(self.data, Some(SetData::Values(_) | SetData::Verdicts)), MAP),
            (self.timeout, TIMEOUT),
            (self.dynamic, DYNAMIC),
            (matches!(self.data, Some(SetData::Objects(_))), OBJECT),
            (concatenated_ranges, CONCATENATED),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(0, |flags, (_, flag)| flags | flag)
    }

    /// How nft(8) is to show the values, and the comment.
    fn userdata(&self) -> Userdata {
        let mut userdata = Userdata::default().with(KEY_ORDER, &byte_order(&self.key).to_ne_bytes());
        match &self.data {
            Some(SetData::Values(types)) => {
                userdata = userdata.with(DATA_ORDER, &byte_order(types).to_ne_bytes());
            }
            Some(SetData::Verdicts) => userdata = userdata.with(DATA_ORDER, &0u32.to_ne_bytes()),
            Some(SetData::Objects(_)) | None => {}
        }
        match &self.comment {
            Some(comment) => userdata.with(COMMENT, &[comment.as_bytes(), &[0]].concat()),
            None => userdata,
        }
    }
}

fn byte_order(types: &[DataType]) -> u32 {
    match types {
        [single] if single.is_host_order() => HOST_ORDER,
        [_] => NETWORK_ORDER,
        _ => 0,
    }
}

impl Batch {
    /// Adds a set or a map, if there is none of that name.
    ///
    /// # Errors
    /// A name or the comment is too long; no key type; verdicts or keys that are too long.
    pub fn add_set(&mut self, table: &Table, set: &Set) -> Result<&mut Self> {
        let id = self.next_set();
        Ok(self.push(new(NlmF::CREATE, "add", table, set, id)?))
    }

    /// Adds a set or a map; that there is one of that name is an error (EEXIST).
    ///
    /// # Errors
    /// As [`Batch::add_set`].
    pub fn create_set(&mut self, table: &Table, set: &Set) -> Result<&mut Self> {
        let id = self.next_set();
        Ok(self.push(new(NlmF::CREATE | NlmF::EXCL, "create", table, set, id)?))
    }

    /// The number of the set that was added last, by which elements and rules of the same batch find an
    /// anonymous one.
    pub fn last_set(&self) -> Option<u32> {
        Some(self.set_count()).filter(|&count| count > 0)
    }

    /// Deletes a set or a map; one that a rule uses is not deleted (EBUSY).
    ///
    /// # Errors
    /// A name is too long.
    pub fn delete_set(&mut self, table: &Table, name: &str) -> Result<&mut Self> {
        let message = named(Kind::DeleteSet, NlmF::empty(), "delete", table, name)?;
        Ok(self.push(message))
    }
}

/// All sets and maps of a table.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table) -> Result<Vec<Listed<Set>>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    let what = format!("list the sets of table {}", table.label());
    let question = message(Kind::GetSet, NlmF::DUMP, table.family, what, &attributes)?;
    socket.0.ask(&question, read)
}

/// The set or map of that name, if there is one.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn find(socket: &mut Socket, table: &Table, name: &str) -> Result<Option<Listed<Set>>> {
    let question = named(Kind::GetSet, NlmF::empty(), "look up", table, name)?;
    none_if_absent(socket.0.ask(&question, read))
}

fn named(kind: Kind, flags: NlmF, verb: &str, table: &Table, name: &str) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(NAME, check_name("set", name)?);
    message(kind, flags, table.family, format!("{verb} set {} {name}", table.label()), &attributes)
}

fn new(flags: NlmF, verb: &str, table: &Table, set: &Set, id: u32) -> Result<Message<'static>> {
    let name = &set.name;
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(NAME, check_name("set", name)?);
    attributes.push_be32(FLAGS, set.flags());
    let (key_type, key_length) = describe(&set.key);
    attributes.push_be32(KEY_TYPE, key_type);
    attributes.push_be32(KEY_LENGTH, length(name, key_length)?);
    match &set.data {
        Some(SetData::Values(types)) => {
            let (data_type, data_length) = describe(types);
            attributes.push_be32(DATA_TYPE, data_type);
            attributes.push_be32(DATA_LENGTH, length(name, data_length)?);
        }
        Some(SetData::Verdicts) => {
            attributes.push_be32(DATA_TYPE, VERDICT_TYPE);
            attributes.push_be32(DATA_LENGTH, 0);
        }
        Some(SetData::Objects(number)) => attributes.push_be32(OBJECT_TYPE, *number),
        None => {}
    }
    attributes.push_be32(ID, id);
    let description = description(set)?;
    if !description.0.is_empty() {
        attributes.nest_flagged(DESCRIPTION, &description);
    }
    attributes.push(USERDATA, set.userdata().checked("set")?);
    message(Kind::NewSet, flags, table.family, format!("{verb} set {} {name}", table.label()), &attributes)
}

/// The size, and for concatenated ranges the length of each part.
fn description(set: &Set) -> Result<Attributes> {
    let mut description = Attributes::default();
    if let Some(size) = set.size {
        description.push_be32(SIZE, size);
    }
    if set.flags() & CONCATENATED != 0 {
        let mut parts = Attributes::default();
        for part in &set.key {
            let mut nest = Attributes::default();
            nest.push_be32(PART_LENGTH, length(&set.name, part.length())?);
            parts.nest_flagged(PART, &nest);
        }
        description.nest_flagged(CONCATENATION, &parts);
    }
    Ok(description)
}

fn length(set: &str, length: usize) -> Result<u32> {
    // `NFT_DATA_VALUE_MAXLEN`.
    if (1..=64).contains(&length) {
        return u32::try_from(length).map_err(|_| Error::invalid(format_args!("set {set}")));
    }
    Err(Error::invalid(format_args!("set {set}: keys and values must be of 1 to 64 bytes, not {length}")))
}

pub(super) fn read(reply: &Reply<'_>) -> Result<Option<Listed<Set>>> {
    let Some(attributes) = attributes(reply, Kind::NewSet)? else { return Ok(None) };
    let (mut handle, mut set, mut flags) = (0, Set::new("", []), 0);
    let (mut key, mut data, mut object) = ((0, 0), (0, 0), 0);
    for attribute in attributes {
        let (kind, payload) = attribute?;
        let number = be32_at(payload, 0).unwrap_or(0);
        match kind {
            NAME => set.name = read_string(payload),
            FLAGS => flags = number,
            KEY_TYPE => key.0 = number,
            KEY_LENGTH => key.1 = number,
            DATA_TYPE => data.0 = number,
            DATA_LENGTH => data.1 = number,
            OBJECT_TYPE => object = number,
            DESCRIPTION => set.size = reply::find(payload, SIZE)?.and_then(|payload| be32_at(payload, 0)),
            USERDATA => set.comment = Userdata(payload.to_vec()).get(COMMENT).map(read_string),
            HANDLE => handle = be64_at(payload, 0).unwrap_or(0),
            _ => {}
        }
    }
    let types = |(number, length): (u32, u32)| types_of(number, usize::try_from(length).unwrap_or(0));
    set.key = types(key);
    set.data = match flags & (MAP | OBJECT) {
        OBJECT => Some(SetData::Objects(object)),
        MAP if data.0 == VERDICT_TYPE => Some(SetData::Verdicts),
        MAP => Some(SetData::Values(types(data))),
        _ => None,
    };
    let is = |flag| flags & flag != 0;
    (set.anonymous, set.constant, set.interval) = (is(ANONYMOUS), is(CONSTANT), is(INTERVAL));
    (set.timeout, set.dynamic) = (is(TIMEOUT), is(DYNAMIC));
    Ok(Some(Listed { handle, value: set }))
}
