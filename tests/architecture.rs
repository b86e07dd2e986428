//! The rooms keep their order: in each crate they stand in a row, and a room uses only those that stand
//! before it. ARCHITECTURE.md lists them.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of a source folder, from the bottom up.
struct House {
    folder: &'static str,
    /// What paths to its rooms begin with.
    root: &'static str,
    rooms: &'static [&'static str],
    /// Files beside the rooms, which may use all of them.
    top: &'static [&'static str],
}

const RUNTIME: House = House {
    folder: "runtime/src",
    root: "crate",
    rooms: &[
        "error",
        "text",
        "sys",
        "oci",
        "validate",
        "seccomp",
        "resources",
        "plan",
        "explain",
        "host",
        "cgroup",
        "console",
        "spawn",
        "state",
        "container",
        "check",
    ],
    top: &["lib.rs"],
};

/// The use of one room by another.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
    line: usize,
}

#[test]
fn no_room_of_the_runtime_uses_one_that_stands_above_it() {
    let wrong = RUNTIME.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_says_what_belongs_there() {
    for room in RUNTIME.rooms {
        let path = Path::new(RUNTIME.folder).join(room).join("mod.rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.starts_with("//! "), "{}: what belongs in this room?", path.display());
    }
}

#[test]
fn an_arrow_against_the_order_is_seen() {
    let text = "use crate::text::{json, time};\n// crate::container\nuse crate::{\n    error::Result,\n    state::{Root, Status},\n};\n\
                fn f() { crate::check::look(); }\n#[cfg(test)]\nmod tests { use crate::container::create; }\n";
    let arrows = arrows("crate", "sys", text);
    let found: Vec<_> = arrows.iter().map(|arrow| (arrow.to.as_str(), arrow.line)).collect();
    assert_eq!(found, [("text", 1), ("error", 3), ("state", 3), ("check", 7)]);
    let wrong: Vec<_> =
        arrows.iter().filter(|arrow| !RUNTIME.allows(arrow)).map(|arrow| arrow.to.as_str()).collect();
    assert_eq!(wrong, ["state", "check"]);
}

impl House {
    /// Files outside of any room, and arrows against the order.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for path in sources(Path::new(self.folder)) {
            let inside = path.strip_prefix(self.folder).expect("below the folder");
            let mut parts = inside.iter().map(|part| part.to_string_lossy());
            let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
            if rest.is_none() {
                if !self.top.contains(&&*first) {
                    wrong.push(format!("{}: stands in no room", path.display()));
                }
                continue;
            }
            if !self.rooms.contains(&&*first) {
                wrong.push(format!("{}: {first} is no room that this test knows", path.display()));
                continue;
            }
            let is_test = inside.to_string_lossy().ends_with("tests.rs");
            let text = fs::read_to_string(&path).expect("read a source file");
            for arrow in arrows(self.root, &first, &text).iter().filter(|_| !is_test) {
                if !self.allows(arrow) {
                    let Arrow { from, to, line } = arrow;
                    wrong.push(format!("{}:{line}: {from} uses {to}, which stands above it", path.display()));
                }
            }
        }
        wrong
    }

    /// Names that are not rooms are re-exports of the crate's root, which no room may use either.
    fn allows(&self, arrow: &Arrow) -> bool {
        let place = |room: &str| self.rooms.iter().position(|known| *known == room);
        place(&arrow.to).is_some_and(|to| place(&arrow.from).is_some_and(|from| to <= from))
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read a source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The rooms that a text names outside of its tests and comments.
fn arrows(root: &str, from: &str, text: &str) -> Vec<Arrow> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut arrows = Vec::new();
    for (at, prefix) in code.match_indices(&format!("{root}::")) {
        let is_whole =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        let rest = &code[at + prefix.len()..];
        let line = code[..at].matches('\n').count() + 1;
        for to in first_names(rest).into_iter().filter(|_| is_whole) {
            arrows.push(Arrow { from: from.to_string(), to, line });
        }
    }
    arrows
}

/// The first name of a path, or of each path in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
