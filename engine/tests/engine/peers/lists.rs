//! Lists and what they can be asked for: `ps`, `inspect`, `images`, their filters and templates.

use super::{Line, compare, line, misused, refused};

#[test]
fn containers() {
    const LINES: &[Line] = &[
        line("p create --name one --network none --label a=1 --label team=x i sleep 1000 >/dev/null", 0, ""),
        line("p run -d --name two --network none --label a=2 -e V=w i sleep 1000 >/dev/null", 0, ""),
        line("p run -d --name three --network none i sh -c 'exit 3' >/dev/null; p wait three", 0, "3\n"),
        line("p ps --format '{{.Names}}'", 0, "two\n"),
        line("p ps -a --format '{{.Names}}' | sort", 0, "one\nthree\ntwo\n"),
        line("p ps -q --no-trunc | wc -c", 0, "65\n"),
        line("p ps -q | wc -c", 0, "13\n"),
        line("p ps | head -n 1 | tr -s ' '", 0, "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES\n"),
        line("p ps -l --format '{{.Names}}'", 0, "three\n"),
        line("p ps -n 2 --format '{{.Names}}' | sort", 0, "three\ntwo\n"),
        line("p ps -a --filter name=thr --format '{{.Names}}'", 0, "three\n"),
        line("p ps -a --filter name=^t --format '{{.Names}}' | sort", 0, "three\ntwo\n"),
        line("p ps -a --filter status=created --format '{{.Names}}'", 0, "one\n"),
        line(
            "p ps -a --filter status=exited --filter status=created --format '{{.Names}}' | sort",
            0,
            "one\nthree\n",
        ),
        line("p ps -a --filter exited=3 --format '{{.Names}}'", 0, "three\n"),
        line("p ps -a --filter label=a --format '{{.Names}}' | sort", 0, "one\ntwo\n"),
        line("p ps -a --filter label=a=2 --format '{{.Names}}'", 0, "two\n"),
        line("p ps -a --filter label=a --filter label=team=x --format '{{.Names}}'", 0, "one\n"),
        line("p ps -a --filter ancestor=i --format '{{.Names}}' | wc -l", 0, "3\n")
            .not("podman", "calls the image localhost/i"),
        line("p tag i kept >/dev/null; p tag i moved; p create --name tt --network none moved true >/dev/null; p ps -a --filter name=tt --format '{{.Image}}'; p rmi moved >/dev/null; p ps -a --filter name=tt --format '{{.Image}}' | wc -c; p ps -a --filter ancestor=moved -q | wc -l; p ps -a --filter name=tt --filter ancestor=kept -q | wc -l; p tag kept moved; p ps -a --filter name=tt --format '{{.Image}}'; p rm tt >/dev/null; p rmi moved kept >/dev/null", 0, "moved\n13\n0\n1\nmoved\n")
            .not("podman", "it keeps the name"),
        line("p ps -a --filter before=two --format '{{.Names}}'", 0, "one\n"),
        line("p ps -a --filter since=two --format '{{.Names}}'", 0, "three\n"),
        line("p ps -a --filter id=$(p inspect -f '{{.Id}}' one) --format '{{.Names}}'", 0, "one\n"),
        misused("p ps -a --filter nonsense=1 2>/dev/null"),
        misused("p ps -a --filter status=nonsense 2>/dev/null"),
        line(
            "p ps --format '{{.ID}} {{.Image}} {{.Status}}' | grep -cE '^[0-9a-f]{12} (localhost/)?i(:latest)? Up '",
            0,
            "1\n",
        ),
        line("p ps -a --filter name=three --format '{{.Status}}'", 0, "Exited (3) *ago\n"),
        line("p ps --format '{{.Label \"a\"}}'", 0, "2\n")
            .not("podman", "older versions have no labels there"),
        line("p ps --format '{{.Names}}\\t{{.Image}}'", 0, "two\t*i*\n"),
        line("p ps --format 'table {{.Names}}' | tr -d ' '", 0, "NAMES\ntwo\n"),
        misused("p ps --format '{{.Nonesuch}}' 2>/dev/null")
            .not("docker", "its versions differ")
            .not("podman", "its versions differ"),
        misused("p ps --format '{{' 2>/dev/null")
            .not("docker", "its versions differ")
            .not("podman", "its versions differ"),
        line("p ps --format '{{json .Names}}'", 0, "\"two\"\n").not("podman", "a list in some versions"),
        line("p inspect -f '{{.State.Status}}' one two three", 0, "created\nrunning\nexited\n"),
        line("p inspect -f '{{.Config.Env}}' two | grep -c V=w", 0, "1\n"),
        line(
            "p inspect -f '{{json .Config.Cmd}} {{len .Config.Cmd}} {{index .Config.Cmd 0}}' two",
            0,
            "[\"sleep\",\"1000\"] 2 sleep\n",
        ),
        line("p inspect -f '{{range .Config.Cmd}}<{{.}}>{{end}}' two", 0, "<sleep><1000>\n"),
        line(
            "p inspect -f '{{range $i, $v := .Config.Cmd}}{{$i}}={{$v}} {{end}}' two",
            0,
            "0=sleep 1=1000 \n",
        ),
        line("p inspect -f '{{if .State.Running}}up{{else}}down{{end}}' two one", 0, "up\ndown\n"),
        line(
            "p inspect -f '{{index .Config.Labels \"a\"}}{{with .State}}{{.Status}}{{end}}' two",
            0,
            "2running\n",
        ),
        line(
            "p inspect -f '{{join .Config.Cmd \",\"}} {{upper .State.Status}} {{title .State.Status}}' two",
            0,
            "sleep,1000 RUNNING Running\n",
        ),
        line("p inspect -f '{{(index .Config.Cmd 0) | printf \"%s!\"}}' two", 0, "sleep!\n"),
        line("p inspect -f '{{$x := .State}}{{$x.Status}}' two", 0, "running\n"),
        line("p inspect -f '{{ .State.Status -}}   x' two", 0, "runningx\n"),
        line("p inspect -f '{{println .State.Status}}' two", 0, "running\n\n"),
        line(
            "p inspect -f '{{eq .State.ExitCode 3}} {{not .State.Running}} {{and .State.Running true}}' three",
            0,
            "true true false\n",
        ),
        misused("p inspect -f '{{.Nonesuch}}' two 2>/dev/null")
            .not("docker", "its versions differ")
            .not("podman", "its versions differ"),
        misused("p inspect -f '{{.State.Nonesuch}}' two 2>/dev/null")
            .not("docker", "its versions differ")
            .not("podman", "its versions differ"),
        line("p inspect nonesuch 2>/dev/null", 1, "[]\n").but("podman", 125, "[]\n", "its status for errors"),
        refused("p inspect --type container i 2>/dev/null >/dev/null"),
        line("p inspect --type image -f '{{.Os}}' i", 0, "linux\n"),
        line("p inspect -s -f '{{.SizeRw}}' two | grep -c '^[0-9]'", 0, "1\n"),
        line(
            "p inspect -f '{{.HostConfig.NetworkMode}} {{.HostConfig.Privileged}} {{.HostConfig.AutoRemove}}' two",
            0,
            "none false false\n",
        ),
        line(
            "p inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.ReadonlyRootfs}}' two",
            0,
            "no false\n",
        )
        .not("podman", "older versions have no name"),
        line("p inspect -f '{{.Path}} {{.Args}}' two", 0, "sleep [1000]\n"),
        line("p inspect -f '{{.State.Pid}}' one three", 0, "0\n0\n"),
        line("p container inspect -f '{{.State.Status}}' two", 0, "running\n"),
        line("p container ls -q -a | wc -l", 0, "3\n"),
        line(
            "p inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' two",
            0,
            "none\n",
        )
        .not("podman", "its older versions have one everywhere"),
        line("p inspect -f '{{range .Mounts}}{{.Name}}:{{.Destination}}{{end}}' two", 0, "\n"),
        line("away one two three; p ps -a -q", 0, ""),
        line("p container prune -f >/dev/null; p ps -q", 0, ""),
    ];
    compare(LINES);
}

#[test]
fn images() {
    const LINES: &[Line] = &[
        line(
            "p import -c 'CMD [\"echo\"]' -c 'ENV A=1' -c 'LABEL l=v' rootfs.tar other:1 >/dev/null 2>&1; p tag other:1 other:2",
            0,
            "",
        ),
        line(
            "p images --format '{{.Repository}}:{{.Tag}}' | sed s,^localhost/,, | sort",
            0,
            "i:latest\nother:1\nother:2\n",
        ),
        line("p images | head -n 1 | tr -s ' '", 0, "REPOSITORY TAG IMAGE ID CREATED SIZE\n")
            .not("docker", "newer versions have another table"),
        line("p images -q | sort -u | wc -l", 0, "2\n"),
        line("p images -q | head -n 1 | wc -c", 0, "13\n"),
        line("p images -q --no-trunc | head -n 1 | grep -cE '^sha256:[0-9a-f]{64}$'", 0, "1\n"),
        line("p images other --format '{{.Tag}}' | sort", 0, "1\n2\n"),
        line("p images other:2 --format '{{.Tag}}'", 0, "2\n")
            .not("podman", "shows all of the image's names"),
        line("p images --filter label=l --format '{{.Tag}}' | sort", 0, "1\n2\n"),
        line("p images --filter label=l=w --format '{{.Tag}}'", 0, ""),
        line("p images --filter dangling=true -q", 0, ""),
        line("p images --filter reference='oth*' --format '{{.Tag}}' | sort", 0, "1\n2\n"),
        misused("p images --filter nonsense=1 2>/dev/null"),
        line("p image ls -q | wc -l", 0, "2\n").but("docker", 0, "3\n", "names an image again for each name"),
        line(
            "p image inspect -f '{{.Os}} {{json .Config.Cmd}} {{index .Config.Labels \"l\"}}' other:1",
            0,
            "linux [\"echo\"] v\n",
        ),
        line("p image inspect -f '{{len .RootFS.Layers}} {{.RootFS.Type}}' i", 0, "1 layers\n"),
        line("p image inspect nonesuch 2>/dev/null", 1, "[]\n").but(
            "podman",
            125,
            "[]\n",
            "its status for errors",
        ),
        line("p history -q i | wc -l", 0, "1\n"),
        line("p history --format '{{.CreatedBy}}' i | wc -l", 0, "1\n"),
        refused("p history nonesuch 2>/dev/null"),
    ];
    compare(LINES);
}
