//! Links that are cut off and deleted later, when others may have deleted them and their indices are others'.

use pillbox_netlink::link::{self, Peer, Veth};
use pillbox_netlink::{Message, Socket};
use pillbox_network::detach::{Remains, cut_off};
use pillbox_network::{Attachment, Holder, NetworkKind};

use crate::namespace::in_fresh_namespace;
use crate::place::{Place, attachment};

const KEY: &str = "cni-0123-c1";
const INDEX: u32 = 1 << 24;
const NETWORK: &str = "/proc/self/ns/net";

#[test]
fn a_new_link_with_the_index_of_a_deleted_one_stays() {
    in_fresh_namespace(&["--net"], "remains::a_new_link_with_the_index_of_a_deleted_one_stays", || {
        let place = Place::new();
        let mut host = Socket::open().expect("a socket");
        let first = connect_and_cut_off(&place, &mut host, INDEX);
        // What remains of the first one still has the name that this one would get, so both are to be deleted.
        let second = connect_and_cut_off(&place, &mut host, INDEX + 2);
        first.delete().expect("deleted");
        host.request(&[pair("live0", INDEX)]).expect("the index is free");
        second.delete().expect("nothing is left to delete");
        let live = link::get(&mut host, "live0").expect("it has not been deleted");
        assert_eq!(live.index, INDEX);
        host.request(&[link::delete("live0").expect("a name")]).expect("deleted");
        let links = link::list(&mut host).expect("links");
        assert_eq!(links.iter().filter(|link| link.kind.as_deref() == Some("veth")).count(), 0, "{links:?}");
    });
}

fn connect_and_cut_off(place: &Place, host: &mut Socket, index: u32) -> Remains {
    let store = place.store();
    let holder = Holder { path: NETWORK.to_string(), ..Holder::default() };
    let mut attachment: Attachment = attachment(&store, KEY, holder, &[], &[]);
    attachment.namespace = Some(NETWORK.to_string());
    let interface = &mut attachment.interfaces.0[0];
    interface.kind = NetworkKind::Pair;
    (interface.host_index, interface.index) = (index, index + 1);
    host.request(&[pair(&interface.host_name, index)]).expect("a pair");
    store.lock().expect("locked").note(&attachment).expect("noted");
    cut_off(&store, KEY, "eth0").expect("cut off").expect("something remains")
}

fn pair(name: &str, index: u32) -> Message<'static> {
    let peer = Peer { name: &format!("p{index:x}"), index: Some(index + 1), address: None, namespace: None };
    link::add_veth(&Veth { index: Some(index), ..Veth::new(name, peer) }).expect("names")
}
