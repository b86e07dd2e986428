//! What is no instruction of a Dockerfile.

use crate::error::Error;

/// What is wrong with a line whose first word is none of the instructions' names.
pub fn unknown(word: &str, rest: &str, names: &[&str]) -> Error {
    let text = match proposed(&word.to_ascii_lowercase(), rest) {
        Some(remedy) => format!("{word} {}: there is no such instruction: {remedy}", rest.trim()),
        None => format!("{word}: there is no such instruction{}", hint(word, names)),
    };
    Error::invalid(text)
}

/// What foxbox has proposed for Foxfiles and never made: how else it is done.
fn proposed(word: &str, rest: &str) -> Option<String> {
    let first = rest.split_whitespace().next();
    match word {
        "merge" => {
            Some(format!("COPY --link --from={} / / brings the files of an image", first.unwrap_or("IMAGE")))
        }
        "install" => Some(
            "RUN with the image's package manager, or COPY --from=IMAGE of one that has it, brings a program"
                .to_string(),
        ),
        _ => None,
    }
}

/// The name that was perhaps meant is that with the most letters in the same places.
fn hint(word: &str, names: &[&str]) -> String {
    let upper = word.to_ascii_uppercase();
    let likeness = |name: &str| name.chars().zip(upper.chars()).filter(|(one, other)| one == other).count();
    let near = names
        .iter()
        .copied()
        .max_by_key(|name| (likeness(name), usize::MAX - name.len().abs_diff(upper.len())));
    near.filter(|name| likeness(name) * 2 >= name.len()).map_or(String::new(), |name| format!(" ({name}?)"))
}
