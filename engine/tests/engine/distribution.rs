//! The distribution server itself, with TLS and names and passwords.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::harness::{Room, finish, wait_for};
use crate::host;
use crate::registry::raise_loopback;

/// ann, whose password is `secret`.
const USERS: &str = "ann:$2y$05$XaBYFB0KJAprByoF2XjIROgJwnywBOdhs8NFYMLWzQqPxkoL6eIGO\n";

pub struct Server {
    child: Child,
    pub host: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

impl Server {
    /// With a certificate and ann alone. `None` if it is not installed.
    fn start(room: &Room, port: u16) -> Option<Server> {
        let folder = &room.folder;
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=registry",
        ]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]);
        assert!(openssl.current_dir(folder).stderr(Stdio::null()).status().expect("openssl").success());
        fs::write(folder.join("users"), USERS).expect("users");
        let at = folder.display();
        let tls = format!(", tls: {{certificate: {at}/cert.pem, key: {at}/key.pem}}");
        let users = format!("auth: {{htpasswd: {{realm: test, path: {at}/users}}}}\n");
        Server::with(room, port, &tls, &users)
    }

    /// For everybody.
    pub fn open(room: &Room, port: u16) -> Option<Server> {
        Server::with(room, port, "", "")
    }

    fn with(room: &Room, port: u16, http: &str, users: &str) -> Option<Server> {
        if Command::new("docker-registry").arg("--version").stdout(Stdio::null()).status().is_err() {
            host::skip("docker-registry is not installed");
            return None;
        }
        raise_loopback();
        let folder = &room.folder;
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}/registry}}}}\n\
             http: {{addr: '127.0.0.1:{port}'{http}}}\n{users}",
            folder.display()
        );
        fs::write(folder.join("registry.yml"), config).expect("configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.join("registry.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry");
        let host = format!("127.0.0.1:{port}");
        wait_for("the registry", || TcpStream::connect(&host).is_ok());
        Some(Server { child, host })
    }
}

#[test]
fn what_is_pushed_is_pulled() {
    let Some(room) = Room::new() else { return };
    let Some(server) = Server::start(&room, 5443) else { return };
    let (host, name) = (server.host.as_str(), format!("{}/some/name:1", server.host));
    room.tar("image.tar");
    room.call(&["import", "image.tar", &name]).ok();
    room.call(&["push", &name])
        .fails(125, &format!("put the certificate of its authority into /etc/docker/certs.d/{host}/"));
    let folder = room.folder.join(format!("home/.config/docker/certs.d/{host}"));
    fs::create_dir_all(&folder).expect("folder");
    fs::copy(room.folder.join("cert.pem"), folder.join("ca.crt")).expect("certificate");
    room.call(&["push", "-q", &name]).fails(125, &format!("box login {host}"));

    let login = |password: &str| {
        let mut command = room.command(&["login", "-u", "ann", "--password-stdin", host]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("box");
        child.stdin.take().expect("stdin").write_all(password.as_bytes()).expect("write");
        child.wait_with_output().expect("box").status.code()
    };
    assert_eq!(login("wrong\n"), Some(125));
    assert!(!room.folder.join("home/.docker/config.json").exists());
    assert_eq!(login("secret\n"), Some(0));
    let said = room.call(&["push", &name]).ok();
    assert!(said.contains("Pushed\n1: digest: sha256:"), "{said}");
    assert!(room.call(&["push", &name]).ok().contains("Layer already exists"));
    // The same blob for another repository is not sent again.
    let other = format!("{host}/other:2");
    room.call(&["tag", &name, &other]).ok();
    assert!(room.call(&["push", &other]).ok().contains("Mounted from another repository"));

    // One whose layers are here from a file is fetched whole all the same: it can be saved.
    room.call(&["import", "image.tar", "kept"]).ok();
    room.call(&["rmi", &name, &other]).ok();
    let run = ["run", "--rm", "--network", "none", "-q", &name, "cat", "/etc/passwd"];
    assert!(room.call(&run).ok().starts_with("root:x:0:0"));
    room.call(&["save", "-o", "saved.tar", &name]).ok();
    let shown = room.call(&["manifest", "inspect", &other]).ok();
    assert!(shown.contains("rootfs.diff.tar.gzip"), "what is a plain tar here is compressed there: {shown}");
    room.call(&["logout", host]).ok();
    room.call(&["pull", "-q", &other]).fails(125, "box login");
    // Whoever trusts anybody needs no certificate.
    fs::remove_dir_all(&folder).expect("folder");
    let config = room.folder.join("auth.json");
    fs::write(&config, format!(r#"{{"auths": {{"{host}": {{"username": "ann", "password": "secret"}}}}}}"#))
        .expect("file");
    let mut command = room.command(&["pull", "-q", "--tls-verify=false", &other]);
    finish(command.env("REGISTRY_AUTH_FILE", config)).ok();
}
