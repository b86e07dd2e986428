//! Init's way into the namespaces and the cgroup of the container.

use pillbox_init::plan::{EntryStep, Header};
use pillbox_init::report::Report;
use pillbox_init::sys;
use rustix::io::Errno;

use crate::{channel, identity};

/// Takes the steps of the plan's entry. Only init ever enters a container, never the runtime: all that other
/// processes see of init there is a sealed memfd, and descriptors that they may have.
pub fn enter(header: &Header<'_>, inherited: sys::Inherited) -> Result<(), Report> {
    // An entry has at most two clones.
    static FAREWELLS: [sys::Farewell; 2] = [const { sys::Farewell::unused() }; 2];
    let mut farewells = FAREWELLS.iter();
    for (index, step) in (0..).zip(header.steps()) {
        let step = step.map_err(|_| Report::Malformed { operation: 0 })?;
        let failed = |errno: Errno| Report::NotEntered { index, errno: errno.raw_os_error() };
        match step {
            EntryStep::SetUndumpable => identity::set_undumpable().map_err(failed)?,
            EntryStep::Enter { descriptor, namespaces } => {
                sys::setns(inherited.fd(descriptor), namespaces).map_err(failed)?;
                inherited.close(descriptor);
            }
            EntryStep::Clone { namespaces, cgroup } => {
                let farewell = farewells.next().ok_or(Report::Malformed { operation: 0 })?;
                farewell.prepare(inherited.fd(header.channel), index);
                let into = cgroup.map(|number| inherited.fd(number));
                sys::go_on_as_child(namespaces, into, farewell, leave).map_err(failed)?;
                cgroup.into_iter().for_each(|number| inherited.close(number));
            }
        }
    }
    Ok(())
}

/// Ends a process that init has cloned itself from, and tells the runtime which process continues.
extern "C" fn leave(pid: i32, farewell: &'static sys::Farewell) -> ! {
    let (channel, index) = farewell.prepared();
    farewell.sent(channel::send(channel, Report::Forked { index, pid }, &[], None));
    sys::exit(0)
}
