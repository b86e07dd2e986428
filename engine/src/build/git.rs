//! Repositories of git, fetched by the program git: contexts, and what ADD copies.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::address::{GitAddress, GitFolder};
use super::event::{Stream, Vertex};
use super::options::{BuildOptions, Cancellation, GitIdentity, Secret};
use super::process_group::ProcessGroup;
use crate::error::{Context, Error, Kind, Result};
use crate::program::program;
use crate::store::{NewLayer, Store};
use crate::thread::spawn;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Protocols that git may use, for submodules as well: none that reads files of this machine or runs programs.
const PROTOCOLS: &str = "https:http:ssh:git";

/// Secrets with which servers are asked.
const TOKEN: &str = "GIT_AUTH_TOKEN";
const HEADER: &str = "GIT_AUTH_HEADER";

/// Variables that mean another repository, as in its hooks.
const OF_ANOTHER: [&str; 14] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// How often it is looked whether git has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Of what git says, so much is shown of an error.
const SAID_MAX: usize = 4 << 10;

/// Who fetches.
pub struct Git<'a> {
    /// Secrets and agents.
    pub options: &'a BuildOptions,
    /// By which it is ended.
    pub cancellation: &'a Cancellation,
}

impl Git<'_> {
    /// Fetches what an address means into a folder that is deleted with the result.
    ///
    /// # Errors
    /// As for a fetch into a folder.
    pub fn fetch_into(
        &self,
        store: &Store,
        address: &GitAddress,
        commit: Option<&str>,
        kept: GitFolder,
        vertex: &Vertex<'_>,
    ) -> Result<NewLayer> {
        let fetched = store.layers().begin()?;
        std::fs::set_permissions(fetched.path(), Permissions::from_mode(0o755))?;
        self.fetch(address, commit, kept, &fetched.path(), vertex)?;
        Ok(fetched)
    }

    /// With its submodules, into a folder that is empty.
    ///
    /// # Errors
    /// There is no git, no such repository, or no such reference in it.
    fn fetch(
        &self,
        address: &GitAddress,
        commit: Option<&str>,
        kept: GitFolder,
        to: &Path,
        vertex: &Vertex<'_>,
    ) -> Result<()> {
        let named = || address.shown();
        let variables = self.variables(address).context(named)?;
        let run = |arguments: &[&str]| self.run(&variables, (address, to), arguments, vertex);
        let found = self.check_out(address, &run).context(named)?;
        vertex.note(format!("commit {found}"));
        if let Some(wanted) = commit.filter(|wanted| wanted.len() < 7 || !found.starts_with(*wanted)) {
            return Err(Error::corrupt(format!("{}: its commit is {found}, and not {wanted}", named())));
        }
        match kept {
            GitFolder::Kept if address.folder().is_empty() => name_reference(address, to, &run),
            _ => remove_git(to).context(named),
        }
    }

    /// The files of a reference, and which commit that is.
    fn check_out(&self, address: &GitAddress, run: &dyn Fn(&[&str]) -> Result<String>) -> Result<String> {
        run(&["init", "--quiet", "--template=", "."])?;
        run(&["remote", "add", "origin", &address.shown()])?;
        let reference = if address.reference().is_empty() { "HEAD" } else { address.reference() };
        match run(&["fetch", "--quiet", "--depth=1", "--no-tags", "origin", reference]) {
            // Some servers give nothing by its digest alone.
            Err(_) if address.is_fixed() && !self.cancellation.is_cancelled() => {
                run(&["fetch", "--quiet", "origin", "+refs/*:refs/remotes/origin/*"])?;
                run(&["checkout", "--quiet", "--detach", reference])?;
            }
            fetched => {
                fetched?;
                run(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
            }
        }
        run(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
        Ok(run(&["rev-parse", "HEAD"])?.trim().to_string())
    }

    /// What git knows of the caller, and how it asks servers.
    fn variables(&self, address: &GitAddress) -> Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| drop(variables.insert(name.to_string(), value.to_string()));
        set("GIT_TERMINAL_PROMPT", "0");
        set("GIT_ASKPASS", "");
        set("SSH_ASKPASS_REQUIRE", "never");
        set("GIT_ALLOW_PROTOCOL", PROTOCOLS);
        set("LC_ALL", "C");
        let mut settings = vec![
            ("core.hooksPath".to_string(), "/dev/null".to_string()),
            ("core.fsmonitor".to_string(), "false".to_string()),
            ("advice.detachedHead".to_string(), "false".to_string()),
        ];
        if let (Some(scope), Some(header)) = (address.scope(), self.header(address)?) {
            settings.push((format!("http.{scope}.extraheader"), format!("Authorization: {header}")));
        }
        if let Some((own, shown)) = address.credential() {
            settings.push((format!("url.{own}.insteadOf"), shown));
        }
        // The caller may have settings there himself.
        let own = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok());
        let begin: usize = own.filter(|_| self.options.git == GitIdentity::Caller).unwrap_or(0);
        set("GIT_CONFIG_COUNT", &begin.saturating_add(settings.len()).to_string());
        for (number, (name, value)) in (begin..).zip(&settings) {
            set(&format!("GIT_CONFIG_KEY_{number}"), name);
            set(&format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        if let Some(socket) = self.agent()? {
            set("SSH_AUTH_SOCK", &socket.display().to_string());
        }
        if self.options.git == GitIdentity::Nobody {
            set("HOME", "/dev/null");
            set("GIT_CONFIG_NOSYSTEM", "1");
            set("GIT_CONFIG_GLOBAL", "/dev/null");
            // Hosts that this machine knows are checked; what a build learns of others is for nobody else.
            let ssh = "ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR";
            set("GIT_SSH_COMMAND", ssh);
        }
        Ok(variables)
    }

    /// A header for the server, from the secrets that BuildKit knows.
    fn header(&self, address: &GitAddress) -> Result<Option<String>> {
        let host = address.scope().unwrap_or_default();
        let host = host.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
        for name in [format!("{HEADER}.{host}"), HEADER.to_string()] {
            if let Some(header) = self.secret(&name)? {
                return Ok(Some(header));
            }
        }
        for name in [format!("{TOKEN}.{host}"), TOKEN.to_string()] {
            if let Some(token) = self.secret(&name)? {
                let basic = STANDARD.encode(format!("x-access-token:{token}"));
                return Ok(Some(format!("basic {basic}")));
            }
        }
        Ok(None)
    }

    fn secret(&self, name: &str) -> Result<Option<String>> {
        let bytes = match self.options.secrets.get(name) {
            Some(Secret::Value(bytes)) => Some(bytes.clone()),
            Some(Secret::File(path)) => Some(std::fs::read(path).context(|| path.display().to_string())?),
            None => self.options.keeper.as_ref().map_or(Ok(None), |keeper| keeper.secret(name))?,
        };
        let wrong = || Error::invalid(format!("secret {name}: it is no line of text"));
        let text = bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| wrong())).transpose()?;
        let text = text.map(|text| text.trim_end().to_string());
        match text {
            Some(text) if text.contains(char::is_control) => Err(wrong()),
            text => Ok(text),
        }
    }

    fn agent(&self) -> Result<Option<PathBuf>> {
        match self.options.agents.get("default") {
            Some(path) => Ok(Some(path.clone())),
            None => self.options.keeper.as_ref().map_or(Ok(None), |keeper| keeper.agent("default")),
        }
    }

    /// Runs git in a folder; the result is what it writes to stdout.
    fn run(
        &self,
        variables: &BTreeMap<String, String>,
        (address, folder): (&GitAddress, &Path),
        arguments: &[&str],
        vertex: &Vertex<'_>,
    ) -> Result<String> {
        // Modes of files are the same whatever the caller's mask.
        let mut command = program("/bin/sh");
        command.args(["-c", "umask 022; exec \"$0\" \"$@\"", "git", "-C"]).arg(folder).args(arguments);
        if self.options.git == GitIdentity::Nobody {
            command.env_clear();
            let passed =
                ["PATH", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"];
            command.envs(passed.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        }
        for name in OF_ANOTHER {
            command.env_remove(name);
        }
        let group = ProcessGroup::begin()?;
        group.take(command.envs(variables));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(|| "start git")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (status, said, wrote) = std::thread::scope(|scope| {
            let tell = move |piece: &[u8]| {
                let said = String::from_utf8_lossy(piece);
                vertex.output(Stream::Stderr, address.redacted(&said).as_bytes());
            };
            let said = spawn(scope, move || collect(stderr, tell))?;
            let wrote = spawn(scope, move || collect(stdout, |_| {}))?;
            let status = self.wait(&mut child, &group)?;
            let (said, wrote) = (said.join().unwrap_or_default(), wrote.join().unwrap_or_default());
            Ok::<_, Error>((status, said, wrote))
        })?;
        match status.code() {
            Some(0) => Ok(wrote),
            _ if self.cancellation.is_cancelled() => Err(Error::new(Kind::Closed, "the build was ended")),
            // The shell's, which found no such program.
            Some(127) => Err(Error::not_found(
                "git is not in PATH: install it, or clone the repository and name the folder",
            )),
            _ => {
                let last = said.lines().rev().find(|line| line.contains("fatal:") || line.contains("error:"));
                let what = last.unwrap_or_else(|| said.lines().last().unwrap_or("it says nothing")).trim();
                Err(Error::invalid(format!("git {}: {}", arguments[0], address.redacted(what))))
            }
        }
    }

    fn wait(&self, child: &mut Child, group: &ProcessGroup) -> Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = child.try_wait().context(|| "git")? {
                return Ok(status);
            }
            if self.cancellation.is_cancelled() {
                group.end();
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What was fetched by a name has it in the folder that stays as well, so that `git describe` finds it.
fn name_reference(
    address: &GitAddress,
    folder: &Path,
    run: &dyn Fn(&[&str]) -> Result<String>,
) -> Result<()> {
    let fetched = std::fs::read_to_string(folder.join(".git/FETCH_HEAD")).unwrap_or_default();
    for (word, place) in [("tag", "refs/tags"), ("branch", "refs/heads")] {
        if fetched.contains(&format!("\t{word} '{}'", address.reference())) {
            run(&["update-ref", &format!("{place}/{}", address.reference()), "FETCH_HEAD"])?;
        }
    }
    Ok(())
}

/// Until nobody can write any more; what is kept of it has a bound.
fn collect(pipe: Option<impl Read>, tell: impl Fn(&[u8])) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 1 << 13]);
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        tell(&buffer[..length]);
        kept.extend_from_slice(&buffer[..length]);
        let over = kept.len().saturating_sub(SAID_MAX);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Removes `.git`, that of submodules as well.
fn remove_git(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).context(|| folder.display().to_string())? {
        let entry = entry?;
        let (path, is_folder) = (entry.path(), entry.file_type()?.is_dir());
        match (entry.file_name() == ".git", is_folder) {
            (true, true) => std::fs::remove_dir_all(&path).context(|| path.display().to_string())?,
            (true, false) => std::fs::remove_file(&path).context(|| path.display().to_string())?,
            (false, true) => remove_git(&path)?,
            (false, false) => {}
        }
    }
    Ok(())
}
