//! From instructions to steps: which stages are needed, what they begin with, and what is to be done when everything is expanded.
//! Pure, but for the images, which are asked for by name.

mod action;
mod compile;
mod scope;
mod stage;
mod step;
mod wording;

pub use action::SCRIPTS;
pub use compile::{Images, Wishes, compile};
pub use scope::EPOCH;
pub use step::{
    Action, Archives, Base, BaseImage, CopySource, CopyStep, Graph, Origin, RunStep, Stage, Step, StepMount,
};

#[cfg(test)]
mod tests;
