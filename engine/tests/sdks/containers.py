"""Docker's SDK for Python: containers, programs in them, their files, and the low-level client."""

import io
import os
import tarfile
import threading
import time

from docker import errors, types

from flow import IMAGE, PARENT, fails, flow, has, main, run, same, until

OWN = {"network_mode": "none", "cgroup_parent": PARENT}


@flow
def runs(docker):
    same(docker.containers.run(IMAGE, ["echo", "hi"], remove=True, **OWN), b"hi\n")
    script = ["sh", "-c", "echo out; echo err >&2"]
    same(docker.containers.run(IMAGE, script, remove=True, stderr=True, stdout=False, **OWN), b"err\n")
    same(sorted(docker.containers.run(IMAGE, script, stream=True, stderr=True, **OWN)), [b"err\n", b"out\n"])
    error = fails(errors.ContainerError, "exit status 3",
                  lambda: docker.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True, **OWN))
    same((error.exit_status, error.stderr), (3, b"bad\n"))
    fails(errors.APIError, "executable file not found", lambda: docker.containers.run(IMAGE, "nosuch", **OWN))
    said = docker.containers.run(IMAGE, "sh -c 'echo $A; pwd; id -u; hostname'", remove=True, environment={"A": "b c"},
                                 working_dir="/tmp", user="33", hostname="hh", **OWN)
    same(said, b"b c\n/tmp\n33\nhh\n")


@flow
def a_life(docker):
    container = docker.containers.create(IMAGE, ["sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"],
                                         name="life", labels={"l": "1"}, **OWN)
    same((container.status, container.name, container.labels), ("created", "life", {"l": "1"}))
    same(container.image.tags, [IMAGE])
    container.start()
    container.reload()
    same(container.status, "running")
    until("its output", lambda: container.logs() == b"up\n")
    container.pause()
    container.reload()
    same(container.status, "paused")
    fails(errors.APIError, "is paused", lambda: container.exec_run("true"))
    container.unpause()
    container.rename("renamed")
    same(docker.containers.get("renamed").id, container.id)
    fails(errors.NotFound, "No such container: life", lambda: docker.containers.get("life"))
    container.restart(timeout=5)
    until("its output", lambda: container.logs() == b"up\nup\n")
    container.stop(timeout=5)
    same(container.wait(), {"StatusCode": 5})
    container.reload()
    same((container.status, container.attrs["State"]["ExitCode"]), ("exited", 5))
    fails(errors.APIError, "is not running", container.kill)
    container.start()
    fails(errors.APIError, "container is running", container.remove)
    container.kill(signal="SIGKILL")
    same(container.wait(condition="not-running")["StatusCode"], 137)
    container.remove()
    fails(errors.NotFound, "No such container", container.reload)
    fails(errors.APIError, "already in use by container",
          lambda: [docker.containers.create(IMAGE, name="twice", **OWN) for _ in "12"])


@flow
def signals(docker):
    container = run(docker, "sh", "-c", "trap 'echo usr' USR1; echo up; while :; do sleep 0.1; done")
    until("its output", lambda: container.logs() == b"up\n")
    container.kill(signal="SIGUSR1")
    until("its output", lambda: container.logs() == b"up\nusr\n")
    container.kill(signal=10)
    until("its output", lambda: container.logs() == b"up\nusr\nusr\n")
    fails(errors.APIError, "nvalid signal", lambda: container.kill(signal="NOSUCH"))


@flow
def logs(docker):
    container = run(docker, "sh", "-c", "echo one; echo two >&2; sleep 1; echo three")
    lines = b"".join(container.logs(stream=True, follow=True)).splitlines()
    # Two streams have no order.
    same((sorted(lines[:2]), lines[2:]), ([b"one", b"two"], [b"three"]))
    same(container.logs(stdout=False), b"two\n")
    same(container.logs(tail=1), b"three\n")
    stamp, word = container.logs(stderr=False, tail=1, timestamps=True).split()
    same(word, b"three")
    same(container.logs(since=time.time() + 100), b"")
    same(container.logs(until=1), b"")
    has(stamp, b"Z")


@flow
def programs(docker):
    container = run(docker, "sleep", "1000")
    same(tuple(container.exec_run(["sh", "-c", "echo o; echo e >&2; exit 7"], demux=True)), (7, (b"o\n", b"e\n")))
    same(tuple(container.exec_run("sh -c 'echo $B; pwd; id -u'", environment=["B=2"], workdir="/tmp", user="33")),
         (0, b"2\n/tmp\n33\n"))
    same(container.exec_run("nosuch").exit_code, 127)
    same(list(container.exec_run(["sh", "-c", "echo 1; sleep 0.3; echo 2"], stream=True).output), [b"1\n", b"2\n"])
    same(container.exec_run(["sleep", "5"], detach=True).exit_code, None)
    same(container.exec_run(["sh", "-c", "[ -t 1 ] && stty size"], tty=True).exit_code, 0)
    socket = container.exec_run(["cat"], stdin=True, socket=True).output
    socket._sock.sendall(b"text\n")
    header = socket.read(8)
    same((header[0], header[7], socket.read(5)), (1, 5, b"text\n"))
    socket._sock.shutdown(1)
    same(socket.read(1), b"")
    api = docker.api
    made = api.exec_create(container.id, ["sleep", "0.2"], environment={"C": "d"}, privileged=False)
    same(api.exec_inspect(made["Id"])["Running"], False)
    api.exec_start(made["Id"])
    found = api.exec_inspect(made["Id"])
    same((found["Running"], found["ExitCode"], found["ContainerID"]), (False, 0, container.id))
    made = api.exec_create(container.id, ["sleep", "5"], tty=True)
    socket = api.exec_start(made["Id"], tty=True, socket=True)
    api.exec_resize(made["Id"], height=20, width=60)
    socket.close()


@flow
def attached(docker):
    container = docker.containers.create(IMAGE, ["sh", "-c", "read x; echo got $x"], stdin_open=True, **OWN)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"word\n")
    same(socket.read(8)[7], 9)
    same(socket.read(9), b"got word\n")
    socket.close()
    same(container.wait()["StatusCode"], 0)
    container = docker.containers.create(IMAGE, ["sh", "-c", "echo one; echo two >&2"], **OWN)
    stream = container.attach(stream=True, logs=True, demux=True)
    container.start()
    same(sorted(stream, key=str), [(None, b"two\n"), (b"one\n", None)])


@flow
def usage(docker):
    container = run(docker, "sleep", "1000")
    once = container.stats(stream=False)
    same((once["id"], once["name"].lstrip("/")), (container.id, container.name))
    assert once["cpu_stats"]["system_cpu_usage"] > once["precpu_stats"]["system_cpu_usage"] > 0, once
    stream = container.stats(decode=True)
    first, second = next(stream), next(stream)
    same((first["id"], first["read"] < second["read"]), (container.id, True))
    top = container.top()
    has(top["Titles"], "PID")
    same(len(top["Processes"]), 1)
    has(top["Processes"][0][-1], "sleep 1000")
    same(container.top(ps_args="-o pid,comm")["Titles"], ["PID", "COMMAND"])
    same(container.update(restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})["Warnings"] or [], [])
    container.reload()
    same(container.attrs["HostConfig"]["RestartPolicy"], {"Name": "on-failure", "MaximumRetryCount": 2})
    container.update(restart_policy={"Name": "no"})


def archive(**members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o640
            tar.addfile(member, io.BytesIO(text))
    return stream.getvalue()


@flow
def own_files(docker):
    container = docker.containers.create(IMAGE, ["cat", "/tmp/a"], **OWN)
    same(container.put_archive("/tmp", archive(a=b"content\n")), True)
    container.start()
    same((container.wait()["StatusCode"], container.logs()), (0, b"content\n"))
    chunks, stat = container.get_archive("/tmp/a", encode_stream=True)
    same((stat["name"], stat["size"], stat["mode"] & 0o777, stat["linkTarget"]), ("a", 8, 0o640, ""))
    tar = tarfile.open(fileobj=io.BytesIO(b"".join(chunks)))
    same((tar.getnames(), tar.extractfile("a").read()), (["a"], b"content\n"))
    has(container.diff(), {"Path": "/tmp/a", "Kind": 1})
    fails(errors.NotFound, "Could not find the file /nosuch", lambda: container.get_archive("/nosuch"))
    fails(errors.NotFound, "", lambda: container.put_archive("/nosuch", archive(a=b"")))
    same("tmp/a" in tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))).getnames(), True)
    image = container.commit("committed", "1", message="words", author="me", changes="ENV C=d")
    has(image.attrs["Config"]["Env"], "C=d")
    same((image.attrs["Author"], image.attrs["Comment"]), ("me", "words"))
    container.remove()
    docker.images.remove("committed:1")


@flow
def lists(docker):
    one = run(docker, "sleep", "1000", name="one", labels={"a": "1", "b": "2"})
    two = docker.containers.create(IMAGE, ["true"], name="two", labels=["a"], **OWN)
    names = lambda **arguments: sorted(found.name for found in docker.containers.list(**arguments))
    same(names(), ["one"])
    same(names(all=True), ["one", "two"])
    same(names(filters={"status": "created"}), ["two"])
    same(names(all=True, filters={"label": "a"}), ["one", "two"])
    same(names(all=True, filters={"label": ["a=1", "b=2"]}), ["one"])
    same(names(all=True, filters={"name": "tw"}), ["two"])
    same(names(all=True, filters={"ancestor": IMAGE}), ["one", "two"])
    same(names(all=True, filters={"since": one.id}), ["two"])
    same(names(all=True, filters={"before": two.id}), ["one"])
    same(names(limit=1), ["two"])
    same(docker.containers.list(sparse=True)[0].attrs["State"], "running")
    fails(errors.APIError, "invalid filter", lambda: docker.containers.list(filters={"nosuch": "x"}))
    two.start()
    two.wait()
    same(names(all=True, filters={"exited": 0}), ["two"])
    same(names(filters={"exited": 0}), [])
    pruned = docker.containers.prune(filters={"label": "a"})
    same((pruned["ContainersDeleted"], names(all=True)), ([two.id], ["one"]))


@flow
def low_level(docker):
    api = docker.api
    options = api.create_host_config(
        binds={"/etc": {"bind": "/host", "mode": "ro"}}, cap_add=["NET_ADMIN"], cap_drop=["ALL"], cgroup_parent=PARENT,
        devices=["/dev/null:/dev/nothing:rwm"], dns=["10.0.0.1"], extra_hosts={"other": "10.1.2.3"}, group_add=["50"],
        init=True, ipc_mode="private", log_config=types.LogConfig(type="json-file", config={"max-size": "1m"}),
        mounts=[types.Mount("/m", None, type="tmpfs", tmpfs_size=1 << 20)], network_mode="none", oom_score_adj=100,
        pid_mode=None, privileged=False, read_only=True, restart_policy={"Name": "no"}, security_opt=["no-new-privileges"],
        shm_size="1m", sysctls={"net.ipv4.ip_forward": "1"}, tmpfs={"/t": "size=1m"}, ulimits=[types.Ulimit(name="nofile", soft=100, hard=200)],
    )
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_forward; grep -c . /host/passwd >/dev/null && echo bound; stat -c %t /dev/nothing; " \
             "grep -q ' /t tmpfs' /proc/mounts && grep -q ' /m tmpfs' /proc/mounts && echo tmpfs; grep 10.1.2.3 /etc/hosts; " \
             "grep CapEff /proc/1/status; touch /x 2>/dev/null || echo read-only; cat /proc/self/oom_score_adj; id -G"
    made = api.create_container(IMAGE, ["sh", "-c", script], host_config=options, name="low", environment={"A": "b"}, volumes=["/v"],
                                healthcheck={"test": ["CMD", "true"], "interval": 10**9}, stop_signal="SIGINT", stop_timeout=3,
                                ports=[80, (53, "udp")], domainname="dd")
    api.start(made)
    same(api.wait(made)["StatusCode"], 0)
    lines = api.logs(made).decode().splitlines()
    same(lines, ["100", "1", "bound", "1", "tmpfs", "10.1.2.3\tother", "CapEff:\t0000000000001000", "read-only", "100", "0 50"])
    found = api.inspect_container(made)
    same((found["Config"]["StopSignal"], found["Config"]["StopTimeout"]), ("SIGINT", 3))
    same(sorted(found["Config"]["ExposedPorts"]), ["53/udp", "80/tcp"])
    host = found["HostConfig"]
    same((host["CapAdd"], host["CapDrop"], host["Dns"], host["ExtraHosts"]),
         (["NET_ADMIN"], ["ALL"], ["10.0.0.1"], ["other:10.1.2.3"]))
    same((host["ShmSize"], host["ReadonlyRootfs"], host["Init"], host["OomScoreAdj"]), (1 << 20, True, True, 100))
    same((host["Ulimits"], host["Sysctls"]), ([{"Name": "nofile", "Hard": 200, "Soft": 100}], {"net.ipv4.ip_forward": "1"}))
    same(host["Tmpfs"]["/t"], "size=1m")
    same(host["LogConfig"], {"Type": "json-file", "Config": {"max-size": "1m"}})
    # box tells of what --tmpfs mounts as well.
    same(sorted({mount["Destination"] for mount in found["Mounts"]} - {"/t"}), ["/host", "/m", "/v"])
    api.remove_container(made, v=True)


@flow
def events(docker):
    stream = docker.events(decode=True, filters={"type": "container", "label": "e=1", "event": ["create", "start", "die", "destroy"]})
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(zip(stream, range(4))))
    reader.start()
    began = int(time.time())
    container = run(docker, "sh", "-c", "exit 4", labels={"e": "1"})
    run(docker, "true", labels={"e": "2"}).wait()
    container.wait()
    container.remove()
    reader.join(20)
    stream.close()
    same([event["Action"] for event, _ in seen], ["create", "start", "die", "destroy"])
    die = seen[2][0]
    same((die["Type"], die["Actor"]["ID"], die["Actor"]["Attributes"]["exitCode"], die["status"]), ("container", container.id, "4", "die"))
    past = docker.events(decode=True, since=began, until=int(time.time()) + 1, filters={"container": container.id})
    actions = [event["Action"] for event in past]
    has(actions, "destroy")


main()
