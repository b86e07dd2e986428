//! Commands that are killed, at each of their system calls: the next one leaves nothing.

#![cfg(target_arch = "x86_64")]

use std::io;
use std::process::{ExitStatus, Stdio};

use pillbox_ptrace::{Next, Stop, Tracees, Tracer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::plugin::{Container, add, call, command, delete, network, wait_for_remains, with, with_ports};

/// Kills a process at the call with that number of its own, or a copy of it.
struct Killer {
    at: usize,
    calls: usize,
}

impl Tracer for Killer {
    /// Whether it is in a call.
    type Tracee = bool;

    fn begin(&mut self, _: i32, _: Option<&mut bool>) -> bool {
        false
    }

    fn stopped(&mut self, pid: i32, is_in_call: &mut bool, stop: Stop) -> io::Result<Next> {
        match stop {
            Stop::Call(_) => *is_in_call = !*is_in_call,
            Stop::Signal(signal) => return Ok(Next::Call(signal)),
            _ => return Ok(Next::Call(0)),
        }
        if !*is_in_call {
            return Ok(Next::Call(0));
        }
        self.calls += 1;
        if self.calls != self.at {
            return Ok(Next::Call(0));
        }
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL)?;
        Ok(Next::Killed)
    }
}

/// Calls the plugin and kills it there; false if it has ended before.
fn is_killed(host: &Host, operation: &str, container: &Container, configuration: &Value, at: usize) -> bool {
    let file = "/run/stdin";
    std::fs::write(file, configuration.to_string()).expect("a file");
    let mut command = command(host, operation, Some(container));
    command.stdin(std::fs::File::open(file).expect("a file")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut killer = Killer { at, calls: 0 };
    let status: ExitStatus = Tracees::default().run(&mut command, &mut killer).expect("ptrace is allowed");
    assert!(status.code().is_none_or(|code| code == 0), "{operation}, call {at}: {status}");
    killer.calls >= at
}

fn usual() -> Value {
    with_ports(&network(), &[(8080, 80, "tcp"), (5353, 53, "udp")])
}

/// Kills a command at each call, in containers of their own, and lets another command clean up after it.
fn at_each_call(host: &Host, operation: &str, clean_up: impl Fn(&Container)) {
    let first = Container::new("first");
    add(host, &first, &usual());
    delete(host, &first, &usual());
    wait_for_remains();
    let before = Inventory::take();
    let mut at = 0;
    loop {
        at += 1;
        let container = Container::new(&format!("c{at}"));
        if operation == "DEL" {
            add(host, &container, &usual());
        }
        let is_killed = is_killed(host, operation, &container, &usual(), at);
        clean_up(&container);
        wait_for_remains();
        let links = container.at().links();
        assert!(links.iter().all(|link| link.name == "lo"), "{operation}, call {at}: {links:?}");
        let now = Inventory::take();
        assert_eq!((&now.links, &now.rules), (&before.links, &before.rules), "{operation}, call {at}");
        host.net(&["gc"]);
        before.is_back();
        if !is_killed {
            break;
        }
    }
    assert!(at > 40, "{operation}: only {at} calls");
}

#[test]
fn a_killed_add_is_undone_by_del() {
    on_a_host(|host| at_each_call(host, "ADD", |container| delete(host, container, &usual())));
}

#[test]
fn a_killed_add_is_undone_by_gc() {
    on_a_host(|host| {
        at_each_call(host, "ADD", |_| {
            let nothing = with(&usual(), json!({"cni.dev/valid-attachments": []}));
            call(host, "GC", None, &nothing).ok();
            // What is reserved by nobody is free as well.
            assert_eq!(host.net(&["gc"]), "");
        });
    });
}

#[test]
fn a_killed_del_is_finished_by_the_next() {
    on_a_host(|host| at_each_call(host, "DEL", |container| delete(host, container, &usual())));
}

#[test]
fn the_first_add_on_a_host_is_finished_by_the_next() {
    on_a_host(|host| {
        let mut at = 0;
        loop {
            at += 3;
            let container = Container::new("c1");
            let is_killed = is_killed(host, "ADD", &container, &usual(), at);
            delete(host, &container, &usual());
            wait_for_remains();
            let result = add(host, &container, &usual());
            crate::plugin::check(host, &container, &usual(), &result).ok();
            delete(host, &container, &usual());
            wait_for_remains();
            host.net(&["gc"]);
            host.net(&["rm", "testnet"]);
            let now = Inventory::take();
            assert_eq!((now.links, now.rules), (vec!["lo  ".to_string()], vec![]), "call {at}");
            if !is_killed {
                break;
            }
        }
    });
}
