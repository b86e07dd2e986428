//! What makes layers: RUN, COPY and ADD become steps.

use super::scope::PROXIES;
use super::stage::{StageCompiler, absolute};
use super::step::{Action, Archives, CopySource, CopyStep, Origin, RunStep, StepMount};
use super::wording::summary;
use crate::build::address::{GitAddress, GitFolder};
use crate::build::fault::Outcome;
use crate::build::syntax::{CommandLine, Heredoc, MountKind, Run, RunMount, Transfer};
use crate::error::{Error, Result};
use crate::layer::ModeChange;

/// Where scripts that stand in a Dockerfile are mounted.
pub const SCRIPTS: &str = "/dev/pipes/";

impl StageCompiler<'_> {
    pub(super) fn run(&mut self, run: &Run, text: &str) -> Outcome<()> {
        let mut script = None;
        let mut shown = text.to_string();
        let arguments = match (&run.command, &run.heredocs[..]) {
            (CommandLine::Exec(words), _) => words.clone(),
            (CommandLine::Shell(line), []) => self.shell_line(line.clone()),
            (CommandLine::Shell(line), [only]) if Heredoc::is_all_of(line, self.escape) => {
                shown = format!("{text} {}", summary(&only.content));
                if only.content.starts_with("#!") {
                    script = Some((only.name.clone(), only.text()));
                    self.shell_line(format!("{SCRIPTS}{}", only.name))
                } else {
                    self.shell_line(only.text())
                }
            }
            (CommandLine::Shell(line), heredocs) => {
                let mut whole = line.clone();
                for heredoc in heredocs {
                    whole += &format!("\n{}{}", heredoc.content, heredoc.name);
                }
                self.shell_line(whole)
            }
        };
        let mounts = run.mounts.iter().map(|mount| self.mount(mount)).collect::<Outcome<Vec<_>>>()?;
        let globals = self.globals;
        let proxies =
            PROXIES.iter().filter_map(|name| Some((name.to_string(), globals.given.get(*name)?.clone())));
        let proxies: Vec<_> = proxies.filter(|(name, _)| self.scope.get(name).is_none()).collect();
        globals.count(self.scope.length())?;
        let created_by = format!("RUN {}{} # buildkit", self.scope.of_history(), arguments.join(" "));
        let execution = &self.config.config;
        let step = RunStep {
            arguments,
            environment: self.scope.variables(),
            proxies,
            user: execution.user.clone(),
            workdir: absolute("", &execution.working_dir),
            network: run.network.clone().filter(|network| network != "default"),
            security: run.security,
            mounts,
            script,
        };
        self.step(&shown, created_by, Action::Run(step));
        Ok(())
    }

    fn mount(&mut self, text: &str) -> Outcome<StepMount> {
        let RunMount { mut kind, target } = RunMount::parse(&self.expand_fields(text)?)?;
        let target = target.map(|target| absolute(&self.config.config.working_dir, &target));
        let from = match &mut kind {
            MountKind::Bind { from, .. } => {
                Some(from.take().map_or(Ok(Origin::Context), |name| self.origins.origin(&name))?)
            }
            MountKind::Cache { from: Some(name), .. } => Some(self.origins.origin(name)?),
            MountKind::Cache { from: None, .. }
            | MountKind::Tmpfs { .. }
            | MountKind::Secret { .. }
            | MountKind::Ssh { .. } => None,
        };
        Ok(StepMount { target, kind, from })
    }

    /// Quotes in it are those of fields, and stay.
    fn expand_fields(&self, text: &str) -> Result<String> {
        match text.contains('$') {
            true => self.heredoc(text),
            false => Ok(text.to_string()),
        }
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer, text: &str, name: &'static str) -> Outcome<()> {
        let destination = self.expand(&transfer.destination)?;
        let paths = self.expand_all(&transfer.sources)?;
        let owner = transfer.owner.as_deref().map(|owner| self.expand(owner)).transpose()?;
        let mode_text = transfer.mode.as_deref().map(|mode| self.expand(mode)).transpose()?;
        let mode = mode_text.as_deref().map(|text| parse_mode(name, text)).transpose()?;
        let from = match &transfer.from {
            None => Origin::Context,
            Some(from) => {
                let from = self.expand(from)?;
                self.origins.origin(&from)?
            }
        };
        let mut sources = Vec::new();
        for path in &paths {
            sources.push(source(path, name)?);
        }
        for heredoc in &transfer.heredocs {
            let text = heredoc.text();
            let content = if heredoc.expands { self.heredoc(&text)? } else { text };
            sources.push(CopySource::File { name: heredoc.name.clone(), content });
        }
        let is_folder = destination.ends_with('/')
            || matches!(destination.as_str(), "." | "..")
            || destination.ends_with("/.");
        if sources.len() > 1 && !is_folder && !transfer.parents {
            // Docker takes several files for one name; the last one would be all that is left.
            self.check_several(name, &destination, &sources)?;
        }
        let mut words = Vec::new();
        words.extend(transfer.parents.then(|| "--parents".to_string()));
        words.extend(owner.as_ref().map(|owner| format!("--chown={owner}")));
        words.extend(mode_text.as_ref().map(|mode| format!("--chmod={mode}")));
        words.extend(paths);
        words.extend(transfer.heredocs.iter().map(|heredoc| format!("<<{}", heredoc.name)));
        words.push(destination.clone());
        let mut target = absolute(&self.config.config.working_dir, &destination);
        if is_folder && target != "/" {
            target.push('/');
        }
        let step = CopyStep {
            sources,
            from,
            destination: target,
            owner,
            mode,
            excludes: self.expand_all(&transfer.excludes)?,
            checksum: transfer.checksum.as_deref().map(|text| self.expand(text)).transpose()?,
            git_folder: if transfer.keeps_git { GitFolder::Kept } else { GitFolder::Removed },
            link: transfer.link,
            parents: transfer.parents,
            unpacking: match (name, transfer.unpack) {
                ("COPY", _) | (_, Some(false)) => Archives::Kept,
                (_, Some(true)) => Archives::All,
                (_, None) => Archives::OfContext,
            },
        };
        self.step(text, format!("{name} {} # buildkit", words.join(" ")), Action::Copy(step));
        Ok(())
    }

    fn check_several(&self, name: &str, destination: &str, sources: &[CopySource]) -> Result<()> {
        let files = sources.iter().filter(|source| !matches!(source, CopySource::Path(_))).count();
        match files {
            0 | 1 => Ok(()),
            _ => Err(Error::invalid(format!(
                "{name} … {destination}: several files need a folder: a slash is missing at its end"
            ))),
        }
    }
}

/// Of ADD a URL, otherwise a path.
fn source(text: &str, name: &str) -> Result<CopySource> {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    // Without a scheme it is a path here.
    let is_git = GitAddress::is_one(text) && !text.starts_with("github.com/");
    match name {
        "ADD" if is_git => GitAddress::parse(text).map(CopySource::Git).map_err(|error| error.context("ADD")),
        "ADD" if is_url => Ok(CopySource::Url(text.to_string())),
        "COPY" if is_url => Err(Error::invalid(format!("COPY {text}: ADD takes URLs"))),
        _ => Ok(CopySource::Path(text.to_string())),
    }
}

fn parse_mode(name: &str, text: &str) -> Result<ModeChange> {
    ModeChange::parse(text).map_err(|error| error.context(format!("{name} --chmod={text}")))
}
