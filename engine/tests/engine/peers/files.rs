//! Files: volumes, binds, tmpfs, `cp`, `diff`, `export`.

use super::{Line, compare, line, misused, refused};

#[test]
fn mounts() {
    const LINES: &[Line] = &[
        line(
            "mkdir data; echo content >data/file; p run --rm --network none -v $PWD/data:/d i cat /d/file",
            0,
            "content\n",
        ),
        line("p run --rm --network none -v ./data:/d i cat /d/file", 0, "content\n"),
        line("p run --rm --network none -v $PWD/data:/d:ro i touch /d/new 2>/dev/null", 1, ""),
        line("p run --rm --network none -v $PWD/data:/d i touch /d/new; ls data", 0, "file\nnew\n"),
        line("p run --rm --network none -v $PWD/data/file:/etc/one-file i cat /etc/one-file", 0, "content\n"),
        line("p run --rm --network none -v $PWD/nonesuch:/d i true", 125, "").but(
            "docker",
            0,
            "",
            "makes the folder, as root",
        ),
        line(
            "rm -rf nonesuch; p run --rm --network none --mount type=bind,source=$PWD/nonesuch,target=/d i true",
            125,
            "",
        ),
        line(
            "p run --rm --network none --mount type=bind,source=$PWD/data,target=/d,readonly i touch /d/x 2>/dev/null",
            1,
            "",
        ),
        line(
            "p run --rm --network none --mount type=bind,src=$PWD/data,dst=/d,ro i cat /d/file",
            0,
            "content\n",
        ),
        line(
            "p run --rm --network none --mount type=tmpfs,destination=/t,tmpfs-size=1m i stat -f -c %b /t",
            0,
            "256\n",
        ),
        line(
            "p run --rm --network none --mount type=tmpfs,target=/t,tmpfs-mode=700 i stat -c %a /t",
            0,
            "700\n",
        ),
        line("p run --rm --network none --mount type=nonsense,target=/t i true", 125, ""),
        line("p run --rm --network none --mount type=tmpfs i true", 125, ""),
        line("p run --rm --network none --mount type=bind,target=/t i true", 125, ""),
        line("p run --rm --network none --mount type=tmpfs,target=/t,nonsense=1 i true", 125, ""),
        line("p run --rm --network none --tmpfs /t:size=2m,mode=750 i stat -f -c %b /t", 0, "512\n"),
        line("p run --rm --network none --tmpfs /t:size=2m,mode=750 i stat -c %a /t", 0, "750\n"),
        line("p run --rm --network none --tmpfs /t i stat -c %a /t", 0, "1777\n"),
        line(
            "p run --rm --network none --tmpfs /t i sh -c 'grep \" /t \" /proc/mounts'",
            0,
            "tmpfs /t tmpfs rw,nosuid,nodev,noexec,relatime* 0 0\n",
        )
        .not("podman", "lets programs be executed from it"),
        line("p run --rm --network none -v /d i touch /d/x", 0, ""),
        line("p volume ls -q", 0, ""),
        line("p run --rm --network none -v relative:/d:nonsense i true", 125, ""),
        line("p run --rm --network none -v /d:/d:/d:/d i true", 125, ""),
        line("p run --rm --network none -v $PWD/data:/ i true", 125, "")
            .not("podman", "takes it in some versions"),
        line("p run --rm --network none -v $PWD/data:/one -v $PWD/data:/one i true", 0, ""),
        line("mkdir data2; p run --rm --network none -v $PWD/data:/one -v $PWD/data2:/one i true", 125, ""),
        line(
            "p run -d --name keeper --network none -v named:/d i sleep 1000 >/dev/null; p exec keeper touch /d/kept; p run --rm --network none --volumes-from keeper i ls /d",
            0,
            "kept\n",
        ),
        line("p run --rm --network none --volumes-from keeper:ro i touch /d/x 2>/dev/null", 1, ""),
        line("p run --rm --network none --volumes-from nonesuch i true", 125, ""),
        line("p volume rm named", 1, "").but("podman", 2, "", "2 says that it is in use"),
        line("away keeper; p volume rm named", 0, "named\n"),
    ];
    compare(LINES);
}

#[test]
fn volumes() {
    const LINES: &[Line] = &[
        line("p volume create one", 0, "one\n"),
        line("p volume create --label a=1 two", 0, "two\n"),
        line("p volume create one", 0, "one\n").but("podman", 125, "", "refuses to make it twice"),
        misused("p volume create '?'"),
        line("p volume create | wc -c", 0, "65\n"),
        line("p volume rm $(p volume create '') | wc -c", 0, "65\n"),
        line("p volume ls -q | grep -cE '^[0-9a-f]{64}$'", 0, "1\n"),
        line("p volume rm $(p volume ls -q | grep -E '^[0-9a-f]{64}$') | wc -c", 0, "65\n"),
        line("p volume ls", 0, "DRIVER *VOLUME NAME\nlocal *one\nlocal *two\n"),
        line("p volume ls -q", 0, "one\ntwo\n"),
        line("p volume ls -q --filter label=a", 0, "two\n"),
        line("p volume ls -q --filter label=a=1", 0, "two\n"),
        line("p volume ls -q --filter label=a=2", 0, ""),
        line("p volume ls -q --filter name=on", 0, "one\n")
            .not("podman", "versions differ in whether a part will do"),
        line("p volume ls --format '{{.Name}}:{{.Driver}}'", 0, "one:local\ntwo:local\n"),
        line("p volume inspect -f '{{.Name}} {{.Driver}} {{index .Labels \"a\"}}' two", 0, "two local 1\n"),
        line("p volume inspect one two --format '{{.Name}}'", 0, "one\ntwo\n"),
        line("p volume inspect one nonesuch -f '{{.Name}}' 2>/dev/null", 1, "one\n").but(
            "podman",
            125,
            "*",
            "its status for errors",
        ),
        line("p volume rm nonesuch", 1, ""),
        line("p volume rm -f nonesuch", 0, "nonesuch\n").not("podman", "prints nothing"),
        line(
            "p run --rm --network none -v one:/tmp/x i sh -c 'echo kept >/tmp/x/f'; p run --rm --network none -v one:/y i cat /y/f",
            0,
            "kept\n",
        ),
        line(
            "mkdir -p rootfs/srv/content; echo image >rootfs/srv/content/f; tar -cf with.tar -C rootfs .; p import with.tar w >/dev/null 2>&1; p run --rm --network none -v fresh:/srv/content w cat /srv/content/f",
            0,
            "image\n",
        ),
        line("p run --rm --network none -v other:/srv/content:nocopy w ls /srv/content", 0, ""),
        line("p volume ls -q --filter dangling=true | sort", 0, "fresh\none\nother\ntwo\n"),
        line("p volume rm one two", 0, "one\ntwo\n"),
        line("p volume prune -f --filter label=nonesuch >/dev/null; p volume ls -q", 0, "fresh\nother\n"),
        line("p volume prune -a -f >/dev/null; p volume ls -q", 0, "")
            .not("podman", "older versions have no -a"),
    ];
    compare(LINES);
}

#[test]
fn copies() {
    const LINES: &[Line] = &[
        line("p create --name uu --network none i sleep 1000 >/dev/null", 0, ""),
        line(
            "echo content >file; p cp file uu:/tmp/copied 2>/dev/null; p cp uu:/tmp/copied back 2>/dev/null; cat back",
            0,
            "content\n",
        ),
        line("p cp uu:/etc/passwd - | tar -tf -", 0, "passwd\n"),
        line(
            "mkdir folder; echo a >folder/a; p cp folder uu:/tmp/made 2>/dev/null; p cp uu:/tmp/made out 2>/dev/null; ls out",
            0,
            "a\n",
        ),
        line("p cp folder uu:/tmp/made 2>/dev/null; p cp uu:/tmp/made/folder/a - | tar -xOf -", 0, "a\n"),
        line("p cp folder/. uu:/srv 2>/dev/null; p cp uu:/srv/a - | tar -xOf -", 0, "*")
            .not("podman", "the folder is not there"),
        refused("p cp file uu:/nonesuch/x 2>/dev/null"),
        refused("p cp nonesuch uu:/tmp 2>/dev/null"),
        refused("p cp uu:/nonesuch . 2>/dev/null"),
        line("p cp nonesuch:/etc/passwd . 2>/dev/null", 1, "").but("podman", 125, "", "takes it for a path"),
        refused("p cp file file2 2>/dev/null"),
        line("tar -cf - folder | p cp - uu:/tmp; p cp uu:/tmp/folder/a - | tar -xOf -", 0, "a\n"),
        line("p start uu >/dev/null; p exec uu cat /tmp/copied", 0, "content\n"),
        line("p exec uu sh -c 'echo x >/tmp/live'; p cp uu:/tmp/live live 2>/dev/null; cat live", 0, "x\n"),
        line("p diff uu | grep -E ' /tmp/(copied|live)$' | sort", 0, "A /tmp/copied\nA /tmp/live\n"),
        line(
            "p exec uu rm /etc/group; p exec uu sh -c 'echo >>/etc/passwd'; p diff uu | grep ' /etc' | sort",
            0,
            "C /etc\nC /etc/passwd\nD /etc/group\n",
        ),
        line(
            "p export uu | tar -tf - | grep -E '^(./)?(tmp/copied|etc/group)$' | sed s,^./,,",
            0,
            "tmp/copied\n",
        ),
        line("p export -o c.tar uu; tar -tf c.tar | grep -c tmp/live", 0, "1\n"),
        refused("p export nonesuch 2>/dev/null"),
        refused("p diff nonesuch 2>/dev/null"),
        line("p kill uu >/dev/null; p rm -f uu", 0, "uu\n").not("podman", "older versions print the id"),
    ];
    compare(LINES);
}
