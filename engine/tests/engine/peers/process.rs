//! What the program of a container gets: statuses, environment, identity, rights, limits.

use super::{Line, compare, line};

#[test]
fn statuses() {
    const LINES: &[Line] = &[
        line("p run --rm --network none i true", 0, ""),
        line("p run --rm --network none i sh -c 'exit 3'", 3, ""),
        line("p run --rm --network none i sh -c 'echo out; echo err >&2' 2>/dev/null", 0, "out\n"),
        line("p run --rm --network none i sh -c 'echo out; echo err >&2' 2>&1 >/dev/null", 0, "err\n"),
        line("p run --rm --network none i nonesuch", 127, ""),
        line("p run --rm --network none i /nonesuch", 127, ""),
        line("p run --rm --network none i /etc", 126, ""),
        line("p run --rm --network none i /etc/passwd", 126, ""),
        line("p run --rm --network none --init i sh -c 'kill -TERM $$'", 143, "")
            .not("podman", "catatonit is a package of its own"),
        line("p run --rm --network none --init i sh -c 'kill -KILL $$'", 137, "")
            .not("podman", "catatonit is a package of its own"),
        line("p run --rm --network none i sh -c 'exit 255'", 255, ""),
        line("p run --rm --network none --nonesuch i true 2>/dev/null", 125, ""),
        line("p run --rm --network none 2>/dev/null", 125, "").but(
            "docker",
            1,
            "",
            "counts arguments before anything else",
        ),
        line("p run --rm --pull never --network none nonesuch:1 true", 125, ""),
        line("p run --rm --network none -v /nonesuch-source:relative i true", 125, ""),
        line("p run --rm --network none --name '?' i true", 125, ""),
        line("p run --rm --network none -m nonsense i true", 125, ""),
        line("p run --rm --network none -w relative i true", 125, "")
            .not("podman", "makes it absolute in some versions"),
        line("p run --rm --network none -u nobody-here i true", 125, "").but(
            "podman",
            126,
            "",
            "finds users when it starts it",
        ),
        line("echo in | p run --rm -i --network none i cat", 0, "in\n"),
        line("echo in | p run --rm --network none i cat", 0, ""),
        line("p run --rm -i --network none i wc -c </dev/null", 0, "0\n"),
        line("head -c 300000 /dev/zero | p run --rm -i --network none i cat | wc -c", 0, "300000\n"),
    ];
    compare(LINES);
}

#[test]
fn environment() {
    const LINES: &[Line] = &[
        line("p run --rm --network none -e A=1 -e B= i sh -c 'echo $A-${B-unset}-${C-unset}'", 0, "1--unset\n"),
        line("FROM_HERE=x p run --rm --network none -e FROM_HERE -e NOT_HERE i sh -c 'echo $FROM_HERE ${NOT_HERE-unset}'", 0, "x unset\n"),
        line("printf '# no\\nA=1\\nB=two words\\n\\nHERE\\nC=\"q\"\\n' >list; HERE=y p run --rm --network none --env-file list i sh -c 'echo $A,$B,$HERE,$C'", 0, "1,two words,y,\"q\"\n"),
        line("p run --rm --network none --env-file list -e A=2 i sh -c 'echo $A'", 0, "2\n"),
        line("p run --rm --network none --env-file nonesuch i true", 125, ""),
        line("printf 'A B=1\\n' >bad; p run --rm --network none --env-file bad i true", 125, "")
            .not("podman", "takes a name with a space"),
        line("p run --rm --network none -e A=a=b i sh -c 'echo $A'", 0, "a=b\n"),
        line("p run --rm --network none i sh -c 'echo $PATH $HOME'", 0, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root\n"),
        line("p run --rm --network none -u web i sh -c 'echo $HOME'", 0, "/srv\n"),
        line("p run --rm --network none -u 4242 i sh -c 'echo $HOME'", 0, "/\n"),
        line("p run --rm --network none -e HOME=/x i sh -c 'echo $HOME'", 0, "/x\n"),
        line("p run --rm --network none --hostname named i sh -c 'hostname; echo $HOSTNAME; cat /etc/hostname'", 0, "named\nnamed\nnamed*"),
        line("p run --rm --network none --cidfile cid i hostname >name; test $(head -c 12 cid) = $(cat name) && wc -c <cid", 0, "64\n").not("podman", "newer versions remove the file with the container"),
        line("p run --rm --network none --cidfile cid i true", 125, "").not("podman", "newer versions remove the file with the container"),
        line("p run -t --rm --network none i sh -c 'echo $TERM' </dev/null", 0, "xterm\r\n"),
        line("p run --rm --network none --entrypoint echo i a b", 0, "a b\n"),
        line("p run --rm --network none --entrypoint '' i echo a", 0, "a\n"),
        line("p import -c 'ENTRYPOINT [\"echo\",\"entry\"]' -c 'CMD [\"cmd\"]' -c 'ENV A=image' -c 'WORKDIR /tmp' -c 'USER web' -c 'LABEL l=image' rootfs.tar e >/dev/null 2>&1", 0, ""),
        line("p run --rm --network none e", 0, "entry cmd\n"),
        line("p run --rm --network none e other", 0, "entry other\n"),
        line("p run --rm --network none --entrypoint id e -u", 0, "33\n"),
        line("p run --rm --network none --entrypoint pwd e", 0, "/tmp\n"),
        line("p run --rm --network none --entrypoint sh e -c 'echo $A'", 0, "image\n"),
        line("p run --rm --network none -e A=mine --entrypoint sh e -c 'echo $A'", 0, "mine\n"),
        line("p run --rm --network none --entrypoint '[\"echo\", \"json\"]' e x", 127, "")
            .but("podman", 0, "json x\n", "reads JSON"),
    ];
    compare(LINES);
}

#[test]
fn identity() {
    const LINES: &[Line] = &[
        line("p run --rm --network none i id -u", 0, "0\n"),
        line("p run --rm --network none -u web i sh -c 'id -u; id -g; id -G'", 0, "33\n34\n34 50\n"),
        line("p run --rm --network none -u 33 i sh -c 'id -u; id -g; id -G'", 0, "33\n34\n34 50\n"),
        line("p run --rm --network none -u 5:6 i sh -c 'id -u; id -g; id -G'", 0, "5\n6\n6\n"),
        line("p run --rm --network none -u web:logs i sh -c 'id -u; id -g'", 0, "33\n50\n"),
        line("p run --rm --network none -u :logs i sh -c 'id -u; id -g'", 0, "0\n50\n").not("podman", "versions differ"),
        line("p run --rm --network none -u 7 i sh -c 'id -u; id -g; id -G'", 0, "7\n0\n0\n"),
        line("p run --rm --network none --group-add logs --group-add 77 i id -G", 0, "0 50 77\n"),
        line("p run --rm --network none --group-add nonesuch i true", 125, "").but("podman", 126, "", "finds groups when it starts it"),
        line("p run --rm --network none -w /srv/made i pwd", 0, "/srv/made\n")
            .but("podman", 126, "", "the folder must be there"),
        line("p run --rm --network none -w /tmp i pwd", 0, "/tmp\n"),
        line("p run --rm --network none i sh -c 'umask'", 0, "0022\n"),
        line("p run --rm --network none --init i sh -c 'test $$ != 1 && echo child'", 0, "child\n")
            .not("podman", "catatonit is a package of its own"),
        line("p run --rm --network none i sh -c 'echo $$'", 0, "1\n"),
        line("p run --rm --network none --pid host i sh -c 'test $$ != 1 && echo host'", 0, "host\n").not("podman", "not without cgroups"),
        line("p run --rm --network none --uts host i hostname >inside; hostname | diff - inside", 0, ""),
        line("p run --rm --network none --domainname inside i cat /proc/sys/kernel/domainname", 0, "inside\n")
            .not("podman", "has no such flag"),
        line("p run --rm --network none --userns host i cat /proc/self/uid_map", 0, "*0*0*4294967295\n"),
        line("p run --rm --network none --read-only i touch /file 2>/dev/null", 1, ""),
        line("p run --rm --network none --read-only --tmpfs /srv i touch /srv/file", 0, ""),
        line("p run --rm --network none --sysctl net.ipv4.ip_unprivileged_port_start=77 i cat /proc/sys/net/ipv4/ip_unprivileged_port_start", 0, "77\n"),
        line("p run --rm --network none --sysctl kernel.panic=1 i true", 125, "")
            .not("podman", "the runtime refuses it in some versions"),
        line("p run --rm --network none --ulimit nofile=100:200 i sh -c 'ulimit -n; ulimit -Hn'", 0, "100\n200\n").not("podman", "raises the others"),
        line("p run --rm --network none --ulimit core=0 i sh -c 'ulimit -c'", 0, "0\n").not("podman", "raises the others"),
        line("p run --rm --network none --ulimit nonsense=1 i true", 125, ""),
        line("p run --rm --network none --ulimit nofile=200:100 i true", 125, ""),
        line("p run --rm --network none --shm-size 1m i sh -c 'stat -f -c %b:%S /dev/shm'", 0, "256:4096\n"),
        line("p run --rm --network none --shm-size 0x i true", 125, ""),
        line("p run --rm --network none --oom-score-adj 300 i cat /proc/self/oom_score_adj", 0, "300\n"),
        line("p run --rm --network none --oom-score-adj 3000 i true", 125, "").not("podman", "the runtime refuses it"),
        line("p run --rm --network none --label a=1 --label b i true", 0, ""),
        line("p run --rm --network none --platform linux/amd64 i true", 0, "").not("podman", "looks for another image by that platform"),
        line("p run --rm --network none --stop-signal NONESUCH i true", 125, ""),
        line("p run --rm --network none --dns nonsense i true", 125, ""),
        line("p run --rm --network none --add-host nonsense i true", 125, ""),
        line("p run --rm --network none --mac-address nonsense i true", 125, ""),
        line("p run --rm --network none --memory-swap 64m i true", 125, "").not("podman", "works without cgroups here"),
        line("p run --rm --network none --ipc host i true", 0, ""),
        line("p run --rm --network none --cgroupns host i true", 0, ""),
        line("p run --rm --network none --cgroupns nonsense i true", 125, ""),
        line("p run --rm --network none --dns 192.0.2.1 --dns-search example.org --dns-option ndots:3 i cat /etc/resolv.conf", 0, "*nameserver 192.0.2.1\n*")
            .not("podman", "leaves the file out without a network"),
    ];
    compare(LINES);
}

#[test]
fn rights() {
    const LINES: &[Line] = &[
        line("p run --rm --network none i sh -c 'grep CapEff /proc/self/status | cut -f2' 2>/dev/null", 0, "*")
            .not("podman", "has fewer"),
        line("p run --rm --network none --cap-drop ALL i grep -c 'CapEff:.0000000000000000' /proc/self/status", 0, "1\n"),
        line("p run --rm --network none --cap-drop all --cap-add net_bind_service i grep CapEff /proc/self/status", 0, "CapEff:\t0000000000000400\n"),
        line("p run --rm --network none --cap-drop ALL --cap-add CAP_CHOWN i grep CapEff /proc/self/status", 0, "CapEff:\t0000000000000001\n"),
        line("p run --rm --network none -u 5 i grep CapEff /proc/self/status", 0, "CapEff:\t0000000000000000\n"),
        line("p run --rm --network none -u 5 --cap-add NET_ADMIN i grep CapEff /proc/self/status", 0, "CapEff:\t0000000000000000\n")
            .but("podman", 0, "CapEff:\t0000000000001000\n", "gives it to the user as ambient"),
        line("p run --rm --network none --cap-add NONSENSE i true", 125, ""),
        line("p run --rm --network none --cap-drop CHOWN i chown 5 /etc/passwd 2>/dev/null", 1, ""),
        line("p run --rm --network none --security-opt no-new-privileges i grep NoNewPrivs /proc/self/status", 0, "NoNewPrivs:\t1\n"),
        line("p run --rm --network none i grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status", 0, "NoNewPrivs:\t0\nSeccomp:\t2\n"),
        line("p run --rm --network none --security-opt seccomp=unconfined i grep '^Seccomp:' /proc/self/status", 0, "Seccomp:\t0\n"),
        line("p run --rm --network none --security-opt seccomp=nonesuch.json i true", 125, ""),
        line("p run --rm --network none --security-opt nonsense=1 i true", 125, ""),
        line("p run --rm --network none --privileged i sh -c 'mount -t tmpfs none /tmp && echo mounted'", 0, "mounted\n"),
        line("p run --rm --network none i mount -t tmpfs none /tmp 2>/dev/null", 1, ""),
        line("p run --rm --network none --device /dev/zero:/dev/nought i head -c 3 /dev/nought | wc -c", 0, "3\n"),
        line("p run --rm --network none --device /dev/zero:/dev/nought:r i sh -c ': </dev/nought && echo read'", 0, "read\n"),
        line("p run --rm --network none --device /nonesuch i true", 125, "").but("docker", 127, "", "takes it for the program").not("podman", "versions differ"),
        line("p run --rm --network none i sh -c 'ls /dev | grep -cE \"^(sda|vda|fuse|kmsg|mem)$\"'", 1, "0\n"),
        line("p run --rm --network none i sh -c ': >/proc/sys/kernel/hostname' 2>/dev/null", 1, ""),
        line("p run --rm --network none i cat /proc/kcore | wc -c", 0, "0\n"),
        line("p run --rm --network none i sh -c 'ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c .'", 1, "0\n"),
        line("p run --rm --network none --security-opt systempaths=unconfined i sh -c 'grep -c \" /proc/sys \" /proc/mounts'", 1, "0\n").not("podman", "has unmask=ALL in its place"),
    ];
    compare(LINES);
}
