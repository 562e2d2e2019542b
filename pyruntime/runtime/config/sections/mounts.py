"""mounts: combinations of options, and the requirements of ID-mapped mounts.

Spec:  config.md#mounts, #linux-mount-options, #posix-platform-mounts
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.sections.namespaces import mapping_problems
from pyruntime.runtime.config.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

_SPEC = "config.md#mounts"
_OPTIONS = "config.md#linux-mount-options"
_MAPPED = "config.md#posix-platform-mounts"

PROPAGATION = frozenset(
    ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"),
)
GENERIC = PROPAGATION | frozenset(
    (
        "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "idmap", "iversion", "lazytime",
        "loud", "mand", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime",
        "nostrictatime", "nosuid", "nosymfollow", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount",
        "rexec", "ridmap", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid",
        "rnosymfollow", "ro", "rrelatime", "rro", "rrw", "rstrictatime", "rsuid", "rsymfollow", "rw", "silent",
        "strictatime", "suid", "symfollow", "sync", "tmpcopyup",
    )
)  # fmt: skip
"""The options that apply to every filesystem type: the table of the specification."""

_COMMENTS = frozenset(
    ("", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev"),
)


def for_filesystem(option: str) -> bool:
    """Whether ``option`` is passed to the filesystem: not in the table, and not dropped by mount(8)."""
    return not (option in GENERIC or option in _COMMENTS or option[:2] in ("x-", "X-") or option[:8] == "comment=")


def problems(mounts: Node, *, mapped: bool) -> Iterator[Problem]:
    """The rules for Linux. ``mapped``: the container's user namespace has mappings, which a mount can use."""
    for mount in mounts.each():
        if not mount.value["destination"]:
            remedy = "write an absolute path inside the container, or remove the mount"
            yield Problem(mount["destination"].where, "must not be empty", remedy, _SPEC)
        options: list[str] = mount.get("options", [])
        if "bind" in options or "rbind" in options:
            yield from _bind(mount)
        else:
            yield from _filesystem(mount, options)
        if "tmpcopyup" in options and mount.get("type") != "tmpfs":
            where = f"{mount['options'].where}[{options.index('tmpcopyup')}]"
            yield Problem(where, 'option "tmpcopyup" needs type "tmpfs"', "remove the option", _OPTIONS)
        if mount["uidMappings"] or mount["gidMappings"] or "idmap" in options or "ridmap" in options:
            yield from _idmap(mount, options, mapped=mapped)


def _bind(mount: Node) -> Iterator[Problem]:
    if not mount.get("source"):
        remedy = "write the file or directory to bind, absolute or relative to the bundle"
        yield Problem(mount["source"].where, "is missing, but a bind mount requires a source", remedy, _SPEC)


def _filesystem(mount: Node, options: list[str]) -> Iterator[Problem]:
    kind = mount.get("type") or ""
    if kind in ("bind", "rbind"):
        what = f'type "{kind}" without the option "bind" or "rbind"'
        yield Problem(mount["type"].where, what, f'add "{kind}" to the options', _SPEC)
    elif kind in ("", "none") and "remount" not in options and PROPAGATION.isdisjoint(options):
        what = 'is "none", which is valid only for bind mounts' if kind else "is missing; only bind mounts need no type"
        remedy = 'write a filesystem type, for example "tmpfs", or add the option "rbind"'
        yield Problem(mount["type"].where, what, remedy, _MAPPED)


def _idmap(mount: Node, options: list[str], *, mapped: bool) -> Iterator[Problem]:
    uids, gids = mount["uidMappings"], mount["gidMappings"]
    if "bind" not in options and "rbind" not in options:
        where = mount["options"].where if {"idmap", "ridmap"} & {*options} else uids.where
        yield Problem(where, "only a bind mount can be ID-mapped", 'add "rbind", or remove the mapping', _MAPPED)
    for one, other in ((uids, gids), (gids, uids)):
        yield from mapping_problems(one)
        if one.value and not other.value:
            name = other.where.rpartition(".")[2]
            what = f"is missing, but {one.where} requires it"
            yield Problem(other.where, what, f"add {name}, or remove both", _MAPPED)
    if not uids.value and not gids.value and not mapped:
        for index, option in enumerate(options):
            if option in ("idmap", "ridmap"):
                what = f'option "{option}" without mappings'
                remedy = "add uidMappings and gidMappings to the mount, or a user namespace to the container"
                yield Problem(f"{mount['options'].where}[{index}]", what, remedy, _OPTIONS)


def warnings(mounts: Node) -> Iterator[Problem]:
    for mount in mounts.each():
        destination = mount.value["destination"]
        if destination and destination[0] != "/":
            what = f"{shown(destination)} is not an absolute path; taken relative to the container's root (deprecated)"
            remedy = f"write {shown('/' + destination)}, or remove the mount"
            yield Problem(mount["destination"].where, what, remedy, _SPEC)
        options = mount.get("options", ())
        if "bind" in options or "rbind" in options:
            for index, option in enumerate(options):
                if for_filesystem(option):
                    what = f"{shown(option)} is an option of a filesystem; ignored for a bind mount"
                    yield Problem(f"{mount['options'].where}[{index}]", what, f"remove {shown(option)}", _OPTIONS)
        if mount.get("uidMappings") and "idmap" not in options and "ridmap" not in options:
            what = 'the option "idmap" or "ridmap" is missing: older runtimes ignore the mappings'
            yield Problem(mount["options"].where, what, 'add "idmap" to the options', _MAPPED)
