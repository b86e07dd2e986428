//! The calls of all plugins of a network, one after the other (SPEC.md, section 3).

use super::attached::Attached;
use super::call::{Operation, rubbish};
use super::conflist::{Conflist, Plugin};
use super::program::Programs;
use super::request::{ValidAttachment, write_request, write_runtime_config};
use super::result::AddResult;
use super::version::Version;
use super::writer::list;
use crate::error::{Error, Kind, Result};

impl Attached {
    /// Attaches the container: ADD of each plugin, in order; [`Attached::result`] has what comes of it. All
    /// programs are looked for first. If one fails, DEL of all of them follows, and their errors stand behind
    /// the first one; then the record can go, unless there are such errors: [`Attached::delete`] may be tried
    /// again.
    ///
    /// # Errors
    /// A program is missing; a plugin fails. It is attached already.
    pub fn add(&mut self, programs: &Programs) -> Result<()> {
        if self.result.is_some() {
            return Err(Error::of(Kind::Taken, format_args!("{}: is attached already", self.name())));
        }
        for plugin in &self.conflist.plugins {
            programs
                .find(&plugin.kind)
                .map_err(|error| self.conflist.failed(plugin, Operation::Add, error))?;
        }
        self.add_each(programs).map_err(|error| {
            let undone = self.delete_each(programs, true);
            if undone.is_ok() {
                self.result = None;
            }
            error.besides(undone)
        })
    }

    fn add_each(&mut self, programs: &Programs) -> Result<()> {
        let version = self.conflist.version;
        for place in 0..self.conflist.plugins.len() {
            let plugin = &self.conflist.plugins[place];
            let answered = self.call(programs, Operation::Add, plugin).and_then(|printed| {
                let result = AddResult::parse(&printed, version);
                result.map_err(|error| rubbish("a result", &error, &printed))
            });
            let result = answered.map_err(|error| self.conflist.failed(plugin, Operation::Add, error))?;
            self.result = Some(result.write(version));
        }
        Ok(())
    }

    /// Asks all plugins whether everything is as ADD has left it. False if they were not asked: the network's
    /// version has no CHECK (before 0.4.0), or its configuration forbids it.
    ///
    /// # Errors
    /// A plugin finds something wrong; it has not been attached; its namespace is gone.
    pub fn check(&self, programs: &Programs) -> Result<bool> {
        if self.conflist.version < Version::V0_4_0 || self.conflist.disable_check {
            return Ok(false);
        }
        let missing = |what: &str| Error::of(Kind::Missing, format_args!("{}: {what}", self.name()));
        if self.result.is_none() {
            return Err(missing("CHECK needs the result of ADD, and there is none"));
        }
        if self.present_namespace()?.is_empty() {
            return Err(missing(&format!("the network namespace {} is gone", self.namespace.path)));
        }
        for plugin in &self.conflist.plugins {
            self.call(programs, Operation::Check, plugin)
                .map_err(|error| self.conflist.failed(plugin, Operation::Check, error))?;
        }
        Ok(true)
    }

    /// Takes away what ADD has made: DEL of each plugin, the last one first. It may be called any number of
    /// times, and after an ADD that did not come to its end; the record can go when it has succeeded.
    ///
    /// # Errors
    /// A plugin fails; those that stand before it in the list are not called then: a port must not lead to an
    /// address that is given to another container.
    pub fn delete(&self, programs: &Programs) -> Result<()> {
        self.delete_each(programs, false)
    }

    /// The same, going on behind errors: for a container that has to go anyway.
    ///
    /// # Errors
    /// Plugins fail; all are called nevertheless.
    pub fn delete_forced(&self, programs: &Programs) -> Result<()> {
        self.delete_each(programs, true)
    }

    fn delete_each(&self, programs: &Programs, goes_on: bool) -> Result<()> {
        let mut deleted = Ok(());
        for plugin in self.conflist.plugins.iter().rev() {
            let called = self.call(programs, Operation::Del, plugin).map(drop);
            let called = called.map_err(|error| self.conflist.failed(plugin, Operation::Del, error));
            deleted = and_also(deleted, called);
            if deleted.is_err() && !goes_on {
                break;
            }
        }
        deleted
    }

    /// Calls one plugin for this attachment.
    fn call(&self, programs: &Programs, operation: Operation, plugin: &Plugin) -> Result<String> {
        let parameters = &self.parameters;
        let runtime_config = write_runtime_config(plugin, &parameters.capabilities);
        // Before 0.4.0 DEL gets none.
        let is_told = operation != Operation::Del || self.conflist.version >= Version::V0_4_0;
        let result = self.result.as_deref().filter(|_| is_told);
        let added = [("runtimeConfig", runtime_config.as_deref()), ("prevResult", result)];
        let added: Vec<_> = added.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let input = write_request(&self.conflist, plugin, &added)?;
        let variables = [
            ("CNI_CONTAINERID", parameters.container_id.as_str()),
            ("CNI_NETNS", self.present_namespace()?),
            ("CNI_IFNAME", &parameters.interface),
            ("CNI_ARGS", &parameters.args),
        ];
        programs.call(operation, &plugin.kind, &variables, &input)
    }
}

impl Conflist {
    /// Tells all plugins which attachments to the network there are, so that they drop what they keep of
    /// others (GC). No ADD and no DEL may happen meanwhile. False if they were not told: the network's
    /// version has no GC (before 1.1.0), or its configuration forbids it.
    ///
    /// # Errors
    /// Plugins fail; all are called nevertheless.
    pub fn collect_garbage(&self, programs: &Programs, valid: &[ValidAttachment]) -> Result<bool> {
        if self.version < Version::V1_1_0 || self.disable_gc {
            return Ok(false);
        }
        let valid = list(&valid.iter().map(ValidAttachment::write).collect::<Vec<_>>());
        // The second name is the one that the specification had in a draft, and that plugins have read.
        let added = [("cni.dev/valid-attachments", valid.as_str()), ("cni.dev/attachments", &valid)];
        let mut collected = Ok(());
        for plugin in &self.plugins {
            collected = and_also(collected, self.call(programs, Operation::Gc, plugin, &added));
        }
        collected.map(|()| true)
    }

    /// Asks all plugins whether they are ready for ADD (STATUS). False if they were not asked: the network's
    /// version has no STATUS (before 1.1.0).
    ///
    /// # Errors
    /// A plugin is not; the others are not asked then.
    pub fn status(&self, programs: &Programs) -> Result<bool> {
        if self.version < Version::V1_1_0 {
            return Ok(false);
        }
        for plugin in &self.plugins {
            self.call(programs, Operation::Status, plugin, &[])?;
        }
        Ok(true)
    }

    /// Calls one plugin for the network as a whole.
    fn call(
        &self,
        programs: &Programs,
        operation: Operation,
        plugin: &Plugin,
        added: &[(&str, &str)],
    ) -> Result<()> {
        write_request(self, plugin, added)
            .and_then(|input| programs.call(operation, &plugin.kind, &[], &input))
            .map(drop)
            .map_err(|error| self.failed(plugin, operation, error))
    }

    /// In errors: `CNI network dbnet`.
    pub(super) fn in_errors(&self) -> String {
        format!("CNI network {}", self.name)
    }

    fn failed(&self, plugin: &Plugin, operation: Operation, error: Error) -> Error {
        error.after(&format!("{}: plugin {}: {}", self.in_errors(), plugin.kind, operation.name()))
    }
}

/// The first of two errors, with the second one behind it.
fn and_also(first: Result<()>, second: Result<()>) -> Result<()> {
    match first {
        Ok(()) => second,
        Err(error) => Err(error.besides(second)),
    }
}
