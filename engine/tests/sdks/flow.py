"""What every flow has: a client of the daemon that is named by DOCKER_HOST, and an end that says which of them failed."""

import os
import sys
import time
import traceback

import docker

IMAGE = "base:1"
# A registry on the loopback, that anybody may push to.
REGISTRY = os.environ["TEST_REGISTRY"]
ROOTFS = os.environ["TEST_ROOTFS"]
# Whatever a killed test leaves is below it.
PARENT = os.environ["TEST_CGROUP"]
FLOWS = []


def flow(function):
    """Marks what is run, in the order of the file."""
    FLOWS.append(function)
    return function


def client():
    return docker.from_env(timeout=60)


def same(found, expected):
    """What is found is what is expected."""
    assert found == expected, f"{found!r}, where {expected!r} is expected"


def has(found, part):
    assert part in found, f"{found!r} has no {part!r}"


def fails(kind, words, call):
    """The call raises this, with these words."""
    try:
        value = call()
    except kind as error:
        assert words in str(error), f"{error} has no {words!r}"
        return error
    raise AssertionError(f"no {kind.__name__}, but {value!r}")


def until(what, is_so):
    """Waits for something, and returns it."""
    began = time.monotonic()
    while True:
        found = is_so()
        if found:
            return found
        assert time.monotonic() - began < 20, f"{what}: not within 20 seconds"
        time.sleep(0.05)


def run(docker, *command, **options):
    """A container that runs in the background."""
    options.setdefault("network_mode", "none")
    return docker.containers.run(IMAGE, list(command), detach=True, cgroup_parent=PARENT, **options)


def main():
    docker = client()
    with open(ROOTFS, "rb") as rootfs:
        docker.api.import_image_from_data(rootfs.read(), repository="base", tag="1", changes=['CMD ["sh"]'])
    failed = 0
    for function in FLOWS:
        try:
            function(docker)
            print(f"ok {function.__name__}")
        except BaseException:
            failed += 1
            print(f"FAILED {function.__name__}")
            traceback.print_exc(file=sys.stdout)
        for container in docker.containers.list(all=True, ignore_removed=True):
            container.remove(force=True, v=True)
    sys.exit(1 if failed else 0)
