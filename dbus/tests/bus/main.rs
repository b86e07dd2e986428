//! The client against a bus that says what a test lets it say.

mod fake_bus;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pillbox_dbus::{Bus, Call, CallError, Kind, Result, Value, encode};

use fake_bus::{FakeBus, error, field, reply, signal};

const CALL: Call<'static> =
    Call { destination: "a.b", path: "/a", interface: "a.b", member: "Do", body: &[] };

fn socket(fake: &FakeBus) -> OwnedFd {
    UnixStream::connect(&fake.path).expect("connect").into()
}

fn connect(fake: &FakeBus) -> Result<Bus> {
    Bus::over(socket(fake), &fake.path)
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
    let mut bus = connect(&fake).unwrap();
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
        encode(kind, 1, &mut fields, body)
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
    let mut bus = connect(&fake).unwrap();
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
    let mut bus = connect(&fake).unwrap();
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
    let mut bus = Bus::over_within(socket(&fake), &fake.path, Duration::from_millis(50)).unwrap();
    let CallError::Transport(error) = bus.call(&CALL).unwrap_err() else { panic!("an answer") };
    assert!(error.is_timeout() && error.to_string().contains("no answer within 0 s"), "{error}");
}

#[test]
fn nonsense_ends_in_an_error() {
    let fake = FakeBus::new(|_, _| vec![b"HTTP/1.1 400 Bad Request\r\n".to_vec()]);
    let mut bus = connect(&fake).unwrap();
    let CallError::Transport(error) = bus.call(&CALL).unwrap_err() else { panic!("an answer") };
    assert!(error.to_string().contains("does not begin like one"), "{error}");
}

#[test]
fn a_peer_that_refuses_or_is_no_bus_is_named() {
    let fake = FakeBus::speaking(|mut stream| {
        // Closing with unread data would give the client a broken pipe instead of this answer.
        let _ = stream.read(&mut [0; 100]);
        stream.write_all(b"REJECTED EXTERNAL\r\n").expect("answer");
        Vec::new()
    });
    let error = connect(&fake).unwrap_err().to_string();
    assert!(error.contains("REJECTED EXTERNAL") && error.contains(&fake.path), "{error}");
    let fake = FakeBus::speaking(|mut stream| {
        stream.write_all(&[b'x'; 3000]).expect("answer");
        let _ = stream.read(&mut [0; 100]);
        Vec::new()
    });
    assert!(connect(&fake).unwrap_err().to_string().contains("a line without end"));
}

#[test]
fn who_has_a_name() {
    let fake = FakeBus::new(|call, serial| {
        vec![reply(serial, &[Value::Boolean(call.body == [Value::text("a.b")])])]
    });
    let mut bus = connect(&fake).unwrap();
    assert_eq!((bus.has_owner("a.b").unwrap(), bus.has_owner("c.d").unwrap()), (true, false));
}
