//! registries.conf (containers-registries.conf(5)): what names without a registry mean, and where registries are.

mod file;
mod toml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use file::{Document, MirrorTable, PullFrom, RegistryTable};

use crate::error::{Context, Error, Result};
use crate::reference::{Reference, Repository};

/// What the files say together.
#[derive(Debug, Default)]
pub struct Registries {
    /// Where names without a registry are looked for, and the file that says so.
    search: Option<(String, PathBuf)>,
    /// Names without a registry that mean something in particular.
    aliases: BTreeMap<String, (String, PathBuf)>,
    /// The rule of each prefix.
    rules: BTreeMap<String, Rule>,
}

#[derive(Debug)]
struct Rule {
    table: RegistryTable,
    file: PathBuf,
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// With its registry.
    pub reference: Reference,
    /// The file that says so, if one does.
    pub file: Option<PathBuf>,
}

/// Where a repository is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// It as it is called there.
    pub repository: Repository,
    /// Whether nobody has to show who he is there.
    pub is_insecure: bool,
    /// Whether it is another registry than the name says: what is given for that one is not for this one.
    pub is_elsewhere: bool,
}

impl Endpoint {
    fn new(reference: &Reference, repository: Repository, is_insecure: bool) -> Endpoint {
        let is_elsewhere = repository.registry != reference.repository.registry;
        Endpoint { repository, is_insecure, is_elsewhere }
    }
}

impl Registries {
    /// Those of the calling user.
    ///
    /// # Errors
    /// A file is broken.
    pub fn of_caller() -> Result<Registries> {
        Registries::of_files(|_| true)
    }

    /// What they say of a name, for [`Registries::expand`]: most files say nothing of it, and reading one takes longer than finding an
    /// image.
    ///
    /// # Errors
    /// A file that speaks of it is broken.
    pub fn of_name(text: &str) -> Result<Registries> {
        let name = without_tag(text);
        Registries::of_files(|text| file::speaks_of(text, name))
    }

    fn of_files(is_wanted: impl Fn(&str) -> bool) -> Result<Registries> {
        let mut registries = Registries::default();
        for path in file::of_caller()? {
            if let Some(document) = file::read(&path, &is_wanted)? {
                registries.add(&path, document).context(|| path.display().to_string())?;
            }
        }
        Ok(registries)
    }

    /// The files that say so, as they are now: some may not be there.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn files_of_caller() -> Result<Vec<PathBuf>> {
        file::of_caller()
    }

    /// What shows which files those are: as long as these are as they were, they are the same ones.
    pub fn places_of_caller() -> Vec<PathBuf> {
        file::places_of_caller()
    }

    fn add(&mut self, file: &Path, document: Document) -> Result<()> {
        let Document { unqualified_search_registries, registry, aliases } = document;
        if let Some(search) = unqualified_search_registries {
            if let Some(registry) = search.iter().find(|registry| Repository::at(registry, "a").is_err()) {
                return Err(Error::invalid(format!(
                    "unqualified-search-registries: {registry:?}: must be a host and perhaps a port (quay.io, localhost:5000)"
                )));
            }
            self.search = search.into_iter().next().map(|first| (first, file.to_path_buf()));
        }
        for (name, meaning) in aliases {
            // An empty one takes away what an earlier file says.
            match meaning.as_str() {
                "" => drop(self.aliases.remove(&name)),
                _ => drop(self.aliases.insert(name, (meaning, file.to_path_buf()))),
            }
        }
        for mut table in registry {
            table.check()?;
            if table.prefix.is_empty() {
                table.prefix.clone_from(&table.location);
            }
            self.rules.insert(table.prefix.clone(), Rule { table, file: file.to_path_buf() });
        }
        Ok(())
    }

    /// What a name means: with a registry itself, and without one what the files say, or else one of Docker Hub's.
    ///
    /// # Errors
    /// It cannot be a name.
    pub fn expand(&self, text: &str) -> Result<Meaning> {
        let usual = Reference::parse(text)?;
        if Repository::has_registry(text) {
            return Ok(Meaning { reference: usual, file: None });
        }
        let name = without_tag(text);
        let (repository, file) = match (self.aliases.get(name), &self.search) {
            (Some((meaning, file)), _) => (meaning.clone(), file),
            (None, Some((registry, file))) => (format!("{registry}/{name}"), file),
            (None, None) => return Ok(Meaning { reference: usual, file: None }),
        };
        let named = || format!("{}: {text} means {repository}", file.display());
        let repository = Repository::parse(&repository).context(named)?;
        let file = (repository != usual.repository).then(|| file.clone());
        Ok(Meaning { reference: Reference { repository, ..usual }, file })
    }

    /// Where an image is pulled from: mirrors, one after the other, and at last the registry itself.
    ///
    /// # Errors
    /// Its registry is blocked; a location cannot be one.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Endpoint>> {
        let mut sources = Vec::new();
        if let Some((length, rule)) = self.rule(&reference.to_string()) {
            for mirror in rule.table.mirror.iter().filter(|mirror| rule.table.asks(mirror, reference)) {
                let repository = rule.moved(reference, length, &mirror.location)?;
                sources.push(Endpoint::new(reference, repository, mirror.insecure));
            }
        }
        sources.push(self.endpoint(reference)?);
        Ok(sources)
    }

    /// Where an image is pushed to.
    ///
    /// # Errors
    /// As for [`Registries::sources`].
    pub fn endpoint(&self, reference: &Reference) -> Result<Endpoint> {
        let Some((length, rule)) = self.rule(&reference.to_string()) else {
            return Ok(Endpoint::new(reference, reference.repository.clone(), false));
        };
        let Rule { table, file } = rule;
        if table.blocked {
            let (prefix, file) = (&table.prefix, file.display());
            return Err(Error::invalid(format!("{}: {prefix} is blocked ({file})", reference.familiar())));
        }
        let repository = match table.location.as_str() {
            "" => reference.repository.clone(),
            location => rule.moved(reference, length, location)?,
        };
        Ok(Endpoint::new(reference, repository, table.insecure))
    }

    /// Whether nobody has to show who he is at a registry.
    pub fn is_insecure(&self, registry: &str) -> bool {
        self.rule(registry).is_some_and(|(_, rule)| rule.table.insecure)
    }

    /// The rule of the longest prefix that fits, and how much of the name that is.
    fn rule(&self, name: &str) -> Option<(usize, &Rule)> {
        let fitting = self.rules.values().filter_map(|rule| Some((rule.table.fits(name)?, rule)));
        fitting.max_by_key(|(_, rule)| rule.table.prefix.len())
    }
}

/// A name without its tag and digest.
fn without_tag(text: &str) -> &str {
    let name = text.split('@').next().unwrap_or(text);
    name.rsplit_once(':').map_or(name, |(name, _)| name)
}

impl Rule {
    /// A repository with a location in the place of the first bytes of its name.
    fn moved(&self, reference: &Reference, length: usize, location: &str) -> Result<Repository> {
        let name = reference.repository.to_string();
        let whole = format!("{location}{}", name.get(length..).unwrap_or_default());
        let (registry, path) = whole.split_once('/').unwrap_or((&whole, ""));
        Repository::at(registry, path).context(|| {
            format!("{}: location {location:?} for {}", self.file.display(), reference.familiar())
        })
    }
}

impl RegistryTable {
    fn check(&self) -> Result<()> {
        let RegistryTable { prefix, location, mirror, .. } = self;
        let mirrors = mirror.iter().map(|mirror| ("mirror.location", &mirror.location));
        for (name, value) in [("prefix", prefix), ("location", location)].into_iter().chain(mirrors) {
            if value.contains("://") || value.ends_with('/') {
                return Err(Error::invalid(format!(
                    "registry.{name} {value:?}: must be a host, perhaps with a path (quay.io, mirror.example:5000/hub)"
                )));
            }
        }
        match (prefix.as_str(), location.as_str()) {
            ("", "") => Err(Error::invalid("registry: prefix or location must say which one")),
            (prefix, "") if !prefix.starts_with("*.") => {
                Err(Error::invalid(format!("registry {prefix:?}: location must say where it is")))
            }
            _ if mirror.iter().any(|mirror| mirror.location.is_empty()) => {
                Err(Error::invalid(format!("registry {:?}: a mirror has no location", self.name())))
            }
            _ => Ok(()),
        }
    }

    fn name(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    /// How much of a name the prefix is, if it is one of it: `*.example.org` are all hosts below.
    fn fits(&self, name: &str) -> Option<usize> {
        let length = match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let host = name.split('/').next().unwrap_or(name);
                host.ends_with(domain).then_some(host.len())?
            }
            None => name.starts_with(&self.prefix).then_some(self.prefix.len())?,
        };
        let ends = match name.as_bytes().get(length) {
            None | Some(b'/') => true,
            // Behind a path it is that of a tag, and behind a host that of a port.
            Some(b':' | b'@') => self.prefix.contains('/'),
            Some(_) => false,
        };
        ends.then_some(length)
    }

    fn asks(&self, mirror: &MirrorTable, reference: &Reference) -> bool {
        let usual = if self.mirror_by_digest_only { PullFrom::DigestOnly } else { PullFrom::All };
        match mirror.pull_from_mirror.unwrap_or(usual) {
            PullFrom::All => true,
            PullFrom::DigestOnly => reference.digest.is_some(),
            PullFrom::TagOnly => reference.digest.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(files: &[&str]) -> Result<Registries> {
        let mut registries = Registries::default();
        for (number, text) in files.iter().enumerate() {
            let document = serde_json::from_value(toml::parse(text)?)
                .map_err(|error| Error::corrupt(error.to_string()))?;
            registries.add(Path::new(&format!("/{number}.conf")), document)?;
        }
        Ok(registries)
    }

    fn sources(registries: &Registries, name: &str) -> Vec<String> {
        let sources = registries.sources(&Reference::parse(name).unwrap()).unwrap();
        let shown = |source: Endpoint| {
            format!("{}{}", source.repository, if source.is_insecure { " insecure" } else { "" })
        };
        sources.into_iter().map(shown).collect()
    }

    #[test]
    fn names_without_a_registry() {
        let of = |files: &[&str], name: &str| {
            let Meaning { reference, file } = registries(files).unwrap().expand(name).unwrap();
            let speaking = files.iter().copied().filter(|text| file::speaks_of(text, without_tag(name)));
            let by_those = registries(&speaking.collect::<Vec<_>>()).unwrap().expand(name).unwrap();
            assert_eq!(by_those.reference, reference, "{name}");
            (reference.to_string(), file.map(|file| file.display().to_string()))
        };
        let docker = |name: &str| (format!("docker.io/{name}"), None);
        assert_eq!(of(&[], "alpine:3"), docker("library/alpine:3"));
        assert_eq!(of(&["unqualified-search-registries = []"], "alpine"), docker("library/alpine:latest"));
        assert_eq!(of(&["unqualified-search-registries = ['docker.io']"], "a/b"), docker("a/b:latest"));
        let two = "unqualified-search-registries = ['quay.io', 'docker.io']\nshort-name-mode = 'enforcing'";
        let by = |name: &str, file: &str| (name.to_string(), Some(file.to_string()));
        assert_eq!(of(&[two], "alpine"), by("quay.io/alpine:latest", "/0.conf"));
        assert_eq!(of(&[two], "org/name:1"), by("quay.io/org/name:1", "/0.conf"));
        assert_eq!(of(&[two], "docker.io/alpine"), docker("library/alpine:latest"));
        assert_eq!(of(&[two], "localhost/a").0, "localhost/a:latest");
        let later = "unqualified-search-registries = ['other:5000']\n[aliases]\nalpine = 'docker.io/library/alpine'\nx = 'ghcr.io/a/x'";
        assert_eq!(of(&[two, later], "name"), by("other:5000/name:latest", "/1.conf"));
        assert_eq!(of(&[two, later], "alpine:3"), docker("library/alpine:3"));
        assert_eq!(of(&[two, later], "x:2"), by("ghcr.io/a/x:2", "/1.conf"));
        assert_eq!(of(&[two, later, "[aliases]\nx = ''"], "x"), by("other:5000/x:latest", "/1.conf"));
        assert_eq!(of(&["[aliases]\n\"\\u0078\" = 'ghcr.io/a/x'"], "x"), by("ghcr.io/a/x:latest", "/0.conf"));
        let others = "# unqualified-search-registries, alpine\n[aliases]\n'b' = 'ghcr.io/a/b'";
        assert!(!file::speaks_of(others, "alpine") && file::speaks_of(others, "b"));
    }

    #[test]
    fn the_longest_prefix_counts() {
        let text = r#"
            [[registry]]
            location = "quay.io"
            [[registry.mirror]]
            location = "mirror:5000/quay"
            insecure = true
            [[registry.mirror]]
            location = "second.example"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "quay.io/org"
            location = "elsewhere.example/us"
            insecure = true
            [[registry]]
            prefix = "*.example.org"
            insecure = true
            [[registry]]
            prefix = "docker.io"
            location = "hub.example"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "hub-mirror.example"
        "#;
        let registries = registries(&[text]).unwrap();
        let digest = format!("sha256:{}", "0".repeat(64));
        let of = |name: &str| sources(&registries, name);
        assert_eq!(of("quay.io/a/b:1"), ["mirror:5000/quay/a/b insecure", "quay.io/a/b"]);
        assert_eq!(
            of(&format!("quay.io/a@{digest}")),
            ["mirror:5000/quay/a insecure", "second.example/a", "quay.io/a"]
        );
        assert_eq!(of("quay.io/org/a"), ["elsewhere.example/us/a insecure"]);
        assert_eq!(of("quay.io/organ/a").len(), 2);
        assert_eq!(of("a.example.org/x"), ["a.example.org/x insecure"]);
        assert_eq!(of("example.org/x"), ["example.org/x"]);
        assert_eq!(of("alpine"), ["hub.example/library/alpine"]);
        assert_eq!(of(&format!("alpine@{digest}"))[0], "hub-mirror.example/library/alpine");
        assert_eq!(of("quay.io:5000/a"), ["quay.io:5000/a"]);
        assert!(registries.is_insecure("b.example.org") && !registries.is_insecure("quay.io"));
    }

    #[test]
    fn what_is_blocked_or_wrong_is_said() {
        let blocked = registries(&["[[registry]]\nlocation = 'evil.example'\nblocked = true"]).unwrap();
        let error = blocked.sources(&Reference::parse("evil.example/a").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "evil.example/a:latest: evil.example is blocked (/0.conf)");
        for (text, words) in [
            ("unqualified-search-registries = ['https://quay.io']", "\"https://quay.io\": must be a host"),
            ("unqualified-search-registries = 'quay.io'", "invalid type"),
            ("[[registry]]\nlocation = 'http://x'", "registry.location \"http://x\": must be a host"),
            ("[[registry]]\ninsecure = true", "prefix or location"),
            ("[[registry]]\nprefix = 'x.y'", "location must say where"),
            ("[[registry]]\nlocation = 'x.y'\ninsecure = 'yes'", "invalid type"),
            (
                "[[registry]]\nlocation = 'x.y'\n[[registry.mirror]]\ninsecure = true",
                "a mirror has no location",
            ),
            (
                "[[registry]]\nlocation = 'x.y'\n[[registry.mirror]]\nlocation = 'a.b'\npull-from-mirror = 'x'",
                "unknown variant",
            ),
        ] {
            let error = registries(&[text]).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
