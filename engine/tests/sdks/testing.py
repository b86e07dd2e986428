"""testcontainers for Python: a container, its port and its log, a network with a name, and the reaper."""

import io
import socket
import urllib.request

from testcontainers.core.config import testcontainers_config as config
from testcontainers.core.container import DockerContainer, Reaper
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from testcontainers.core.waiting_utils import wait_for_logs

from flow import IMAGE, PARENT, flow, main, same, until

PAGE = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; cat /tmp/page"

REAPER = """FROM base:1
ENV TEST_REAPER=1
CMD ["/bin/reaper", "--exact", "sdks::reaper", "--nocapture"]
"""


def server():
    script = f"echo up; while :; do ({PAGE}) | nc -l -p 80 >/dev/null; done"
    container = DockerContainer(IMAGE).with_command(["sh", "-c", script]).with_exposed_ports(80)
    return container.with_kwargs(cgroup_parent=PARENT).with_copy_into_container(b"page\n", "/tmp/page")


def page(url):
    """What the server has to say; nothing before it listens, and between two of its connections."""
    try:
        return urllib.request.urlopen(url, timeout=20).read()
    except OSError:
        return None


@flow
def a_server(docker):
    with server().with_env("A", "b").waiting_for(LogMessageWaitStrategy("up")) as container:
        wait_for_logs(container, "up", timeout=20)
        host, port = container.get_container_host_ip(), container.get_exposed_port(80)
        until("the page", lambda: page(f"http://{host}:{port}/") == b"page\n")
        result = container.exec(["sh", "-c", "echo $A; exit 2"])
        same((result.exit_code, result.output), (2, b"b\n"))
        same(container.get_logs(), (b"up\n", b""))
        same(container.get_wrapped_container().labels[LABEL_SESSION_ID], SESSION_ID)
        same(container.status, "running")
        same(container.get_container_info().State.Running, True)
    same(docker.containers.list(all=True, filters={"label": LABEL_SESSION_ID, "ancestor": IMAGE}), [])


@flow
def a_network(docker):
    with Network() as network:
        with server().with_network(network).with_network_aliases("web"):
            other = DockerContainer(IMAGE).with_network(network).with_command(["sleep", "1000"]).with_kwargs(cgroup_parent=PARENT)
            with other:
                until("the page", lambda: other.exec(["wget", "-q", "-O", "-", "http://web/"]).output == b"page\n")
        same([found.name for found in docker.networks.list(names=[network.name])], [network.name])
    same(docker.networks.list(names=[network.name]), [])


def has_answered():
    """Whether the reaper has taken the label. dockerd's proxy takes connections before the reaper does, and drops them."""
    try:
        if Reaper._socket.recv(3) == b"ACK":
            return True
    except OSError:
        pass
    Reaper._socket.close()
    address = (Reaper._container.get_container_host_ip(), Reaper._container.get_exposed_port(8080))
    try:
        Reaper._socket = socket.create_connection(address, timeout=1)
        Reaper._socket.sendall(f"label={LABEL_SESSION_ID}={SESSION_ID}\r\n".encode())
    except OSError:
        pass
    return False


@flow
def a_reaper(docker):
    # testcontainers' own is on Docker Hub alone: the tests' program is in its place, and speaks as it does.
    image, _ = docker.images.build(fileobj=io.BytesIO(REAPER.encode()), tag="reaper:1", rm=True)
    config.ryuk_image, config.ryuk_disabled = "reaper:1", False
    try:
        with Network() as network:
            left = server().with_network(network).start()
            reaper = docker.containers.get(f"testcontainers-ryuk-{SESSION_ID}")
            same(reaper.attrs["Mounts"][0]["Destination"], "/var/run/docker.sock")
            until("the reaper's answer", has_answered)
            # The session ends without a word.
            Reaper._socket.close()
            known = lambda: {container.id for container in docker.containers.list(all=True, ignore_removed=True)}
            until("the container's end", lambda: left.get_container_id() not in known())
            until("the reaper's end", lambda: reaper.id not in known())
    finally:
        config.ryuk_disabled = True
        Reaper.delete_instance()
        docker.images.remove("reaper:1", force=True)


main()
