use crate::message::{self, Kind, Message};
use crate::value::{Reader, Value, Writer, complete_type};

fn field(code: u8, value: Value) -> Value {
    Value::Structure(vec![Value::Byte(code), value.variant()])
}

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
