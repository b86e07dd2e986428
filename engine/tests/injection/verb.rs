//! The commands: what there is before each, and what must work after one that was killed.

use std::str::FromStr;

use crate::place::{IMAGE, Place};

/// A command.
#[derive(Clone, Copy)]
pub struct Verb {
    pub name: &'static str,
    /// Makes what the command begins with.
    before: fn(&Place) -> Result<(), String>,
    /// The command line.
    pub arguments: fn(&Place) -> Vec<String>,
    /// What somebody does who wanted it done.
    pub again: fn(&Place) -> Result<(), String>,
}

/// One that stays, with a volume.
const DETACHED: &[&str] =
    &["run", "-d", "--name", "one", "--network", "none", "-v", "data:/data", IMAGE, "sleep", "1000"];

/// All of them.
pub const VERBS: [Verb; 12] = [
    Verb {
        name: "pull",
        before: |_| Ok(()),
        arguments: |place| words(&["pull", "-q", &place.remote()]),
        again: |place| {
            place.must(&["pull", "-q", &place.remote()])?;
            says(place, &["run", "--rm", "--network", "none", &place.remote()], "from the image\n")
        },
    },
    Verb {
        name: "run",
        before: |_| Ok(()),
        arguments: |_| words(&["run", "--rm", "--network", "none", IMAGE, "true"]),
        again: |place| says(place, &["run", "--rm", "--network", "none", IMAGE], "from the image\n"),
    },
    Verb {
        name: "run-detached",
        before: |_| Ok(()),
        arguments: |_| words(DETACHED),
        again: |place| {
            place.must(&["rm", "-f", "one"])?;
            place.must(DETACHED)?;
            says(place, &["exec", "one", "cat", "/etc/passwd"], "root:x:0:0:root:/root:/bin/sh\n")
        },
    },
    Verb {
        name: "run-published",
        before: |_| Ok(()),
        arguments: |_| words(&["run", "--rm", "-p", "8080:80", IMAGE, "true"]),
        again: |place| says(place, &["run", "--rm", "-p", "8080:80", IMAGE], "from the image\n"),
    },
    Verb {
        name: "exec",
        before: one,
        arguments: |_| words(&["exec", "one", "true"]),
        again: |place| says(place, &["exec", "one", "cat", "/etc/passwd"], "root:x:0:0:root:/root:/bin/sh\n"),
    },
    Verb {
        name: "stop",
        before: one,
        arguments: |_| words(&["stop", "-t", "0", "one"]),
        again: |place| {
            place.must(&["stop", "-t", "0", "one"])?;
            place.must(&["start", "one"]).map(drop)
        },
    },
    Verb {
        name: "rm",
        before: one,
        arguments: |_| words(&["rm", "-f", "one"]),
        again: |place| {
            place.must(&["rm", "-f", "one"])?;
            one(place)
        },
    },
    Verb {
        name: "commit",
        before: ended,
        arguments: |_| words(&["commit", "one", "mine"]),
        again: |place| {
            place.must(&["commit", "one", "mine"])?;
            says(place, &["run", "--rm", "--network", "none", "mine", "cat", "/new"], "new\n")
        },
    },
    Verb {
        name: "build",
        before: |_| Ok(()),
        arguments: |place| build(place, &[]),
        again: |place| is_built(place, &[]),
    },
    Verb {
        name: "build-caches",
        before: |place| {
            is_built(place, &[&place.cache("dest")])?;
            place.must(&["rmi", "mine"])?;
            place.must(&["builder", "prune", "-a", "-f"]).map(drop)
        },
        arguments: |place| build(place, &[&place.cache("src"), &place.cache("dest")]),
        again: |place| is_built(place, &[&place.cache("src"), &place.cache("dest")]),
    },
    Verb {
        name: "rmi",
        before: mine,
        arguments: |_| words(&["rmi", "mine"]),
        again: |place| {
            mine(place)?;
            place.must(&["rmi", "mine"]).map(drop)
        },
    },
    Verb {
        name: "prune",
        before: |place| {
            mine(place)?;
            place.must(&["volume", "create", "data"])?;
            ended(place)?;
            // The commit has lost its name to another one.
            place.must(&["commit", "one", "mine"]).map(drop)
        },
        arguments: |_| words(&["system", "prune", "-f", "--volumes"]),
        again: |place| place.must(&["system", "prune", "-f", "--volumes"]).map(drop),
    },
];

impl Verb {
    /// Makes what the command begins with.
    pub fn prepare(&self, place: &Place) -> Result<(), String> {
        (self.before)(place)
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = VERBS.into_iter().find(|verb| verb.name == text);
        found.ok_or_else(|| format!("{text}: not one of {}", VERBS.map(|verb| verb.name).join(", ")))
    }
}

/// A container that runs.
fn one(place: &Place) -> Result<(), String> {
    let run = ["run", "-d", "--name", "one", "--network", "none", IMAGE, "sleep", "1000"];
    place.must(&run).map(drop)
}

/// A container that has ended.
fn ended(place: &Place) -> Result<(), String> {
    place.must(&["rm", "-f", "one"])?;
    let run = ["run", "--name", "one", "--network", "none", IMAGE, "sh", "-c", "echo new >/new"];
    place.must(&run).map(drop)
}

/// An image of a container that is gone.
fn mine(place: &Place) -> Result<(), String> {
    ended(place)?;
    place.must(&["commit", "one", "mine"])?;
    place.must(&["rm", "one"]).map(drop)
}

/// The command line that builds an image.
fn build(place: &Place, caches: &[&str]) -> Vec<String> {
    let context = place.context();
    let line = ["build", "-q", "--network", "none", "-t", "mine", &context];
    words(&[&line[..], caches].concat())
}

/// The image can be built, and has what belongs in it.
fn is_built(place: &Place, caches: &[&str]) -> Result<(), String> {
    let line = build(place, caches);
    place.must(&line.iter().map(String::as_str).collect::<Vec<_>>())?;
    says(place, &["run", "--rm", "--network", "none", "mine", "cat", "/copied", "/built"], "copied\nbuilt\n")
}

fn says(place: &Place, arguments: &[&str], expected: &str) -> Result<(), String> {
    match place.must(arguments)? {
        said if said == expected => Ok(()),
        said => Err(format!("box {}: {said:?} instead of {expected:?}", arguments.join(" "))),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
