//! RUN: a container of the layers below, whose changes become the new layer.

use std::io::{PipeReader, Read, pipe};

use super::Work;
use super::chain::Chain;
use super::mount::Held;
use crate::build::content::{Content, Key};
use crate::build::event::{Stream, Vertex};
use crate::build::graph::{RunStep, SCRIPTS};
use crate::build::syntax::Security;
use crate::container::{Base, NetworkMode, Options, StepContainer, StepStreams, kill_step};
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::Execution;
use crate::layer::remove_bare_mountpoints;
use crate::store::NewLayer;
use crate::thread::spawn;

/// What a RUN is made of.
pub struct Prepared<'w> {
    /// Of each mount, what its files are.
    contents: Vec<Option<Content>>,
    run: &'w RunStep,
}

impl Prepared<'_> {
    /// What the files of its mounts are.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.contents.iter().flatten()
    }
}

/// Files that the runtime mounts something on.
const MOUNTED: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

/// The name of the host that a RUN sees, unless another one is asked for: always the same, so that nothing depends on it.
const HOSTNAME: &str = "buildkitsandbox";

impl Work<'_> {
    pub(super) fn prepare_run<'s>(&self, run: &'s RunStep) -> Result<Prepared<'s>> {
        let entitlements = self.options.entitlements;
        let may_use_host = entitlements.host_network || self.options.run.network.mode == NetworkMode::Host;
        if run.network.as_deref() == Some("host") && !may_use_host {
            return Err(Error::invalid("RUN --network=host: it must be allowed: --allow network.host"));
        }
        if run.security == Security::Insecure && !entitlements.insecure {
            return Err(Error::invalid(
                "RUN --security=insecure: it must be allowed: --allow security.insecure",
            ));
        }
        let contents = run.mounts.iter().map(|mount| self.mount_content(mount)).collect::<Result<_>>()?;
        Ok(Prepared { contents, run })
    }

    pub(super) fn describe_run(&self, run: &RunStep, key: &mut Key) {
        key.add("run");
        let RunStep { arguments, environment, proxies: _, user, workdir, network, security, mounts, script } =
            run;
        key.add_value(&(arguments, environment, user, workdir, network, script));
        key.add(format!("{security:?}"));
        for mount in mounts {
            key.add(format!("{:?} {:?}", mount.target, mount.kind));
        }
        let Options { network, shm_size, .. } = &self.options.run;
        key.add_value(&(&network.mode, &network.hosts, shm_size));
        if let Some(name) = &self.options.run.hostname {
            key.add(name);
        }
        // The program sees them, unlike limits of memory or time.
        let ulimits = &self.options.run.limits.ulimits;
        if !ulimits.is_empty() {
            key.add("ulimits");
            key.add_value(ulimits);
        }
    }

    pub(super) fn run_step(
        &self,
        chain: &Chain,
        run: &RunStep,
        prepared: Prepared<'_>,
        vertex: &Vertex<'_>,
        layer: &NewLayer,
    ) -> Result<()> {
        let mut held = Held::default();
        let options = self.options_of(run, &prepared, &mut held)?;
        let mut mounted: Vec<String> = MOUNTED.map(str::to_string).to_vec();
        mounted.extend(options.mounts.iter().map(|mount| mount.destination.clone()));
        let id = chain.image.unwrap_or_else(|| Digest::of(b"").into());
        let base = Base::Image { id, layers: chain.layers.clone() };
        let execution = Execution { user: run.user.clone(), ..Execution::default() };
        let container = StepContainer::make(self.store, "<build>", base, execution, options)?;
        let status = self.run_container(&container, vertex);
        let done = status.and_then(|status| match status {
            0 => Ok(()),
            _ if self.cancellation.is_cancelled() => Err(super::cancelled()),
            status => {
                let program = prepared.run.arguments.join(" ");
                let text = format!("process {program:?} did not complete successfully: exit code: {status}");
                Err(Error::new(Kind::Program, text).with_status(status))
            }
        });
        let done = done.and_then(|()| container.hand_over(self.store, layer));
        let done = done.and_then(|()| remove_bare_mountpoints(&layer.path(), container.image(), &mounted));
        let removed = container.remove(self.store);
        done.and(removed)
    }

    fn options_of(&self, run: &RunStep, prepared: &Prepared<'_>, held: &mut Held) -> Result<Options> {
        let mut options = self.options.run.clone();
        options.entrypoint = Some(String::new());
        options.command.clone_from(&run.arguments);
        let variables = run.environment.iter().chain(&run.proxies);
        options.environment = variables.map(|(name, value)| format!("{name}={value}")).collect();
        options.workdir = Some(run.workdir.clone()).filter(|folder| !folder.is_empty());
        match run.network.as_deref() {
            Some("none") => options.network.mode = NetworkMode::None,
            Some("host") => options.network.mode = NetworkMode::Host,
            _ => {}
        }
        if !matches!(options.network.mode, NetworkMode::Host | NetworkMode::Container(_)) {
            options.hostname.get_or_insert_with(|| HOSTNAME.to_string());
        }
        options.rights.privileged |= run.security == Security::Insecure;
        for (mount, content) in run.mounts.iter().zip(&prepared.contents) {
            self.add_mount(mount, content.as_ref(), &mut options, held)?;
        }
        if let Some((name, text)) = &run.script {
            self.add_script(name, text, SCRIPTS, &mut options, held)?;
        }
        Ok(options)
    }

    fn run_container(&self, container: &StepContainer, vertex: &Vertex<'_>) -> Result<u8> {
        let (stdout, stdout_writer) = pipe().context(|| "a pipe")?;
        let (stderr, stderr_writer) = pipe().context(|| "a pipe")?;
        // Whatever fails, nobody waits for a writer that is still open.
        std::thread::scope(move |scope| {
            spawn(scope, || pass_on(stdout, Stream::Stdout, vertex))?;
            spawn(scope, || pass_on(stderr, Stream::Stderr, vertex))?;
            self.cancellation.began(container.id());
            let streams = StepStreams { stdout: stdout_writer, stderr: stderr_writer };
            // Whoever ends the build kills what runs then; what begins in that moment looks for itself.
            let started = || {
                if self.cancellation.is_cancelled() {
                    kill_step(self.store, container.id());
                }
            };
            let status = container.run(self.store, streams, &started, &mut |warning| {
                use pillbox::WarningKind::{LeftBehind, LessConfined};
                if matches!(warning.kind(), LeftBehind | LessConfined) {
                    self.progress.warn(warning.to_string());
                }
            });
            self.cancellation.ended(container.id());
            status
        })
    }
}

/// Until nobody can write any more.
fn pass_on(mut pipe: PipeReader, stream: Stream, vertex: &Vertex<'_>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        vertex.output(stream, &buffer[..length]);
    }
}
