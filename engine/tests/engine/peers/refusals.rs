//! The command line itself: what is no command, flag or number of arguments.

use super::{Line, compare, line, misused};

#[test]
fn command_lines() {
    const LINES: &[Line] =
        &[
            misused("p nonesuch 2>/dev/null"),
            line("p ps --nonesuch 2>/dev/null", 125, "").not("docker", "1 or 125, by its version"),
            misused("p ps extra 2>/dev/null"),
            misused("p stop 2>/dev/null"),
            misused("p rm 2>/dev/null"),
            misused("p rename one 2>/dev/null"),
            line("p volume nonesuch >/dev/null 2>&1; test $? != 0", 0, "").not("docker", "shows help"),
            line("p --version >/dev/null", 0, ""),
            line("p version >/dev/null", 0, ""),
            line("p info >/dev/null 2>&1", 0, ""),
            line("p run --help | grep -c -- --entrypoint", 0, "1\n"),
            line("p --help | grep -c '^ *run '", 0, "1\n"),
            line("p system df >/dev/null", 0, ""),
            line("p system df --format '{{.Type}}'", 0, "Images\nContainers\nLocal Volumes\nBuild Cache\n")
                .but("podman", 0, "Images\nContainers\nLocal Volumes\n", "has no cache of builds"),
            line("p system prune -f >/dev/null", 0, ""),
            line("p container nonesuch >/dev/null 2>&1; test $? != 0", 0, "").not("docker", "shows help"),
        ];
    compare(LINES);
}
