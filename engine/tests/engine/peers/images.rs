//! Images: names, removal, tars, commit.

use super::{Line, compare, line, misused, refused};

#[test]
fn names_and_removal() {
    const LINES: &[Line] = &[
        line("p tag i a:1; p tag i b; p images -q | sort -u | wc -l", 0, "1\n"),
        refused("p tag nonesuch x 2>/dev/null"),
        misused("p tag i 'UPPER' 2>/dev/null"),
        line("p rmi a:1 | sed s,localhost/,,", 0, "Untagged: a:1\n"),
        line("p rmi nonesuch", 1, ""),
        line("p rmi b nonesuch 2>/dev/null | sed s,localhost/,,", 0, "Untagged: b:latest\n"),
        line("p create --name uu --network none i true >/dev/null; p rmi i 2>/dev/null", 1, "").but(
            "podman",
            2,
            "",
            "2 says that it is in use",
        ),
        line("p rm uu >/dev/null; p rmi i | head -n 1 | sed s,localhost/,,", 0, "Untagged: i:latest\n"),
        line("p images -q", 0, ""),
        line("p image rm nonesuch", 1, ""),
        line("p image prune -f >/dev/null", 0, ""),
    ];
    compare(LINES);
}

#[test]
fn tars() {
    const LINES: &[Line] = &[
        line(
            "p import -m said -c 'CMD [\"echo\",\"x\"]' rootfs.tar made:1 2>/dev/null | grep -cE '^sha256:[0-9a-f]{64}$'",
            0,
            "1\n",
        ),
        line("p run --rm --network none made:1", 0, "x\n"),
        line(
            "cat rootfs.tar | p import - piped >/dev/null 2>&1; p run --rm --network none piped echo y",
            0,
            "y\n",
        ),
        refused("p import nonesuch.tar 2>/dev/null"),
        line(
            "p save -o saved.tar made:1; p rmi made:1 >/dev/null; p load -i saved.tar | sed s,localhost/,,",
            0,
            "Loaded image: made:1\n",
        ),
        line("p run --rm --network none made:1", 0, "x\n"),
        line("p save made:1 | tar -tf - | grep -c '^manifest.json$'", 0, "1\n"),
        line("p rmi made:1 >/dev/null; p load <saved.tar | sed s,localhost/,,", 0, "Loaded image: made:1\n"),
        line("p save nonesuch 2>/dev/null | wc -c", 0, "0\n"),
        line("p save -o x nonesuch 2>/dev/null; test $? != 0 && test ! -e x", 0, ""),
        refused("p load -i nonesuch.tar 2>/dev/null"),
        line("echo rubbish >rubbish.tar; p load -i rubbish.tar >/dev/null 2>&1; test $? != 0", 0, ""),
        line(
            "p run --name uu --network none i sh -c 'echo kept >/tmp/f; rm /etc/group'; p commit -a me uu done 2>/dev/null | grep -cE '^(sha256:)?[0-9a-f]{64}$'",
            0,
            "1\n",
        ),
        line("p run --rm --network none done sh -c 'cat /tmp/f; ls /etc/group 2>/dev/null'", 1, "kept\n"),
        line(
            "p commit -c 'CMD [\"echo\",\"changed\"]' -c 'ENV Z=1' uu with >/dev/null 2>&1; p run --rm --network none with",
            0,
            "changed\n",
        ),
        line("p commit --change 'NONSENSE x' uu bad >/dev/null 2>&1; test $? != 0", 0, ""),
        refused("p commit nonesuch x 2>/dev/null"),
        line("p history done -q | wc -l", 0, "2\n"),
        line(
            "p export uu | p import - flat >/dev/null 2>&1; p run --rm --network none flat cat /tmp/f",
            0,
            "kept\n",
        ),
        line("p rm uu >/dev/null", 0, ""),
    ];
    compare(LINES);
}
