//! A message bus that a test answers for.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use pillbox_dbus::{FIXED_HEADER, Kind, Message, Value, encode, whole_length};

/// A bus with one client, in a thread that ends with the connection.
pub struct FakeBus {
    pub path: String,
    thread: Option<JoinHandle<Vec<Message>>>,
}

impl FakeBus {
    /// Answers Hello by itself, and every other call through `answer`: given a call and its serial, it returns the messages
    /// of the answer, encoded.
    pub fn new(answer: fn(&Message, u32) -> Vec<Vec<u8>>) -> FakeBus {
        FakeBus::speaking(move |mut stream| serve(&mut stream, answer))
    }

    /// Says to its client whatever `speak` says.
    pub fn speaking(speak: impl FnOnce(UnixStream) -> Vec<Message> + Send + 'static) -> FakeBus {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pillbox-bus-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name).to_string_lossy().into_owned();
        let listener = UnixListener::bind(&path).expect("bind");
        let thread = std::thread::spawn(move || speak(listener.accept().expect("accept").0));
        FakeBus { path, thread: Some(thread) }
    }

    /// The calls received, once the client is gone.
    pub fn calls(mut self) -> Vec<Message> {
        self.thread.take().expect("thread").join().expect("server")
    }
}

impl Drop for FakeBus {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Serves one client until it is gone; the calls received.
pub fn serve(stream: &mut UnixStream, mut answer: impl FnMut(&Message, u32) -> Vec<Vec<u8>>) -> Vec<Message> {
    let mut calls = Vec::new();
    authenticate(stream);
    while let Some((bytes, serial)) = read_message(stream) {
        let call = Message::decode(&bytes).expect("call");
        let answers = match call.member.as_deref() {
            Some("Hello") => vec![reply(serial, &[Value::text(":1.7")])],
            _ => answer(&call, serial),
        };
        answers.iter().for_each(|answer| stream.write_all(answer).expect("answer"));
        calls.push(call);
    }
    calls
}

fn authenticate(stream: &mut UnixStream) {
    for (expected, answer) in
        [("\0AUTH EXTERNAL\r\n", "DATA\r\n"), ("DATA\r\n", "OK 1234deadbeef\r\n"), ("BEGIN\r\n", "")]
    {
        let mut line = vec![0; expected.len()];
        stream.read_exact(&mut line).expect("line");
        assert_eq!(line, expected.as_bytes());
        stream.write_all(answer.as_bytes()).expect("answer");
    }
}

fn read_message(stream: &mut UnixStream) -> Option<(Vec<u8>, u32)> {
    let mut bytes = vec![0; FIXED_HEADER];
    stream.read_exact(&mut bytes).ok()?;
    let length = whole_length(&bytes).expect("header").expect("whole header");
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[FIXED_HEADER..]).ok()?;
    let serial = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    Some((bytes, serial))
}

/// A header field.
pub fn field(code: u8, value: Value) -> Value {
    Value::Structure(vec![Value::Byte(code), value.variant()])
}

/// The answer to the call with that serial.
pub fn reply(serial: u32, body: &[Value]) -> Vec<u8> {
    encode(Kind::Return, 1, &mut vec![field(5, Value::Uint32(serial))], body)
}

/// Its refusal.
pub fn error(serial: u32, name: &str, text: &str) -> Vec<u8> {
    let mut fields = vec![field(5, Value::Uint32(serial)), field(4, Value::text(name))];
    encode(Kind::Error, 1, &mut fields, &[Value::text(text)])
}

/// A signal.
pub fn signal(interface: &str, member: &str, body: &[Value]) -> Vec<u8> {
    let mut fields = vec![
        field(1, Value::ObjectPath("/a".into())),
        field(2, Value::text(interface)),
        field(3, Value::text(member)),
    ];
    encode(Kind::Signal, 1, &mut fields, body)
}
