//! Checks the parser against serde_json and against the specification's own schema.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::json::{List, Map, Text, parse};
use super::linux::Resources;
use super::{Process, Spec};

/// Turns a parsed value back into JSON with every member of its struct, to be compared with the document.
pub(crate) trait Reflect {
    fn reflect(&self) -> Value;
}

macro_rules! reflect_as_is {
    ($($type:ty)*) => { $(impl Reflect for $type { fn reflect(&self) -> Value { json!(*self) } })* };
}
reflect_as_is! { bool u16 u32 u64 i32 i64 }

impl Reflect for Text<'_> {
    fn reflect(&self) -> Value {
        json!(**self)
    }
}

impl<T: Reflect> Reflect for Option<T> {
    fn reflect(&self) -> Value {
        self.as_ref().map_or(Value::Null, Reflect::reflect)
    }
}

impl<T: Reflect> Reflect for List<T> {
    fn reflect(&self) -> Value {
        self.iter().map(Reflect::reflect).collect()
    }
}

impl<T: Reflect> Reflect for Map<'_, T> {
    fn reflect(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key.to_string(), value.reflect())).collect())
    }
}

pub(crate) fn fixtures_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The recorded documents, and the specification's good examples, whose names end with `suffix`.
pub(crate) fn fixtures(suffix: &str) -> Vec<(String, Vec<u8>)> {
    let folders = [fixtures_folder(), fixtures_folder().join("oci-spec/test/config/good")];
    let mut documents: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("fixtures are there"))
        .map(|entry| entry.expect("fixtures are readable").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("fixtures are readable")))
        .collect();
    documents.sort();
    assert!(documents.len() > 3, "{suffix}");
    documents
}

/// Members that real documents have and that the specification does not define for Linux.
const UNKNOWN: [&str; 6] = ["zos", "freebsd", "solaris", "windows", "vm", "oomScoreAdj"];

/// Asserts that `parsed` has the content of `document`, and nothing else.
fn assert_same(document: &Value, parsed: &Value, path: &str) {
    match (document, parsed) {
        (Value::Object(document), Value::Object(parsed)) => {
            for (key, value) in document {
                match parsed.get(key) {
                    Some(parsed) if !value.is_null() => assert_same(value, parsed, &format!("{path}.{key}")),
                    Some(_) => {}
                    None => assert!(UNKNOWN.contains(&key.as_str()), "{path}.{key} is not read"),
                }
            }
            for (key, value) in parsed {
                let empty = [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})];
                let is_default = |value: &Value| {
                    empty.contains(value)
                        || value.as_object().is_some_and(|object| object.values().all(|v| empty.contains(v)))
                };
                assert!(document.contains_key(key) || is_default(value), "{path}.{key} is {value}");
            }
        }
        (Value::Array(document), Value::Array(parsed)) => {
            assert_eq!(document.len(), parsed.len(), "{path}");
            for (index, (document, parsed)) in document.iter().zip(parsed).enumerate() {
                assert_same(document, parsed, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(document, parsed, "{path}"),
    }
}

#[test]
fn fixtures_are_read_as_serde_json_reads_them() {
    for (name, document) in fixtures(".json") {
        let expected: Value = serde_json::from_slice(&document).expect("serde_json reads it");
        let parsed = if name.ends_with(".process.json") {
            parse::<Process>(&document).map(|process| process.reflect())
        } else {
            super::parse(&document).map(|spec| spec.reflect())
        };
        assert_same(&expected, &parsed.unwrap_or_else(|error| panic!("{name}: {error}")), &name);
    }
}

/// Every member that the schema has for Linux is read under its right name.
#[test]
fn schema_members_are_all_read() {
    let schema = |name: &str| -> Value {
        let file = std::fs::read(fixtures_folder().join("oci-spec").join(name)).expect("the schema is there");
        serde_json::from_slice(&file).expect("the schema is JSON")
    };
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let root = schema("config-schema.json");
    let linux = schema("config-linux.json");
    let spec = Spec { root: Some(Default::default()), process: Some(Default::default()), ..Spec::default() };
    let spec = spec.reflect();
    let resources = &linux["linux"]["properties"]["resources"]["properties"];
    let pairs = [
        (keys(&root["properties"]), keys(&spec)),
        (keys(&root["properties"]["process"]["properties"]), keys(&spec["process"])),
        (keys(&root["properties"]["hooks"]["properties"]), keys(&super::Hooks::default().reflect())),
        (keys(&linux["linux"]["properties"]), keys(&super::Linux::default().reflect())),
        (keys(resources), keys(&Resources::default().reflect())),
        (keys(&resources["cpu"]["properties"]), keys(&super::linux::Cpu::default().reflect())),
        (keys(&resources["memory"]["properties"]), keys(&super::linux::Memory::default().reflect())),
        (keys(&resources["blockIO"]["properties"]), keys(&super::linux::BlockIo::default().reflect())),
        (
            keys(&linux["linux"]["properties"]["intelRdt"]["properties"]),
            keys(&super::linux::IntelRdt::default().reflect()),
        ),
    ];
    for (schema, read) in pairs {
        assert!(!schema.is_empty());
        let missing: Vec<_> = schema
            .difference(&read)
            .filter(|key| {
                !UNKNOWN.contains(&key.as_str()) && !["enableCMT", "enableMBM"].contains(&key.as_str())
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

fn error_of(document: &str) -> String {
    super::parse(document.as_bytes()).expect_err(document).to_string()
}

#[test]
fn specification_examples_that_are_bad() {
    let bad = |name: &str| -> String {
        let path = fixtures_folder().join("oci-spec/test/config/bad").join(name);
        error_of(&std::fs::read_to_string(path).expect("the example is there"))
    };
    assert_eq!(bad("invalid-json.json"), "line 1, column 2: expected a name in double quotes, found ']'");
    assert_eq!(bad("linux-netdevice.json"), "linux.netDevices.eth0.name: 23 is not a string");
    assert_eq!(
        bad("linux-rdma.json"),
        "linux.resources.rdma.mlx5_1.hcaHandles: \"not a uint32\" is not a whole number from 0 to 4294967295"
    );
}

#[test]
fn wrong_types_are_named_with_path_and_value() {
    let u32_range = "a whole number from 0 to 4294967295";
    for (document, message) in [
        (r#"[1]"#, "[1] is not an object".to_string()),
        (r#"7"#, "7 is not an object".to_string()),
        (r#"{"process":{"user":{"uid":"abc"}}}"#, format!("process.user.uid: \"abc\" is not {u32_range}")),
        (r#"{"process":{"user":{"uid":-1}}}"#, format!("process.user.uid: -1 is not {u32_range}")),
        (
            r#"{"process":{"user":{"uid":4294967296}}}"#,
            format!("process.user.uid: 4294967296 is not {u32_range}"),
        ),
        (r#"{"process":{"user":{"umask": 1.5 }}}"#, format!("process.user.umask: 1.5 is not {u32_range}")),
        (
            r#"{"process":{"user":{"additionalGids":[1,2e3,"x"]}}}"#,
            format!("process.user.additionalGids[1]: 2e3 is not {u32_range}"),
        ),
        (r#"{"mounts":[{},{"options":["ro", null]}]}"#, "mounts[1].options[1]: null is not a string".into()),
        (r#"{"mounts":{"a":[1,2]}}"#, r#"mounts: {"a":[1,2]} is not a list"#.into()),
        (r#"{"hooks":[]}"#, "hooks: [] is not an object".into()),
        (r#"{"root":{"readonly":"yes"}}"#, "root.readonly: \"yes\" is not true or false".into()),
        (r#"{"linux":{"sysctl":{"a\u0062c":1}}}"#, "linux.sysctl.abc: 1 is not a string".into()),
        (
            "{\"hostname\":[\n\t1,\r\n  2, \"äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü\"]}",
            "hostname: [ 1, 2, \"äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüä… is not a string".into(),
        ),
        (
            r#"{"process":{"oomScoreAdj":2147483648}}"#,
            "process.oomScoreAdj: 2147483648 is not a whole number from -2147483648 to 2147483647".into(),
        ),
    ] {
        assert_eq!(error_of(document), message, "{document}");
    }
}

#[test]
fn malformed_documents_are_named_with_line_and_column() {
    for (document, message) in [
        ("", "is empty, not JSON"),
        (" \n\t", "is empty, not JSON"),
        (
            "{\n \"root\": {\n",
            "line 3, column 1: the document ends too early: expected a name in double quotes",
        ),
        ("{\"root\": ", "line 1, column 10: the document ends too early: expected a value"),
        (
            "{\"hostname\": \"ab",
            "line 1, column 17: the document ends too early: expected the closing quote of a string",
        ),
        ("{}\n{}", "line 2, column 1: expected nothing after the end of the document, found '{'"),
        ("{} x", "line 1, column 4: expected nothing after the end of the document, found 'x'"),
        ("{\"ä\":1,}", "line 1, column 8: expected a name in double quotes, found '}'"),
        ("{\"a\":[1,]}", "line 1, column 9: expected a value, found ']'"),
        ("{\"a\":[1 2]}", "line 1, column 9: expected \",\" or \"]\", found '2'"),
        ("{\"a\" 1}", "line 1, column 6: expected \":\", found '1'"),
        ("{\"a\":01}", "line 1, column 7: expected no digit after a leading zero, found '1'"),
        ("{\"a\":tru}", "line 1, column 6: expected a value, found 't'"),
        (
            "{\"a\":\"\t\"}",
            "line 1, column 7: expected no control character inside a string, found character 0x09",
        ),
        (
            "{\"a\":\"\\x\"}",
            "line 1, column 8: expected one of \" \\ / b f n r t u after a backslash, found 'x'",
        ),
        ("{\"mounts\":[1,}", "mounts[0]: 1 is not an object"),
        ("{\"hostname\":[1,}", "line 1, column 16: expected a value, found '}'"),
    ] {
        assert_eq!(error_of(document), message, "{document}");
    }
    let broken = super::parse(b"{\"a\":\n\"\xff\"}").expect_err("not UTF-8").to_string();
    assert_eq!(broken, "line 2, column 2: byte 0xff is not UTF-8");
    let large = super::parse(&vec![b' '; (16 << 20) + 1]).expect_err("too large").to_string();
    assert_eq!(large, "has more than the limit of 16777216 bytes (16 MiB)");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let nested =
        |depth: usize, key: &str| format!("{{\"{key}\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(super::parse(nested(128, "x").as_bytes()).is_ok());
    let message = "line 1, column 133: expected no more than 128 levels of objects and lists, found '['";
    assert_eq!(error_of(&nested(129, "x")), message);
    for depth in [130, 200_000] {
        assert_eq!(error_of(&nested(depth, "x")), message);
        error_of(&nested(depth, "mounts"));
        error_of(&"{\"a\":".repeat(depth));
        error_of(&"[".repeat(depth));
    }
}

#[test]
fn escapes_are_resolved_in_values_and_in_keys() {
    let text = |json: &str| parse::<Text>(json.as_bytes()).expect(json).to_string();
    assert_eq!(text(r#""\"\\\/\b\f\n\r\t""#), "\"\\/\u{8}\u{c}\n\r\t");
    assert_eq!(text(r#""a\u00e4\u20ac\ud83d\ude00z""#), "aä€😀z");
    for alone in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ud83d\ud83d\ude00", r"\ude00\ud83d"] {
        let go = alone.replace(r"\ud83d\ude00", "😀").replace(r"\n", "\n");
        let go = go.replace(r"\ud83d", "\u{fffd}").replace(r"\ude00", "\u{fffd}");
        assert_eq!(text(&format!("\"{alone}\"")), go, "{alone}");
    }
    let spec =
        super::parse(br#"{"\u0068ostname":"h\u006fst","annotations":{"a\/b":"\u0000"}}"#).expect("parses");
    assert_eq!(spec.hostname.as_deref(), Some("host"));
    assert_eq!((&*spec.annotations[0].0, &*spec.annotations[0].1), ("a/b", "\0"));
}

#[test]
fn null_is_absent() {
    let spec =
        super::parse(br#"{"root":null,"linux":{"maskedPaths":null,"resources":null}}"#).expect("parses");
    assert_eq!(spec.root, None);
    assert_eq!(spec.linux.expect("is there").resources, None);
    assert_eq!(
        error_of(r#"{"linux":{"seccomp":{"defaultAction":null}}}"#),
        "linux.seccomp.defaultAction: missing"
    );
}

/// Programs that read a configuration differ in which of the two they use.
#[test]
fn a_key_that_is_there_twice_is_refused_by_name() {
    for (document, name) in [
        (r#"{"hostname":"a","process":{"cwd":"/a"},"hostname":"a"}"#, "hostname"),
        (r#"{"hostname":null,"\u0068ostname":"a"}"#, "hostname"),
        (
            r#"{"process":{},"linux":{"resources":{"memory":{"limit":1,"swap":2,"limit":1}}}}"#,
            "linux.resources.memory.limit",
        ),
        (r#"{"annotations":{"x":"1","y":"2","x":"3"}}"#, "annotations.x"),
        (r#"{"linux":{"sysctl":{"a":"1","b":"1","a":"1","b":"1"}}}"#, "linux.sysctl.a"),
        (r#"{"mounts":[{"destination":"/"},{"type":"a","destination":"/","type":"a"}]}"#, "mounts[1].type"),
    ] {
        assert_eq!(error_of(document), format!("{name}: is there twice"));
    }
    // Inside unknown members repetitions are ignored.
    super::parse(br#"{"unknown":1,"unknown":2,"other":{"a":1,"a":1}}"#).expect("parses");
}

#[test]
fn borrowed_unless_escaped() {
    let spec = super::parse(br#"{"hostname":"plain","domainname":"esc\/aped"}"#).expect("parses");
    assert!(matches!(spec.hostname, Some(Text(std::borrow::Cow::Borrowed("plain")))));
    assert!(matches!(spec.domainname, Some(Text(std::borrow::Cow::Owned(_)))));
}
