"""Docker's SDK for Python: the daemon itself, images, builds, and a registry."""

import io
import os
import tarfile
import tempfile

from docker import errors

from flow import IMAGE, PARENT, REGISTRY, fails, flow, has, main, same


@flow
def daemon(docker):
    same(docker.ping(), True)
    version = docker.version()
    same((version["Os"], version["MinAPIVersion"]), ("linux", "1.24"))
    has({item["Name"] for item in version["Components"]}, "Engine")
    info = docker.info()
    same((info["OSType"], info["Swarm"]["LocalNodeState"]), ("linux", "inactive"))
    assert info["NCPU"] >= 1 and info["MemTotal"] > 0 and info["ServerVersion"], info
    has(docker.df(), "LayersSize")
    same(docker.api.api_version, version["ApiVersion"])
    fails(errors.APIError, "", lambda: docker.swarm.attrs or docker.swarm.reload())


@flow
def tags_and_lists(docker):
    image = docker.images.get(IMAGE)
    same(image.tags, [IMAGE])
    same(image.attrs["Config"]["Cmd"], ["sh"])
    same(image.tag("other", tag="2"), True)
    same(sorted(docker.images.get(image.id).tags), [IMAGE, "other:2"])
    same([found.id for found in docker.images.list(name="other")], [image.id])
    same([found.id for found in docker.images.list(filters={"reference": "oth*"})], [image.id])
    same(docker.images.list(filters={"dangling": True}), [])
    same(docker.images.list(filters={"label": "none=such"}), [])
    assert image.history()[0]["Size"] > 0
    docker.images.remove("other:2")
    fails(errors.ImageNotFound, "No such image: other:2", lambda: docker.images.get("other:2"))
    fails(errors.ImageNotFound, "No such image", lambda: docker.images.remove("other:2"))
    fails(errors.APIError, "invalid filter", lambda: docker.images.list(filters={"nosuch": "x"}))


@flow
def builds(docker):
    with tempfile.TemporaryDirectory() as folder:
        write = lambda name, text: open(os.path.join(folder, name), "w").write(text)
        write("Dockerfile", "FROM base:1\nARG WHO=nobody\nCOPY f /f\nRUN echo $WHO >>/f\nLABEL kind=built\n"
              'CMD ["cat", "/f"]\n')
        write("f", "first\n")
        write("ignored", "x\n")
        write(".dockerignore", "ignored\n")
        image, log = docker.images.build(path=folder, tag="built:1", buildargs={"WHO": "me"}, labels={"by": "sdk"}, rm=True)
        text = "".join(line.get("stream", "") for line in log)
        has(text, "Successfully tagged built:1")
        same(docker.containers.run("built:1", remove=True, network_mode="none", cgroup_parent=PARENT), b"first\nme\n")
        same(image.labels, {"kind": "built", "by": "sdk"})
        same([found.id for found in docker.images.list(filters={"label": ["kind=built", "by=sdk"]})], [image.id])
        again, log = docker.images.build(path=folder, tag="built:1", buildargs={"WHO": "me"}, labels={"by": "sdk"}, rm=True)
        has("".join(line.get("stream", "") for line in log), "Using cache")
        same(again.id, image.id)
        write("Other", "FROM base:1\nRUN exit 3\n")
        # BuildKit's words are others than those of the builder before it.
        error = fails(errors.BuildError, "code: 3",
                      lambda: docker.images.build(path=folder, dockerfile="Other", rm=True, forcerm=True))
        has("".join(line.get("stream", "") for line in error.build_log), "exit 3")
    image, _ = docker.images.build(fileobj=io.BytesIO(b"FROM base:1\nENV A=b\n"), tag="built:2", rm=True)
    has(image.attrs["Config"]["Env"], "A=b")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w:gz") as tar:
        for name, text in {"Dockerfile": b"FROM base:1 AS one\nCOPY g /g\nFROM one\nRUN nosuch\n", "g": b"g\n"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    context.seek(0)
    docker.images.build(fileobj=context, custom_context=True, encoding="gzip", target="one", tag="built:3", rm=True)
    same(docker.containers.run("built:3", ["cat", "/g"], remove=True, network_mode="none", cgroup_parent=PARENT), b"g\n")
    lines = list(docker.api.build(fileobj=io.BytesIO(b"FROM base:1\nLABEL z=1\n"), decode=True, rm=True))
    untagged = [line for line in lines if "aux" in line][0]["aux"]["ID"]
    has(untagged, "sha256:")
    docker.images.remove(untagged)
    wrong = fails(errors.APIError, "FRUM", lambda: docker.images.build(fileobj=io.BytesIO(b"FRUM x\n")))
    same(wrong.status_code, 400)
    for name in ["built:1", "built:2", "built:3"]:
        docker.images.remove(name, force=True)


@flow
def files(docker):
    image = docker.images.get(IMAGE)
    assert image.tag("kept:1")
    image.reload()
    saved = b"".join(image.save(named="kept:1"))
    names = tarfile.open(fileobj=io.BytesIO(saved)).getnames()
    has(names, "manifest.json")
    docker.images.remove("kept:1")
    loaded = docker.images.load(saved)
    same([found.tags for found in loaded], [sorted([IMAGE, "kept:1"])])
    docker.images.remove("kept:1")
    fails(errors.DockerException, "", lambda: docker.images.load(b"no tar at all"))


@flow
def a_registry(docker):
    name = f"{REGISTRY}/some/name"
    image = docker.images.get(IMAGE)
    other, _ = docker.images.build(fileobj=io.BytesIO(b"FROM base:1\nLABEL a=b\n"), tag=f"{name}:2", rm=True)
    image.tag(name, "1")
    for tag in ["1", "2"]:
        lines = list(docker.images.push(name, tag=tag, stream=True, decode=True))
        has([line for line in lines if "aux" in line][0]["aux"]["Digest"], "sha256:")
    docker.images.remove(f"{name}:1")
    docker.images.remove(f"{name}:2")
    found = docker.images.get_registry_data(f"{name}:1")
    same(found.has_platform("linux/amd64") or found.has_platform("linux/arm64"), True)
    pulled = docker.images.pull(name, tag="1")
    same(pulled.tags.count(f"{name}:1"), 1)
    has(pulled.attrs["RepoDigests"][0], f"{name}@sha256:")
    docker.images.remove(f"{name}:1")
    pulled = docker.images.pull(name, all_tags=True)
    same(sorted(tag for one in pulled for tag in one.tags if tag.startswith(name)), [f"{name}:1", f"{name}:2"])
    lines = list(docker.api.pull(name, tag="2", stream=True, decode=True))
    has(lines[-1]["status"], f"Image is up to date for {name}:2")
    for tag in ["1", "2"]:
        docker.images.remove(f"{name}:{tag}")
    # A name is tagged latest if nothing else is said.
    fails(errors.NotFound, "manifest unknown", lambda: docker.images.pull(name))
    fails(errors.NotFound, "", lambda: docker.images.pull(f"{REGISTRY}/none/such", tag="1"))


@flow
def pruned(docker):
    docker.images.build(fileobj=io.BytesIO(b"FROM base:1\nLABEL x=1\n"), tag="old:1", rm=True)
    docker.images.build(fileobj=io.BytesIO(b"FROM base:1\nLABEL x=2\n"), tag="old:1", rm=True)
    same(len(docker.images.list(filters={"dangling": True})), 1)
    has(docker.images.prune(filters={"dangling": True}), "SpaceReclaimed")
    same(docker.images.list(filters={"dangling": True}), [])
    docker.images.remove("old:1")


main()
