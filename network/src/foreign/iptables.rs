//! Two rules in a chain of iptables, in its own form: it takes those in others for none of its own. They stand there before
//! anybody lets that chain drop, for then it is too late for containers that run: ufw and administrators do so at any time,
//! dockerd where it is the first to turn forwarding on. Where there is no such chain it is made, as iptables would make it.

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Family, Hook, MetaKey, Place, Policy, Rule, Socket, Table, Userdata,
    Value, chain, outline, priority, rule, table,
};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What iptables and nft show beside what is ours, and by which it is found again.
const COMMENT: &str = "pillbox";

/// The chain that Docker leaves to others, and asks first.
const FOR_USERS: &str = "DOCKER-USER";

/// The chain of what is forwarded.
pub(super) const FORWARD: &str = "FORWARD";

/// The table, in either family.
pub(super) const TABLE: &str = "filter";

/// Adds to a batch what is missing for the packets of a bridge: the rules in front of all others, and with `may_make` the
/// chain and the table, where there are none.
pub fn add_missing(
    filter: &mut Socket,
    batch: &mut Batch,
    family: Family,
    link: &str,
    may_make: bool,
) -> Result<()> {
    let table = Table::new(family, TABLE);
    let mut found = None;
    for chain in [FOR_USERS, FORWARD] {
        if chain::find(filter, &table, chain)?.is_none() {
            continue;
        }
        let mut missing = Vec::new();
        for rule in accepts(chain, link) {
            if rule::find_like(filter, &table, &rule)?.is_empty() {
                missing.push(rule);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        found.get_or_insert(missing);
    }
    let rules = match found {
        Some(rules) => rules,
        None if may_make && make(filter, batch, &table)? => accepts(FORWARD, link).into(),
        None => return Ok(()),
    };
    for rule in &rules {
        batch.place_rule(&table, rule, Place::First)?;
    }
    Ok(())
}

/// Adds the chain to a batch, and the table; false where a table of that name has been made by somebody else than iptables.
fn make(filter: &mut Socket, batch: &mut Batch, table: &Table) -> Result<bool> {
    if table::find(filter, table.family, TABLE)?.is_none() {
        batch.add_table(&Table { userdata: Userdata::comment(COMMENT), ..table.clone() })?;
    } else if chain::find(filter, table, "INPUT")?.is_none()
        && chain::find(filter, table, "OUTPUT")?.is_none()
    {
        return Ok(false);
    }
    // Without a policy: that of one that somebody has made meanwhile stays.
    let base = Base::new(ChainKind::Filter, Hook::Forward, priority::FILTER);
    let chain = Chain { userdata: Userdata::comment(COMMENT), ..Chain::based(FORWARD, base) };
    batch.add_chain(table, &chain)?;
    Ok(true)
}

/// What comes from a bridge and what goes there.
fn accepts(chain: &str, link: &str) -> [Rule; 2] {
    [MetaKey::IncomingName, MetaKey::OutgoingName]
        .map(|key| Rule::new(chain).meta_is(key, Value::text(link)).counted().accept().commented(COMMENT))
}

/// Removes the rules for a bridge; with the last ones the chain and the table, if we have made them and nobody uses them.
pub fn forget(filter: &mut Socket, family: Family, link: &str) -> Result<()> {
    let table = Table::new(family, TABLE);
    let mut batch = Batch::new();
    for chain in [FOR_USERS, FORWARD] {
        if chain::find(filter, &table, chain)?.is_none() {
            continue;
        }
        for rule in accepts(chain, link) {
            for handle in rule::find_like(filter, &table, &rule)? {
                batch.delete_rule(&table, chain, handle)?;
            }
        }
    }
    if !batch.is_empty() {
        filter.commit(&batch)?;
    }
    unmake(filter, &table)
}

fn unmake(filter: &mut Socket, table: &Table) -> Result<()> {
    let generation = filter.generation()?.number;
    let chains = chain::list(filter, table)?;
    let is_ours = |chain: &Chain| {
        let policy = chain.base.as_ref().and_then(|base| base.policy);
        chain.name == FORWARD
            && chain.userdata == Userdata::comment(COMMENT)
            && policy == Some(Policy::Accept)
    };
    if !chains.iter().any(|listed| is_ours(&listed.value))
        || !outline::list(filter, table, FORWARD)?.is_empty()
    {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.expect_generation(generation).delete_chain(table, FORWARD)?;
    let found = table::find(filter, table.family, TABLE)?;
    if chains.len() == 1 && found.is_some_and(|found| found.value.userdata == Userdata::comment(COMMENT)) {
        batch.delete_table(table)?;
    }
    match filter.commit(&batch).map_err(Error::from) {
        // Somebody has changed something meanwhile, and may be about to use it.
        Err(error) if error.errno() == Some(Errno::RESTART) => Ok(()),
        committed => committed,
    }
}
