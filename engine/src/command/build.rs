//! build: an image from a Dockerfile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build_cache::{CacheName, CacheWish, caches, parse_sources, parse_target};
use super::build_context::NamedContexts;
use super::build_metadata::write_metadata;
use super::build_output::{BuildOutput, parse_output, parse_secret, parse_ssh};
use super::build_progress::{Printer, Style};
use super::container_flags::{LIMIT_FLAGS, labels};
use super::interrupt::until_interrupted;
use super::limit_flags::limits;
use super::progress::{Direction, Progress, Stream};
use super::registry_flags::{FLAGS as REGISTRY_FLAGS, PLATFORM_FLAGS, access, platform};
use super::{Arguments, Command, Flag, Global, print};
use crate::build::{
    BuildOptions, Built, Caching, Cancellation, ContextSource, Destination, DockerfileSource, EPOCH,
    Entitlements, Failure, GitFolder, GitIdentity, Output, Provided, Provider, Replaced, StoreImages,
    build as build_image, parse_epoch,
};
use crate::container::size::parse_bytes;
use crate::container::{NetworkMode, Options, check_networks, check_options};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::image::Platform;
use crate::order::Collect;
use crate::output::{check_output, write_output};
use crate::reference::Reference;
use crate::registry::Access;
use crate::store::{ImageRecord, Store};
use crate::transfer::{Observer, Silent, push};

pub const COMMAND: Command = Command {
    name: "build",
    aliases: &["image build", "builder build", "buildx build"],
    operands: "[FOLDER|TAR|URL|REPOSITORY#REFERENCE:FOLDER|-]",
    operand_count: 0..=1,
    help: "make an image as a Dockerfile says",
    flags: &[FLAGS, LIMIT_FLAGS, PLATFORM_FLAGS, REGISTRY_FLAGS],
    ends_at_operand: false,
    run: build,
};

const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { long, short, value: None, help }
}

const fn valued(long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short, value: Some(value), help }
}

const FLAGS: &[Flag] = &[
    valued(
        "file",
        Some('f'),
        "FILE",
        "the Dockerfile; - is stdin (default: Dockerfile, Containerfile, Boxfile or Foxfile)",
    ),
    valued("tag", Some('t'), "NAME[:TAG]", "a name for the image"),
    valued("target", None, "STAGE", "the stage to build (default: the last one)"),
    valued("build-arg", None, "NAME=VALUE", "a value for an ARG; NAME alone takes box's own variable"),
    valued(
        "build-context",
        None,
        "NAME=PLACE",
        "one more context, for COPY --from=NAME: a folder, an address, docker-image:// or oci-layout://",
    ),
    valued("annotation", None, "NAME=VALUE", "of the image's manifest"),
    valued("label", None, "NAME=VALUE", "one more label"),
    valued("secret", None, "id=…,src=…|env=…", "a secret for RUN --mount=type=secret"),
    valued("ssh", None, "default|ID=SOCKET", "an SSH agent for RUN --mount=type=ssh"),
    valued(
        "output",
        Some('o'),
        "type=…,dest=…",
        "what comes out: image, local, tar, docker, oci or cacheonly",
    ),
    valued("iidfile", None, "FILE", "write the image's id into a file"),
    valued("metadata-file", None, "FILE", "write the image's digests and names into a file, as JSON"),
    switch("push", None, "push the image by all its names"),
    switch("compress", None, "nothing: the context is not sent anywhere"),
    valued("network", None, "NETWORK", "of RUN: bridge, none, host, or one by its name"),
    valued("add-host", None, "NAME:ADDRESS", "a name for /etc/hosts"),
    valued("shm-size", None, "SIZE", "of /dev/shm"),
    valued("ulimit", None, "NAME=SOFT[:HARD]", "a limit of each process"),
    valued("cgroup-parent", None, "PATH", "the cgroup above those of RUN"),
    valued("allow", None, "RIGHT", "network.host or security.insecure, for RUN to ask for"),
    valued("progress", None, "STYLE", "auto, tty, plain, rawjson, quiet or none"),
    switch("quiet", Some('q'), "print the image's id alone"),
    switch("no-cache", None, "do every step anew"),
    valued("no-cache-filter", None, "STAGE", "do every step of a stage anew"),
    valued(
        "cache-from",
        None,
        "NAME|type=…",
        "a cache to go on from: registry or local; may be given several times",
    ),
    valued(
        "cache-to",
        None,
        "NAME|type=…",
        "where to put a cache: inline, registry or local; mode=max has all stages",
    ),
    switch("pull", None, "pull images even if they are here"),
    switch("load", None, "the image goes into the store (as always)"),
    switch("rm", None, "containers of steps are removed (as always)"),
    switch("force-rm", None, "the same"),
];

fn build(global: &Global, arguments: &Arguments) -> Result<u8> {
    let operand = arguments.operand(0)?.unwrap_or(".");
    let contexts = NamedContexts::parse(&arguments.texts("build-context")?)?;
    let mut options = BuildOptions { contexts: contexts.files.clone(), ..options(arguments)? };
    let is_pushed = take_outputs(arguments, &mut options)?;
    let (cache_sources, cache_targets) = cache_names(arguments)?;
    let progress = arguments.text("progress")?.unwrap_or("auto");
    let style = Style::parse(progress)?;
    let style = if arguments.is_set("quiet") { Style::Quiet } else { style };
    let platform = platform(arguments)?;
    let (context, dockerfile) = sources(operand, arguments.text("file")?.filter(|file| !file.is_empty()))?;
    let cancellation = Cancellation::default();
    let store = global.store()?.until(cancellation.stop());
    check_networks(&store, &options.run.network)?;
    prepare_files(arguments)?;
    let images = StoreImages {
        store: &store,
        is_asked: platform.is_some(),
        is_pulled: arguments.is_set("pull"),
        access: access(arguments)?,
    };
    let cache_access = Arc::new(access(arguments)?);
    options.caches =
        caches(&store, &cache_access, cache_sources, cache_targets, |folder| Ok(folder.shelf()))?;
    let printer = Printer::new(style);
    let mut images = ShownImages { images, style, printer: &printer };
    let names = contexts.images(&store, platform.as_ref())?;
    let mut images = Replaced { provider: &mut images, names };
    let built = until_interrupted(&mut || cancellation.cancel(&store), || {
        printer.while_shown(|| {
            build_image(&store, (context, &dockerfile), &options, &mut images, &printer, &cancellation)
        })
    })??;
    let built = match built {
        Ok(built) => built,
        Err(Failure { error, excerpt, program: _ }) => {
            printer.explain(excerpt.map(|excerpt| excerpt.to_string()).as_deref());
            return Err(error.with_status(1));
        }
    };
    let Some(built) = built else {
        return write_files(arguments, &store, None, &options.tags, None).map(|()| 0);
    };
    let mut pushed = None;
    for name in options.tags.iter().filter(|_| is_pushed) {
        let digest = push_image(&store, &built.record, name, &access(arguments)?)?;
        pushed.get_or_insert(digest);
    }
    write_files(arguments, &store, Some(&built), &options.tags, pushed)?;
    let id = built.id.to_string();
    let says_id = style == Style::Quiet && (arguments.is_set("quiet") || progress != "none");
    let to_stdout = |output: &Output| matches!(output, Output::Archive(Destination::Stdout));
    if says_id && !options.outputs.iter().any(to_stdout) {
        return print(&format!("{id}\n"));
    }
    Ok(0)
}

/// A file that the command line names; as with Docker, an empty name is none.
fn named_file<'a>(arguments: &'a Arguments, flag: &str) -> Option<&'a Path> {
    arguments.value(flag).filter(|name| !name.is_empty()).map(Path::new)
}

/// What a script reads after a build that has failed must not be the id of another one.
fn prepare_files(arguments: &Arguments) -> Result<()> {
    for flag in ["iidfile", "metadata-file"] {
        named_file(arguments, flag).map_or(Ok(()), |path| check_output(&format!("--{flag} "), path))?;
    }
    let Some(path) = named_file(arguments, "iidfile") else { return Ok(()) };
    match std::fs::symlink_metadata(path).is_ok_and(|status| status.is_file()) {
        true => std::fs::remove_file(path).context(|| format!("--iidfile {}", path.display())),
        false => Ok(()),
    }
}

/// `--metadata-file` and `--iidfile`.
fn write_files(
    arguments: &Arguments,
    store: &Store,
    built: Option<&Built>,
    names: &[Reference],
    pushed: Option<Digest>,
) -> Result<()> {
    if let Some(file) = named_file(arguments, "metadata-file") {
        write_metadata(file, store, built, names, pushed)?;
    }
    if let (Some(file), Some(built)) = (named_file(arguments, "iidfile"), built) {
        let id = built.id.to_string();
        write_output("--iidfile ", file, |out| Ok(out.write_all(id.as_bytes())?))?;
    }
    Ok(())
}

/// `--cache-from` and `--cache-to`.
fn cache_names(arguments: &Arguments) -> Result<(Vec<CacheName>, Vec<CacheWish>)> {
    let mut sources = Vec::new();
    for text in arguments.texts("cache-from")? {
        sources.extend(parse_sources(&text)?);
    }
    let targets = arguments.texts("cache-to")?;
    let mut targets = targets.iter().map(|text| parse_target(text)).collect::<Result<Vec<_>>>()?;
    let is_inline = |text: &String| text == &format!("{INLINE}=1") || text == &format!("{INLINE}=true");
    if arguments.texts("build-arg")?.iter().any(is_inline) {
        targets.push(parse_target("type=inline")?);
    }
    Ok((sources, targets))
}

/// The argument by which BuildKit puts a cache into the image.
const INLINE: &str = "BUILDKIT_INLINE_CACHE";

fn options(arguments: &Arguments) -> Result<BuildOptions> {
    let mut given = BTreeMap::new();
    for argument in arguments.texts("build-arg")? {
        match argument.split_once('=') {
            _ if argument.is_empty() || argument.starts_with('=') => {
                let what = "must be NAME=VALUE, or NAME for box's own variable";
                return Err(Error::invalid(format!("--build-arg {argument}: {what}")));
            }
            Some((name, value)) => drop(given.insert(name.to_string(), value.to_string())),
            None => given.extend(std::env::var(&argument).ok().map(|value| (argument.clone(), value))),
        }
    }
    let epoch = given.get(EPOCH).cloned().or_else(|| std::env::var(EPOCH).ok()).unwrap_or_default();
    let mut tags = Vec::new();
    for tag in arguments.texts("tag")? {
        let reference = Reference::parse(&tag).map_err(|error| error.context(format!("--tag {tag}")))?;
        if reference.digest.is_some() {
            return Err(Error::invalid(format!("--tag {tag}: a digest cannot be chosen")));
        }
        tags.push(reference);
    }
    let filters = arguments.texts("no-cache-filter")?;
    let caching = match (arguments.is_set("no-cache"), filters.is_empty()) {
        (true, _) => Caching::Ignored,
        (false, true) => Caching::Used,
        (false, false) => {
            Caching::IgnoredIn(filters.iter().flat_map(|text| text.split(',')).map(str::to_string).collect())
        }
    };
    let given_hostname = given.get("BUILDKIT_SANDBOX_HOSTNAME").filter(|name| !name.is_empty()).cloned();
    Ok(BuildOptions {
        // Docker: what is empty is not said.
        target: arguments.text("target")?.filter(|name| !name.is_empty()).map(str::to_string),
        git_folder: git_folder(&given),
        arguments: given,
        labels: labels(arguments)?,
        annotations: annotations(&arguments.texts("annotation")?)?,
        tags,
        platform: platform(arguments)?,
        caching,
        secrets: arguments.texts("secret")?.iter().map(|text| parse_secret(text)).try_collect_map()?,
        agents: arguments.texts("ssh")?.iter().map(|text| parse_ssh(text)).try_collect_map()?,
        keeper: None,
        git: GitIdentity::Caller,
        run: Options { hostname: given_hostname, ..run_options(arguments)? },
        entitlements: Entitlements::parse(&arguments.texts("allow")?)?,
        epoch: parse_epoch(&epoch)?,
        ..BuildOptions::default()
    })
}

/// Whether `.git` of a repository stays in the context, by BuildKit's argument.
fn git_folder(arguments: &BTreeMap<String, String>) -> GitFolder {
    match arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").map(String::as_str) {
        Some("1" | "true") => GitFolder::Kept,
        _ => GitFolder::Removed,
    }
}

/// `[manifest:]NAME=VALUE`; what stands before a colon is a kind if it is of small letters, otherwise the beginning of the name.
fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let parse = |text: &String| {
        let wrong = |what: &str| Error::invalid(format!("--annotation {text}: {what}"));
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("must be NAME=VALUE"))?;
        let is_kind = |text: &str| {
            let kind = text.split('[').next().unwrap_or_default();
            !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase() || b"-,".contains(&byte))
        };
        let name = match name.split_once(':') {
            Some(("manifest", name)) => name,
            Some((kind, _)) if is_kind(kind) => {
                return Err(wrong("an image is one manifest: manifest:NAME=VALUE, or NAME=VALUE alone"));
            }
            _ => name,
        };
        if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(wrong("must be NAME=VALUE, of a name without spaces"));
        }
        Ok((name.to_string(), value.to_string()))
    };
    texts.iter().map(parse).try_collect_map()
}

/// What comes out, an image if nothing is said; whether it is pushed.
fn take_outputs(arguments: &Arguments, options: &mut BuildOptions) -> Result<bool> {
    let mut is_pushed = arguments.is_set("push");
    for text in arguments.texts("output")? {
        let BuildOutput { output, names, is_pushed: also } = parse_output(&text)?;
        options.outputs.push(output);
        options.tags.extend(names);
        is_pushed |= also;
    }
    if options.outputs.is_empty() {
        options.outputs.push(Output::Image);
    }
    let has_image = options.outputs.iter().any(|output| matches!(output, Output::Image));
    let has_id = has_image || options.outputs.iter().any(|output| matches!(output, Output::Archive(_)));
    if named_file(arguments, "iidfile").is_some() && !has_id {
        return Err(Error::invalid("--iidfile: no image comes out that has an id: leave --output out"));
    }
    match is_pushed {
        true if !has_image => Err(Error::invalid("--push: no image comes out: leave --output out")),
        true if options.tags.is_empty() => Err(Error::invalid("--push: a name is needed for it: --tag")),
        _ => Ok(is_pushed),
    }
}

/// How programs of RUN are run.
fn run_options(arguments: &Arguments) -> Result<Options> {
    let mut options = Options::default();
    limits(arguments, &mut options)?;
    options.shm_size = arguments.text("shm-size")?.map(|text| parse_bytes("--shm-size", text)).transpose()?;
    options.namespaces.cgroup_parent = arguments.text("cgroup-parent")?.map(str::to_string);
    options.network.mode = match arguments.text("network")? {
        None | Some("bridge" | "default") => NetworkMode::Default,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(name) => match name.strip_prefix("container:") {
            Some(other) => NetworkMode::Container(other.to_string()),
            None => NetworkMode::Named(name.to_string()),
        },
    };
    options.network.hosts = arguments.texts("add-host")?;
    check_options(&options)?;
    Ok(options)
}

/// Where context and Dockerfile come from.
fn sources(operand: &str, file: Option<&str>) -> Result<(ContextSource, DockerfileSource)> {
    let dockerfile = match file {
        None => DockerfileSource::Usual,
        Some("-") if operand == "-" => {
            return Err(Error::invalid("--file -: the context is read from stdin already"));
        }
        Some("-") => DockerfileSource::of_text(std::io::stdin().lock(), "stdin")?,
        // Where the context is elsewhere its Dockerfile is there, too.
        Some(path) if operand != "-" && !ContextSource::is_address(operand) && Path::new(path).exists() => {
            DockerfileSource::File(path.into())
        }
        Some(path) => DockerfileSource::InContext(path.to_string()),
    };
    if operand == "-" {
        return ContextSource::of_stream(Box::new(std::io::stdin()), "stdin", dockerfile);
    }
    if ContextSource::is_address(operand) {
        return ContextSource::of_address(operand, dockerfile);
    }
    let path = PathBuf::from(operand);
    let status = std::fs::metadata(&path).context(|| format!("build {operand}"))?;
    if status.is_dir() {
        return Ok((ContextSource::Folder(path), dockerfile));
    }
    let file = std::fs::File::open(&path).context(|| operand.to_string())?;
    Ok((ContextSource::Tar(Box::new(file)), dockerfile))
}

/// Sends an image to its registry, and notes what it is there.
fn push_image(store: &Store, record: &ImageRecord, name: &Reference, access: &Access) -> Result<Digest> {
    let progress = Progress::new(Stream::Stderr, Direction::Push);
    let named = ImageRecord { name: name.to_string(), ..record.clone() };
    push(store, &named, name, access, &progress).map(|(digest, _)| digest)
}

/// Images that are here, or come from registries while the user looks on.
struct ShownImages<'a> {
    images: StoreImages<'a>,
    style: Style,
    printer: &'a Printer,
}

impl Provider for ShownImages<'_> {
    fn provide(&mut self, name: &str, platform: &Platform) -> Result<ImageRecord> {
        let shown = Progress::new(Stream::Stderr, Direction::Pull);
        let observer: &dyn Observer = match self.style {
            Style::Terminal => self.printer,
            Style::Plain => &shown,
            Style::Json | Style::Quiet => &Silent,
        };
        let Provided { record, devices_left_out } = self.images.find_or_pull(name, platform, observer)?;
        if devices_left_out > 0 {
            self.printer.say(&format!(
                "{name}: {devices_left_out} devices are left out: an ordinary user's layers cannot have any"
            ));
        }
        Ok(record)
    }
}
