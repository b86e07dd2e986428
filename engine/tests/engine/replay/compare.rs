//! What boxd has answered beside what dockerd had.

use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::recordings::{Recording, differences};
use super::{Answer, Difference, Open, Replay};
use crate::boxd::{read_body, read_chunk, streams};

impl Replay<'_> {
    pub(super) fn compare_head(&mut self, recording: &Recording, exchange: &Value, answer: &Answer) {
        if exchange["status"] != answer.status {
            self.note(
                recording,
                exchange,
                " status",
                format!("{} instead of {}", answer.status, exchange["status"]),
            );
        }
        let header = |name: &str| {
            answer
                .headers
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .unwrap_or_default()
        };
        let is_document = exchange["answer"].is_object() || exchange["answer"].is_array();
        let usual = if is_document { "application/json" } else { "" };
        let kind = exchange["type"].as_str().unwrap_or(usual);
        if !kind.is_empty() && header("content-type") != kind {
            self.note(recording, exchange, " type", format!("{} instead of {kind}", header("content-type")));
        }
        if exchange["chunked"] == true && header("transfer-encoding") != "chunked" {
            self.note(recording, exchange, " framing", "not in chunks".into());
        }
        if answer.status == 101 && (header("connection"), header("upgrade")) != ("Upgrade", "tcp") {
            self.note(recording, exchange, " upgrade", format!("{:?}", answer.headers));
        }
    }

    pub(super) fn compare(&mut self, recording: &Recording, open: Open<'_>) {
        let Open { exchange, mut answer } = open;
        let place = self.place(exchange);
        if place.starts_with("HEAD ") {
            return;
        }
        if answer.status >= 300 || exchange["status"].as_u64() >= Some(300) {
            let body = read_body(&mut answer.reader, &answer.headers);
            let own: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if exchange["status"].as_u64() < Some(300) {
                let text = String::from_utf8_lossy(&body).into_owned();
                return self.note(recording, exchange, " refusal", text);
            }
            return self.compare_document(recording, exchange, &own);
        }
        if answer.status == 101 || place.ends_with("/logs") || place.starts_with("POST /exec/*/start") {
            return self.compare_output(recording, exchange, answer);
        }
        if let Some(documents) = exchange["answer"]["$stream"].as_array() {
            return self.compare_stream(recording, exchange, documents, answer);
        }
        let body = read_body(&mut answer.reader, &answer.headers);
        if place == "GET /images/get" {
            self.saved.clone_from(&body);
        }
        if let Some(names) = exchange["answer"]["$tar"].as_array() {
            return self.compare_tar(recording, exchange, names, &body);
        }
        if let Some(text) = exchange["text"].as_str() {
            if String::from_utf8_lossy(&body) != text {
                self.note(recording, exchange, "", format!("{:?}", String::from_utf8_lossy(&body)));
            }
            return;
        }
        let own = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.compare_document(recording, exchange, &own);
    }

    fn compare_document(&mut self, recording: &Recording, exchange: &Value, own: &Value) {
        if exchange["answer"].is_null() {
            return;
        }
        let mut found = Vec::new();
        differences("", &exchange["answer"], own, &mut self.values, &mut found);
        for (member, text) in found {
            self.note(recording, exchange, &member, text);
        }
    }

    fn compare_output(&mut self, recording: &Recording, exchange: &Value, mut answer: Answer) {
        let kind =
            answer.headers.iter().find(|(name, _)| name == "content-type").map(|(_, kind)| kind.clone());
        let is_raw = kind.is_some_and(|kind| kind.contains("raw-stream")) && answer.status == 101;
        let mut bytes = match answer
            .headers
            .iter()
            .any(|(name, _)| name == "transfer-encoding" || name == "content-length")
        {
            true => read_body(&mut answer.reader, &answer.headers),
            false => {
                let mut bytes = Vec::new();
                answer.reader.read_to_end(&mut bytes).expect("a stream");
                bytes
            }
        };
        let is_text = is_raw || exchange["text"].is_string();
        let [stdout, stderr] = match is_text {
            true => [String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned(), String::new()],
            false => streams(&mut &bytes[..]),
        };
        let recorded = if exchange["text"].is_string() { "text" } else { "stdout" };
        for (name, own) in [(recorded, stdout), ("stderr", stderr)] {
            let text = exchange[name].as_str().unwrap_or_default();
            if !self.values.agree(text, &own) {
                self.note(recording, exchange, &format!(" {name}"), format!("{own:?} instead of {text:?}"));
            }
        }
    }

    /// Every recorded document of a stream comes. Of one without an end the first one is read.
    fn compare_stream(
        &mut self,
        recording: &Recording,
        exchange: &Value,
        documents: &[Value],
        mut answer: Answer,
    ) {
        let is_endless = self.place(exchange).ends_with("/stats");
        let body = match is_endless {
            true => read_chunk(&mut answer.reader).expect("a document"),
            false => read_body(&mut answer.reader, &answer.headers),
        };
        let text = String::from_utf8_lossy(&body);
        let lines = text.lines().filter(|line| !line.is_empty());
        let own: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("a document")).collect();
        for document in &documents[..if is_endless { 1 } else { documents.len() }] {
            let mut nearest: Option<Vec<(String, String)>> = None;
            for one in &own {
                let mut found = Vec::new();
                differences("", document, one, &mut self.values, &mut found);
                if nearest.as_ref().is_none_or(|known| found.len() < known.len()) {
                    nearest = Some(found);
                }
            }
            match nearest {
                None => self.note(recording, exchange, "", format!("no {document}")),
                Some(found) => {
                    for (member, text) in found {
                        self.note(recording, exchange, &member, format!("{text} in {document}"));
                    }
                }
            }
        }
    }

    fn compare_tar(&mut self, recording: &Recording, exchange: &Value, names: &[Value], tar: &[u8]) {
        let path = self.room.folder.join("answer.tar");
        fs::write(&path, tar).expect("file");
        let listed = Command::new("tar").arg("-tf").arg(&path).output().expect("tar");
        let listed = String::from_utf8(listed.stdout).expect("names");
        let own: Vec<&str> = listed.lines().collect();
        for name in names {
            let name = name.as_str().expect("a name");
            if !own.iter().any(|own| self.values.agree(name, own)) {
                self.note(recording, exchange, "", format!("no {name} in {own:?}"));
            }
        }
    }

    /// Each kind of event that Docker has comes, with the same attributes.
    pub(super) fn compare_events(&mut self, known: &[Value]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs() + 1;
        let own = self.boxd.get(&format!("/events?since=1&until={now}")).documents();
        for event in known {
            let action = |event: &Value| {
                let action = event["Action"].as_str().expect("an action");
                let name = action.split(": ").next().expect("a word");
                if name.starts_with("exec_") { name.to_string() } else { action.to_string() }
            };
            let same = own.iter().find(|one| one["Type"] == event["Type"] && action(one) == action(event));
            let place = format!("{} {}", event["Type"].as_str().expect("a type"), action(event));
            let text = match same {
                None => "does not come".to_string(),
                Some(one) => {
                    let names = |value: &Value| -> Vec<String> {
                        value.as_object().expect("members").keys().cloned().collect()
                    };
                    let own = (json!(names(&one["Actor"]["Attributes"])), json!(names(one)));
                    match own == (event["Attributes"].clone(), event["members"].clone()) {
                        true => continue,
                        false => format!("{} {}", own.0, own.1),
                    }
                }
            };
            self.found.push(Difference { recording: "event".into(), place, text });
        }
    }
}
