//! Networks and attachments as JSON, a file for each.

use pillbox_json::{Value, write};
use serde::Serialize;

use super::{Locked, check_name};
use crate::attachment::Attachment;
use crate::error::{Error, Kind, Result};
use crate::network::Network;

/// Attachments that nobody will undo any more.
#[derive(Debug, Default)]
pub struct Stale {
    /// In the order of their keys.
    pub attachments: Vec<Attachment>,
    /// Records of which nothing is known, and why.
    pub unreadable: Vec<Error>,
}

impl Locked<'_> {
    /// Records a network, or anew what it is.
    ///
    /// # Errors
    /// Its name cannot be that of a file; the file cannot be written.
    pub fn put_network(&self, network: &Network) -> Result<()> {
        self.write(&network_file(&network.name)?, network)
    }

    /// Whether a network of that name is recorded.
    ///
    /// # Errors
    /// The name cannot be that of a file; the folder cannot be looked into.
    pub fn has_network(&self, name: &str) -> Result<bool> {
        self.folder().has(&network_file(name)?)
    }

    /// The network of that name, if it is recorded.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn network(&self, name: &str) -> Result<Option<Network>> {
        let file = network_file(name)?;
        let network: Option<Network> = self.read(&file)?;
        network.map(|network| self.check_own(&file, &network.name, name).map(|()| network)).transpose()
    }

    /// All networks, in the order of their names.
    ///
    /// # Errors
    /// One of the records cannot be read.
    pub fn networks(&self) -> Result<Vec<Network>> {
        let names = self.folder().names("networks")?;
        let mut networks = Vec::new();
        for name in names {
            networks.extend(self.network(&name)?);
        }
        Ok(networks)
    }

    /// Whether nothing is recorded but that network, if that is.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub fn has_only(&self, network: &str) -> Result<bool> {
        let networks = self.folder().names("networks")?;
        Ok(networks.iter().all(|name| name == network) && self.folder().names("attachments")?.is_empty())
    }

    /// Whether neither a network nor an attachment is recorded.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub fn is_empty(&self) -> Result<bool> {
        self.has_only("")
    }

    /// Removes a network's record, if there is one. Its leases, and the order in which addresses are given,
    /// stay.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove_network(&self, name: &str) -> Result<()> {
        self.folder().unlink(&network_file(name)?)
    }

    /// Records an attachment, or anew what it is: before anything of it is made. From here on it has the
    /// addresses and ports that it lists, and must be struck.
    ///
    /// # Errors
    /// Its key cannot be the name of a file; the file cannot be written.
    pub fn note(&mut self, attachment: &Attachment) -> Result<()> {
        self.write(&attachment_file(&attachment.key)?, attachment)?;
        self.made
            .retain(|(reservation, key)| *key != attachment.key || !reservation.is_listed_by(attachment));
        Ok(())
    }

    /// The attachment with that key, if it is recorded.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn attachment(&self, key: &str) -> Result<Option<Attachment>> {
        let file = attachment_file(key)?;
        let attachment: Option<Attachment> = self.read(&file)?;
        attachment
            .map(|attachment| self.check_own(&file, &attachment.key, key).map(|()| attachment))
            .transpose()
    }

    /// All attachments, in the order of their keys.
    ///
    /// # Errors
    /// One of the records cannot be read.
    pub fn attachments(&self) -> Result<Vec<Attachment>> {
        let mut attachments = Vec::new();
        for key in self.folder().names("attachments")? {
            attachments.extend(self.attachment(&key)?);
        }
        Ok(attachments)
    }

    /// An attachment with an interface on that network.
    ///
    /// # Errors
    /// As for [`Locked::attachments`].
    pub fn user(&self, network: &str) -> Result<Option<Attachment>> {
        let is_on = |attachment: &Attachment| {
            attachment.interfaces.iter().any(|interface| interface.network == network)
        };
        Ok(self.attachments()?.into_iter().find(is_on))
    }

    /// Removes an attachment's record, if there is one: when all of it is undone, and its addresses and ports
    /// are released.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn strike(&self, key: &str) -> Result<()> {
        self.folder().unlink(&attachment_file(key)?)
    }

    /// The attachments whose boot is over or whose holder is gone. What cannot be read is told beside them.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn stale(&self) -> Result<Stale> {
        let mut stale = Stale::default();
        for key in self.folder().names("attachments")? {
            let attachment = self.attachment(&key).and_then(|attachment| {
                let Some(attachment) = attachment else { return Ok(None) };
                let is_alive = attachment
                    .is_alive(self.store.boot())
                    .map_err(|error| error.after(&format!("attachment {key}")))?;
                Ok(Some(attachment).filter(|_| !is_alive))
            });
            match attachment {
                Ok(attachment) => stale.attachments.extend(attachment),
                Err(error) => stale.unreadable.push(error),
            }
        }
        Ok(stale)
    }

    fn write(&self, file: &str, record: &impl Serialize) -> Result<()> {
        let text = write::to_string(record).map_err(|text| Error::new(Kind::Host, text))?;
        self.folder().write(file, text.as_bytes())
    }

    fn read<T: for<'de> Value<'de> + Default>(&self, file: &str) -> Result<Option<T>> {
        let Some(content) = self.folder().read(file)? else { return Ok(None) };
        let record = pillbox_json::parse(&content);
        record.map(Some).map_err(|error| self.damaged(file, &error.to_string()))
    }

    fn check_own(&self, file: &str, named: &str, name: &str) -> Result<()> {
        if named == name { Ok(()) } else { Err(self.damaged(file, &format!("is the record of {named:?}"))) }
    }

    /// Something here is not as it was written.
    #[cold]
    pub(super) fn damaged(&self, file: &str, why: &str) -> Error {
        Error::new(Kind::Host, format!("{}: {why}", self.folder().path(file)))
    }
}

fn network_file(name: &str) -> Result<String> {
    check_name("network", name)?;
    Ok(format!("networks/{name}"))
}

fn attachment_file(key: &str) -> Result<String> {
    check_name("attachment", key)?;
    Ok(format!("attachments/{key}"))
}
