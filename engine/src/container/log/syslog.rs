//! syslog: at this machine's socket, or by UDP or TCP somewhere else, in the forms that Docker has.

use std::io::{ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use super::entry::Entry;
use super::record::Stream;
use super::tag::LogSubject;
use crate::container::options::SyslogOptions;
use crate::error::{Error, Result};
use crate::time::{Moment, rfc3339};

/// Where a machine's own is.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// How long connecting, and one line, may take.
const PATIENCE: Duration = Duration::from_secs(2);

const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// Wherever this machine has it.
    Local,
    Datagram(PathBuf),
    Stream(PathBuf),
    Udp(String),
    Tcp(String),
}

impl Address {
    /// Reads Docker's form: `udp://host:514`, `unixgram:///dev/log`.
    fn parse(text: &str) -> Result<Address> {
        let wrong = |why: &str| {
            Error::invalid(format!(
                "--log-opt syslog-address={text}: {why}must be udp://HOST[:PORT], tcp://HOST[:PORT], unix://PATH or unixgram://PATH"
            ))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(""))?;
        let host = || match rest.trim_end_matches('/') {
            "" => Err(wrong("")),
            // An IPv6 address stands in brackets.
            host if host.ends_with(']') || !host.contains(':') => Ok(format!("{host}:514")),
            host => match host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) {
                Some(_) => Ok(host.to_string()),
                None => Err(wrong("")),
            },
        };
        match scheme {
            "udp" => host().map(Address::Udp),
            "tcp" => host().map(Address::Tcp),
            "unix" | "unixgram" if !rest.starts_with('/') => Err(wrong("")),
            "unix" => Ok(Address::Stream(rest.into())),
            "unixgram" => Ok(Address::Datagram(rest.into())),
            "tcp+tls" => Err(wrong(
                "syslog is not spoken over TLS here: a syslog server of this machine's can pass it on: it ",
            )),
            _ => Err(wrong("")),
        }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As local servers take it, without a host.
    Unix,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

impl Form {
    fn parse(text: &str) -> Result<Form> {
        match text {
            "rfc3164" => Ok(Form::Rfc3164),
            "rfc5424" => Ok(Form::Rfc5424),
            "rfc5424micro" => Ok(Form::Rfc5424Micro),
            _ => Err(Error::invalid(format!(
                "--log-opt syslog-format={text}: must be rfc3164, rfc5424 or rfc5424micro"
            ))),
        }
    }
}

fn facility(text: &str) -> Result<u8> {
    let known = FACILITIES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    known.or_else(|| text.parse().ok().filter(|number| *number < 24)).ok_or_else(|| {
        Error::invalid(format!(
            "--log-opt syslog-facility={text}: must be a name such as daemon or local0, or 0 to 23"
        ))
    })
}

/// Checks what is asked for.
///
/// # Errors
/// Something cannot be; the option is named.
pub fn check_syslog(options: &SyslogOptions) -> Result<()> {
    Shape::of(options).map(drop)
}

#[derive(Debug)]
struct Shape {
    address: Address,
    facility: u8,
    form: Form,
}

impl Shape {
    fn of(options: &SyslogOptions) -> Result<Shape> {
        let SyslogOptions { address, facility: wanted, format } = options;
        Ok(Shape {
            address: address.as_deref().map_or(Ok(Address::Local), Address::parse)?,
            facility: wanted.as_deref().map_or(Ok(3), facility)?,
            form: format.as_deref().map_or(Ok(Form::Unix), Form::parse)?,
        })
    }
}

#[derive(Debug)]
enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A connection to it.
#[derive(Debug)]
pub struct Syslog {
    shape: Shape,
    tag: String,
    host: String,
    connection: Option<Connection>,
}

impl Syslog {
    /// Nothing is connected before there is something to say.
    ///
    /// # Errors
    /// As for [`check_syslog`].
    pub fn new(options: &SyslogOptions, subject: &LogSubject, host: String) -> Result<Syslog> {
        Ok(Syslog { shape: Shape::of(options)?, tag: subject.tag.clone(), host, connection: None })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn send(&mut self, entry: &Entry) -> std::io::Result<()> {
        let line = self.line(entry);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.shape.address)?),
        };
        let sent = match connection {
            Connection::Datagram(socket) => socket.send(&line).map(drop),
            Connection::Udp(socket) => match socket.send(&line) {
                // What was sent before has found nobody; there is no knowing of this one.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => socket.send(&line).map(drop),
                sent => sent.map(drop),
            },
            Connection::Stream(stream) => stream.write_all(&line),
            Connection::Tcp(stream) => stream.write_all(&line),
        };
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    fn line(&self, entry: &Entry) -> Vec<u8> {
        let Entry { stream, time, text, is_last: _ } = entry;
        let Syslog { shape, tag, host, .. } = self;
        let severity = if *stream == Stream::Stderr { 3 } else { 6 };
        let (priority, pid) = (shape.facility * 8 + severity, std::process::id());
        let head = match shape.form {
            Form::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(*time)),
            Form::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(*time)),
            Form::Rfc5424 | Form::Rfc5424Micro => {
                let time = rfc3339(*time);
                let digits =
                    if shape.form == Form::Rfc5424 { "" } else { time.get(19..26).unwrap_or_default() };
                let second = time.get(..19).unwrap_or_default();
                format!("<{priority}>1 {second}{digits}Z {host} {tag} {pid} {tag} - ")
            }
        };
        let mut line = head.into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        line
    }
}

/// `Jan _2 15:04:05`, in UTC.
fn stamp(time: Moment) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = rfc3339(time);
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<usize>().ok());
    let month = number(5..7).and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"Jan");
    format!("{month} {:>2} {}", number(8..10).unwrap_or(1), text.get(11..19).unwrap_or_default())
}

fn connect(address: &Address) -> std::io::Result<Connection> {
    let datagram = |path: &std::path::Path| -> std::io::Result<Connection> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection::Datagram(socket))
    };
    let stream = |path: &std::path::Path| -> std::io::Result<Connection> {
        let socket = UnixStream::connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection::Stream(socket))
    };
    match address {
        Address::Local => {
            let text = "there is no socket at /dev/log: --log-opt syslog-address=…";
            let mut refused = std::io::Error::new(ErrorKind::NotFound, text);
            for path in LOCAL {
                match datagram(path.as_ref()).or_else(|_| stream(path.as_ref())) {
                    Ok(connection) => return Ok(connection),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        }
        Address::Datagram(path) => datagram(path),
        Address::Stream(path) => stream(path),
        Address::Udp(host) => {
            let mut refused = std::io::Error::new(ErrorKind::NotFound, "that host has no address");
            for address in host.to_socket_addrs()? {
                let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                match UdpSocket::bind(own).and_then(|socket| socket.connect(address).map(|()| socket)) {
                    Ok(socket) => return Ok(Connection::Udp(socket)),
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        }
        Address::Tcp(host) => {
            let mut refused = std::io::Error::new(ErrorKind::NotFound, "that host has no address");
            for address in host.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(stream) => {
                        stream.set_write_timeout(Some(PATIENCE))?;
                        return Ok(Connection::Tcp(stream));
                    }
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_dockers() {
        let of = |text| Address::parse(text).ok();
        assert_eq!(of("udp://logs.example"), Some(Address::Udp("logs.example:514".into())));
        assert_eq!(of("tcp://[::1]:601"), Some(Address::Tcp("[::1]:601".into())));
        assert_eq!(of("udp://[::1]"), Some(Address::Udp("[::1]:514".into())));
        assert_eq!(of("unixgram:///dev/log"), Some(Address::Datagram("/dev/log".into())));
        for wrong in
            ["logs.example", "udp://", "udp://host:port", "unix://dev/log", "tcp+tls://host", "http://host"]
        {
            assert!(
                Address::parse(wrong).unwrap_err().to_string().starts_with("--log-opt syslog-address="),
                "{wrong}"
            );
        }
        assert_eq!((facility("local7").unwrap(), facility("9").unwrap()), (23, 9));
        assert!(facility("24").is_err() && facility("remote").is_err());
    }

    #[test]
    fn lines_have_dockers_forms() {
        let subject = LogSubject {
            id: "0".into(),
            name: "web".into(),
            image: "busybox".into(),
            tag: "web".into(),
            has_tag: true,
            attributes: Vec::new(),
        };
        let line = |format: Option<&str>, stream| {
            let options = SyslogOptions { format: format.map(str::to_string), ..SyslogOptions::default() };
            let syslog = Syslog::new(&options, &subject, "host".into()).unwrap();
            let time = Moment(951_782_400_123_456_789);
            let line = syslog.line(&Entry { stream, time, text: b"text".into(), is_last: true });
            String::from_utf8(line).unwrap().replace(&std::process::id().to_string(), "PID")
        };
        assert_eq!(line(None, Stream::Stdout), "<30>Feb 29 00:00:00 web[PID]: text\n");
        assert_eq!(line(Some("rfc3164"), Stream::Stderr), "<27>Feb 29 00:00:00 host web[PID]: text\n");
        assert_eq!(
            line(Some("rfc5424"), Stream::Stdout),
            "<30>1 2000-02-29T00:00:00Z host web PID web - text\n"
        );
        assert_eq!(
            line(Some("rfc5424micro"), Stream::Stdout),
            "<30>1 2000-02-29T00:00:00.123456Z host web PID web - text\n"
        );
    }
}
