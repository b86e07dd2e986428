//! Where an image of box's is not as BuildKit's, and why.

/// What differs on purpose: of which cases, where, and why; `*` stands for anything.
pub const DIFFERENT: &[(&str, &str, &str)] = &[
    ("*", ".steps.*.layer is null, not []", "a step that changes nothing makes no layer"),
    (
        "excluded",
        ".steps.*.layer lacks *b.txt*",
        "a file that is named is left out as well, as Docker's documentation says",
    ),
    ("excluded", ".steps.9.layer is null*", "as that"),
    ("mounts", ".steps.5.layer lacks */w 755*", "a mountpoint that is made and removed changes nothing"),
    ("unknown-user", "*", "BuildKit gives the files to root if there is no such user"),
    ("unknown-group", "*", "as that"),
];
