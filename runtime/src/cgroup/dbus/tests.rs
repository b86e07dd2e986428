use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::message::{self, FIXED_HEADER, Kind, Message, whole_length};
use super::value::{Reader, Value, Writer, complete_type};
use super::{Bus, Call, CallError, parse_address, unescape};

/// A bus with one client, in a thread that ends with the connection.
pub struct FakeBus {
    pub address: String,
    path: std::path::PathBuf,
    thread: Option<JoinHandle<Vec<Message>>>,
}

/// Given a call and its serial, returns the messages of the answer, encoded.
pub type Answer = fn(&Message, u32) -> Vec<Vec<u8>>;

impl FakeBus {
    /// Answers Hello by itself, and every other call through `answer`.
    pub fn new(answer: Answer) -> FakeBus {
        FakeBus::speaking(move |mut stream| {
            let mut calls = Vec::new();
            authenticate(&mut stream);
            while let Some((bytes, serial)) = read_message(&mut stream) {
                let call = Message::decode(&bytes).expect("call");
                let answers = match call.member.as_deref() {
                    Some("Hello") => vec![reply(serial, &[Value::text(":1.7")])],
                    _ => answer(&call, serial),
                };
                answers.iter().for_each(|answer| stream.write_all(answer).expect("answer"));
                calls.push(call);
            }
            calls
        })
    }

    fn speaking(serve: impl FnOnce(UnixStream) -> Vec<Message> + Send + 'static) -> FakeBus {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pillbox-bus-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).expect("bind");
        let thread = std::thread::spawn(move || serve(listener.accept().expect("accept").0));
        FakeBus { address: format!("unix:path={}", path.display()), path, thread: Some(thread) }
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

fn field(code: u8, value: Value) -> Value {
    Value::Structure(vec![Value::Byte(code), value.variant()])
}

pub fn reply(serial: u32, body: &[Value]) -> Vec<u8> {
    message::encode(Kind::Return, 1, &mut vec![field(5, Value::Uint32(serial))], body)
}

pub fn error(serial: u32, name: &str, text: &str) -> Vec<u8> {
    let mut fields = vec![field(5, Value::Uint32(serial)), field(4, Value::text(name))];
    message::encode(Kind::Error, 1, &mut fields, &[Value::text(text)])
}

pub fn signal(interface: &str, member: &str, body: &[Value]) -> Vec<u8> {
    let mut fields = vec![
        field(1, Value::ObjectPath("/a".into())),
        field(2, Value::text(interface)),
        field(3, Value::text(member)),
    ];
    message::encode(Kind::Signal, 1, &mut fields, body)
}

const CALL: Call<'static> =
    Call { destination: "a.b", path: "/a", interface: "a.b", member: "Do", body: &[] };

/// Values nested as `StartTransientUnit` nests them.
fn sample() -> Vec<Value> {
    let property = |name: &str, value: Value| Value::Structure(vec![Value::text(name), value.variant()]);
    vec![
        Value::text("ünit"),
        Value::Byte(1),
        Value::Array(
            "(sv)".into(),
            vec![
                property("Delegate", Value::Boolean(true)),
                property("PIDs", Value::Array("u".into(), vec![Value::Uint32(7)])),
                property("MemoryMax", Value::Uint64(u64::MAX)),
                property("A", Value::Array("as".into(), vec![Value::Array("s".into(), vec![])])),
            ],
        ),
        Value::Array("(sa(sv))".into(), vec![]),
        Value::Int16(-2),
        Value::Uint16(3),
        Value::Int32(-4),
        Value::Int64(-5),
        Value::Double(0.5),
        Value::ObjectPath("/a/b".into()),
        Value::Signature("a{sv}".into()),
    ]
}

#[test]
fn the_bytes_of_the_specification() {
    let mut writer = Writer::default();
    writer.value(&Value::Byte(9));
    writer.value(&Value::Array("t".into(), vec![Value::Uint64(5)]));
    // "Marshaling": the padding up to the first item is not part of the array's length.
    assert_eq!(writer.bytes, [9, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let mut writer = Writer::default();
    writer.value(&Value::text("foo"));
    writer.value(&Value::text("+").variant());
    assert_eq!(writer.bytes, *b"\x03\0\0\0foo\0\x01s\0\0\x01\0\0\0+\0");
}

#[test]
fn values_come_back() {
    let values = sample();
    let mut writer = Writer::default();
    values.iter().for_each(|value| writer.value(value));
    let signature: String = values.iter().map(Value::signature).collect();
    assert_eq!(Reader::new(&writer.bytes, false).values(&signature).unwrap(), values);
}

#[test]
fn big_endian_is_read() {
    let bytes = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    assert_eq!(Reader::new(&bytes, true).values("ut").unwrap(), [Value::Uint32(1), Value::Uint64(2)]);
}

#[test]
fn signatures() {
    for (signature, length) in
        [("s", 1), ("as", 2), ("a(sv)a(sa(sv))", 5), ("(ii)u", 4), ("a{sv}", 5), ("aas", 3)]
    {
        assert_eq!(complete_type(signature).unwrap(), length, "{signature}");
    }
    let deep = "(".repeat(40) + "y" + &")".repeat(40);
    for signature in ["", "a", "(", "()", "(s", ")", "z", "ü", "(s}", "a()", &"a".repeat(300), &deep] {
        assert!(complete_type(signature).is_err(), "{signature}");
    }
}

#[test]
fn whatever_comes_does_not_panic() {
    let good = message::encode(Kind::Return, 1, &mut vec![field(5, Value::Uint32(3))], &sample());
    assert_eq!(Message::decode(&good).unwrap().body, sample());
    for end in 0..good.len() {
        assert!(Message::decode(&good[..end]).is_err(), "{end}");
    }
    for index in 0..good.len() {
        for byte in [0, 1, b'a', b'v', b'(', 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[index] = byte;
            // Most are refused and some become another message: decoding only has to end.
            let _ = Message::decode(&bad);
        }
    }
    let deep = "v".repeat(1000);
    assert!(Reader::new(b"\x01v\0\x01v\0".repeat(40).as_slice(), false).values(&deep).is_err());
}

#[test]
fn addresses() {
    assert!(parse_address("unix:path=/run/dbus/system_bus_socket").is_some());
    assert!(parse_address("unix:abstract=/tmp/x,guid=12").is_some());
    let long = format!("unix:abstract={}", "x".repeat(200));
    for address in ["", "tcp:host=a", "unix:", "unix:guid=1", "unix:path=%2", &long] {
        assert!(parse_address(address).is_none(), "{address}");
    }
    assert_eq!(unescape("/run/a%20b%2fc").unwrap(), b"/run/a b/c");
    assert!(unescape("%zz").is_none());
}

#[test]
fn a_call_gets_its_own_answer() {
    let fake = FakeBus::new(|_, serial| {
        vec![
            signal("x.y", "Early", &[Value::Uint32(1)]),
            reply(serial + 100, &[Value::text("another's")]),
            reply(serial, &[Value::text("mine")]),
        ]
    });
    let mut bus = Bus::connect(&fake.address).unwrap();
    assert_eq!(bus.call(&CALL).unwrap(), [Value::text("mine")]);
    let number = bus.wait_for_signal("x.y", "Early", |body| match body {
        [Value::Uint32(number)] => Some(*number),
        _ => None,
    });
    assert_eq!(number.unwrap(), 1);
    drop(bus);
    let members: Vec<_> = fake.calls().into_iter().filter_map(|call| call.member).collect();
    assert_eq!(members, ["Hello", "Do"]);
}

/// A message's sender is set by the bus; anybody may send a signal to this process alone.
#[test]
fn a_strangers_signal_is_no_answer() {
    fn from(sender: &str, mut fields: Vec<Value>, kind: Kind, body: &[Value]) -> Vec<u8> {
        fields.push(field(7, Value::text(sender)));
        message::encode(kind, 1, &mut fields, body)
    }
    fn removed() -> Vec<Value> {
        vec![
            field(1, Value::ObjectPath("/a".into())),
            field(2, Value::text("x.y")),
            field(3, Value::text("Removed")),
        ]
    }
    let fake = FakeBus::new(|_, serial| {
        let strange = from(":1.66", removed(), Kind::Signal, &[Value::Uint32(1)]);
        vec![
            strange.clone(),
            from(":1.1", vec![field(5, Value::Uint32(serial))], Kind::Return, &[]),
            strange,
            from(":1.1", removed(), Kind::Signal, &[Value::Uint32(2)]),
        ]
    });
    let mut bus = Bus::connect(&fake.address).unwrap();
    bus.call(&CALL).unwrap();
    let number = bus.wait_for_signal("x.y", "Removed", |body| match body {
        [Value::Uint32(number)] => Some(*number),
        _ => None,
    });
    assert_eq!(number.unwrap(), 2);
}

#[test]
fn an_error_has_its_name_and_its_words() {
    let fake = FakeBus::new(|_, serial| vec![error(serial, "a.b.NoSuchUnit", "no such unit")]);
    let mut bus = Bus::connect(&fake.address).unwrap();
    match bus.call(&CALL) {
        Err(CallError::Method(name, text)) => {
            assert_eq!((&*name, &*text), ("a.b.NoSuchUnit", "no such unit"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_ends_in_an_error() {
    let fake = FakeBus::new(|_, _| vec![]);
    let mut bus = Bus::connect_within(&fake.address, Duration::from_millis(50)).unwrap();
    let error = bus.call(&CALL).unwrap_err().into_error("Do").to_string();
    assert!(error.contains("no answer within 0 s"), "{error}");
}

#[test]
fn nonsense_ends_in_an_error() {
    let fake = FakeBus::new(|_, _| vec![b"HTTP/1.1 400 Bad Request\r\n".to_vec()]);
    let mut bus = Bus::connect(&fake.address).unwrap();
    let error = bus.call(&CALL).unwrap_err().into_error("Do").to_string();
    assert!(error.contains("does not begin like one"), "{error}");
}

#[test]
fn a_peer_that_refuses_or_is_no_bus_is_named() {
    let fake = FakeBus::speaking(|mut stream| {
        // Closing with unread data would give the client a broken pipe instead of this answer.
        let _ = stream.read(&mut [0; 100]);
        stream.write_all(b"REJECTED EXTERNAL\r\n").expect("answer");
        Vec::new()
    });
    let error = Bus::connect(&fake.address).unwrap_err().to_string();
    assert!(error.contains("REJECTED EXTERNAL") && error.contains(&fake.address), "{error}");
    let fake = FakeBus::speaking(|mut stream| {
        stream.write_all(&[b'x'; 3000]).expect("answer");
        let _ = stream.read(&mut [0; 100]);
        Vec::new()
    });
    assert!(Bus::connect(&fake.address).unwrap_err().to_string().contains("a line without end"));
    let error = Bus::connect("unix:path=/nonexistent/bus").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/bus") && error.contains("no such file"), "{error}");
}
