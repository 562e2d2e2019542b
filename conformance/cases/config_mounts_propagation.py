"""Propagation: the options of config.md#linux-mount-options, and config-linux.md#rootfs-mount-propagation."""

from __future__ import annotations

from pathlib import Path

from conformance import kernel
from conformance.cases.config_mounts import MOUNTINFO, mounted_at, source_folder
from conformance.lib import mountinfo
from conformance.lib.bundle import bind
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

OPTIONS = "config.md#linux-mount-options"
ROOTFS = "config-linux.md#rootfs-mount-propagation"
MS_SHARED = 1 << 20
_SUB = "sub"


def _shared_source(t: Trial) -> Path:
    """A shared mount with a shared mount below, so that the kinds of propagation can be distinguished."""
    folder = source_folder(t)
    kernel.mount("conf-top", str(folder), "tmpfs", 0)
    kernel.mount(None, str(folder), None, MS_SHARED)
    (folder / _SUB).mkdir()
    kernel.mount("conf-sub", str(folder / _SUB), "tmpfs", 0)
    return folder


def _option(option: str, tag: str, absent: tuple[str, ...]) -> None:
    recursive = option.startswith("r")

    @requirement(
        OPTIONS, f"option {option} on a{' recursive' if recursive else ''} bind mount", name=f"option_{option}"
    )
    def case(t: Trial) -> None:
        entry = bind(_shared_source(t), "/mnt") | {"options": ["rbind", option]}
        for target in ["/mnt", "/mnt/sub"] if recursive else ["/mnt"]:
            seen = mounted_at(t, [entry], target)
            t.check(not tag or seen.tagged(tag), f"{target}: no {tag} in {seen.tags}")
            t.check(not any(map(seen.tagged, absent)), f"{target}: {absent} in {seen.tags}")


for _name in ("shared", "rshared"):
    _option(_name, "shared", ("unbindable",))
for _name in ("slave", "rslave"):
    _option(_name, "master", ("shared", "unbindable"))
for _name in ("private", "rprivate"):
    _option(_name, "", ("shared", "master", "unbindable"))
for _name in ("unbindable", "runbindable"):
    _option(_name, "unbindable", ("shared", "master"))


@requirement(OPTIONS, "propagation options apply to mounts other than bind mounts, too: a shared tmpfs")
def shared_tmpfs(t: Trial) -> None:
    entry = {"destination": "/mnt", "type": "tmpfs", "source": "conf", "options": ["shared"]}
    t.check(mounted_at(t, [entry]).tagged("shared"), "the tmpfs is not shared")


@requirement(OPTIONS, "rslave: later mounts of the host below the source appear in the container")
def rslave_receives(t: Trial) -> None:
    folder = _shared_source(t)
    config = t.config("until test -e /mnt/sub/late; do sleep 0.05; done; echo seen")
    config["mounts"].append(bind(folder, "/mnt") | {"options": ["rbind", "rslave"]})
    container = t.start(config)
    kernel.mount("conf-late", str(folder / _SUB), "tmpfs", 0)
    (folder / _SUB / "late").write_text("x")
    t.eventually(lambda: container.stdout == "seen\n", "the host's mount to appear in the container")


@requirement(OPTIONS, "rprivate: later mounts of the host below the source do not appear in the container")
def rprivate_does_not_receive(t: Trial) -> None:
    folder = _shared_source(t)
    config = t.config(f"until test -e /mnt/go; do sleep 0.05; done; {MOUNTINFO}")
    config["mounts"].append(bind(folder, "/mnt") | {"options": ["rbind", "rprivate"]})
    container = t.start(config)
    kernel.mount("conf-late", str(folder / _SUB), "tmpfs", 0)
    (folder / "go").write_text("x")
    container.wait()
    t.check("conf-late" not in container.stdout, "the host's later mount appears in the container")


def _root(value: str, tag: str, absent: tuple[str, ...]) -> None:
    @requirement(ROOTFS, f'rootfsPropagation "{value}"', name=f"rootfs_{value}")
    def case(t: Trial) -> None:
        config = t.config(MOUNTINFO)
        config["linux"]["rootfsPropagation"] = value
        seen = mountinfo.at(t.output(config), "/")
        if seen is None:
            t.check(False, "/ is not a mount point")
            return
        t.check(not tag or seen.tagged(tag), f"no {tag} in {seen.tags}")
        t.check(not any(map(seen.tagged, absent)), f"{absent} in {seen.tags}")


_root("shared", "shared", ("unbindable",))
_root("slave", "", ("shared", "unbindable"))
_root("private", "", ("shared", "unbindable"))
_root("unbindable", "unbindable", ("shared",))


@requirement(ROOTFS, "a rootfsPropagation other than the four values is refused")
def rootfs_unknown(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["rootfsPropagation"] = "sometimes"
    t.refused(config, 'rootfsPropagation "sometimes"')


def _stays_inside(value: str) -> None:
    @requirement(
        ROOTFS, f'rootfsPropagation "{value}": mounts in the container do not propagate to the host', level="MUST NOT",
        name=f"rootfs_{value}_stays_inside",
    )  # fmt: skip
    def case(t: Trial) -> None:
        config = t.config("mount -t tmpfs conf-inside /tmp && echo mounted; exec sleep 1000")
        for names in config["process"]["capabilities"].values():
            names += ["CAP_SYS_ADMIN"] if names else []
        config["linux"]["rootfsPropagation"] = value
        container = t.start(config)
        t.eventually(lambda: container.stdout == "mounted\n", "the container to mount")
        t.check("conf-inside" not in Path("/proc/self/mountinfo").read_text(), "the mount propagated to the host")


for _value in ("slave", "private"):
    _stays_inside(_value)
