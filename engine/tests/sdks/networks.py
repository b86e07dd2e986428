"""Docker's SDK for Python: networks, published ports, volumes."""

import socket

from docker import errors, types

from flow import IMAGE, PARENT, fails, flow, has, main, run, same, until

SERVE = ["sh", "-c", "while :; do echo from $HOSTNAME | nc -l -p 80; done"]


def read(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=2) as stream:
            return stream.makefile("rb").read()
    except OSError:
        return b""


@flow
def ports(docker):
    container = run(docker, *SERVE, ports={"80/tcp": ("127.0.0.1", None), "81": None, "82/udp": 28082}, network_mode="bridge", hostname="web")
    container.reload()
    bound = container.ports["80/tcp"]
    same((len(bound), bound[0]["HostIp"]), (1, "127.0.0.1"))
    until("an answer", lambda: read(int(bound[0]["HostPort"])) == b"from web\n")
    same({binding["HostPort"] for binding in container.ports["82/udp"]}, {"28082"})
    assert int(container.ports["81/tcp"][0]["HostPort"]) > 0
    same(docker.api.port(container.id, 80), bound)
    settings = container.attrs["NetworkSettings"]
    assert settings["Networks"]["bridge"]["IPAddress"], settings
    fails(errors.APIError, "port is already allocated",
          lambda: run(docker, "true", ports={"80/udp": 28082}, network_mode="bridge"))


@flow
def own_networks(docker):
    pool = types.IPAMPool(subnet="10.97.0.0/24", gateway="10.97.0.1", iprange="10.97.0.128/25", aux_addresses={"other": "10.97.0.129"})
    network = docker.networks.create("mine", driver="bridge", ipam=types.IPAMConfig(pool_configs=[pool]), labels={"n": "1"},
                                     internal=False, check_duplicate=True)
    network.reload()
    same((network.name, network.attrs["Driver"], network.attrs["Scope"], network.attrs["Labels"]), ("mine", "bridge", "local", {"n": "1"}))
    config = [config for config in network.attrs["IPAM"]["Config"] if config["Subnet"] == "10.97.0.0/24"][0]
    same(config, {"Subnet": "10.97.0.0/24", "Gateway": "10.97.0.1", "IPRange": "10.97.0.128/25",
                  "AuxiliaryAddresses": {"other": "10.97.0.129"}})
    one = run(docker, *SERVE, name="one", network_mode=None, network="mine")
    one.reload()
    same(one.attrs["NetworkSettings"]["Networks"]["mine"]["IPAddress"], "10.97.0.128")
    two = run(docker, "sleep", "1000", name="two", network_mode="bridge")
    network.connect(two, aliases=["al", "as"], ipv4_address="10.97.0.9")
    two.reload()
    mine = two.attrs["NetworkSettings"]["Networks"]["mine"]
    same((mine["IPAddress"], mine["IPAMConfig"]["IPv4Address"]), ("10.97.0.9", "10.97.0.9"))
    has(mine["Aliases"], "al")
    same(one.exec_run(["ping", "-c", "1", "-W", "5", "al"]).exit_code, 0)
    same(two.exec_run(["ping", "-c", "1", "-W", "5", "one"]).exit_code, 0)
    network.reload()
    same(sorted(container.name for container in network.containers), ["one", "two"])
    fails(errors.APIError, "active endpoints", network.remove)
    network.disconnect(two)
    two.reload()
    same(list(two.attrs["NetworkSettings"]["Networks"]), ["bridge"])
    network.disconnect(one, force=True)
    same([found.name for found in docker.networks.list(names=["mine"])], ["mine"])
    same([found.name for found in docker.networks.list(filters={"label": "n=1"})], ["mine"])
    same(docker.networks.get(network.id).name, "mine")
    fails(errors.APIError, "already exists", lambda: docker.networks.create("mine"))
    network.remove()
    fails(errors.NotFound, "mine", lambda: docker.networks.get("mine"))
    docker.networks.create("unused")
    has(docker.networks.prune()["NetworksDeleted"], "unused")


@flow
def a_network_without_a_subnet(docker):
    network = docker.networks.create("plain")
    network.reload()
    config = network.attrs["IPAM"]["Config"]
    assert config and all(found["Subnet"] and found["Gateway"] for found in config), network.attrs["IPAM"]
    same(network.attrs["IPAM"]["Driver"], "default")
    network.remove()


@flow
def several_endpoints(docker):
    for name in ["first", "second"]:
        docker.networks.create(name)
    api = docker.api
    options = api.create_networking_config({
        "first": api.create_endpoint_config(aliases=["a"]), "second": api.create_endpoint_config(aliases=["b"]),
    })
    made = api.create_container(IMAGE, ["sleep", "1000"], networking_config=options,
                                host_config=api.create_host_config(network_mode="first", cgroup_parent=PARENT))
    api.start(made)
    found = api.inspect_container(made)["NetworkSettings"]["Networks"]
    same(sorted(found), ["first", "second"])
    has(found["second"]["Aliases"], "b")
    api.remove_container(made, force=True)
    for name in ["first", "second"]:
        docker.networks.get(name).remove()


@flow
def volumes(docker):
    volume = docker.volumes.create("data", labels={"v": "1"})
    same((volume.name, volume.attrs["Driver"], volume.attrs["Labels"]), ("data", "local", {"v": "1"}))
    run(docker, "sh", "-c", "echo x >/d/f", volumes={"data": {"bind": "/d", "mode": "rw"}}).wait()
    said = docker.containers.run(IMAGE, ["cat", "/d/f"], remove=True, volumes=["data:/d:ro"], network_mode="none", cgroup_parent=PARENT)
    same(said, b"x\n")
    same([found.name for found in docker.volumes.list(filters={"label": "v=1"})], ["data"])
    same([found.name for found in docker.volumes.list(filters={"dangling": True})], [])
    fails(errors.APIError, "volume is in use", volume.remove)
    for container in docker.containers.list(all=True):
        container.remove()
    volume.remove()
    fails(errors.NotFound, "data", lambda: docker.volumes.get("data"))
    docker.volumes.create("gone")
    docker.volumes.prune(filters={"all": True})
    same(docker.volumes.list(), [])


@flow
def volumes_with_options(docker):
    volume = docker.volumes.create("small", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=33"})
    same(volume.attrs["Options"], {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=33"})
    said = docker.containers.run(IMAGE, ["sh", "-c", "stat -c %u /d; grep ' /d tmpfs' /proc/mounts | grep -c size=1024k"], remove=True,
                                 volumes=["small:/d"], network_mode="none", cgroup_parent=PARENT)
    same(said, b"33\n1\n")
    volume.remove()
    volume = docker.volumes.create("bound", driver_opts={"type": "none", "device": "/etc", "o": "bind"})
    said = docker.containers.run(IMAGE, ["ls", "/d/hostname"], remove=True, volumes=["bound:/d"], network_mode="none", cgroup_parent=PARENT)
    same(said, b"/d/hostname\n")
    volume.remove()


main()
