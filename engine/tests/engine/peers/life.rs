//! The life of containers: create, start, stop, wait, kill, rename, restart, logs, exec, top.

use super::{Line, compare, line, misused, refused};

#[test]
fn from_creation_to_removal() {
    const LINES: &[Line] = &[
        line("p create --name uu --network none i sh -c 'echo begun; trap \"exit 5\" TERM; while :; do sleep 0.05; done' | wc -c", 0, "65\n"),
        line("p inspect -f '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}' uu", 0, "created false 0\n"),
        refused("p create --name uu --network none i true"),
        line("p start uu", 0, "uu\n"),
        line("p start uu", 0, "uu\n").not("podman", "older versions print nothing"),
        line("p inspect -f '{{.State.Status}} {{.State.Running}}' uu", 0, "running true\n"),
        line("till 'p logs uu | grep -q begun'; p stop -t 10 uu", 0, "uu\n"),
        line("p wait uu", 0, "5\n"),
        line("p inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}' uu", 0, "exited 5 false\n"),
        line("p stop uu", 0, "uu\n"),
        line("p kill uu", 1, "").not("podman", "its versions differ"),
        line("p restart -t 0 uu", 0, "uu\n"),
        line("p inspect -f '{{.State.Status}}' uu", 0, "running\n"),
        line("p logs uu | head -n 1", 0, "begun\n"),
        line("p kill -s KILL uu", 0, "uu\n"),
        line("p wait uu", 0, "137\n"),
        line("p rename uu dd", 0, ""),
        line("p inspect -f '{{.Name}}' dd", 0, "/dd\n").but("podman", 0, "dd\n", "names have no slash"),
        refused("p rename nonesuch ll"),
        refused("p create --name ll --network none i true >/dev/null; p rename dd ll"),
        line("p start dd >/dev/null; p rm dd 2>/dev/null", 1, "").but("podman", 2, "", "2 says that it runs"),
        line("away dd; p ps -a --format '{{.Names}}'", 0, "ll\n"),
        line("p start -a ll", 0, ""),
        line("p rm ll nonesuch 2>/dev/null", 1, "ll\n").not("podman", "older versions print the id"),
        line("p rm nonesuch", 1, ""),
        line("p rm -f nonesuch >/dev/null", 0, "").not("docker", "its versions differ"),
        refused("p start nonesuch 2>/dev/null"),
        refused("p stop nonesuch 2>/dev/null"),
        refused("p wait nonesuch 2>/dev/null"),
        refused("p kill nonesuch 2>/dev/null"),
        line("p run -d --name kk --network none i sh -c 'trap \"exit 9\" USR1; echo ready; while :; do sleep 0.05; done' >/dev/null; till 'p logs kk | grep -q ready'; p kill -s USR1 kk; p wait kk", 0, "kk\n9\n"),
        misused("p start kk >/dev/null; p kill --signal nonsense kk 2>/dev/null"),
        line("away kk; p run -d --rm --name gone --network none i true >/dev/null; p wait gone >/dev/null 2>&1; till 'test -z \"$(p ps -a -q --filter name=gone)\"'", 0, ""),
        line("p run -d --network none --stop-timeout 1 --name slow i sleep 1000 >/dev/null; began=$(date +%s); p stop slow; test $(($(date +%s) - began)) -lt 8 && p wait slow; p rm slow >/dev/null", 0, "slow\n137\n"),
        line("p run -d --network none --stop-signal INT --name ss i sh -c 'trap \"exit 6\" INT; echo ready; while :; do sleep 0.05; done' >/dev/null; till 'p logs ss | grep -q ready'; p stop ss; p wait ss; p rm ss >/dev/null", 0, "ss\n6\n"),
        line(r#"p run --name rr --restart on-failure:2 -d --network none i sh -c 'echo x; exit 4' >/dev/null; till 'p inspect -f "{{.RestartCount}} {{.State.Status}}" rr | grep "2 exited"'; p logs rr; p rm rr >/dev/null"#, 0, "x\nx\nx\n"),
        line("p run --rm --restart always --network none i true", 125, ""),
        line("p create --restart nonsense --network none i true", 125, "").but("docker", 1, "", "create has the status of any command"),
        line("p run -d --name qq --network none i sh -c 'exit 8' >/dev/null; p wait qq qq", 0, "8\n8\n"),
        line("p start -a qq", 8, ""),
        line("p rm qq >/dev/null; p run -d -i --name gg --network none i sh -c 'read line; echo $line' >/dev/null; echo typed | p attach gg 2>/dev/null; p wait gg; p logs gg; p rm gg >/dev/null", 0, "typed\n0\ntyped\n")
            .not("docker", "attach may end before the output is there").not("podman", "older versions print one more line end"),
        line("p run -d -i --name oo --network none i sh -c 'read a; echo got; read b; echo $a $b' >/dev/null; p inspect -f '{{.Config.OpenStdin}} {{.Config.StdinOnce}}' oo; echo one | p attach oo >/dev/null 2>&1 & till 'p logs oo | grep -q got'; echo two | p attach oo >/dev/null 2>&1; p wait oo; p logs oo; wait; p rm oo >/dev/null", 0, "true false\n0\ngot\none two\n")
            .not("podman", "its attach ends stdin all the same"),
    ];
    compare(LINES);
}

#[test]
fn logs() {
    const LINES: &[Line] = &[
        line(
            "p run -d --name uu --network none i sh -c 'for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2; printf end' >/dev/null; p wait uu",
            0,
            "0\n",
        ),
        line("p logs uu 2>/dev/null", 0, "line 1\nline 2\nline 3\nline 4\nline 5\nend*"),
        line("p logs uu 2>&1 >/dev/null", 0, "bad\n"),
        line("p logs --tail 2 uu 2>/dev/null | tail -n 1", 0, "end*")
            .not("podman", "counts what has no line end in another way"),
        line("p logs --tail 0 uu", 0, ""),
        line("p logs --tail all uu 2>/dev/null | wc -l", 0, "*").not("podman", "takes numbers alone"),
        line(
            "p logs -t uu 2>/dev/null | head -n 1 | grep -cE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+) line 1$'",
            0,
            "1\n",
        ),
        line("p logs --since 1h uu 2>/dev/null | head -n 1", 0, "line 1\n"),
        line("p logs --until 1h uu 2>/dev/null", 0, "").not("podman", "takes it for an hour from now"),
        line("p logs -f uu 2>/dev/null | head -n 1", 0, "line 1\n"),
        refused("p logs nonesuch 2>/dev/null"),
        misused("p logs --tail nonsense uu 2>/dev/null").not("docker", "takes it for all"),
        line(
            "p rm uu >/dev/null; p run -d --name hh --network none i sh -c 'echo one; sleep 0.5; echo two' >/dev/null; p logs -f hh",
            0,
            "one\ntwo\n",
        ),
        line(
            "away hh; p run -d --name nn --log-driver none --network none i echo x >/dev/null; p wait nn; p logs nn 2>/dev/null; test $? != 0",
            0,
            "0\n",
        ),
        line(
            "p rm nn >/dev/null; p run -d --name tt -t --network none i echo x >/dev/null; p wait tt; p logs tt",
            0,
            "0\nx\r\n",
        ),
    ];
    compare(LINES);
}

#[test]
fn more_programs() {
    const LINES: &[Line] = &[
        line("p run -d --name uu --network none -e A=1 -w /tmp i sleep 1000 >/dev/null", 0, ""),
        line("p exec uu echo hi", 0, "hi\n"),
        line("p exec uu sh -c 'exit 4'", 4, ""),
        line("p exec uu sh -c 'kill -KILL $$'", 137, ""),
        line("p exec uu nonesuch 2>/dev/null", 127, "").not("docker", "prints it on stdout"),
        line("p exec uu /etc 2>/dev/null", 126, "").not("docker", "prints it on stdout"),
        refused("p exec nonesuch true"),
        line("p exec uu sh -c 'echo $A; pwd'", 0, "1\n/tmp\n"),
        line("p exec -e A=2 -e B=3 -w /etc uu sh -c 'echo $A$B; pwd'", 0, "23\n/etc\n"),
        line("p exec --env-file nonesuch uu true 2>/dev/null", 1, "").not("docker", "versions differ").but(
            "podman",
            125,
            "",
            "its status for errors",
        ),
        line("echo L=5 >list; p exec --env-file list uu sh -c 'echo $L'", 0, "5\n"),
        line("p exec -u web uu id -u", 0, "33\n"),
        line("p exec -u 5:6 uu sh -c 'id -u; id -g'", 0, "5\n6\n"),
        line("p exec -w /nonesuch uu true 2>/dev/null >/dev/null; test $? -ge 126", 0, ""),
        line("echo in | p exec -i uu cat", 0, "in\n"),
        line("echo in | p exec uu cat", 0, ""),
        line("p exec -d uu sleep 77 >/dev/null; till 'p exec uu ps | grep -q [s]leep.77'", 0, ""),
        line("p exec --privileged uu grep CapEff /proc/self/status", 0, "CapEff:\t0*f\n")
            .not("podman", "versions differ in what they say"),
        line("p top uu 2>/dev/null | tail -n 2 | grep -c sleep", 0, "2\n").not("podman", "needs a cgroup"),
        line("p top uu -o pid,comm 2>/dev/null | head -n 1 | tr -s ' ' | sed 's/ $//'", 0, "PID COMMAND\n")
            .not("podman", "needs a cgroup"),
        line("p pause uu && p inspect -f '{{.State.Status}} {{.State.Paused}}' uu", 0, "uu\npaused true\n")
            .not("podman", "needs a cgroup"),
        line("p exec uu true 2>/dev/null", 1, "")
            .not("podman", "is not paused")
            .not("docker", "versions differ"),
        line("p unpause uu", 0, "uu\n").not("podman", "is not paused"),
        line("p unpause uu", 1, "").not("podman", "is not paused"),
        line("p stop -t 0 uu >/dev/null; p exec uu true 2>/dev/null", 1, "").but(
            "podman",
            255,
            "",
            "its own status",
        ),
        refused("p top uu 2>/dev/null"),
        line("p port uu", 0, ""),
        line("p rm uu >/dev/null", 0, ""),
    ];
    compare(LINES);
}
