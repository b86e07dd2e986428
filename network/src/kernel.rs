//! Parts of the kernel that networks need: how it reports that one is missing, and what helps.

use pillbox_netlink::nft;
use pillbox_netlink::{Cause, Refusal};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::network::NetworkKind;

/// A part of the kernel that may be a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    module: &'static str,
    /// What builds it.
    option: &'static str,
}

const fn part(module: &'static str, option: &'static str) -> Part {
    Part { module, option }
}

pub(crate) const BRIDGE: Part = part("bridge", "CONFIG_BRIDGE");
pub(crate) const CONNTRACK_NETLINK: Part = part("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK");
const NF_TABLES: Part =
    part("nf_tables", "CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NF_TABLES_NETDEV");
const CHAIN_NAT: Part = part("nft_chain_nat", "CONFIG_NFT_NAT");

/// The expressions of nf_tables that our rules have and that are modules, by their names there.
const EXPRESSIONS: [(&str, Part); 5] = [
    ("ct", part("nft_ct", "CONFIG_NFT_CT")),
    ("fib", part("nft_fib_inet", "CONFIG_NFT_FIB_INET")),
    ("fwd", part("nft_fwd_netdev", "CONFIG_NFT_FWD_NETDEV")),
    ("masq", part("nft_masq", "CONFIG_NFT_MASQ")),
    ("nat", part("nft_nat", "CONFIG_NFT_NAT")),
];

impl Part {
    /// The links of containers on networks of that kind.
    pub(crate) fn of_links(kind: NetworkKind) -> Part {
        match kind {
            NetworkKind::Bridge | NetworkKind::Pair => part("veth", "CONFIG_VETH"),
            NetworkKind::Macvlan => part("macvlan", "CONFIG_MACVLAN"),
            NetworkKind::Ipvlan => part("ipvlan", "CONFIG_IPVLAN"),
        }
    }

    /// Adds to what the kernel has refused that this is missing, and what helps.
    #[cold]
    pub(crate) fn missing(self, error: &Error) -> Error {
        let Part { module, option } = self;
        let text = format!(
            "{error}: the kernel has no {module}: load the module (modprobe {module}), or use a kernel with {option}"
        );
        Error::with_errno(Kind::Unsupported, text, error.errno())
    }

    /// Why a batch was refused that begins with adding a link: this may be missing.
    #[cold]
    pub(crate) fn word_link(self, error: pillbox_netlink::Error) -> Error {
        let is_missing =
            error.refusal().is_some_and(|refusal| refusal.message == 0 && refusal.errno == Errno::OPNOTSUPP);
        let error = Error::from(error);
        if is_missing { self.missing(&error) } else { error }
    }
}

/// Opens a socket to nf_tables, which the kernel gives as soon as it has anything of netfilter's over
/// netlink.
pub(crate) fn open_filter() -> Result<nft::Socket> {
    nft::Socket::open().map_err(Error::from).map_err(|error| match error.errno() {
        Some(Errno::PROTONOSUPPORT) => NF_TABLES.missing(&error),
        _ => error,
    })
}

/// What is asked of nf_tables; none if the kernel does not have it: then nothing is there.
///
/// # Errors
/// The question has failed for another reason.
pub(crate) fn of_filter<T>(asked: Result<T>) -> Result<Option<T>> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        // No socket, or one behind which nobody takes a question.
        Err(error) if is_without_filter(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_without_filter(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::PROTONOSUPPORT | Errno::INVAL))
}

/// Words the failure of a transaction of nf_tables, with the part of the kernel that is missing, if that is
/// the reason.
#[cold]
pub(crate) fn word_commit(error: pillbox_netlink::Error) -> Error {
    let missing = match error.cause() {
        Cause::Refused(refusal) => missing_for(refusal),
        _ => None,
    };
    let error = Error::from(error);
    missing.map_or_else(|| error.clone(), |part| part.missing(&error))
}

fn missing_for(refusal: &Refusal) -> Option<Part> {
    let Refusal { errno, field, .. } = refusal;
    match (*errno, field) {
        // Of the transaction itself, which no part of netfilter takes, or of a table of a family that is not
        // built in.
        (Errno::OPNOTSUPP, None) => Some(NF_TABLES),
        (Errno::NOENT, Some(field)) => match &field.label {
            Some(label) => EXPRESSIONS.iter().find(|(name, _)| name == label).map(|(_, part)| *part),
            None => (field.path == "type").then_some(CHAIN_NAT),
        },
        _ => None,
    }
}

/// Whether the kernel has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}

/// What helps where it does not.
pub(crate) const WITHOUT_IPV6: &str =
    "the kernel has no IPv6: leave it out, or use a kernel with CONFIG_IPV6, booted without ipv6.disable=1";

#[cfg(test)]
mod tests {
    use pillbox_netlink::Field;

    use super::*;

    fn refusal(errno: Errno, path: &str, label: Option<&str>) -> Error {
        let field = (!path.is_empty()).then(|| Field {
            path: path.to_string(),
            item: label.map(|_| 1),
            label: label.map(str::to_string),
        });
        let what = "add a rule to chain pre of table inet pillbox".to_string();
        word_commit(Cause::Refused(Refusal { message: 3, what, errno, text: None, field }).into())
    }

    #[test]
    fn what_a_transaction_lacks_is_named_with_what_helps() {
        for (errno, path, label, module, option) in [
            (Errno::OPNOTSUPP, "", None, NF_TABLES.module, NF_TABLES.option),
            (Errno::NOENT, "type", None, "nft_chain_nat", "CONFIG_NFT_NAT"),
            (Errno::NOENT, "expressions[1] (fib)", Some("fib"), "nft_fib_inet", "CONFIG_NFT_FIB_INET"),
            (Errno::NOENT, "expressions[1] (masq)", Some("masq"), "nft_masq", "CONFIG_NFT_MASQ"),
        ] {
            let error = refusal(errno, path, label);
            assert_eq!((error.kind(), error.errno()), (Kind::Unsupported, Some(errno)), "{error}");
            let end = format!(
                "the kernel has no {module}: load the module (modprobe {module}), or use a kernel with {option}"
            );
            assert!(error.to_string().ends_with(&end), "{error}");
        }
    }

    #[test]
    fn other_refusals_say_nothing_of_modules() {
        for (errno, path, label) in [
            (Errno::NOENT, "", None),
            (Errno::NOENT, "table", None),
            (Errno::EXIST, "elements[0]", None),
            (Errno::NOENT, "expressions[1] (lookup)", Some("lookup")),
            (Errno::PERM, "", None),
        ] {
            let error = refusal(errno, path, label);
            assert!(error.kind() != Kind::Unsupported && !error.to_string().contains("has no "), "{error}");
        }
    }

    #[test]
    fn only_the_link_itself_is_of_a_module() {
        let refused = |message, errno| {
            let what = "add link eth0".to_string();
            pillbox_netlink::Error::from(Cause::Refused(Refusal {
                message,
                what,
                errno,
                text: None,
                field: None,
            }))
        };
        for (kind, module) in
            [(NetworkKind::Pair, "veth"), (NetworkKind::Macvlan, "macvlan"), (NetworkKind::Ipvlan, "ipvlan")]
        {
            let error = Part::of_links(kind).word_link(refused(0, Errno::OPNOTSUPP));
            assert!(error.to_string().contains(&format!("(modprobe {module})")), "{error}");
        }
        for (message, errno) in [(1, Errno::OPNOTSUPP), (0, Errno::EXIST)] {
            let error = BRIDGE.word_link(refused(message, errno));
            assert_ne!(error.kind(), Kind::Unsupported, "{error}");
        }
    }
}
