//! build: what `COPY --parents` makes of paths, as BuildKit's documentation has it.

use std::fs;

use crate::build::{build, prepare, said, write};
use crate::harness::Room;

/// Files and empty folders below a folder of an image.
fn found(room: &Room, image: &str, folder: &str) -> Vec<String> {
    let listed = said(room, image, &format!("cd {folder} && find . ! -type d -o -type d -empty | sort"));
    listed.lines().map(|line| line.trim_start_matches("./").to_string()).collect()
}

#[test]
fn files_of_a_context_keep_their_folders() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    for name in [
        "x/a.txt",
        "y/a.txt",
        "x/y/a.txt",
        "x/y/b.txt",
        "src/a.txt",
        "src/x/b.txt",
        "src/x/y/c.txt",
        "src/x/y/c.md",
    ] {
        write(&room, name, name);
    }
    for (sources, expected) in [
        ("./x/a.txt ./y/a.txt", &["x/a.txt", "y/a.txt"][..]),
        // A dot between slashes: what stands before it does not go along.
        ("./x/./y/*.txt", &["y/a.txt", "y/b.txt"]),
        ("x/./y/./a.txt", &["y/a.txt"]),
        ("./src/./x", &["x/b.txt", "x/y/c.md", "x/y/c.txt"]),
        ("src/x/.", &["src/x/b.txt", "src/x/y/c.md", "src/x/y/c.txt"]),
        ("s*/./x", &["x/b.txt", "x/y/c.md", "x/y/c.txt"]),
        // Two stars are any number of folders, and none.
        ("./src/**/*.txt", &["src/a.txt", "src/x/b.txt", "src/x/y/c.txt"]),
        ("./src/./**/*.txt", &["a.txt", "x/b.txt", "x/y/c.txt"]),
        ("**/c.txt", &["src/x/y/c.txt"]),
        ("src/**/y", &["src/x/y/c.md", "src/x/y/c.txt"]),
        ("--exclude=**/c.* src", &["src/a.txt", "src/x/b.txt", "src/x/y"]),
        ("--exclude=*.txt src", &["src/a.txt", "src/x/b.txt", "src/x/y/c.md", "src/x/y/c.txt"]),
        // What is left out is named from the context, or from the dot.
        ("--exclude=src/x/y src", &["src/a.txt", "src/x/b.txt"]),
        ("--exclude=x/y src", &["src/a.txt", "src/x/b.txt", "src/x/y/c.md", "src/x/y/c.txt"]),
        ("--exclude=x/y ./src/./**", &["a.txt", "x/b.txt"]),
        ("--exclude=a.txt ./src/./**/*.txt", &["x/b.txt", "x/y/c.txt"]),
        ("--exclude=**/*.md ./src/./x", &["x/b.txt", "x/y/c.txt"]),
        ("--exclude=**/c.txt ./src/**/*.txt", &["src/a.txt", "src/x/b.txt"]),
    ] {
        build(&room, &["-q", "-t", "made"], &format!("FROM base:1\nCOPY --parents {sources} /p/\n")).ok();
        let found = found(&room, "made", "/p");
        assert_eq!(found, expected, "{sources}");
    }
    for name in ["app1/icons32/i", "app1/icons64/i", "app1/notes/n", "app2/icons32/i", "testapp/icons32/i"] {
        write(&room, &format!("assets/{name}"), name);
    }
    let icons = "FROM base:1\nCOPY --parents --exclude=testapp assets/./**/icons* /dest/\n";
    build(&room, &["-q", "-t", "made"], icons).ok();
    assert_eq!(found(&room, "made", "/dest"), ["app1/icons32/i", "app1/icons64/i", "app2/icons32/i"]);
    // Without the flag they are all in one folder.
    build(&room, &["-q", "-t", "made"], "FROM base:1\nCOPY ./x/a.txt ./y/a.txt /p/\n").ok();
    assert_eq!(said(&room, "made", "cat /p/a.txt"), "y/a.txt");
    // The working folder, and modes of the folders.
    fs::create_dir_all(room.folder.join("context/foo1/foo2")).expect("a folder");
    for name in ["foo1/foo2/bar", "foo1/foo2/baz"] {
        write(&room, name, name);
    }
    let dockerfile =
        "FROM base:1\nCOPY --parents foo1/foo2/bar /\nWORKDIR /test\nCOPY --parents foo1/foo2/ba* .\n";
    build(&room, &["-q", "-t", "made"], dockerfile).ok();
    assert_eq!(
        said(&room, "made", "ls /foo1/foo2 /test/foo1/foo2 | xargs"),
        "/foo1/foo2: bar /test/foo1/foo2: bar baz\n"
    );
    build(&room, &[], "FROM base:1\nCOPY --parents ./nonesuch /\n").fails_with(1, "there is no such file");
}

#[test]
fn links_that_lead_nowhere_are_passed_by() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    write(&room, "x/a.txt", "a");
    for (name, target) in [("self", "self"), ("gone", "nowhere")] {
        std::os::unix::fs::symlink(target, room.folder.join("context").join(name)).expect("link");
    }
    for sources in ["--parents */**/*.txt", "--parents */a.txt", "--parents */./**/a.txt", "*/a.txt"] {
        build(&room, &["-q", "-t", "made"], &format!("FROM base:1\nCOPY {sources} /p/\n")).ok();
        assert!(found(&room, "made", "/p").iter().any(|path| path.ends_with("a.txt")), "{sources}");
    }
    for name in ["self", "gone", "s*", "g*"] {
        build(&room, &[], &format!("FROM base:1\nCOPY {name} /p/\n"))
            .fails_with(1, "is a link, and leads to no file");
    }
}

#[test]
fn files_of_a_stage_keep_their_folders() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    let base = "FROM base:1 AS from\nWORKDIR /test\nRUN mkdir -p a/b/c/d/e a/b2/c/d/e a/b/c2/d/e a/b/c2/d/e2; touch a/b/c/d/foo a/b/c/d/e/bay a/b2/c/d/e/bar a/b/c2/d/e/baz a/b/c2/d/e2/baz\nFROM base:1\n";
    for (sources, expected) in [
        ("/test/a/b/./c/d", &["c/d/e/bay", "c/d/foo"][..]),
        ("/test/a/b/c/d/.", &["test/a/b/c/d/e/bay", "test/a/b/c/d/foo"]),
        ("./test/a/b/c/d", &["test/a/b/c/d/e/bay", "test/a/b/c/d/foo"]),
        ("/test/a/./b/./c", &["b/c/d/e/bay", "b/c/d/foo"]),
        ("/test/a/./*/c", &["b/c/d/e/bay", "b/c/d/foo", "b2/c/d/e/bar"]),
        ("/test/a/b*/./c/**/e", &["c/d/e/bar", "c/d/e/bay"]),
        ("/test/a/b/c*/./d/**/baz /test/a/b*/./c/**/bar", &["c/d/e/bar", "d/e/baz", "d/e2/baz"]),
        ("--exclude=**/baz /test/a/./b", &["b/c/d/e/bay", "b/c/d/foo", "b/c2/d/e", "b/c2/d/e2"]),
    ] {
        build(
            &room,
            &["-q", "--network", "none", "-t", "made"],
            &format!("{base}COPY --from=from --parents {sources} /out/\n"),
        )
        .ok();
        let found = found(&room, "made", "/out");
        assert_eq!(found, expected, "{sources}");
    }
}
