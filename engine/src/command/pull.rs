//! pull: an image comes from a registry.

use super::progress::{Direction, Progress, Stream};
use super::registry_flags::{FLAGS, PLATFORM_FLAGS, access, platform};
use super::{Arguments, Command, Flag, Global, print, say};
use crate::error::{Error, Kind, Result};
use crate::image::Platform;
use crate::reference::{Reference, Repository};
use crate::registries::Meaning;
use crate::registry::Access;
use crate::store::{ImageRecord, Store};
use crate::transfer::{Observer, Pulled, Silent, fetch_from_catalog, find_in_catalog};

pub const COMMAND: Command = Command {
    name: "pull",
    aliases: &["image pull"],
    operands: "NAME[:TAG|@DIGEST]",
    operand_count: 1..=1,
    help: "pull an image from a registry",
    flags: &[
        &[
            Flag { long: "quiet", short: Some('q'), value: None, help: "nothing but the image's name" },
            Flag { long: "all-tags", short: Some('a'), value: None, help: "all images of the repository" },
        ],
        PLATFORM_FLAGS,
        FLAGS,
    ],
    ends_at_operand: false,
    run: pull,
};

fn pull(global: &Global, arguments: &Arguments) -> Result<u8> {
    let text = arguments.operand(0)?.unwrap_or_default();
    let (platform, access) = (platform(arguments)?, access(arguments)?);
    let store = global.store()?;
    if arguments.is_set("all-tags") {
        return pull_repository(&store, text, platform.as_ref(), &access, arguments.is_set("quiet"));
    }
    if let Some(known) = find_in_catalog(&store, text)? {
        let reference = Reference::parse(text)?;
        let record = fetch_from_catalog(&store, &reference, &known, &access)?;
        let id = if arguments.is_set("quiet") { String::new() } else { format!("{}\n", record.id) };
        return print(&format!("{id}{reference}\n"));
    }
    let reference = expand(text, &access)?;
    if arguments.is_set("quiet") {
        pull_with(&store, &reference, platform.as_ref(), &access, &Silent)?;
        return print(&format!("{reference}\n"));
    }
    if !text.contains('@') && !text.ends_with(&format!(":{}", reference.target())) {
        print(&format!("Using default tag: {}\n", reference.target()))?;
    }
    print(&format!("{}: Pulling from {}\n", reference.target(), from(&reference)))?;
    let progress = Progress::new(Stream::Stdout, Direction::Pull);
    let Pulled { digest, was_there, .. } =
        pull_with(&store, &reference, platform.as_ref(), &access, &progress)?;
    let status = status(was_there);
    print(&format!("Digest: {digest}\nStatus: {status} {}\n{reference}\n", reference.familiar()))
}

fn status(was_there: bool) -> &'static str {
    if was_there { "Image is up to date for" } else { "Downloaded newer image for" }
}

/// All images of a repository.
fn pull_repository(
    store: &Store,
    text: &str,
    platform: Option<&Platform>,
    access: &Access,
    is_quiet: bool,
) -> Result<u8> {
    let repository = Repository::parse(text).map_err(|_| {
        Error::invalid(format!("pull --all-tags {text}: must be a repository, without a tag and a digest"))
    })?;
    let repository = expand(&repository.familiar(), access)?.repository;
    let progress = Progress::new(Stream::Stdout, Direction::Pull);
    let observer: &dyn Observer = if is_quiet { &Silent } else { &progress };
    let pulled = crate::transfer::pull_all(store, &repository, platform, access, observer)?;
    for one in &pulled {
        tell_devices(one);
    }
    let name = repository.familiar();
    let digests: String = pulled.iter().map(|Pulled { digest, .. }| format!("Digest: {digest}\n")).collect();
    let status = status(pulled.iter().all(|one| one.was_there));
    match is_quiet {
        true => print(&format!("{repository}\n")),
        false => print(&format!("{digests}Status: {status} {name}\n{repository}\n")),
    }
}

/// Says what an ordinary user's layers cannot have.
fn tell_devices(pulled: &Pulled) {
    if pulled.devices_left_out > 0 {
        let (name, number) = (&pulled.record.name, pulled.devices_left_out);
        let name = Reference::parse(name).map_or(name.clone(), |reference| reference.familiar());
        say(&format!("{name}: {number} devices are left out: an ordinary user's layers cannot have any"));
    }
}

/// The image that a name means. If that is a file's doing, it is said.
fn expand(text: &str, access: &Access) -> Result<Reference> {
    let Meaning { reference, file } = access.registries.expand(text)?;
    if let Some(file) = file {
        say(&format!("{text}: {reference} is meant ({})", file.display()));
    }
    Ok(reference)
}

/// As Docker says where an image comes from.
fn from(reference: &Reference) -> &str {
    &reference.repository.path
}

fn pull_with(
    store: &Store,
    reference: &Reference,
    platform: Option<&Platform>,
    access: &Access,
    observer: &dyn Observer,
) -> Result<Pulled> {
    let pulled = crate::transfer::pull(store, reference, platform, access, observer)?;
    tell_devices(&pulled);
    Ok(pulled)
}

/// Flags of commands that make a container.
pub const POLICY_FLAGS: &[Flag] = &[
    Flag {
        long: "pull",
        short: None,
        value: Some("WHEN"),
        help: "pull the image: always, missing (default), never",
    },
    Flag { long: "quiet", short: Some('q'), value: None, help: "nothing about pulling is shown" },
];

/// When an image is pulled for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Always,
    Missing,
    Never,
}

impl Policy {
    fn parse(text: Option<&str>) -> Result<Policy> {
        match text {
            Some("always") => Ok(Policy::Always),
            None | Some("missing") => Ok(Policy::Missing),
            Some("never") => Ok(Policy::Never),
            Some(text) => Err(Error::invalid(format!("--pull {text}: must be always, missing or never"))),
        }
    }
}

/// Sees to it that the image of a new container is there. What has the form of a path is no name. The result is what the name was found
/// to mean, if that was looked for.
///
/// # Errors
/// It is not there, and cannot or must not be pulled.
pub fn provide(store: &Store, name: &str, arguments: &Arguments) -> Result<Option<ImageRecord>> {
    let (policy, platform) = (Policy::parse(arguments.text("pull")?)?, platform(arguments)?);
    let machine = Platform::of_machine();
    if let Some(other) = platform.as_ref().filter(|platform| !machine.accepts(platform)) {
        return Err(Error::invalid(format!(
            "--platform {other}: this machine is {machine}, and runs nothing else: box pull --platform brings images for others"
        )));
    }
    let is_path = crate::container::Source::is_path(name);
    if is_path || policy == Policy::Never {
        return Ok(None);
    }
    if policy == Policy::Missing {
        match store.find_image(name) {
            Ok(found) if platform.as_ref().is_none_or(|platform| platform.accepts(&found.platform)) => {
                return Ok(Some(found));
            }
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
    }
    let access = access(arguments)?;
    if let Some(known) = find_in_catalog(store, name)? {
        let reference = Reference::parse(name)?;
        if !arguments.is_set("quiet") && policy == Policy::Missing {
            say(&format!("{} is not here: fetching {}", reference.familiar(), known.0.url));
        }
        return fetch_from_catalog(store, &reference, &known, &access).map(|_| None);
    }
    let reference = expand(name, &access)?;
    if arguments.is_set("quiet") {
        return pull_with(store, &reference, platform.as_ref(), &access, &Silent).map(|_| None);
    }
    if policy == Policy::Missing {
        say(&format!(
            "{} is not here: pulling it from {}",
            reference.familiar(),
            reference.repository.registry
        ));
    }
    let progress = Progress::new(Stream::Stderr, Direction::Pull);
    let pulled = pull_with(store, &reference, platform.as_ref(), &access, &progress)?;
    if !pulled.was_there {
        say(&format!("{}: {}", reference.familiar(), pulled.digest));
    }
    Ok(None)
}
