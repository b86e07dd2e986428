//! How far a transfer is, as a stream of documents. Threads tell it; one writes.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::exchange::{Exchange, Reply, Stream};
use crate::api::fault::{Fault, Outcome};
use crate::api::presence::while_there;
use crate::digest::Digest;
use crate::error::Result;
use crate::reference::Reference;
use crate::stop::Stop;
use crate::store::Store;
use crate::transfer::{Observer, Step};

/// How often a layer that moves is told of.
const PACE: Duration = Duration::from_millis(100);

/// How long nothing may be said before the answer begins.
const QUIET: Duration = Duration::from_secs(5);

/// Docker's words for steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// From a registry.
    Pull,
    /// To one.
    Push,
}

/// Tells of steps.
struct Teller {
    words: Words,
    sender: Sender<Value>,
    told: Mutex<BTreeMap<Digest, Instant>>,
}

impl Observer for Teller {
    fn note(&self, layer: &Digest, step: Step) {
        if let Step::Moving { .. } = step {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(layer).is_some_and(|last| last.elapsed() < PACE) {
                return;
            }
            told.insert(*layer, Instant::now());
        }
        // Nobody listens to one whose client has gone.
        let _ = self.sender.send(document(self.words, layer, step));
    }

    fn begin(&self, reference: &Reference) {
        let _ = self.sender.send(pulling(reference));
    }

    fn remark(&self, text: &str) {
        let _ = self.sender.send(json!({"status": text}));
    }
}

/// What stands before the layers of an image.
pub fn pulling(reference: &Reference) -> Value {
    json!({"status": format!("Pulling from {}", reference.repository.path), "id": reference.target()})
}

fn document(words: Words, layer: &Digest, step: Step) -> Value {
    let id = layer.short();
    let pick = |pull: &'static str, push: &'static str| if words == Words::Pull { pull } else { push };
    let status = match step {
        Step::Present => pick("Already exists", "Layer already exists"),
        Step::Waiting => pick("Pulling fs layer", "Preparing"),
        Step::Moving { done, total } => {
            let status = pick("Downloading", "Pushing");
            return json!({
                "status": status,
                "progressDetail": {"current": done, "total": total},
                "progress": bar(done, total),
                "id": id,
            });
        }
        Step::Fetched => "Download complete",
        Step::Unpacked => "Pull complete",
        Step::Mounted => "Mounted from another repository",
        Step::Pushed => "Pushed",
    };
    json!({"status": status, "progressDetail": {}, "id": id})
}

/// For clients that do not draw one.
fn bar(done: u64, total: u64) -> String {
    use crate::command::human_size;
    let filled = (done * 50).checked_div(total).map_or(0, |filled| filled.min(50) as usize);
    let (head, rest) = if filled < 50 { (">", 50 - filled - 1) } else { ("", 0) };
    format!("[{}{head}{}] {}/{}", "=".repeat(filled), " ".repeat(rest), human_size(done), human_size(total))
}

/// Does a transfer, and tells the client of it meanwhile, without whom it ends; `first` and what `last` makes of the result stand around that. What goes
/// wrong before anything has come is an answer of its own.
///
/// # Errors
/// The transfer failed at once.
pub fn tell<T: Send>(
    exchange: &mut Exchange<'_>,
    words: Words,
    first: Option<Value>,
    store: &Store,
    act: impl FnOnce(&Store, &dyn Observer) -> Result<T> + Send,
    last: impl FnOnce(&T) -> Vec<Value>,
    fault: impl FnOnce(crate::Error) -> Fault,
) -> Outcome<Reply> {
    let (sender, receiver) = channel();
    let teller = Teller { words, sender, told: Mutex::default() };
    let stop = Stop::default();
    let store = store.until(&stop);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, move || {
            let done = act(&store, &teller);
            drop(teller);
            done
        })?;
        let mut stream = None;
        let written = while_there(
            exchange.connection(),
            || stop.set(),
            || write(exchange, &receiver, &mut stream, first.as_ref()),
        );
        let done = thread.join().map_err(|_| Fault::new(500, "the transfer has ended without a word"))?;
        written??;
        let documents = match (done, &stream) {
            (Err(error), None) => return Err(fault(error)),
            (Err(error), Some(_)) => {
                let fault = fault(error);
                let message = fault.message();
                vec![json!({"errorDetail": {"message": message}, "error": message})]
            }
            (Ok(done), _) => last(&done),
        };
        let mut stream = match stream {
            Some(stream) => stream,
            None => begin(exchange, first.as_ref())?,
        };
        for one in documents {
            stream.document(&one)?;
        }
        exchange.end(stream)
    })
}

/// Writes what is told. A client that has gone is not written to.
fn write<'c>(
    exchange: &mut Exchange<'c>,
    receiver: &Receiver<Value>,
    stream: &mut Option<Stream<'c>>,
    first: Option<&Value>,
) -> Outcome<()> {
    let mut outcome = Ok(());
    loop {
        let document = match receiver.recv_timeout(QUIET) {
            Ok(document) => Some(document),
            // A layer may have to be compressed before anything moves, and clients give up on who says nothing.
            Err(RecvTimeoutError::Timeout) if stream.is_none() && first.is_some() => None,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return outcome,
        };
        if outcome.is_err() {
            continue;
        }
        if stream.is_none() {
            match begin(exchange, first) {
                Ok(begun) => *stream = Some(begun),
                Err(fault) => outcome = Err(fault),
            }
        }
        if let (Some(stream), Some(document)) = (stream.as_mut(), document) {
            outcome = outcome.and(stream.document(&document).map_err(Fault::from));
        }
    }
}

fn begin<'c>(exchange: &mut Exchange<'c>, first: Option<&Value>) -> Outcome<Stream<'c>> {
    let mut stream = exchange.stream("application/json")?;
    if let Some(first) = first {
        stream.document(first)?;
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_fifty_places() {
        assert_eq!(bar(0, 100), format!("[>{}] 0B/100B", " ".repeat(49)));
        assert_eq!(bar(100, 100), format!("[{}] 100B/100B", "=".repeat(50)));
        assert_eq!(bar(1, 0).len(), bar(1, 1_000).len() - 1);
    }
}
