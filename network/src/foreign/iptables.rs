//! Two rules in a chain of iptables, in its own form: it takes those in others for none of its own. They
//! stand there before anybody lets that chain drop, for then it is too late for containers that run: ufw and
//! administrators do so at any time, dockerd where it is the first to turn forwarding on. Where there is no
//! such chain it is made, as iptables would make it.
//!
//! They stand behind everything that others have decided: Docker's isolation, DOCKER-USER, what ufw denies.
//! Only a rule that refuses all that is left comes behind them: ufw and administrators use such a rule
//! instead of a policy, and it would refuse our packets as well.

use pillbox_netlink::nft::{
    Base, Batch, Chain, ChainKind, Family, Hook, MetaKey, Outline, Place, Policy, Rule, Socket, Table,
    Userdata, Value, Verdict, chain, outline, priority, table,
};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// What iptables and nft show beside what is ours, and by which it is found again.
const COMMENT: &str = "pillbox";

/// What the names of Docker's chains begin with. None of them refuses what is not Docker's, and what a user
/// refuses in one of them is refused.
const DOCKERS: &str = "DOCKER";

/// The chain of Docker's in which users decide.
pub(super) const FOR_USERS: &str = "DOCKER-USER";

/// How deep jumps are followed.
const DEPTH: u32 = 4;

/// The chain of what is forwarded.
pub(super) const FORWARD: &str = "FORWARD";

/// The table, in either family.
pub(super) const TABLE: &str = "filter";

/// Adds to a batch what is missing for the packets of a link: the rules, or that they stand where they
/// should, and with `may_make` the chain and the table, where there are none.
pub fn add_missing(
    filter: &mut Socket,
    batch: &mut Batch,
    family: Family,
    link: &str,
    may_make: bool,
) -> Result<()> {
    let (table, ours) = (Table::new(family, TABLE), accepts(link));
    let rules = outline::list(filter, &table, FORWARD, &ours)?;
    let mut end = None;
    for (place, rule) in rules.iter().enumerate() {
        if refuses(filter, &table, rule, 0)? {
            end = Some(place);
            break;
        }
    }
    let decided = &rules[..end.unwrap_or(rules.len())];
    let last = decided.iter().rposition(is_of_others).map_or(0, |last| last + 1);
    if has_both(&decided[last..]) {
        return Ok(());
    }
    if rules.is_empty() && chain::find(filter, &table, FORWARD)?.is_none() {
        let is_made = may_make && make(filter, batch, &table)?;
        if !is_made {
            return Ok(());
        }
    }
    for rule in rules.iter().filter(|rule| rule.like.is_some()) {
        batch.delete_rule(&table, FORWARD, rule.handle)?;
    }
    let place = end.map_or(Place::Last, |end| Place::Before(rules[end].handle));
    for rule in &ours {
        batch.place_rule(&table, rule, place)?;
    }
    Ok(())
}

/// Whether the rules for a link stand where they should, most likely, by one question: what others have in
/// front of them is not followed into other chains.
pub fn seem_to_stand(filter: &mut Socket, family: Family, link: &str) -> Result<bool> {
    let table = Table::new(family, TABLE);
    let rules = outline::list(filter, &table, FORWARD, &accepts(link))?;
    let Some(first) = rules.iter().position(|rule| rule.like.is_some()) else { return Ok(false) };
    let (before, behind) = rules.split_at(first);
    let count = behind.iter().position(is_of_others).unwrap_or(behind.len());
    let (ours, rest) = behind.split_at(count);
    if !has_both(ours) || before.iter().any(Outline::refuses_all) {
        return Ok(false);
    }
    rest.first().map_or(Ok(true), |next| refuses(filter, &table, next, 0))
}

/// Whether what comes from the link and what goes there is among these.
fn has_both(rules: &[Outline]) -> bool {
    [0, 1].iter().all(|which| rules.iter().any(|rule| rule.like == Some(*which)))
}

/// Whether a rule drops or rejects every packet that it sees, by itself or by the chain that it leads to.
fn refuses(filter: &mut Socket, table: &Table, rule: &Outline, depth: u32) -> Result<bool> {
    let (Some(Verdict::Jump(chain)) | Some(Verdict::Goto(chain))) = &rule.always else {
        return Ok(rule.refuses_all());
    };
    if chain.starts_with(DOCKERS) || depth == DEPTH {
        return Ok(false);
    }
    for rule in outline::list(filter, table, chain, &[])? {
        if refuses(filter, table, &rule, depth + 1)? {
            return Ok(true);
        }
        if !matches!(rule.always, None | Some(Verdict::Jump(_))) {
            break;
        }
    }
    Ok(false)
}

/// Adds the chain to a batch, and the table; false where a table of that name has been made by somebody else
/// than iptables.
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

/// What comes from a link and what goes there.
fn accepts(link: &str) -> [Rule; 2] {
    [MetaKey::IncomingName, MetaKey::OutgoingName]
        .map(|key| Rule::new(FORWARD).meta_is(key, Value::text(link)).counted().accept().commented(COMMENT))
}

/// Whether somebody else has made the chain, or uses it.
pub fn is_used(filter: &mut Socket, family: Family) -> Result<bool> {
    let table = Table::new(family, TABLE);
    let Some(found) = chain::find(filter, &table, FORWARD)? else { return Ok(false) };
    let rules = outline::list(filter, &table, FORWARD, &[])?;
    Ok(!is_ours(&found.value) || rules.iter().any(is_of_others))
}

/// Whether we have made the chain, and it lets everything pass.
fn is_ours(chain: &Chain) -> bool {
    let policy = chain.base.as_ref().and_then(|base| base.policy);
    chain.name == FORWARD && chain.userdata == Userdata::comment(COMMENT) && policy == Some(Policy::Accept)
}

fn is_of_others(rule: &Outline) -> bool {
    rule.comment.as_deref() != Some(COMMENT)
}

/// Removes the rules for a link; with the last ones the chain and the table, if we have made them and nobody
/// uses them.
pub fn forget(filter: &mut Socket, family: Family, link: &str) -> Result<()> {
    let table = Table::new(family, TABLE);
    let mut batch = Batch::new();
    for rule in outline::list(filter, &table, FORWARD, &accepts(link))? {
        if rule.like.is_some() {
            batch.delete_rule(&table, FORWARD, rule.handle)?;
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
    if !chains.iter().any(|listed| is_ours(&listed.value))
        || !outline::list(filter, table, FORWARD, &[])?.is_empty()
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
