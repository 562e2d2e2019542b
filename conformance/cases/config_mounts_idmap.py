"""config.md#posix-platform-mounts and #linux-mount-options: idmap and ridmap."""

from __future__ import annotations

import os
from pathlib import Path

from conformance import kernel
from conformance.lib.bundle import Config, bind, use_user_namespace
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

POSIX = "config.md#posix-platform-mounts"
OPTIONS = "config.md#linux-mount-options"
VERSION = "1.2.0"
_SHIFT = [{"containerID": 0, "hostID": 1000, "size": 1000}]
_MAPPINGS = {"uidMappings": _SHIFT, "gidMappings": _SHIFT}


def _source(t: Trial) -> Path:
    """A directory with a file of 0:0 and a file of 5:6."""
    t.need_kernel(5, 12, "mount_setattr(MOUNT_ATTR_IDMAP)")
    folder = t.path / "source"
    folder.mkdir()
    for name, uid, gid in (("zero", 0, 0), ("five", 5, 6)):
        (folder / name).write_text("x")
        os.chown(folder / name, uid, gid)
    return folder


def _config(t: Trial, script: str, entry: Config) -> Config:
    config = t.config(script) | {"ociVersion": VERSION}
    config["mounts"].append(entry)
    return config


OWNERS = "cd /mnt; stat -c '%n %u:%g' five zero"


@requirement(OPTIONS, "idmap with mappings: owners appear converted", level="SHOULD")
def idmap(t: Trial) -> None:
    entry = bind(_source(t), "/mnt", "idmap") | _MAPPINGS
    t.equal(t.output(_config(t, OWNERS, entry)).split("\n"), ["five 1005:1006", "zero 1000:1000"], "owners inside")


@requirement(OPTIONS, "ridmap converts the owners on mounts below too", level="SHOULD")
def ridmap(t: Trial) -> None:
    folder = _source(t)
    (folder / "sub").mkdir()
    second = t.path / "second"
    second.mkdir()
    (second / "file").write_text("x")
    kernel.mount(str(second), str(folder / "sub"), None, 4096)
    entry = bind(folder, "/mnt") | {"options": ["rbind", "ridmap"]} | _MAPPINGS
    seen = t.output(_config(t, "stat -c '%u:%g' /mnt/zero /mnt/sub/file", entry))
    t.equal(seen.split(), ["1000:1000", "1000:1000"], "owners inside")


@requirement(OPTIONS, "idmap is not recursive: owners on mounts below do not change", level="SHOULD")
def idmap_not_recursive(t: Trial) -> None:
    folder = _source(t)
    (folder / "sub").mkdir()
    second = t.path / "second"
    second.mkdir()
    (second / "file").write_text("x")
    kernel.mount(str(second), str(folder / "sub"), None, 4096)
    entry = bind(folder, "/mnt") | {"options": ["rbind", "idmap"]} | _MAPPINGS
    seen = t.output(_config(t, "stat -c '%u:%g' /mnt/zero /mnt/sub/file", entry))
    t.equal(seen.split(), ["1000:1000", "0:0"], "owners inside")


@requirement(OPTIONS, "idmap does not change the owners on the host", level="MUST NOT")
def idmap_leaves_source(t: Trial) -> None:
    folder = _source(t)
    t.create(_config(t, "true", bind(folder, "/mnt", "idmap") | _MAPPINGS))
    owner = (folder / "five").stat()
    t.equal((owner.st_uid, owner.st_gid), (5, 6), "owner on the host")


@requirement(OPTIONS, "files created through an id-mapped mount have the mapped owner on the host", level="SHOULD")
def idmap_writes_back(t: Trial) -> None:
    folder = _source(t)
    folder.chmod(0o777)
    config = _config(t, "touch /mnt/new", bind(folder, "/mnt", "idmap") | _MAPPINGS)
    config["process"]["user"] = {"uid": 1007, "gid": 1008}
    t.run(config)
    t.check((folder / "new").exists(), "the container could not write")
    owner = (folder / "new").stat()
    t.equal((owner.st_uid, owner.st_gid), (7, 8), "owner on the host")


@requirement(OPTIONS, "idmap without mappings and without a user namespace generates an error")
def idmap_without_mappings(t: Trial) -> None:
    config = _config(t, "sleep 1000", bind(_source(t), "/mnt", "idmap"))
    t.refused(config, "idmap without mappings")


@requirement(OPTIONS, "ridmap without mappings and without a user namespace generates an error")
def ridmap_without_mappings(t: Trial) -> None:
    config = _config(t, "sleep 1000", bind(_source(t), "/mnt") | {"options": ["rbind", "ridmap"]})
    t.refused(config, "ridmap without mappings")


@requirement(OPTIONS, "idmap without mappings in a user namespace: the container's mapping, or an error")
def idmap_container_mapping(t: Trial) -> None:
    config = _config(t, OWNERS, bind(_source(t), "/mnt", "idmap"))
    use_user_namespace(config)
    container = t.container(config)
    if container.create().status:
        return
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.split("\n")[:2], ["five 5:6", "zero 0:0"], "owners inside")


def _only(key: str) -> None:
    @requirement(POSIX, f"{key} of a mount without its counterpart generates an error", name=f"only_{key}")
    def case(t: Trial) -> None:
        config = _config(t, "sleep 1000", bind(_source(t), "/mnt", "idmap") | {key: _SHIFT})
        t.refused(config, f"a mount with only {key}")


for _key in _MAPPINGS:
    _only(_key)


@requirement(OPTIONS, "idmap with mappings works in a container with its own user namespace", level="SHOULD")
def idmap_in_user_namespace(t: Trial) -> None:
    # The mapping of the mount has host IDs; the container's user namespace shows the IDs of its own range.
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    entry = bind(_source(t), "/mnt", "idmap") | {"uidMappings": mapping, "gidMappings": mapping}
    config = _config(t, OWNERS, entry)
    use_user_namespace(config)
    t.equal(t.output(config).split("\n"), ["five 5:6", "zero 0:0"], "owners inside")
