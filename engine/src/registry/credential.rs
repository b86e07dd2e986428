//! Names and passwords: of Docker's config.json, of containers' auth.json, and of the helpers that both name.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Context, Error, Kind, Result};
use crate::program::program;
use crate::reference::{DOCKER_HUB, Repository};

/// The name of Docker Hub in these files.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The name under which helpers keep tokens.
const TOKEN_NAME: &str = "<token>";

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token with which others are to be had.
    Identity(String),
}

/// Somebody who knows names and passwords, and is asked when a registry wants them.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Those for a registry. `None`: one asks as nobody.
    ///
    /// # Errors
    /// They cannot be had.
    fn credential(&self, registry: &str) -> Result<Option<Credential>>;
}

/// The files that credentials are in.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The one that `login` writes comes first.
    files: Vec<PathBuf>,
    /// Somebody in particular, for a registry or for all that is asked.
    given: Vec<(Option<String>, Credential)>,
    /// Whoever knows the others.
    keeper: Option<Arc<dyn Keeper>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a helper says, and is told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperEntry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

impl Credentials {
    /// The files of the calling user.
    pub fn of_caller() -> Credentials {
        let folder =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let home = folder("HOME");
        let docker = folder("DOCKER_CONFIG").or(home.as_ref().map(|home| home.join(".docker")));
        let config_home = folder("XDG_CONFIG_HOME").or(home.map(|home| home.join(".config")));
        let files = [
            docker.map(|folder| folder.join("config.json")),
            folder("REGISTRY_AUTH_FILE"),
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            config_home.map(|folder| folder.join("containers/auth.json")),
        ];
        Credentials { files: files.into_iter().flatten().collect(), ..Credentials::default() }
    }

    /// Nobody's files: those of somebody in particular, each for the registry of that name or, without one, for whatever is asked.
    pub fn given(credentials: impl IntoIterator<Item = (Option<String>, Credential)>) -> Credentials {
        Credentials { given: credentials.into_iter().collect(), ..Credentials::default() }
    }

    /// Those that somebody knows.
    pub fn kept(keeper: Arc<dyn Keeper>) -> Credentials {
        Credentials { keeper: Some(keeper), ..Credentials::default() }
    }

    /// Those for a repository, from the first file that has any. `None`: one asks as nobody.
    ///
    /// # Errors
    /// A file is broken, or a helper failed.
    pub fn find(&self, repository: &Repository) -> Result<Option<Credential>> {
        match self.given.iter().find(|(registry, _)| registry.is_none()) {
            Some((_, given)) => Ok(Some(given.clone())),
            None => self.find_named(repository),
        }
    }

    /// The same for a mirror, which is nobody that somebody has spoken of.
    ///
    /// # Errors
    /// As for [`Credentials::find`].
    pub fn find_named(&self, repository: &Repository) -> Result<Option<Credential>> {
        let key = key_of(&repository.registry);
        let is_for = |registry: &str| host_of(&key_of(registry)) == host_of(&key);
        let given = self.given.iter().find(|(registry, _)| registry.as_deref().is_some_and(is_for));
        if let Some((_, given)) = given {
            return Ok(Some(given.clone()));
        }
        if let Some(keeper) = &self.keeper {
            return keeper.credential(&repository.registry);
        }
        for file in &self.files {
            let Some(text) = read(file)? else { continue };
            let found = parse(&text).and_then(|configuration| configuration.find(repository));
            if let Some(found) = found.context(|| file.display().to_string())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps credentials for a registry, in the helper that is configured or else in the file. The result says where.
    ///
    /// # Errors
    /// The file is broken or cannot be written; the helper failed.
    pub fn keep(&self, registry: &str, credential: &Credential) -> Result<String> {
        let file = self.own_file()?;
        let mut document = document(file)?;
        let key = key_of(registry);
        let (name, secret) = match credential {
            Credential::Password { name, password } => (name.as_str(), password),
            Credential::Identity(token) => (TOKEN_NAME, token),
        };
        if let Some(helper) = configuration(&document)?.helper(registry) {
            let entry = HelperEntry { server: key, username: name.to_string(), secret: secret.clone() };
            let text = serde_json::to_string(&entry).map_err(|error| Error::invalid(error.to_string()))?;
            return call(&helper, "store", &text).map(|_| format!("docker-credential-{helper}"));
        }
        let entry = match credential {
            Credential::Password { .. } => {
                serde_json::json!({"auth": BASE64.encode(format!("{name}:{secret}"))})
            }
            Credential::Identity(token) => {
                serde_json::json!({"auth": BASE64.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": token})
            }
        };
        let members = document.as_object_mut().ok_or_else(|| no_object(file))?;
        let auths = members.entry("auths").or_insert_with(|| serde_json::json!({}));
        auths.as_object_mut().ok_or_else(|| no_object(file))?.insert(key, entry);
        write(file, &document)?;
        Ok(file.display().to_string())
    }

    /// Forgets those for a registry. False if there were none.
    ///
    /// # Errors
    /// The file is broken or cannot be written; the helper failed.
    pub fn forget(&self, registry: &str) -> Result<bool> {
        let file = self.own_file()?;
        let mut document = document(file)?;
        let helper = configuration(&document)?.helper(registry);
        let mut found = false;
        if let Some(helper) = helper {
            found |= call(&helper, "erase", &key_of(registry))?.is_some();
        }
        if let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|key, _| host_of(key) != host_of(&key_of(registry)));
            if auths.len() < before {
                write(file, &document)?;
                found = true;
            }
        }
        Ok(found)
    }

    fn own_file(&self) -> Result<&PathBuf> {
        self.files.first().ok_or_else(|| {
            Error::invalid("neither HOME nor DOCKER_CONFIG is set: there is no place for credentials")
        })
    }
}

impl Credential {
    /// As a header of HTTP has name and password.
    pub fn basic(&self) -> Option<String> {
        match self {
            Credential::Password { name, password } => {
                Some(format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
            }
            Credential::Identity(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are for nobody's log.
        f.write_str("Credential")
    }
}

impl Configuration {
    fn helper(&self, registry: &str) -> Option<String> {
        let own = self.cred_helpers.iter().find(|(key, _)| host_of(key) == host_of(&key_of(registry)));
        own.map(|(_, helper)| helper.clone()).or(self.creds_store.clone()).filter(|helper| !helper.is_empty())
    }

    fn find(&self, repository: &Repository) -> Result<Option<Credential>> {
        if let Some(helper) = self.helper(&repository.registry)
            && let Some(found) = ask(&helper, &key_of(&repository.registry))?
        {
            return Ok(Some(found));
        }
        // containers' files may name a part of a registry: the longest that fits is meant.
        let whole = format!("{}/{}", host_of(&key_of(&repository.registry)), repository.path);
        let fits = |key: &str| {
            let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
            let key = key.trim_end_matches("/v1/").trim_end_matches("/v2/").trim_end_matches('/');
            let key = if key == DOCKER_HUB { "index.docker.io" } else { key };
            let rest = whole.strip_prefix(key)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(key.len())
        };
        let best = self.auths.iter().filter_map(|(key, entry)| fits(key).map(|length| (length, key, entry)));
        match best.max_by_key(|(length, ..)| *length) {
            Some((_, key, entry)) => entry.credential().context(|| format!("auths[{key:?}]")),
            None => Ok(None),
        }
    }
}

impl Entry {
    fn credential(&self) -> Result<Option<Credential>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let (name, password) = (self.username.clone(), self.password.clone());
            return Ok((!name.is_empty()).then_some(Credential::Password { name, password }));
        }
        let wrong = || Error::corrupt("auth: must be NAME:PASSWORD in base64");
        let bytes = BASE64.decode(self.auth.trim()).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (name, password) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Some(Credential::Password {
            name: name.to_string(),
            password: password.trim_matches('\0').to_string(),
        }))
    }
}

/// The name of a registry in these files.
fn key_of(registry: &str) -> String {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY.to_string() } else { registry.to_string() }
}

/// `https://index.docker.io/v1/` and `index.docker.io` are the same.
fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    match key.split('/').next().unwrap_or(key) {
        DOCKER_HUB | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

fn read(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).context(|| file.display().to_string()),
    }
}

fn parse(text: &str) -> Result<Configuration> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(error.to_string()))
}

fn document(file: &Path) -> Result<Value> {
    match read(file)? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Error::corrupt(format!("{}: {error}", file.display()))),
        None => Ok(serde_json::json!({})),
    }
}

fn configuration(document: &Value) -> Result<Configuration> {
    Configuration::deserialize(document).map_err(|error| Error::corrupt(error.to_string()))
}

fn no_object(file: &Path) -> Error {
    Error::corrupt(format!("{}: must be an object with an object `auths`", file.display()))
}

/// Writes a file that only its owner may read, as a whole.
fn write(file: &Path, document: &Value) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = file.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.context(|| format!("make the folder {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(document).map_err(|error| Error::invalid(error.to_string()))?;
    // Where a link leads, if it is one.
    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let partial = target.with_extension(format!("{}.partial", std::process::id()));
    let written = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        opened.write_all((text + "\n").as_bytes())?;
        opened.sync_all()?;
        std::fs::rename(&partial, &target)
    };
    written().context(|| format!("write {}", file.display())).inspect_err(|_| {
        // Half a file with secrets is of no use.
        let _ = std::fs::remove_file(&partial);
    })
}

/// What a helper knows of a registry.
fn ask(helper: &str, key: &str) -> Result<Option<Credential>> {
    let Some(text) = call(helper, "get", key)? else { return Ok(None) };
    let entry: HelperEntry = serde_json::from_str(&text)
        .map_err(|error| Error::corrupt(format!("docker-credential-{helper}: {error}")))?;
    Ok(Some(match entry.username == TOKEN_NAME {
        true => Credential::Identity(entry.secret),
        false => Credential::Password { name: entry.username, password: entry.secret },
    }))
}

/// Calls a helper; `None` if it knows nothing of what it is asked for.
fn call(helper: &str, task: &str, input: &str) -> Result<Option<String>> {
    let name = format!("docker-credential-{helper}");
    let named = || format!("{name} {task}");
    let mut command = program(&name);
    command.arg(task).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(named)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read says why with its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().context(named)?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
    if output.status.success() {
        return Ok(Some(said));
    }
    // Helpers have no other sign for it: the sentence is of their protocol.
    if said.contains("credentials not found") {
        return Ok(None);
    }
    let text =
        if said.is_empty() { String::from_utf8_lossy(&output.stderr).trim().to_string() } else { said };
    Err(Error::new(Kind::Host, format!("{name} {task}: {}", text.replace('\n', " "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, name: &str) -> Option<String> {
        let repository = Repository::parse(name).unwrap();
        let found = parse(text).unwrap().find(&repository).unwrap();
        found.map(|credential| match credential {
            Credential::Password { name, password } => format!("{name} {password}"),
            Credential::Identity(token) => token,
        })
    }

    #[test]
    fn the_longest_name_that_fits_is_meant() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YW5uOnNlYzpyZXQ="},
            "quay.io": {"username": "a", "password": "b"},
            "quay.io/org": {"username": "c", "password": "d"},
            "localhost:5000": {"identitytoken": "token", "auth": "MDA6"}, "empty.example": {}},
            "HttpHeaders": {"User-Agent": "x"}}"#;
        assert_eq!(found(text, "alpine").as_deref(), Some("ann sec:ret"));
        assert_eq!(found(text, "quay.io/organ/x").as_deref(), Some("a b"));
        assert_eq!(found(text, "quay.io/org/x").as_deref(), Some("c d"));
        assert_eq!(found(text, "localhost:5000/x").as_deref(), Some("token"));
        assert_eq!(found(text, "empty.example/x"), None);
        assert_eq!(found(text, "localhost/x"), None);
    }

    #[test]
    fn what_is_broken_is_said_with_its_place() {
        let configuration = parse(r#"{"auths": {"quay.io": {"auth": "!"}}}"#).unwrap();
        let error = configuration.find(&Repository::parse("quay.io/a").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "auths[\"quay.io\"]: auth: must be NAME:PASSWORD in base64");
    }

    #[test]
    fn what_is_kept_is_found_and_the_rest_of_the_file_stays() {
        let folder = std::env::temp_dir().join(format!("box-credentials-{}", std::process::id()));
        let file = folder.join("config.json");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, r#"{"psFormat": "x"}"#).unwrap();
        let credentials = Credentials { files: vec![file.clone()], ..Credentials::default() };
        let ann = Credential::Password { name: "ann".into(), password: "p:w".into() };
        credentials.keep(DOCKER_HUB, &ann).unwrap();
        assert!(credentials.find(&Repository::parse("alpine").unwrap()).unwrap() == Some(ann));
        assert!(credentials.forget(DOCKER_HUB).unwrap() && !credentials.forget(DOCKER_HUB).unwrap());
        assert!(std::fs::read_to_string(&file).unwrap().contains("psFormat"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
