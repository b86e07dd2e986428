//! `GET /containers/ID/logs`.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::named;
use crate::api::daemon::Daemon;
use crate::api::exchange::{Exchange, Reply};
use crate::api::fault::{Fault, Outcome};
use crate::api::hijack::{Form, Shown};
use crate::container::ContainerRecord;
use crate::container::log::{Line, LogReader, Stream, Tail};
use crate::container::{Reader, open_log, show_log};
use crate::error::{Error, Kind, Result};
use crate::store::{ContainerFolder, Store};
use crate::time::{Moment, parse_date, rfc3339};

/// Lines on their way to a client: many of them with one write.
struct Selection<W> {
    shown: Shown,
    since: Moment,
    until: Option<Moment>,
    timestamps: bool,
    /// What stands before a line, of `--details`: box has no labels in its log.
    details: &'static str,
    form: Form,
    out: W,
    waiting: Vec<u8>,
}

/// As much is written at once.
const PIECE: usize = 1 << 16;

/// Shows what it has written.
pub fn logs(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    let (folder, record) = named(daemon, exchange)?;
    let query = &exchange.head.query;
    let shown = Shown { stdout: query.is_set("stdout"), stderr: query.is_set("stderr") };
    if !shown.stdout && !shown.stderr {
        return Err(Fault::invalid("Bad parameters: you must choose at least one stream"));
    }
    let form = Form::of(record.options.streams.terminal);
    let (since, until) = (moment(query.text("since"))?, moment(query.text("until"))?);
    let all = since.map_or(Tail::All, Tail::Since);
    let tail = match query.text("tail") {
        None | Some("all") => all,
        Some(text) => text.parse().map_or(all, Tail::Lines),
    };
    let (timestamps, details) = (query.is_set("timestamps"), if query.is_set("details") { " " } else { "" });
    let follow = query.is_set("follow");
    let log = open(&folder, &record, follow)?;
    let connection = exchange.connection();
    let mut selection = Selection {
        shown,
        since: since.unwrap_or(Moment(0)),
        until: until.filter(|until| until.0 > 0),
        timestamps,
        details,
        form,
        out: exchange.stream(form.name())?,
        waiting: Vec::new(),
    };
    let client = Some(connection.as_fd());
    selection.take(|selection| show_log(&daemon.store, &folder, log, tail, follow, client, selection))?;
    exchange.end(selection.out)
}

/// What a client that attaches late has missed, until some moment.
pub fn send_log(
    store: &Store,
    folder: &ContainerFolder,
    record: &ContainerRecord,
    (shown, until): (Shown, Option<Moment>),
    form: Form,
    to: &UnixStream,
) -> Outcome<()> {
    let (since, timestamps, details) = (Moment(0), false, "");
    let waiting = Vec::new();
    let mut selection = Selection { shown, since, until, timestamps, details, form, out: to, waiting };
    let log = open(folder, record, false)?;
    selection.take(|selection| show_log(store, folder, log, Tail::All, false, None, selection))
}

/// Where it is not kept here, Docker has a status of its own.
fn open(folder: &ContainerFolder, record: &ContainerRecord, follow: bool) -> Outcome<LogReader> {
    open_log(folder, record, follow).map_err(|error| match error.kind() {
        Kind::Invalid => {
            Fault::new(501, format!("configured logging driver does not support reading: {error}"))
        }
        _ => error.into(),
    })
}

/// Seconds since 1970 with nanoseconds behind a dot, or a date: clients pass on what stands in a filter.
pub fn moment(text: Option<&str>) -> Outcome<Option<Moment>> {
    let Some(text) = text else { return Ok(None) };
    if let Some(moment) = parse_date(text) {
        return Ok(Some(moment));
    }
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{rest:0<9}").get(..9).and_then(|digits| digits.parse::<u64>().ok());
    match seconds.parse::<i64>().ok().zip(nanoseconds) {
        // Nothing is older than the first moment.
        Some((..0, _)) => Ok(Some(Moment(0))),
        Some((seconds, nanoseconds)) => {
            Ok(Some(Moment(Moment::of_seconds(seconds).0.saturating_add(nanoseconds))))
        }
        None => Err(Fault::invalid(format!("invalid value for time: {text:?}"))),
    }
}

impl<W: Write> Selection<W> {
    /// Has lines shown, until there comes one that is too late.
    fn take(&mut self, show: impl FnOnce(&mut Selection<W>) -> Result<()>) -> Outcome<()> {
        match show(self) {
            Err(error) if error.kind() == Kind::Closed => Ok(self.flush()?),
            shown => Ok(shown?),
        }
    }
}

impl<W: Write> Reader for Selection<W> {
    fn add(&mut self, line: &Line) -> Result<()> {
        if self.until.is_some_and(|until| line.time > until) {
            return Err(Error::new(Kind::Closed, "nothing later is wanted"));
        }
        let is_shown = if line.stream == Stream::Stdout { self.shown.stdout } else { self.shown.stderr };
        if !is_shown || line.time < self.since {
            return Ok(());
        }
        let mut text = Vec::new();
        if self.timestamps {
            text.extend_from_slice(format!("{} ", rfc3339(line.time)).as_bytes());
        }
        text.extend_from_slice(self.details.as_bytes());
        text.extend_from_slice(&line.text);
        self.waiting.extend_from_slice(&self.form.wrap(line.stream, &text));
        if self.waiting.len() > PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.out.write_all(&waiting).map_err(|_| Error::new(Kind::Closed, "nobody reads"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_nanoseconds() {
        let of = |text| moment(Some(text)).unwrap().unwrap().0;
        assert_eq!((of("1795898039"), of("1.5"), of("0")), (1_795_898_039_000_000_000, 1_500_000_000, 0));
        assert_eq!(of("1.000000001"), 1_000_000_001);
        // Whatever the digits are.
        for seconds in 1_796_100_000..1_796_105_000 {
            assert_eq!(moment(Some(&seconds.to_string())).unwrap(), Some(Moment::of_seconds(seconds)));
        }
        assert_eq!(of("1970-01-02Z"), 86_400_000_000_000);
        assert_eq!((of("-2208988800.000000000"), of("99999999999")), (0, u64::MAX));
        for wrong in ["x", "-", "1.x", "99999999999999999999"] {
            assert!(moment(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
