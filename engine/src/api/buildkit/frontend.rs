//! What is asked of the front end `dockerfile.v0`, in its attributes. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::message::{BridgeRequest, Exporter};
use super::result::build_of;
use super::status::{Status, UNIMPLEMENTED};
use crate::build::{BuildOptions, Caching, EPOCH, Entitlements, GitFolder, parse_epoch};
use crate::command::{CacheName, CacheWish, parse_sources, source_of, target_of};
use crate::container::{NetworkMode, Options};
use crate::image::Platform;

/// What is to be built.
#[derive(Debug)]
pub struct Wish {
    /// How.
    pub options: BuildOptions,
    /// The Dockerfile's path in its folder.
    pub dockerfile: String,
    /// The folder of the client's that it is in.
    pub dockerfile_folder: String,
    /// Whether it is there, whatever the context is.
    pub is_dockerfile_local: bool,
    /// Where the files come from.
    pub context: ContextWish,
    /// Contexts with names of their own, and where they are.
    pub named: BTreeMap<String, String>,
    /// Sessions of those folders that are in another one.
    pub sessions: BTreeMap<String, String>,
    /// Builds whose results are contexts, by the names of inputs.
    pub inputs: BTreeMap<String, String>,
    /// Whether registries are asked even if an image is here.
    pub is_pulled: bool,
    /// Caches to go on from.
    pub cache_sources: Vec<CacheName>,
    /// Caches that are to be made.
    pub cache_targets: Vec<CacheWish>,
    /// What is not done, and does no harm.
    pub warnings: Vec<String>,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextWish {
    /// A folder of the client's.
    Folder(String),
    /// An address.
    Address(String),
}

impl Wish {
    /// Reads a request.
    ///
    /// # Errors
    /// Something in it cannot be.
    pub fn parse(request: BridgeRequest) -> Result<Wish, Status> {
        let BridgeRequest { definition, frontend, mut attributes, inputs } = request;
        check_frontend(
            &frontend,
            &mut attributes,
            definition.is_some_and(|found| !found.operations.is_empty()),
        )?;
        let mut wish = Wish {
            options: BuildOptions::default(),
            dockerfile: "Dockerfile".to_string(),
            dockerfile_folder: "dockerfile".to_string(),
            is_dockerfile_local: false,
            context: ContextWish::Folder("context".to_string()),
            named: BTreeMap::new(),
            sessions: BTreeMap::new(),
            inputs: BTreeMap::new(),
            is_pulled: false,
            cache_sources: Vec::new(),
            cache_targets: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, input) in inputs {
            let build = build_of(&input).ok_or_else(|| {
                Status::new(UNIMPLEMENTED, format!("input {name}: LLB is not built: boxd builds Dockerfiles"))
            })?;
            wish.inputs.insert(name, build);
        }
        for (name, value) in attributes {
            wish.take(&name, value)?;
        }
        let epoch = wish.options.arguments.get(EPOCH).map_or("", String::as_str);
        wish.options.epoch = parse_epoch(epoch).map_err(|error| Status::invalid(error.to_string()))?;
        Ok(wish)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Status> {
        let wrong = |what: &str| Status::invalid(format!("{name}={value}: {what}"));
        let options = &mut self.options;
        if let Some((kind, rest)) = name.split_once(':') {
            let rest = rest.to_string();
            match kind {
                "build-arg" => self.take_argument(rest, value)?,
                "label" => drop(options.labels.insert(rest, value)),
                "context" => drop(self.named.insert(rest, value)),
                "local-sessionid" => drop(self.sessions.insert(rest, value)),
                // Where the source came from, for attestations.
                "vcs" | "input" | "input-metadata" => {}
                "attest" if value.split(',').any(|field| field == "disabled=true") => {}
                "attest" => {
                    return Err(wrong(
                        "attestations are not made: leave --provenance, --sbom and --attest out",
                    ));
                }
                _ => self.warnings.push(format!("{name}: it is not known, and has no effect")),
            }
            return Ok(());
        }
        match name {
            "filename" => self.dockerfile = value,
            "dockerfilekey" => (self.dockerfile_folder, self.is_dockerfile_local) = (value, true),
            "contextkey" => self.context = ContextWish::Folder(value),
            "context" => self.context = ContextWish::Address(value),
            "target" => options.target = Some(value).filter(|target| !target.is_empty()),
            "no-cache" if value.is_empty() => options.caching = Caching::Ignored,
            "no-cache" => {
                options.caching = Caching::IgnoredIn(value.split(',').map(str::to_string).collect())
            }
            "platform" if value.contains(',') => {
                return Err(wrong("images are made for one platform at a time"));
            }
            "platform" => {
                let platform = Platform::parse(&value);
                options.platform = Some(platform.ok_or_else(|| wrong("must be OS/ARCHITECTURE[/VARIANT]"))?);
            }
            "multi-platform" if value == "false" => {}
            "multi-platform" => return Err(wrong("images are made for one platform at a time")),
            "image-resolve-mode" => self.is_pulled = value == "pull",
            "requestid" => {
                let text = format!("{value}: boxd builds alone: leave --check and --call out");
                return Err(Status::new(UNIMPLEMENTED, text));
            }
            "contextsubdir" | "cgroup-parent" | "shm-size" | "ulimit" | "add-hosts"
            | "force-network-mode" | "hostname" => {
                run_option(&mut options.run, name, &value)?;
            }
            "cache-from" | "cache-imports" if value.is_empty() || value == "[]" => {}
            "cache-from" => {
                let sources = parse_sources(&value).map_err(|error| Status::invalid(error.to_string()))?;
                self.cache_sources.extend(sources);
            }
            "cache-imports" => {
                let listed: Vec<CacheEntry> =
                    serde_json::from_str(&value).map_err(|error| wrong(&error.to_string()))?;
                for CacheEntry { kind, attributes } in listed {
                    self.import(&kind, &attributes)?;
                }
            }
            "frontend.caps" => check_capabilities(&value)?,
            _ => self.warnings.push(format!("{name}: it is not known, and has no effect")),
        }
        Ok(())
    }

    /// Some are for BuildKit itself.
    fn take_argument(&mut self, name: String, value: String) -> Result<(), Status> {
        let wrong = |what: &str| Status::invalid(format!("--build-arg {name}={value}: {what}"));
        match name.as_str() {
            "BUILDKIT_MULTI_PLATFORM" if matches!(value.as_str(), "" | "0" | "false") => {}
            "BUILDKIT_MULTI_PLATFORM" => return Err(wrong("images are made for one platform at a time")),
            "BUILDKIT_SANDBOX_HOSTNAME" => {
                self.options.run.hostname = Some(value).filter(|name| !name.is_empty())
            }
            "BUILDKIT_INLINE_CACHE" if matches!(value.as_str(), "1" | "true") => {
                self.take_exports(&[Exporter { kind: "inline".to_string(), ..Exporter::default() }])?;
            }
            "BUILDKIT_INLINE_CACHE" | "BUILDKIT_SYNTAX" | "BUILDKIT_DOCKERFILE_CHECK" => {}
            "BUILDKIT_CONTEXT_KEEP_GIT_DIR" => {
                let is_kept = matches!(value.as_str(), "1" | "true");
                self.options.git_folder = if is_kept { GitFolder::Kept } else { GitFolder::Removed };
            }
            _ => drop(self.options.arguments.insert(name, value)),
        }
        Ok(())
    }

    /// What RUN may ask for.
    ///
    /// # Errors
    /// There is no such right.
    pub fn allow(&mut self, rights: &[String]) -> Result<(), Status> {
        let allowed = Entitlements::parse(rights);
        self.options.entitlements = allowed.map_err(|error| Status::invalid(error.to_string()))?;
        Ok(())
    }

    /// A cache to go on from, which may be named twice.
    fn import(&mut self, kind: &str, attributes: &BTreeMap<String, String>) -> Result<(), Status> {
        let source = source_of(kind, attributes).map_err(|error| Status::invalid(error.to_string()))?;
        if !self.cache_sources.contains(&source) {
            self.cache_sources.push(source);
        }
        Ok(())
    }

    /// Caches to go on from, as they stand beside the attributes.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn take_imports(&mut self, imports: &[Exporter]) -> Result<(), Status> {
        imports.iter().try_for_each(|Exporter { kind, attributes }| self.import(kind, attributes))
    }

    /// Caches that are to be made elsewhere.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn take_exports(&mut self, exports: &[Exporter]) -> Result<(), Status> {
        for Exporter { kind, attributes } in exports {
            let target = target_of(kind, attributes).map_err(|error| Status::invalid(error.to_string()))?;
            self.cache_targets.push(target);
        }
        Ok(())
    }
}

/// A cache to go on from, as an attribute lists it.
#[derive(Deserialize)]
struct CacheEntry {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attributes: BTreeMap<String, String>,
}

/// One front end is built in, whatever it is asked by.
fn check_frontend(
    frontend: &str,
    attributes: &mut BTreeMap<String, String>,
    has_llb: bool,
) -> Result<(), Status> {
    const KNOWN: [&str; 3] =
        ["docker/dockerfile", "docker/dockerfile-upstream", "docker.io/docker/dockerfile"];
    let source = attributes.remove("source").unwrap_or_default();
    attributes.remove("cmdline");
    match frontend {
        "dockerfile.v0" => Ok(()),
        "gateway.v0" if source.split([':', '@']).next().is_some_and(|name| KNOWN.contains(&name)) => Ok(()),
        "gateway.v0" => Err(Status::invalid(format!(
            "syntax={source}: docker/dockerfile alone is known, and is built in"
        ))),
        "" if has_llb => Err(Status::new(UNIMPLEMENTED, "LLB is not built: boxd builds Dockerfiles")),
        "" => Err(Status::invalid("neither a front end nor LLB was given")),
        other => Err(Status::invalid(format!("front end {other}: must be dockerfile.v0"))),
    }
}

/// What a client relies on.
fn check_capabilities(list: &str) -> Result<(), Status> {
    for capability in list.split(',') {
        match capability.trim_end_matches("+forward") {
            "" | "moby.buildkit.frontend.contexts" | "moby.buildkit.frontend.inputs" => {}
            "moby.buildkit.frontend.subrequests" => {}
            other => {
                return Err(Status::new(UNIMPLEMENTED, format!("{other}: boxd's front end cannot do that")));
            }
        }
    }
    Ok(())
}

/// How programs of RUN are run.
fn run_option(options: &mut Options, name: &str, value: &str) -> Result<(), Status> {
    let wrong = |what: &str| Status::invalid(format!("{name}={value}: {what}"));
    if value.is_empty() {
        return Ok(());
    }
    match name {
        "cgroup-parent" => options.namespaces.cgroup_parent = Some(value.to_string()),
        "shm-size" => {
            let size: i64 = value.parse().map_err(|_| wrong("must be a number of bytes"))?;
            options.shm_size = u64::try_from(size).ok().filter(|size| *size > 0);
        }
        "ulimit" => options.limits.ulimits = fields(value),
        "add-hosts" => {
            for field in fields(value) {
                let (host, address) = field.split_once('=').ok_or_else(|| wrong("must be NAME=ADDRESS"))?;
                options.network.hosts.push(format!("{host}:{address}"));
            }
        }
        "force-network-mode" => {
            options.network.mode = match value {
                "sandbox" => NetworkMode::Default,
                "none" => NetworkMode::None,
                "host" => NetworkMode::Host,
                _ => return Err(wrong("must be host, none or sandbox")),
            };
        }
        "hostname" => options.hostname = Some(value.to_string()),
        _ => return Err(wrong("a folder in an address: it is not known")),
    }
    Ok(())
}

/// Fields of a line of CSV; quotes around one may go.
fn fields(line: &str) -> Vec<String> {
    line.split(',')
        .map(|field| field.trim_matches('"').to_string())
        .filter(|field| !field.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(attributes: &[(&str, &str)]) -> Result<Wish, Status> {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Wish::parse(BridgeRequest {
            frontend: "dockerfile.v0".into(),
            attributes,
            ..BridgeRequest::default()
        })
    }

    #[test]
    fn attributes_are_options() {
        let wish = parse(&[
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("build-arg:V", "1"),
            ("build-arg:BUILDKIT_INLINE_CACHE", "1"),
            ("context:base", "local:base"),
            ("filename", "ci/Dockerfile"),
            ("force-network-mode", "none"),
            ("label:l", "x"),
            ("no-cache", "one,two"),
            ("platform", "linux/arm64"),
            ("shm-size", "1048576"),
            ("target", "t"),
            ("ulimit", "nofile=1024:2048"),
            ("build-arg:BUILDKIT_SANDBOX_HOSTNAME", "builder"),
            ("cache-imports", r#"[{"Type": "registry", "Attrs": {"ref": "r/a:1"}}]"#),
            ("new-in-2030", "x"),
        ])
        .unwrap();
        let options = &wish.options;
        assert_eq!(options.run.network.hosts, ["a:1.2.3.4", "b:::1"]);
        assert_eq!((options.run.shm_size, &options.run.network.mode), (Some(1 << 20), &NetworkMode::None));
        assert_eq!(options.run.limits.ulimits, ["nofile=1024:2048"]);
        assert_eq!(options.run.hostname.as_deref(), Some("builder"));
        assert_eq!(options.arguments.keys().collect::<Vec<_>>(), ["V"]);
        assert_eq!(options.caching, Caching::IgnoredIn(vec!["one".into(), "two".into()]));
        assert_eq!((wish.dockerfile.as_str(), wish.named["base"].as_str()), ("ci/Dockerfile", "local:base"));
        assert_eq!(wish.cache_sources, [CacheName::Reference("r/a:1".into())]);
        assert_eq!(wish.cache_targets.len(), 1);
        assert_eq!(wish.warnings, ["new-in-2030: it is not known, and has no effect"]);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (name, value) in [
            ("platform", "linux/amd64,linux/arm64"),
            ("attest:provenance", "mode=max"),
            ("requestid", "frontend.lint"),
            ("add-hosts", "a"),
            ("force-network-mode", "bridge"),
            ("shm-size", "many"),
            ("frontend.caps", "moby.buildkit.frontend.gitquerystring"),
            ("build-arg:SOURCE_DATE_EPOCH", "now"),
            ("build-arg:BUILDKIT_MULTI_PLATFORM", "1"),
        ] {
            let said = parse(&[(name, value)]).unwrap_err().message;
            assert!(said.contains(value.rsplit('.').next().unwrap_or(value)), "{name}: {said}");
        }
        let of = |frontend: &str| {
            Wish::parse(BridgeRequest { frontend: frontend.into(), ..BridgeRequest::default() })
        };
        assert!(of("").is_err() && of("gateway.v0").is_err() && of("mockerfile.v0").is_err());
        let mut wish = parse(&[]).unwrap();
        let cache = |kind: &str| [Exporter { kind: kind.into(), ..Exporter::default() }];
        // Without the name of one.
        assert!(
            wish.take_exports(&cache("registry")).is_err() && wish.take_exports(&cache("inline")).is_ok()
        );
        assert!(wish.take_imports(&cache("gha")).is_err());
        assert!(wish.allow(&["device=x".into()]).is_err());
    }
}
