//! What the parts of a build are called, by which those are known that go on from them.

use crate::build::graph::{Action, Base, BaseImage, CopySource, Graph, Origin, Stage};

/// The context's.
pub const CONTEXT: &str = "[internal] load build context";

/// That of a context with a name.
pub fn context_name(name: &str) -> String {
    format!("[context {name}] load")
}

fn label(stage: &Stage, number: usize) -> String {
    let total = stage.steps.len() + 1;
    let width = total.to_string().len();
    match &stage.label {
        Some(name) => format!("[{name} {number:>width$}/{total}]"),
        None => format!("[{number:>width$}/{total}]"),
    }
}

/// That of a stage's image.
pub fn image_name(stage: &Stage, image: &BaseImage) -> String {
    let name = image.reference.as_ref().map_or(image.name.clone(), ToString::to_string);
    format!("{} FROM {name}", label(stage, 1))
}

/// That of a stage's step.
pub fn step_name(stage: &Stage, step: usize) -> String {
    format!("{} {}", label(stage, step + 2), stage.steps[step].text)
}

/// What a stage has come to before a step, or at its end.
fn before(graph: &Graph, stage: usize, step: Option<usize>) -> Option<String> {
    let own = graph.stages[stage].as_ref()?;
    match (step.unwrap_or(own.steps.len()).checked_sub(1), own.base) {
        (Some(last), _) => Some(step_name(own, last)),
        (None, Base::Stage(earlier)) => before(graph, earlier, None),
        (None, Base::Image(image)) => Some(image_name(own, &graph.images[image])),
        (None, Base::Scratch) => None,
    }
}

/// What a step goes on from: the part before it, and those that files of it come from.
pub fn inputs(graph: &Graph, stage: usize, step: usize) -> Vec<String> {
    let Some(own) = &graph.stages[stage] else { return Vec::new() };
    let of = |origin: &Origin| match origin {
        Origin::Context => Some(CONTEXT.to_string()),
        Origin::Named(name) => Some(context_name(name)),
        Origin::Stage(stage) => before(graph, *stage, None),
        // It is no part of its own.
        Origin::Image(_) => None,
    };
    let origins: Vec<&Origin> = match &own.steps[step].action {
        Action::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_ref()).collect(),
        Action::Copy(copy) => {
            let is_path = |source: &CopySource| matches!(source, CopySource::Path(_));
            copy.sources.iter().any(is_path).then_some(&copy.from).into_iter().collect()
        }
        Action::Workdir { .. } => Vec::new(),
    };
    let mut inputs: Vec<String> = before(graph, stage, Some(step)).into_iter().collect();
    for name in origins.into_iter().filter_map(of) {
        if !inputs.contains(&name) {
            inputs.push(name);
        }
    }
    inputs
}
