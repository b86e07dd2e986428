//! Networks: commands, names in /etc/hosts, ports.

use super::{Line, compare, line, misused, refused};
use crate::networks;

#[test]
fn names_of_the_hosts_file() {
    const LINES: &[Line] = &[
        line("p run --rm --network none --add-host dbhost:192.0.2.7 i grep dbhost /etc/hosts", 0, "192.0.2.7*dbhost\n"),
        line("p run --rm --network none --add-host db i true", 125, ""),
        line("p run --rm --network none --add-host db:nonsense i true", 125, ""),
        line("p run --rm --network none i sh -c 'grep -c localhost /etc/hosts'", 0, "*"),
        line("p run --rm --network none i ls /sys/class/net", 0, "lo\n"),
        line("p run --rm --network none i cat /sys/class/net/lo/operstate", 0, "unknown\n"),
        line("p run --rm --network nonesuch i true", 125, ""),
        line(
            "p run -d --name uu --network none i sleep 1000 >/dev/null; p run --rm --network container:uu i hostname >inner; p exec uu hostname | diff - inner",
            0,
            "",
        )
        .not("podman", "older versions share the network alone"),
        line("p run --rm --network container:nonesuch i true", 125, ""),
        line("p run --rm --network none -p 80:80 i true", 125, "")
            .not("podman", "ignores the port")
            .not("docker", "ignores the port"),
        line("away uu", 0, ""),
    ];
    compare(LINES);
}

#[test]
fn commands() {
    const LINES: &[Line] = &[
        line("p network create --subnet 10.79.3.0/24 --gateway 10.79.3.1 --label a=1 one >/dev/null", 0, ""),
        line("p network create --internal --subnet 10.79.4.0/24 two >/dev/null", 0, ""),
        refused("p network create --subnet 10.79.5.0/24 one 2>/dev/null"),
        misused("p network create --subnet nonsense three 2>/dev/null"),
        misused("p network create '?' 2>/dev/null").not("docker", "takes any name"),
        misused("p network create -d nonsense three 2>/dev/null"),
        line(
            "p network ls --format '{{.Name}} {{.Driver}}' | grep -E '^(one|two) '",
            0,
            "one bridge\ntwo bridge\n",
        ),
        line("p network ls -q --filter name=tw | wc -l", 0, "1\n"),
        line("p network ls --filter label=a=1 --format '{{.Name}}'", 0, "one\n"),
        line("p network inspect one >/dev/null", 0, ""),
        line("p network inspect -f '{{.Name}} {{.Driver}} {{.Internal}}' two", 0, "two bridge true\n"),
        line("p network inspect -f '{{(index .IPAM.Config 0).Subnet}}' one", 0, "10.79.3.0/24\n")
            .not("podman", "lists subnets elsewhere"),
        line(
            "p network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}' one",
            0,
            "10.79.3.0/24 10.79.3.1\n",
        )
        .not("podman", "lists subnets elsewhere"),
        line("p network inspect nonesuch 2>/dev/null", 1, "[]\n").but(
            "podman",
            125,
            "[]\n",
            "its status for errors",
        ),
        line("p network rm nonesuch", 1, ""),
        line("p create --name uu --network one --ip 10.79.3.9 i true >/dev/null", 0, ""),
        line("p create --network one --ip 10.80.0.1 i true 2>/dev/null", 125, "")
            .but("docker", 1, "", "create has the status of any command")
            .but("box", 0, "*", "finds out when it starts")
            .not("podman", "finds out when it starts"),
        line("p network connect two uu", 0, "").not("podman", "needs aardvark"),
        line("p network disconnect two uu", 0, "").not("podman", "was not connected"),
        line("p create --name alone --network none i true >/dev/null; p network connect one alone 2>/dev/null", 1, "")
            .but("podman", 125, "", "its status for errors"),
        line("p network disconnect none alone && p network connect one alone", 0, "")
            .not("podman", "has no such network"),
        line("p network create --subnet 10.79.6.0/24 --gateway 10.79.6.254 three >/dev/null; p network inspect -f '{{range .IPAM.Config}}{{.Gateway}}{{end}}' three", 0, "10.79.6.254\n")
            .not("podman", "lists subnets elsewhere"),
        line("p network rm three >/dev/null; p network create --subnet 10.79.6.0/24 --gateway 10.79.7.1 three >/dev/null 2>&1; test $? != 0", 0, ""),
        refused("p network connect nonesuch uu 2>/dev/null").not("docker", "finds out when it starts"),
        line("p rm $(p ps -a -q) >/dev/null; p network rm one two", 0, "one\ntwo\n"),
        line("p network prune -f >/dev/null; p network ls -q --filter name=two", 0, ""),
    ];
    let Some((room, _alone)) = networks::room() else { return };
    drop(room);
    compare(LINES);
}

#[test]
fn ports() {
    const LINES: &[Line] = &[
        line("p run -d --name uu -p 127.0.0.1:17654:80 -p 17655:81/udp i sleep 1000 >/dev/null", 0, ""),
        line("p port uu 80", 0, "127.0.0.1:17654\n"),
        line("p port uu 80/tcp", 0, "127.0.0.1:17654\n"),
        line("p port uu | sort | head -n 1", 0, "80/tcp -> 127.0.0.1:17654\n"),
        line("p port uu 81/udp | head -n 1", 0, "0.0.0.0:17655\n"),
        refused("p port uu 99 2>/dev/null"),
        refused("p port nonesuch 2>/dev/null"),
        line("p ps --format '{{.Ports}}' | grep -c '127.0.0.1:17654->80/tcp'", 0, "1\n"),
        line(
            "p inspect -f '{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}' uu",
            0,
            "17654\n",
        ),
        line(
            "p inspect -f '{{range $k, $v := .NetworkSettings.Ports}}{{$k}} {{end}}' uu",
            0,
            "80/tcp 81/udp \n",
        ),
        line("p run -d -p 127.0.0.1:17654:80 i true 2>/dev/null", 125, "*").but(
            "podman",
            126,
            "*",
            "its status for errors",
        ),
        line("p run -d -p 99999:80 i true 2>/dev/null", 125, ""),
        line("p run -d -p nonsense i true 2>/dev/null", 125, ""),
        line("p exec uu ls /sys/class/net", 0, "eth0\nlo\n"),
        line("away uu", 0, ""),
        line("p run -d --name uu -p 127.0.0.1:17660-17663:17660-17663 -p 127.0.0.1:17670:80 --expose 90-92 i sleep 1000 >/dev/null; p ps --format '{{.Ports}}'", 0, "90-92/tcp, 127.0.0.1:17660-17663->17660-17663/tcp, 127.0.0.1:17670->80/tcp\n")
            .not("podman", "its versions differ"),
        line("away uu", 0, ""),
    ];
    let Some((room, _alone)) = networks::room() else { return };
    drop(room);
    compare(LINES);
}
