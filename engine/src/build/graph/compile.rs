//! From a Dockerfile to a graph: its stages, those alone that the target needs.

use std::collections::BTreeMap;

use super::scope::{EPOCH, Globals, PROXIES};
use super::stage::{Origins, StageCompiler};
use super::step::{Base, BaseImage, Graph, Origin, Stage};
use crate::build::fault::{At, Outcome};
use crate::build::syntax::{Dockerfile, From, Instruction, Located};
use crate::error::{Error, Result};
use crate::image::Platform;

/// What of the command line decides what is built.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// The stage that is wanted; the last one if none is named.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// What it is to run on.
    pub platform: Platform,
    /// Who builds it.
    pub machine: Platform,
    /// Contexts with names of their own.
    pub contexts: Vec<String>,
}

/// Whoever knows images.
pub trait Images {
    /// An image by its name.
    ///
    /// # Errors
    /// It is not here and cannot be had.
    fn find(&mut self, name: &str, platform: &Platform) -> Result<BaseImage>;
}

/// Compiles what a target needs.
///
/// # Errors
/// A stage or an image is not there; something cannot be expanded.
pub fn compile(dockerfile: &Dockerfile, wishes: &Wishes, images: &mut dyn Images) -> Outcome<Graph> {
    let escape = dockerfile.directives.escape;
    let target = wishes.target.as_deref();
    let mut globals = Globals::new(wishes.arguments.clone(), &wishes.machine, &wishes.platform, target);
    let outlines = outline(dockerfile, &mut globals)?;
    let wanted = match target {
        None => outlines.len() - 1,
        Some(name) => find(&outlines, outlines.len(), name).ok_or_else(|| {
            let known: Vec<&str> = outlines.iter().filter_map(|stage| stage.from.name.as_deref()).collect();
            let known = match known.is_empty() {
                true => format!("none has a name: 0 to {} are their numbers", outlines.len() - 1),
                false => format!("there are {}", known.join(", ")),
            };
            Error::not_found(format!("--target {name}: there is no such stage: {known}"))
        })?,
    };
    let count = outlines.len();
    let mut compiler = Compiler {
        outlines: &outlines,
        escape,
        globals: &globals,
        wishes,
        images,
        known: Vec::new(),
        depth: 0,
        stages: (0..count).map(|_| None).collect(),
    };
    compiler.stage(wanted)?;
    let Compiler { known, stages, .. } = compiler;
    let images = known.into_iter().map(|(_, image)| image).collect();
    Ok(Graph { stages, images, target: wanted, arguments: arguments(dockerfile) })
}

/// All names that an ARG asks for, whatever stage it stands in, and those that need none.
fn arguments(dockerfile: &Dockerfile) -> Vec<String> {
    let named = dockerfile.instructions.iter().flat_map(|located| match &located.instruction {
        Instruction::Arg(arguments) => arguments.iter().map(|argument| argument.name.clone()).collect(),
        _ => Vec::new(),
    });
    named.chain(PROXIES.iter().chain(&[EPOCH]).map(ToString::to_string)).collect()
}

/// A stage as it is written.
struct Outline<'d> {
    from: From,
    located: &'d Located,
    instructions: &'d [Located],
}

/// Splits a file into its stages. What stands before the first one is known to all.
fn outline<'d>(dockerfile: &'d Dockerfile, globals: &mut Globals) -> Outcome<Vec<Outline<'d>>> {
    let escape = dockerfile.directives.escape;
    let all = &dockerfile.instructions;
    let mut stages = Vec::new();
    for (index, located) in all.iter().enumerate() {
        match &located.instruction {
            Instruction::From(from) => {
                let rest = &all[index + 1..];
                let is_from = |located: &Located| matches!(located.instruction, Instruction::From(_));
                let length = rest.iter().position(is_from).unwrap_or(rest.len());
                stages.push(Outline { from: from.clone(), located, instructions: &rest[..length] });
            }
            Instruction::Arg(arguments) if stages.is_empty() => {
                for argument in arguments {
                    globals.add(argument, escape).at(located.span)?;
                }
            }
            _ if stages.is_empty() => {
                return Err(Error::invalid(format!(
                    "{}: FROM must come first; only ARG may stand before it",
                    located.text
                )))
                .at(located.span);
            }
            _ => {}
        }
    }
    if stages.is_empty() {
        return Err(Error::invalid("it has no stage: FROM IMAGE is missing").into());
    }
    Ok(stages)
}

/// A stage before `limit` by its name or number, the last one of a name.
fn find(outlines: &[Outline<'_>], limit: usize, name: &str) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let by_name = outlines[..limit].iter().rposition(|stage| stage.from.name.as_deref() == Some(&lower));
    by_name.or_else(|| name.parse::<usize>().ok().filter(|number| *number < limit))
}

/// Stages are compiled when somebody needs them.
struct Compiler<'a> {
    outlines: &'a [Outline<'a>],
    escape: char,
    globals: &'a Globals,
    wishes: &'a Wishes,
    images: &'a mut dyn Images,
    known: Vec<((String, Platform), BaseImage)>,
    /// How many stages are begun that wait for another one.
    depth: usize,
    stages: Vec<Option<Stage>>,
}

/// The most stages each of which needs the next one.
const DEPTH_MAX: usize = 100;

impl Compiler<'_> {
    fn stage(&mut self, index: usize) -> Outcome<()> {
        if self.stages[index].is_some() {
            return Ok(());
        }
        let outlines = self.outlines;
        let Outline { from, located, instructions } = &outlines[index];
        if self.depth == DEPTH_MAX {
            return Err(Error::invalid(format!(
                "more than {DEPTH_MAX} stages, each of which needs the next one"
            )))
            .at(located.span);
        }
        self.depth += 1;
        let (base, platform) = self.base(index, from).at(located.span)?;
        let (config, scope) = match base {
            Base::Scratch => (None, None),
            Base::Image(image) => (Some(self.known[image].1.config.clone()), None),
            Base::Stage(stage) => {
                self.stages[stage].as_ref().map(|stage| (stage.config.clone(), stage.scope.clone())).unzip()
            }
        };
        let mut label = from.name.clone();
        if outlines.len() > 1 {
            label = label.or_else(|| Some(format!("stage-{index}")));
        }
        let (globals, escape) = (self.globals, self.escape);
        let mut origins = Earlier { compiler: self, index };
        let mut compiler = StageCompiler::begin(&mut origins, globals, escape, (config, scope), &platform);
        compiler.run_triggers(located.span)?;
        for located in *instructions {
            compiler.add(located)?;
        }
        let stage = compiler.finish(label, located.span, base);
        self.depth -= 1;
        self.stages[index] = Some(stage);
        Ok(())
    }

    fn base(&mut self, index: usize, from: &From) -> Outcome<(Base, Platform)> {
        let name = self.globals.expand(&from.image, self.escape)?;
        if name.is_empty() {
            return Err(Error::invalid(format!(
                "FROM {}: the name is empty: an ARG without a value?",
                from.image
            ))
            .into());
        }
        let platform = match &from.platform {
            None => self.wishes.platform.clone(),
            Some(word) => {
                let text = self.globals.expand(word, self.escape)?;
                let wrong = || Error::invalid(format!("FROM --platform={text}: must be such as linux/arm64"));
                Platform::parse(&text).ok_or_else(wrong)?
            }
        };
        if name == "scratch" {
            return Ok((Base::Scratch, platform));
        }
        // A stage is meant by its name alone: numbers are names of images here.
        let lower = name.to_ascii_lowercase();
        let earlier =
            self.outlines[..index].iter().rposition(|stage| stage.from.name.as_deref() == Some(&lower));
        if let Some(earlier) = earlier {
            self.stage(earlier)?;
            return Ok((Base::Stage(earlier), platform));
        }
        if self.wishes.contexts.contains(&name) {
            return Err(Error::invalid(format!(
                "FROM {name}: the context of that name is files, and no image: FROM scratch, and COPY --from={name} / /"
            ))
            .into());
        }
        Ok((Base::Image(self.image(&name, &platform)?), platform))
    }

    fn image(&mut self, name: &str, platform: &Platform) -> Result<usize> {
        let key = (name.to_string(), platform.clone());
        if let Some(index) = self.known.iter().position(|(known, _)| *known == key) {
            return Ok(index);
        }
        let image = self.images.find(name, platform)?;
        self.known.push((key, image));
        Ok(self.known.len() - 1)
    }
}

/// What a stage may copy from.
struct Earlier<'c, 'a> {
    compiler: &'c mut Compiler<'a>,
    index: usize,
}

impl Origins for Earlier<'_, '_> {
    fn origin(&mut self, name: &str) -> Outcome<Origin> {
        let Earlier { compiler, index } = self;
        if compiler.wishes.contexts.iter().any(|known| known == name) {
            return Ok(Origin::Named(name.to_string()));
        }
        if let Some(stage) = find(compiler.outlines, *index, name) {
            compiler.stage(stage)?;
            return Ok(Origin::Stage(stage));
        }
        let own = compiler.outlines[*index].from.name.as_deref();
        if own == Some(name) || name.parse() == Ok(*index) {
            return Err(Error::invalid(format!("from={name}: that is this stage itself")).into());
        }
        let platform = compiler.wishes.platform.clone();
        let image = compiler.image(name, &platform);
        let named = |error: Error| error.context(format!("from={name} is no earlier stage, and as an image"));
        Ok(image.map(Origin::Image).map_err(named)?)
    }
}
