//! The journal of systemd, by its own protocol: a datagram for each entry, with the fields that Docker writes.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::entry::Entry;
use super::record::Stream;
use super::tag::LogSubject;
use crate::time::rfc3339;

const SOCKET: &str = "/run/systemd/journal/socket";

/// How long one entry may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection to the journal.
#[derive(Debug)]
pub struct Journal {
    /// The fields that are the same in each entry.
    fields: Vec<u8>,
    socket: Option<UnixDatagram>,
    ordinal: u64,
}

impl Journal {
    /// Nothing is connected before there is something to say.
    pub fn new(subject: &LogSubject) -> Journal {
        let LogSubject { id, name, image, tag, has_tag: _, attributes } = subject;
        let mut fields = Vec::new();
        add(&mut fields, "CONTAINER_ID", id.get(..12).unwrap_or(id).as_bytes());
        add(&mut fields, "CONTAINER_ID_FULL", id.as_bytes());
        add(&mut fields, "CONTAINER_NAME", name.as_bytes());
        add(&mut fields, "CONTAINER_TAG", tag.as_bytes());
        add(&mut fields, "IMAGE_NAME", image.as_bytes());
        add(&mut fields, "SYSLOG_IDENTIFIER", tag.as_bytes());
        for (name, value) in attributes {
            let name = field_name(name);
            if !name.is_empty() {
                add(&mut fields, &name, value.as_bytes());
            }
        }
        Journal { fields, socket: None, ordinal: 0 }
    }

    /// Sends an entry.
    ///
    /// # Errors
    /// There is no journal, or it does not take anything.
    pub fn send(&mut self, entry: &Entry) -> std::io::Result<()> {
        let datagram = self.encode(entry);
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(SOCKET)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                none.insert(socket)
            }
        };
        loop {
            match socket.send(&datagram) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // One that is started anew has another socket.
                    self.socket = None;
                    return Err(error);
                }
            }
        }
        self.ordinal += 1;
        Ok(())
    }

    fn encode(&self, entry: &Entry) -> Vec<u8> {
        let Entry { stream, time, text, is_last } = entry;
        let mut datagram = Vec::with_capacity(self.fields.len() + text.len() + 128);
        add(&mut datagram, "MESSAGE", text);
        add(&mut datagram, "PRIORITY", if *stream == Stream::Stderr { b"3" } else { b"6" });
        add(&mut datagram, "SYSLOG_TIMESTAMP", rfc3339(*time).as_bytes());
        add(&mut datagram, "CONTAINER_LOG_ORDINAL", (self.ordinal + 1).to_string().as_bytes());
        if !is_last {
            add(&mut datagram, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        datagram.extend_from_slice(&self.fields);
        datagram
    }
}

/// What has a line end in it comes with its length.
fn add(datagram: &mut Vec<u8>, name: &str, value: &[u8]) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

/// Capitals, digits and underscores, beginning with none of the last: the journal refuses other names.
fn field_name(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    let name: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    name.trim_start_matches(|letter: char| letter == '_' || letter.is_ascii_digit())
        .chars()
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    #[test]
    fn entries_have_dockers_fields() {
        let subject = LogSubject {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "busybox".into(),
            tag: "t".into(),
            has_tag: true,
            attributes: vec![("com.example.app".into(), "a\nb".into())],
        };
        let journal = Journal::new(&subject);
        let entry = Entry { stream: Stream::Stderr, time: Moment(0), text: b"wrong".into(), is_last: false };
        let datagram = journal.encode(&entry);
        let text = String::from_utf8_lossy(&datagram);
        for field in [
            "MESSAGE=wrong\n",
            "PRIORITY=3\n",
            "CONTAINER_PARTIAL_MESSAGE=true\n",
            "CONTAINER_ID=0123456789ab\n",
            "CONTAINER_ID_FULL=0123456789abcdef\n",
            "CONTAINER_NAME=web\n",
            "CONTAINER_TAG=t\n",
            "IMAGE_NAME=busybox\n",
            "SYSLOG_IDENTIFIER=t\n",
            "COM_EXAMPLE_APP\n\u{3}\0\0\0\0\0\0\0a\nb\n",
        ] {
            assert!(text.contains(field), "{field}: {text}");
        }
    }
}
