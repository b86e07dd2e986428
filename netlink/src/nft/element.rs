//! Elements of sets and maps.

use std::net::IpAddr;
use std::time::Duration;

use neli::consts::nl::NlmF;

use super::message::{Kind, attributes, check_name, message};
use super::table::none_if_absent;
use super::{Batch, Set, Socket, Table, Userdata, Value, Verdict};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::message::Message;
use crate::reply::{self, Reply, be32_at, be64_at};

const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const SET_ID: u16 = 4;
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const TIMEOUT: u16 = 4;
const USERDATA: u16 = 6;
const LAST_KEY: u16 = 10;
/// `NFTA_DATA_VALUE`.
pub(super) const VALUE: u16 = 1;
/// `NFTA_LIST_ELEM`.
const ITEM: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`, `NFT_SET_ELEM_CATCHALL`.
const END: u32 = 1;
const CATCH_ALL: u32 = 2;

/// A message takes elements up to this many bytes; more make another one. An attribute ends at 65,535.
const FULL: usize = 60_000;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its key, or of a range the first one. Empty: it stands for all keys that no other has.
    pub key: Value,
    /// Of a range the last key.
    pub last: Option<Value>,
    /// What a map leads to.
    pub data: Option<ElementData>,
    /// After how long it goes, to the millisecond, in sets with timeouts.
    pub timeout: Option<Duration>,
    /// Data of its maker's, a comment for example.
    pub userdata: Userdata,
}

/// What an element leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementData {
    /// A value.
    Value(Value),
    /// A verdict.
    Verdict(Verdict),
}

impl Element {
    /// An element with one key.
    pub fn new(key: impl Into<Value>) -> Self {
        let (timeout, userdata) = (None, Userdata::default());
        Element { key: key.into(), last: None, data: None, timeout, userdata }
    }

    /// A range of keys, both ends included.
    pub fn range(first: impl Into<Value>, last: impl Into<Value>) -> Self {
        Element { last: Some(last.into()), ..Element::new(first) }
    }

    /// All addresses of a network.
    pub fn network(ip: impl Into<IpAddr>, prefix: u8) -> Self {
        let (first, last) = Value::network(ip.into(), prefix);
        Element::range(first, last)
    }

    /// The same, leading to a value.
    pub fn to(self, value: impl Into<Value>) -> Self {
        Element { data: Some(ElementData::Value(value.into())), ..self }
    }

    /// The same, leading to a verdict.
    pub fn verdict(self, verdict: Verdict) -> Self {
        Element { data: Some(ElementData::Verdict(verdict)), ..self }
    }

    /// The same, with a comment as nft(8) shows it.
    pub fn commented(self, text: &str) -> Self {
        Element { userdata: Userdata::comment(text), ..self }
    }
}

impl Batch {
    /// Adds elements. One that is there with the same data is no error, with other data it is one (EEXIST),
    /// and the refusal says which ([`Field::item`](crate::Field::item)).
    ///
    /// # Errors
    /// A name or userdata is too long.
    pub fn add_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> Result<&mut Self> {
        self.elements(Kind::NewElement, NlmF::CREATE, "add", table, set, elements)
    }

    /// Adds elements; that one is there is an error (EEXIST).
    ///
    /// # Errors
    /// As [`Batch::add_elements`].
    pub fn create_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> Result<&mut Self> {
        self.elements(Kind::NewElement, NlmF::CREATE | NlmF::EXCL, "create", table, set, elements)
    }

    /// Deletes elements; their keys count.
    ///
    /// # Errors
    /// As [`Batch::add_elements`].
    pub fn delete_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> Result<&mut Self> {
        self.elements(Kind::DeleteElement, NlmF::empty(), "delete", table, set, elements)
    }

    /// Deletes all elements of a set.
    ///
    /// # Errors
    /// A name is too long.
    pub fn flush_set(&mut self, table: &Table, name: &str) -> Result<&mut Self> {
        let mut attributes = Attributes::default();
        attributes.push_text(TABLE, check_name("table", &table.name)?);
        attributes.push_text(SET, check_name("set", name)?);
        let what = format!("delete the elements of set {} {name}", table.label());
        Ok(self.push(message(Kind::DeleteElement, NlmF::empty(), table.family, what, &attributes)?))
    }

    fn elements(
        &mut self,
        kind: Kind,
        flags: NlmF,
        verb: &str,
        table: &Table,
        set: &Set,
        elements: &[Element],
    ) -> Result<&mut Self> {
        let id = if set.anonymous { self.last_set() } else { None };
        let mut list = Attributes::default();
        let mut first = 0;
        for (index, element) in elements.iter().enumerate() {
            let item = encode(element, set)?;
            if list.0.len() + item.0.len() > FULL {
                self.push_items(part(kind, flags, verb, table, set, id, &list)?, first);
                (list, first) = (Attributes::default(), index);
            }
            list.append(&item);
        }
        if !list.0.is_empty() {
            self.push_items(part(kind, flags, verb, table, set, id, &list)?, first);
        }
        Ok(self)
    }
}

/// All elements of a set. Ranges are put together again.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket, table: &Table, set: &Set) -> Result<Vec<Element>> {
    let question = question(table, set)?;
    let halves = socket.0.ask(&question, read)?.into_iter().flatten().collect();
    if set.has_two_ended_ranges() {
        return Ok(pair(halves));
    }
    Ok(halves.into_iter().map(|half: Half| half.element).collect())
}

/// Which of the elements a set does not have with that data, by their places. They are not read, only
/// compared: not for sets of ranges.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn find_missing(
    socket: &mut Socket,
    table: &Table,
    set: &Set,
    elements: &[Element],
) -> Result<Vec<usize>> {
    let question = question(table, set)?;
    let found = socket.0.ask(&question, |reply| {
        let Some(attributes) = attributes(reply, Kind::NewElement)? else { return Ok(None) };
        let mut places = Vec::new();
        for item in reply::Attributes(reply::find(attributes.0, ELEMENTS)?.unwrap_or_default()) {
            let item = item?.1;
            let (key, data) = (reply::find(item, KEY)?.unwrap_or_default(), reply::find(item, DATA)?);
            for (place, element) in elements.iter().enumerate() {
                let wanted = element.data.as_ref().map(data_of).transpose()?;
                let has_data =
                    wanted.is_none_or(|wanted| data.is_some_and(|data| reply::is_same(&wanted.0, data)));
                if has_data && reply::is_same(&value(&element.key).0, key) {
                    places.push(place);
                }
            }
        }
        Ok(Some(places))
    })?;
    Ok((0..elements.len()).filter(|place| !found.iter().flatten().any(|found| found == place)).collect())
}

fn question(table: &Table, set: &Set) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(SET, check_name("set", &set.name)?);
    let what = format!("list the elements of set {} {}", table.label(), set.name);
    message(Kind::GetElement, NlmF::DUMP, table.family, what, &attributes)
}

/// The element with that key, if there is one: it shows the holder of a published port without listing all.
///
/// # Errors
/// A socket error, or the kernel refused the request; a set whose elements are ranges of a single type, of
/// which the kernel only finds the beginning.
pub fn find(socket: &mut Socket, table: &Table, set: &Set, key: &Value) -> Result<Option<Element>> {
    if set.has_two_ended_ranges() {
        return Err(Error::invalid(format_args!("set {}: ranges are not found by a key", set.name)));
    }
    let list = encode(&Element::new(key.clone()), set)?;
    let question = part(Kind::GetElement, NlmF::empty(), "look up", table, set, None, &list)?;
    let halves = none_if_absent(socket.0.ask(&question, read))?.into_iter().flatten();
    Ok(halves.map(|half| half.element).next())
}

/// One message of elements.
fn part(
    kind: Kind,
    flags: NlmF,
    verb: &str,
    table: &Table,
    set: &Set,
    id: Option<u32>,
    list: &Attributes,
) -> Result<Message<'static>> {
    let mut attributes = Attributes::default();
    attributes.push_text(TABLE, check_name("table", &table.name)?);
    attributes.push_text(SET, check_name("set", &set.name)?);
    if let Some(id) = id {
        attributes.push_be32(SET_ID, id);
    }
    attributes.nest_flagged(ELEMENTS, list);
    let what = format!("{verb} elements of set {} {}", table.label(), set.name);
    message(kind, flags, table.family, what, &attributes)
}

/// One item of the list, for a range two.
fn encode(element: &Element, set: &Set) -> Result<Attributes> {
    let Element { key, last, data, timeout, userdata } = element;
    let mut item = Attributes::default();
    if key.0.is_empty() {
        item.push_be32(FLAGS, CATCH_ALL);
    } else {
        item.nest_flagged(KEY, &value(key));
    }
    if let Some(last) = last
        && !set.has_two_ended_ranges()
    {
        item.nest_flagged(LAST_KEY, &value(last));
    }
    if let Some(data) = data {
        item.nest_flagged(DATA, &data_of(data)?);
    }
    if let Some(timeout) = timeout {
        item.push_be64(TIMEOUT, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
    if !userdata.0.is_empty() {
        item.push(USERDATA, userdata.checked("element")?);
    }
    let mut list = Attributes::default();
    list.nest_flagged(ITEM, &item);
    if set.has_two_ended_ranges()
        && let Some(behind) = last.as_ref().unwrap_or(key).successor()
    {
        let mut end = Attributes::default();
        end.push_be32(FLAGS, END);
        end.nest_flagged(KEY, &value(&behind));
        list.nest_flagged(ITEM, &end);
    }
    Ok(list)
}

fn data_of(data: &ElementData) -> Result<Attributes> {
    match data {
        ElementData::Value(data) => Ok(value(data)),
        ElementData::Verdict(verdict) => verdict.encode(),
    }
}

fn value(value: &Value) -> Attributes {
    let mut data = Attributes::default();
    data.push(VALUE, &value.0);
    data
}

/// An element, or what follows the end of a range.
#[derive(Debug)]
pub(super) struct Half {
    element: Element,
    end: bool,
}

pub(super) fn read(reply: &Reply<'_>) -> Result<Option<Vec<Half>>> {
    let Some(attributes) = attributes(reply, Kind::NewElement)? else { return Ok(None) };
    let Some(list) = reply::find(attributes.0, ELEMENTS)? else { return Ok(None) };
    reply::Attributes(list).map(|item| read_half(item?.1)).collect::<Result<_>>().map(Some)
}

fn read_half(item: &[u8]) -> Result<Half> {
    let (mut element, mut flags) = (Element::new(Value::default()), 0);
    for attribute in reply::Attributes(item) {
        let (kind, payload) = attribute?;
        match kind {
            KEY => element.key = read_value(payload)?.unwrap_or_default(),
            LAST_KEY => element.last = read_value(payload)?,
            DATA => {
                let verdict = Verdict::read(payload)?.map(ElementData::Verdict);
                element.data = verdict.or(read_value(payload)?.map(ElementData::Value));
            }
            FLAGS => flags = be32_at(payload, 0).unwrap_or(0),
            TIMEOUT => element.timeout = be64_at(payload, 0).map(Duration::from_millis),
            USERDATA => element.userdata = Userdata(payload.to_vec()),
            _ => {}
        }
    }
    Ok(Half { element, end: flags & END != 0 })
}

pub(super) fn read_value(data: &[u8]) -> Result<Option<Value>> {
    Ok(reply::find(data, VALUE)?.map(|payload| Value(payload.to_vec())))
}

/// Puts ranges together: each goes from its beginning to the next end, which may be the beginning of another
/// one.
pub(super) fn pair(mut halves: Vec<Half>) -> Vec<Element> {
    // An end first where both have one key.
    halves.sort_by(|a, b| a.element.key.cmp(&b.element.key).then(b.end.cmp(&a.end)));
    let mut elements: Vec<Element> = Vec::new();
    let mut open = false;
    for half in halves {
        if !half.end {
            let mut element = half.element;
            if !element.key.0.is_empty() {
                // Without an end it goes on to the last key that there is.
                let greatest = Value(vec![u8::MAX; element.key.0.len()]);
                element.last = (greatest != element.key).then_some(greatest);
                open = true;
            }
            elements.push(element);
        } else if open {
            if let Some(element) = elements.last_mut() {
                let last = half.element.key.predecessor();
                element.last = (last != element.key).then_some(last);
            }
            open = false;
        }
    }
    elements
}
