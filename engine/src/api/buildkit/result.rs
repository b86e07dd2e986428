//! Results of builds that others go on from, as LLB that clients pass on without a look into it: one source, which names the build.

use std::collections::BTreeMap;

use prost::Message;

use super::message::{Definition, Empty, Input, Operation, Source};
use crate::digest::Digest;

/// How the name of such a source begins.
const BUILD: &str = "boxd-build://";

/// The result of a build, whatever will come of it.
pub fn definition(build: &str) -> Definition {
    let source = Source { identifier: format!("{BUILD}{build}") };
    let source = Operation { source: Some(source), ..Operation::default() }.encode_to_vec();
    let digest = Digest::of(&source).to_string();
    let end = Operation { inputs: vec![Input { digest: digest.clone() }], source: None }.encode_to_vec();
    Definition { operations: vec![source, end], metadata: BTreeMap::from([(digest, Empty {})]) }
}

/// The build whose result it is, if it is one.
pub fn build_of(definition: &Definition) -> Option<String> {
    definition.operations.iter().find_map(|operation| {
        let source = Operation::decode(&operation[..]).ok()?.source?;
        source.identifier.strip_prefix(BUILD).map(str::to_string)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_names_its_build() {
        let found = definition("abc/1");
        assert_eq!(build_of(&found).as_deref(), Some("abc/1"));
        assert_eq!(build_of(&Definition::default()), None);
        let wrong = Definition { operations: vec![vec![0xff; 9]], ..Definition::default() };
        assert_eq!(build_of(&wrong), None);
    }
}
