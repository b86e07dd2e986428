//! GC and STATUS.

use serde_json::{Value, json};

use crate::host::on_a_host;
use crate::plugin::{Container, add, call, check, delete, network, wait_for_remains, with, with_ports};
use crate::standpoint::Standpoint;
use crate::traffic::Tcp;

fn keeping(network: &Value, valid: &[&Container]) -> Value {
    let valid: Vec<Value> =
        valid.iter().map(|one| json!({"containerID": one.id, "ifname": one.interface})).collect();
    with(network, json!({"cni.dev/valid-attachments": valid}))
}

#[test]
fn what_is_not_listed_is_undone() {
    on_a_host(|host| {
        let kept = Container::new("kept");
        let (left, gone) = (Container::new("left"), Container::new("gone"));
        let elsewhere = Container::new("elsewhere");
        let mut other = with(&network(), json!({"name": "other", "bridge": "test1"}));
        other["ipam"] = json!({"type": "host-local", "subnet": "10.78.0.0/24"});
        let result = add(host, &kept, &with_ports(&network(), &[(8080, 80, "tcp")]));
        add(host, &left, &with_ports(&network(), &[(8081, 80, "tcp")]));
        add(host, &gone, &network());
        add(host, &elsewhere, &other);
        drop(gone);
        let _server = kept.at().serve("kept", Tcp, 80);
        assert_eq!(call(host, "GC", None, &keeping(&network(), &[&kept])).ok(), Value::Null);
        assert!(Standpoint::Host.ask(Tcp, "127.0.0.1:8080").starts_with("kept sees "));
        assert_eq!(Standpoint::Host.ask(Tcp, "127.0.0.1:8081"), "refused");
        assert_eq!(left.at().links().len(), 1);
        check(host, &kept, &network(), &result).ok();
        let list: Value = serde_json::from_str(&host.net(&["list", "--format", "json"])).unwrap();
        let owners: Vec<&str> = list["attachments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["attachment"]["owner"].as_str().unwrap())
            .collect();
        let mut owners = owners;
        owners.sort();
        assert_eq!(owners, ["elsewhere", "kept"]);
        // As it was called in a draft.
        let draft = with(&network(), json!({"cni.dev/attachments": []}));
        assert_eq!(call(host, "GC", None, &draft).ok(), Value::Null);
        assert_eq!(kept.at().links().len(), 1);
        assert_eq!(
            call(host, "GC", None, &network()).refused(),
            (7, "cni.dev/valid-attachments: missing: GC would take everything away".to_string())
        );
        delete(host, &elsewhere, &other);
        wait_for_remains();
    });
}

#[test]
fn garbage_is_collected_where_nothing_is() {
    on_a_host(|host| {
        assert_eq!(call(host, "GC", None, &keeping(&network(), &[])).ok(), Value::Null);
        assert!(!std::path::Path::new("/run/pillbox").exists());
        let old = with(&keeping(&network(), &[]), json!({"cniVersion": "1.0.0"}));
        assert_eq!(
            call(host, "GC", None, &old).refused(),
            (1, "cniVersion: \"1.0.0\" has no GC: it is there since 1.1.0".to_string())
        );
    });
}

#[test]
fn status_says_whether_a_container_could_be_added() {
    on_a_host(|host| {
        let status = |network: &Value| call(host, "STATUS", None, network);
        let before = Standpoint::Host.links().len();
        assert_eq!(status(&network()).ok(), Value::Null);
        assert_eq!(Standpoint::Host.links().len(), before);
        let container = Container::new("c1");
        add(host, &container, &network());
        assert_eq!(status(&network()).ok(), Value::Null);
        let mut other = with(&network(), json!({"name": "other", "bridge": "test1"}));
        let overlaps = "network other: subnet 10.77.0.0/24 overlaps with network testnet (10.77.0.0/24 and fd77::/64): choose another one";
        assert_eq!(status(&other).refused(), (50, overlaps.to_string()));
        other["bridge"] = json!("lo");
        other["ipam"]["ranges"] = json!([[{"subnet": "10.78.0.0/24"}]]);
        assert_eq!(
            status(&other).refused(),
            (
                50,
                "network other: link lo is no bridge (hardware): choose another name for the bridge"
                    .to_string()
            )
        );
        assert_eq!(status(&with(&network(), json!({"vlan": 7}))).refused().0, 2);
        let old = with(&network(), json!({"cniVersion": "0.4.0"}));
        assert_eq!(
            status(&old).refused(),
            (1, "cniVersion: \"0.4.0\" has no STATUS: it is there since 1.1.0".to_string())
        );
        delete(host, &container, &network());
    });
}
