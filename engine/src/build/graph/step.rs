//! Steps: what an instruction asks for when everything in it is expanded. Those that make layers, and their places in the history.

use super::scope::Scope;
use crate::build::address::{GitAddress, GitFolder};
use crate::build::fault::Span;
use crate::build::syntax::{MountKind, Security};
use crate::image::{ChainId, Configuration, ImageId};
use crate::layer::ModeChange;
use crate::reference::Reference;

/// Everything that is to be done for a target.
#[derive(Debug)]
pub struct Graph {
    /// Stages in the order of the file; `None`: nothing needs it.
    pub stages: Vec<Option<Stage>>,
    /// Images that stages begin with, or copy from.
    pub images: Vec<BaseImage>,
    /// The stage that is wanted.
    pub target: usize,
    /// Names of arguments that were asked for, or that need not be.
    pub arguments: Vec<String>,
}

impl Graph {
    /// The target and the stages that it begins with, from the first one on.
    pub fn lineage(&self) -> Vec<usize> {
        let mut stages = vec![self.target];
        while let Some(Base::Stage(earlier)) =
            stages.last().and_then(|last| self.stages[*last].as_ref()).map(|stage| stage.base)
        {
            stages.push(earlier);
        }
        stages.reverse();
        stages
    }

    /// Whether somebody has asked for an argument of that name.
    pub fn has_argument(&self, name: &str) -> bool {
        self.arguments.iter().any(|known| known == name)
    }
}

/// An image that is here.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// As the Dockerfile names it.
    pub name: String,
    /// The same in full, if it is a name.
    pub reference: Option<Reference>,
    /// Its id.
    pub id: ImageId,
    /// How it is run, and made.
    pub config: Configuration,
    /// The lowest one first.
    pub layers: Vec<ChainId>,
}

/// What a stage begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image, by its place among those of the graph.
    Image(usize),
    /// An earlier stage.
    Stage(usize),
}

/// A stage.
#[derive(Debug)]
pub struct Stage {
    /// As it is shown: its name, or `stage-1`; `None` if it is the only one.
    pub label: Option<String>,
    /// Where it begins.
    pub span: Span,
    /// What it begins with.
    pub base: Base,
    /// What makes layers.
    pub steps: Vec<Step>,
    /// What its image says of itself, but for its layers and history.
    pub config: Configuration,
    /// Its own part of the history.
    pub history: Vec<HistoryLine>,
    /// Its arguments and variables: a stage that begins with this one knows them as well.
    pub scope: Scope,
    /// What its author has perhaps not meant, and where.
    pub warnings: Vec<(Span, String)>,
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// As BuildKit words it.
    pub created_by: String,
    /// The step whose layer it is, if it has made one.
    pub step: Option<usize>,
}

/// An instruction that makes a layer.
#[derive(Debug)]
pub struct Step {
    /// Its lines.
    pub span: Span,
    /// As it is shown.
    pub text: String,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// A program is run.
    Run(RunStep),
    /// Files are copied.
    Copy(CopyStep),
    /// A folder is there afterwards.
    Workdir {
        /// Absolute.
        path: String,
        /// Whose it is.
        user: String,
    },
}

/// A program that is run.
#[derive(Debug)]
pub struct RunStep {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Variables of the image, and arguments that have a value.
    pub environment: Vec<(String, String)>,
    /// Proxies, which change nothing of what comes out.
    pub proxies: Vec<(String, String)>,
    /// User and group.
    pub user: String,
    /// Where it runs; empty: at the root.
    pub workdir: String,
    /// `none`, `host`; `None`: what the command line says.
    pub network: Option<String>,
    /// What it may do.
    pub security: Security,
    /// What is mounted meanwhile.
    pub mounts: Vec<StepMount>,
    /// A script that stands in the Dockerfile: its name and its text.
    pub script: Option<(String, String)>,
}

/// A mount whose texts are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMount {
    /// Absolute; of a secret perhaps none.
    pub target: Option<String>,
    /// What it is.
    pub kind: MountKind,
    /// Where its files come from, of those that have any.
    pub from: Option<Origin>,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The context.
    Context,
    /// A context with a name of its own.
    Named(String),
    /// A stage.
    Stage(usize),
    /// An image, by its place among those of the graph.
    Image(usize),
}

/// Files that are copied.
#[derive(Debug)]
pub struct CopyStep {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where paths lead.
    pub from: Origin,
    /// Absolute; a slash at its end: a folder.
    pub destination: String,
    /// User and group; `None`: root, or what it is in another stage.
    pub owner: Option<String>,
    /// What becomes of the mode of everything.
    pub mode: Option<ModeChange>,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// What the content of a URL must be, or the commit of a repository.
    pub checksum: Option<String>,
    /// What becomes of `.git` of a repository.
    pub git_folder: GitFolder,
    /// Whether the layer does not depend on those below.
    pub link: bool,
    /// Whether the folders above a source go along.
    pub parents: bool,
    /// Which archives are unpacked.
    pub unpacking: Archives,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or a pattern.
    Path(String),
    /// What an URL leads to.
    Url(String),
    /// What is in a repository of git.
    Git(GitAddress),
    /// A file whose content stands in the Dockerfile.
    File {
        /// Its name.
        name: String,
        /// Its content.
        content: String,
    },
}

/// Which archives are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archives {
    /// None.
    Kept,
    /// Those of the context.
    OfContext,
    /// Those of URLs as well.
    All,
}
