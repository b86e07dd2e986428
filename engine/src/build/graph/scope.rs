//! Which names have which values: arguments before the first stage, those of a stage, variables of its image.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use crate::build::syntax::{Argument, Expander};
use crate::error::{Error, Result};
use crate::image::Platform;

/// Proxies may be given without an ARG, are seen by RUN, and change nothing of what comes out.
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The moment that everything is dated back to.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What is known before the first stage.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    /// `--build-arg`.
    pub given: BTreeMap<String, String>,
    /// Platforms, and arguments that stand before the first stage.
    values: BTreeMap<String, String>,
    /// How many bytes everything has that was expanded.
    expanded: Cell<usize>,
}

/// The most bytes that everything in a Dockerfile may have when it is expanded, the variables of each RUN included.
const EXPANDED_MAX: usize = 256 << 20;

impl Globals {
    /// The platforms of who builds and of what is built.
    pub fn new(
        given: BTreeMap<String, String>,
        machine: &Platform,
        target: &Platform,
        stage: Option<&str>,
    ) -> Globals {
        let mut values = BTreeMap::new();
        for (prefix, platform) in [("BUILD", machine), ("TARGET", target)] {
            let mut add =
                |name: &str, value: &str| values.insert(format!("{prefix}{name}"), value.to_string());
            add("PLATFORM", &platform.to_string());
            add("OS", &platform.os);
            add("ARCH", &platform.architecture);
            add("VARIANT", platform.variant.as_deref().unwrap_or_default());
        }
        values.insert("TARGETSTAGE".to_string(), stage.unwrap_or("default").to_string());
        Globals { given, values, expanded: Cell::new(0) }
    }

    /// Counts what was expanded: a few lines may mean more than a machine can hold.
    ///
    /// # Errors
    /// It is too much by now.
    pub fn count(&self, length: usize) -> Result<()> {
        self.expanded.set(self.expanded.get().saturating_add(length));
        match self.expanded.get() {
            0..=EXPANDED_MAX => Ok(()),
            _ => Err(Error::invalid(format!(
                "with what is above, variables come to more than {EXPANDED_MAX} bytes when they are expanded"
            ))),
        }
    }

    /// Whether an ARG of that name stands before the first stage, or is always there for stages that ask for it.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Takes an ARG in that stands before the first stage.
    ///
    /// # Errors
    /// Its default cannot be expanded.
    pub fn add(&mut self, argument: &Argument, escape: char) -> Result<()> {
        let value = match (self.given.get(&argument.name), &argument.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => self.expand(default, escape)?,
            (None, None) => return Ok(()),
        };
        self.values.insert(argument.name.clone(), value);
        Ok(())
    }

    /// Expands a word of a FROM.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn expand(&self, word: &str, escape: char) -> Result<String> {
        let value = |name: &str| self.values.get(name).cloned();
        let expanded = Expander::new(escape, &value).expand(word)?;
        self.count(expanded.len())?;
        Ok(expanded)
    }
}

/// What is known within a stage.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Variables and arguments that have a value: who gets another one is the last one then.
    variables: Named<String>,
    /// The stage's arguments in order, for its history.
    arguments: Named<Option<String>>,
}

/// Values by their names, in order.
#[derive(Debug, Clone)]
struct Named<V> {
    values: BTreeMap<usize, (String, V)>,
    places: HashMap<String, usize>,
    next: usize,
}

impl<V> Default for Named<V> {
    fn default() -> Named<V> {
        Named { values: BTreeMap::new(), places: HashMap::new(), next: 0 }
    }
}

impl<V> Named<V> {
    fn get(&self, name: &str) -> Option<&V> {
        self.places.get(name).map(|place| &self.values[place].1)
    }

    /// The name keeps its place, or comes last.
    fn set(&mut self, name: &str, value: V) {
        let next = self.next;
        let place = *self.places.entry(name.to_string()).or_insert(next);
        self.next += usize::from(place == next);
        self.values.insert(place, (name.to_string(), value));
    }

    /// The name comes last, whether it has a place or not.
    fn set_last(&mut self, name: &str, value: V) {
        if let Some(place) = self.places.remove(name) {
            self.values.remove(&place);
        }
        self.set(name, value);
    }

    fn iter(&self) -> impl Iterator<Item = &(String, V)> {
        self.values.values()
    }
}

impl Scope {
    /// Takes an image's variables in.
    pub fn set_variables(&mut self, env: &[String]) {
        for variable in env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.set(name, value);
        }
    }

    /// Gives a name a value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.set_last(name, value.to_string());
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// How many bytes they have, and what the history says of them.
    pub fn length(&self) -> usize {
        let lengths = self.variables.iter().map(|(name, value)| name.len() + value.len());
        let said = self.arguments.iter().filter_map(|(_, value)| Some(value.as_ref()?.len()));
        lengths.chain(said).sum()
    }

    /// All that have a value.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables.iter().cloned().collect()
    }

    /// Takes an ARG in, whose default has been expanded. The result is its value.
    pub fn declare(&mut self, globals: &Globals, name: &str, default: Option<String>) -> Option<String> {
        let given = globals.given.get(name).cloned();
        let value = given.or(default).or_else(|| globals.values.get(name).cloned());
        if let Some(value) = &value {
            self.set(name, value);
        }
        self.arguments.set(name, value.clone());
        value
    }

    /// What a RUN's line in the history says of arguments: `|2 A=1 B=2 `.
    pub fn of_history(&self) -> String {
        if self.arguments.values.is_empty() {
            return String::new();
        }
        let mut text = format!("|{} ", self.arguments.values.len());
        for (name, value) in self.arguments.iter() {
            let value = self.get(name).or(value.as_deref()).unwrap_or_default();
            text += &format!("{name}={value} ");
        }
        text
    }

    /// Expands a word; `missing` is told of names that have no value.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn expand(&self, word: &str, escape: char, missing: &dyn Fn(&str)) -> Result<String> {
        let value = |name: &str| self.get(name).map(str::to_string);
        Expander::new(escape, &value).telling(missing).expand(word)
    }

    /// Expands a line into words.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn words(&self, line: &str, escape: char, missing: &dyn Fn(&str)) -> Result<Vec<String>> {
        let value = |name: &str| self.get(name).map(str::to_string);
        Expander::new(escape, &value).telling(missing).words(line)
    }

    /// Expands the content of a heredoc.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn heredoc(&self, text: &str, escape: char, missing: &dyn Fn(&str)) -> Result<String> {
        let value = |name: &str| self.get(name).map(str::to_string);
        Expander::new(escape, &value).telling(missing).expand_heredoc(text)
    }
}
