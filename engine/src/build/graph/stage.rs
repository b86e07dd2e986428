//! One stage: instructions change what is known, what the image says, or become steps.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::scope::{Globals, Scope};
use super::step::{Action, Base, HistoryLine, Origin, Stage, Step};
use super::wording::{health as health_words, listed, quoted};
use crate::build::fault::{At, Outcome, Span};
use crate::build::syntax::{Argument, CommandLine, Dockerfile, Health, Instruction, parse, split_words};
use crate::error::{Error, Result};
use crate::image::{Configuration, Healthcheck, Platform};
use crate::layer::clean;
use crate::order;

/// Where programs are looked for, unless the image says it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whoever knows what `--from` means.
pub trait Origins {
    /// An earlier stage, a context or an image.
    ///
    /// # Errors
    /// There is no such thing.
    fn origin(&mut self, name: &str) -> Outcome<Origin>;
}

/// A stage as far as it has come.
pub struct StageCompiler<'c> {
    pub(super) origins: &'c mut dyn Origins,
    pub(super) globals: &'c Globals,
    pub(super) escape: char,
    pub(super) scope: Scope,
    pub(super) config: Configuration,
    /// Where in its variables each name stands.
    places: HashMap<String, usize>,
    steps: Vec<Step>,
    history: Vec<HistoryLine>,
    /// The instruction that is just looked at.
    pub(super) span: Span,
    /// Names that the instruction uses and that have no value.
    missing: RefCell<BTreeSet<String>>,
    /// What its author has perhaps not meant.
    warnings: Vec<(Span, String)>,
    /// It names a command, so that the image's own is not kept for another entry point.
    has_command: bool,
}

impl<'c> StageCompiler<'c> {
    /// On what its image or an earlier stage says of itself.
    pub fn begin(
        origins: &'c mut dyn Origins,
        globals: &'c Globals,
        escape: char,
        (below, scope): (Option<Configuration>, Option<Scope>),
        platform: &Platform,
    ) -> StageCompiler<'c> {
        let mut config = below.unwrap_or_else(|| {
            let mut config = Configuration {
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
                ..Configuration::default()
            };
            config.config.working_dir = "/".to_string();
            config
        });
        config.rootfs.kind = "layers".to_string();
        config.cache = None;
        let execution = &mut config.config;
        if !execution.env.iter().any(|variable| variable.starts_with("PATH=")) {
            execution.env.push(format!("PATH={PATH}"));
        }
        // Arguments of the stage below are known, but its variables go before them.
        let mut scope = scope.unwrap_or_default();
        scope.set_variables(&execution.env);
        let names = execution.env.iter().map(|variable| variable.split('=').next().unwrap_or_default());
        let mut places = HashMap::new();
        for (place, name) in names.enumerate() {
            places.entry(name.to_string()).or_insert(place);
        }
        let span = Span { first: 0, last: 0 };
        let (steps, history, warnings) = (Vec::new(), Vec::new(), Vec::new());
        StageCompiler {
            origins,
            globals,
            escape,
            scope,
            config,
            places,
            steps,
            history,
            span,
            missing: RefCell::default(),
            warnings,
            has_command: false,
        }
    }

    /// The stage with what is known of it otherwise.
    pub fn finish(self, label: Option<String>, span: Span, base: Base) -> Stage {
        let StageCompiler { scope, config, steps, history, warnings, .. } = self;
        Stage { label, span, base, steps, config, history, scope, warnings }
    }

    /// Does what the image or the stage below wants to be done, and forgets it: it is for those that are made of it directly.
    pub fn run_triggers(&mut self, span: Span) -> Outcome<()> {
        let triggers = std::mem::take(&mut self.config.config.on_build);
        for trigger in triggers {
            let named = |error: Error| error.context(format!("ONBUILD {trigger}"));
            let Dockerfile { instructions, .. } =
                parse(&trigger).map_err(|fault| named(fault.error)).at(span)?;
            for located in &instructions {
                self.span = span;
                self.add_one(&located.instruction, &located.text)
                    .map_err(|fault| named(fault.error))
                    .at(span)?;
            }
        }
        Ok(())
    }

    pub fn add(&mut self, located: &crate::build::syntax::Located) -> Outcome<()> {
        self.span = located.span;
        self.add_one(&located.instruction, &located.text).at(located.span)
    }

    fn add_one(&mut self, instruction: &Instruction, text: &str) -> Outcome<()> {
        self.add_expanded(instruction, text)?;
        for name in self.missing.take() {
            let hint = match self.globals.has(&name) {
                true => format!("a stage that uses it needs an ARG {name} of its own"),
                false => format!("${{{name}:-}} says that it may be empty"),
            };
            self.warnings.push((self.span, format!("${name} has no value: {hint}")));
        }
        Ok(())
    }

    fn add_expanded(&mut self, instruction: &Instruction, text: &str) -> Outcome<()> {
        match instruction {
            Instruction::From(_) => Err(Error::invalid("FROM cannot be a trigger").into()),
            Instruction::Run(run) => self.run(run, text),
            Instruction::Copy(transfer) => self.transfer(transfer, text, "COPY"),
            Instruction::Add(transfer) => self.transfer(transfer, text, "ADD"),
            Instruction::Workdir(path) => Ok(self.workdir(path, text)?),
            other => Ok(self.describe(other)?),
        }
    }

    /// What is `$1` or `$@` to a shell is no name that somebody has forgotten.
    fn miss(&self, name: &str) {
        if name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
            self.missing.borrow_mut().insert(name.to_string());
        }
    }

    pub(super) fn expand(&self, word: &str) -> Result<String> {
        let expanded = self.scope.expand(word, self.escape, &|name| self.miss(name))?;
        self.globals.count(expanded.len())?;
        Ok(expanded)
    }

    pub(super) fn heredoc(&self, text: &str) -> Result<String> {
        let expanded = self.scope.heredoc(text, self.escape, &|name| self.miss(name))?;
        self.globals.count(expanded.len())?;
        Ok(expanded)
    }

    pub(super) fn expand_all(&self, words: &[String]) -> Result<Vec<String>> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    fn note(&mut self, created_by: String) {
        self.history.push(HistoryLine { created_by, step: None });
    }

    pub(super) fn step(&mut self, text: &str, created_by: String, action: Action) {
        self.history.push(HistoryLine { created_by, step: Some(self.steps.len()) });
        self.steps.push(Step { span: self.span, text: text.to_string(), action });
    }

    /// What makes no layer.
    fn describe(&mut self, instruction: &Instruction) -> Result<()> {
        match instruction {
            Instruction::Arg(arguments) => self.arguments(arguments),
            Instruction::Env(pairs) => self.environment(pairs),
            Instruction::Label(pairs) => self.labels(pairs),
            Instruction::Cmd(command) => {
                let words = self.with_shell(command);
                self.note(format!("CMD {}", quoted(&words)));
                self.config.config.cmd = words;
                self.config.config.args_escaped = true;
                self.has_command = true;
                Ok(())
            }
            Instruction::Entrypoint(command) => {
                let words = self.with_shell(command);
                self.note(format!("ENTRYPOINT {}", quoted(&words)));
                self.config.config.entrypoint = words;
                // The command of an image below is not for this one's entry point.
                if !self.has_command {
                    self.config.config.cmd = Vec::new();
                }
                Ok(())
            }
            Instruction::Shell(words) => {
                self.note(format!("SHELL {}", listed(words)));
                self.config.config.shell.clone_from(words);
                Ok(())
            }
            Instruction::Expose(line) => self.expose(line),
            Instruction::Volume(paths) => {
                let paths = self.expand_all(paths)?;
                for path in &paths {
                    if path.is_empty() {
                        return Err(Error::invalid("VOLUME: a path is empty"));
                    }
                    self.config.config.volumes.insert(path.clone(), Default::default());
                }
                self.note(format!("VOLUME {}", listed(&paths)));
                Ok(())
            }
            Instruction::User(user) => {
                let user = self.expand(user)?;
                self.note(format!("USER {user}"));
                self.config.config.user = user;
                Ok(())
            }
            Instruction::StopSignal(signal) => {
                let signal = self.expand(signal)?;
                pillbox::signal::parse(&signal)
                    .map_err(|error| Error::from(error).context(format!("STOPSIGNAL {signal}")))?;
                self.note(format!("STOPSIGNAL {signal}"));
                self.config.config.stop_signal = Some(signal);
                Ok(())
            }
            Instruction::Healthcheck(health) => {
                self.note(health_words(health));
                self.config.config.healthcheck = Some(healthcheck(health));
                Ok(())
            }
            Instruction::OnBuild(trigger) => {
                // BuildKit has no line for it.
                self.config.config.on_build.push(trigger.clone());
                Ok(())
            }
            Instruction::Maintainer(name) => {
                self.note(format!("MAINTAINER {name}"));
                self.config.author = Some(name.clone());
                Ok(())
            }
            Instruction::From(_)
            | Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_) => Ok(()),
        }
    }

    fn arguments(&mut self, arguments: &[Argument]) -> Result<()> {
        let mut words = Vec::new();
        let mut defaults = Vec::new();
        for Argument { name, default } in arguments {
            let default = default.as_deref().map(|default| self.expand(default)).transpose()?;
            defaults.push((self.expand(name)?, default));
        }
        for (name, default) in defaults {
            let said = self.scope.declare(self.globals, &name, default);
            words.push(said.map_or(name.clone(), |value| format!("{name}={value}")));
        }
        self.note(format!("ARG {}", words.join(" ")));
        Ok(())
    }

    /// All values are those from before the instruction.
    fn expand_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>> {
        pairs.iter().map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?))).collect()
    }

    fn environment(&mut self, pairs: &[(String, String)]) -> Result<()> {
        let pairs = self.expand_pairs(pairs)?;
        for (name, value) in &pairs {
            self.scope.set(name, value);
            let variable = format!("{name}={value}");
            let env = &mut self.config.config.env;
            match self.places.get(name) {
                Some(place) => env[*place] = variable,
                None => {
                    self.places.insert(name.clone(), env.len());
                    env.push(variable);
                }
            }
        }
        self.note(format!("ENV {}", joined(&pairs)));
        Ok(())
    }

    fn labels(&mut self, pairs: &[(String, String)]) -> Result<()> {
        let pairs = self.expand_pairs(pairs)?;
        self.note(format!("LABEL {}", joined(&pairs)));
        self.config.config.labels.extend(pairs);
        Ok(())
    }

    fn expose(&mut self, line: &str) -> Result<()> {
        // In the order of the words as they are written, as the history has it.
        let mut words = split_words(line, self.escape);
        order::sort(&mut words);
        let mut ports: Vec<String> = Vec::new();
        for word in words {
            for word in self.scope.words(&word, self.escape, &|name| self.miss(name))? {
                ports.extend(parse_ports(&word)?);
            }
        }
        self.note(format!("EXPOSE {}", listed(&ports)));
        self.config.config.exposed_ports.extend(ports.into_iter().map(|port| (port, Default::default())));
        Ok(())
    }

    fn with_shell(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(line) => self.shell_line(line.clone()),
        }
    }

    pub(super) fn shell_line(&self, line: String) -> Vec<String> {
        let shell = match &self.config.config.shell[..] {
            [] => vec!["/bin/sh".to_string(), "-c".to_string()],
            shell => shell.to_vec(),
        };
        [shell, vec![line]].concat()
    }

    fn workdir(&mut self, path: &str, text: &str) -> Result<()> {
        let path = self.expand(path)?;
        // An absolute one stays as it is written.
        let (written, path) = match absolute(&self.config.config.working_dir, &path) {
            whole if path.starts_with('/') => (path, whole),
            whole => (whole.clone(), whole),
        };
        let created_by = format!("WORKDIR {written}");
        self.config.config.working_dir = written;
        match path.as_str() {
            "/" => self.note(created_by),
            _ => {
                let user = self.config.config.user.clone();
                self.step(text, created_by, Action::Workdir { path, user });
            }
        }
        Ok(())
    }
}

fn joined(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// An absolute path without `.`, `..` and slashes that mean nothing; a relative one is below `folder`.
pub(super) fn absolute(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_string() } else { format!("{folder}/{path}") };
    format!("/{}", clean(&whole))
}

/// `80`, `80/udp`, `8000-8003/tcp`.
fn parse_ports(word: &str) -> Result<Vec<String>> {
    let wrong =
        || Error::invalid(format!("EXPOSE {word}: must be PORT, PORT/PROTOCOL or FIRST-LAST/PROTOCOL"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong());
    }
    let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn healthcheck(health: &Health) -> Healthcheck {
    let Health::Command { command, interval, timeout, start_period, start_interval, retries } = health else {
        return Healthcheck { test: vec!["NONE".to_string()], ..Healthcheck::default() };
    };
    let test = match command {
        CommandLine::Shell(line) => vec!["CMD-SHELL".to_string(), line.clone()],
        CommandLine::Exec(words) => [vec!["CMD".to_string()], words.clone()].concat(),
    };
    let nanoseconds = |time: &Option<std::time::Duration>| {
        time.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    };
    Healthcheck {
        test,
        interval: nanoseconds(interval),
        timeout: nanoseconds(timeout),
        start_period: nanoseconds(start_period),
        start_interval: nanoseconds(start_interval),
        retries: retries.map_or(0, i64::from),
    }
}
