//! Names, passwords and tokens go to nobody but the registry that they are for, and never in clear.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use serde_json::json;

use crate::harness::{Output, Room, finish};
use crate::registry::{Answer, Content, Registry, Request, distant_address, layer};

const ALL: &str = "";

/// Someone else, who takes whatever comes.
fn stranger(address: &str) -> Registry {
    Registry::start_at(address, Content::default(), |request| match request.path.as_str() {
        path if path.contains("/token") => Answer::Status(200, vec![], r#"{"token": "theirs"}"#.into()),
        _ => Answer::Usual,
    })
}

fn bearer(realm: &str) -> Answer {
    let challenge = format!(r#"Bearer realm="{realm}",service="reg""#);
    Answer::Status(401, vec![("WWW-Authenticate", challenge)], String::new())
}

fn basic() -> Answer {
    Answer::Status(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], String::new())
}

fn is_known(request: &Request) -> bool {
    request.headers.contains_key("authorization")
}

/// box as somebody whom a registry knows.
#[track_caller]
fn call(room: &Room, registry: &Registry, entry: serde_json::Value, arguments: &[&str]) -> Output {
    let config = room.folder.join("auth.json");
    fs::write(&config, json!({"auths": {&registry.host: entry}}).to_string()).expect("file");
    finish(room.command(arguments).env("REGISTRY_AUTH_FILE", config))
}

fn ann() -> serde_json::Value {
    json!({"auth": base64::engine::general_purpose::STANDARD.encode("ann:secret")})
}

#[test]
fn a_token_service_without_tls_is_not_told_the_password() {
    let Some(room) = Room::new() else { return };
    let distant = stranger(&distant_address());
    let realm = format!("http://{}/token", distant.host);
    let registry = Registry::start(Content::default(), move |_| bearer(&realm));
    let name = format!("{}/a:1", registry.host);
    for flags in [&["pull", "-q"][..], &["pull", "-q", "--tls-verify=false"]] {
        call(&room, &registry, ann(), &[flags, &[&name]].concat()).fails(125, "it is not secured by TLS");
        call(&room, &registry, json!({"identitytoken": "secret"}), &[flags, &[&name]].concat())
            .fails(125, "it is not secured by TLS");
    }
    assert!(distant.requests(ALL).is_empty());
}

#[test]
fn a_token_service_that_leads_elsewhere_takes_no_token_along() {
    let Some(room) = Room::new() else { return };
    let elsewhere = stranger("127.0.0.2");
    let there = elsewhere.host.clone();
    let registry = Registry::start(Content::default(), move |request| match request.path.as_str() {
        path if path.contains("/token") => {
            Answer::Status(307, vec![("Location", format!("http://{there}/token"))], String::new())
        }
        _ if is_known(request) => Answer::Usual,
        _ => bearer(&format!("http://{}/token", request.headers["host"])),
    });
    let name = format!("{}/a:1", registry.host);
    call(&room, &registry, json!({"identitytoken": "secret"}), &["pull", "-q", &name])
        .fails(125, "is not to know what is secret");
    assert!(elsewhere.requests(ALL).is_empty());
    // A name and a password stay behind as well.
    call(&room, &registry, ann(), &["pull", "-q", &name]).exits(1);
    assert!(!elsewhere.requests(ALL).is_empty() && !elsewhere.requests(ALL).iter().any(is_known));
}

/// Another port of the same host is another program, which may be another user's.
#[test]
fn who_is_led_to_does_not_ask_who_we_are() {
    let Some(room) = Room::new() else { return };
    let folder = room.folder.join("layer");
    fs::create_dir(&folder).expect("folder");
    let tar = room.folder.join("layer.tar");
    assert!(
        Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&folder)
            .arg(".")
            .status()
            .expect("tar")
            .success()
    );
    let mut content = Content::default();
    content.image("1", "amd64", &[layer(&tar)]);
    let elsewhere = Registry::start(Content::default(), |request| match request.path.as_str() {
        path if path.contains("/token") => Answer::Status(200, vec![], r#"{"token": "theirs"}"#.into()),
        _ => bearer(&format!("http://{}/token", request.headers["host"])),
    });
    for what in ["/v2/", "/manifests/", "/blobs/"] {
        let there = elsewhere.host.clone();
        let registry = Registry::start(content.clone(), move |request| {
            let leads_away = if what == "/v2/" { request.path == what } else { request.path.contains(what) };
            match is_known(request) {
                _ if leads_away => {
                    let location = format!("http://{there}{}", request.path);
                    Answer::Status(307, vec![("Location", location)], String::new())
                }
                false => basic(),
                true => Answer::Usual,
            }
        });
        let name = format!("{}/a:1", registry.host);
        call(&room, &registry, ann(), &["pull", "-q", &name]).exits(125);
        assert!(!elsewhere.requests(ALL).iter().any(is_known), "{what}");
        assert!(elsewhere.requests("/token").is_empty(), "{what}");
    }
}

#[test]
fn what_is_pushed_elsewhere_comes_from_nobody() {
    let Some(room) = Room::new() else { return };
    room.tar("image.tar");
    let elsewhere =
        Registry::start_at("127.0.0.2", Content::default(), |request| match request.method.as_str() {
            "PUT" => Answer::Status(201, vec![], String::new()),
            _ => Answer::Usual,
        });
    let there = elsewhere.host.clone();
    let registry = Registry::start(Content::default(), move |request| match request.method.as_str() {
        _ if !is_known(request) => basic(),
        "POST" => {
            let location = format!("http://{there}/upload?state=1");
            Answer::Status(202, vec![("Location", location)], String::new())
        }
        "PUT" => Answer::Status(201, vec![], String::new()),
        _ => Answer::Usual,
    });
    let name = format!("{}/a:1", registry.host);
    room.call(&["import", "image.tar", &name]).ok();
    call(&room, &registry, ann(), &["push", "-q", &name]).ok();
    let seen = elsewhere.requests("/upload?state=1&digest=sha256%3A");
    assert!(seen.len() == 2 && !seen.iter().any(is_known), "{seen:?}");
}
