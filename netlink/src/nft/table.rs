//! Tables, in which everything else lies.

use neli::consts::nl::NlmF;
use rustix::io::Errno;

use super::message::{Kind, attributes, check_name, family, message, unspecific};
use super::{Batch, Family, Listed, Socket, Userdata};
use crate::attribute::Attributes;
use crate::error::Result;
use crate::message::Message;
use crate::reply::{Reply, be32_at, be64_at, read_string};

const NAME: u16 = 1;
const FLAGS: u16 = 2;
const HANDLE: u16 = 4;
const USERDATA: u16 = 6;

/// Its chains see no packets: `NFT_TABLE_F_DORMANT`.
pub const DORMANT: u32 = 1;
/// It belongs to the process whose socket made it, others may not change it, and it goes with that socket:
/// `NFT_TABLE_F_OWNER`.
pub const OWNED: u32 = 2;
/// It stays behind the socket that it belongs to: `NFT_TABLE_F_PERSIST`.
pub const PERSISTENT: u32 = 4;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The packets that it sees.
    pub family: Family,
    /// Its name, 1 to 255 bytes.
    pub name: String,
    /// [`DORMANT`], [`OWNED`], [`PERSISTENT`].
    pub flags: u32,
    /// Data of its maker's, a comment for example.
    pub userdata: Userdata,
}

impl Table {
    /// A table without flags.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Table { family, name: name.into(), flags: 0, userdata: Userdata::default() }
    }

    /// As nft(8) names it: `inet example`.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.family.name(), self.name)
    }

    fn message(&self, kind: Kind, flags: NlmF, verb: &str) -> Result<Message<'static>> {
        let Table { family, ref name, flags: table_flags, ref userdata } = *self;
        let mut attributes = Attributes::default();
        attributes.push_text(NAME, check_name("table", name)?);
        if kind == Kind::NewTable {
            attributes.push_be32(FLAGS, table_flags);
            if !userdata.0.is_empty() {
                attributes.push(USERDATA, userdata.checked("table")?);
            }
        }
        message(kind, flags, family, format!("{verb} table {}", self.label()), &attributes)
    }
}

impl Batch {
    /// Adds a table, if there is none of that name.
    ///
    /// # Errors
    /// The name or the userdata is too long.
    pub fn add_table(&mut self, table: &Table) -> Result<&mut Self> {
        Ok(self.push(table.message(Kind::NewTable, NlmF::CREATE, "add")?))
    }

    /// Adds a table; that there is one of that name is an error (EEXIST).
    ///
    /// # Errors
    /// The name or the userdata is too long.
    pub fn create_table(&mut self, table: &Table) -> Result<&mut Self> {
        Ok(self.push(table.message(Kind::NewTable, NlmF::CREATE | NlmF::EXCL, "create")?))
    }

    /// Deletes a table with all that lies in it.
    ///
    /// # Errors
    /// The name is too long.
    pub fn delete_table(&mut self, table: &Table) -> Result<&mut Self> {
        Ok(self.push(table.message(Kind::DeleteTable, NlmF::empty(), "delete")?))
    }
}

/// All tables.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn list(socket: &mut Socket) -> Result<Vec<Listed<Table>>> {
    let question = unspecific(Kind::GetTable, NlmF::DUMP, "list tables".to_string())?;
    socket.0.ask(&question, read)
}

/// The table of that family and name, if there is one: a question of some microseconds.
///
/// # Errors
/// A socket error, or the kernel refused the request.
pub fn find(socket: &mut Socket, family: Family, name: &str) -> Result<Option<Listed<Table>>> {
    let question = Table::new(family, name).message(Kind::GetTable, NlmF::empty(), "look up")?;
    none_if_absent(socket.0.ask(&question, read))
}

/// The first answer; none where the kernel says ENOENT.
pub(super) fn none_if_absent<T>(answers: Result<Vec<T>>) -> Result<Option<T>> {
    match answers {
        Ok(answers) => Ok(answers.into_iter().next()),
        Err(error) if error.refused() == Some(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read(reply: &Reply<'_>) -> Result<Option<Listed<Table>>> {
    let Some(attributes) = attributes(reply, Kind::NewTable)? else { return Ok(None) };
    let Some(family) = family(reply) else { return Ok(None) };
    let mut listed = Listed { handle: 0, value: Table::new(family, "") };
    for attribute in attributes {
        let (kind, payload) = attribute?;
        match kind {
            NAME => listed.value.name = read_string(payload),
            FLAGS => listed.value.flags = be32_at(payload, 0).unwrap_or(0),
            HANDLE => listed.handle = be64_at(payload, 0).unwrap_or(0),
            USERDATA => listed.value.userdata = Userdata(payload.to_vec()),
            _ => {}
        }
    }
    Ok(Some(listed))
}
