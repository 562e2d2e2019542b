"""mounts: all mounts beneath the root filesystem, in the listed order.

Spec:   config.md#mounts, #linux-mount-options
Emits:  mount, bind, remount, open_source, idmap_sources, readonly_mount   (phases SOURCES, MOUNTS, PIVOT)
Absent: a missing mount point is created by the step itself, as a directory, or as a file if the source is a file.
"""

from __future__ import annotations

import os

from pyruntime.runtime.cgroups.mounts import emit_mount as emit_cgroup_mount
from pyruntime.runtime.compiler.sections.namespaces import mapping_lines
from pyruntime.runtime.compiler.sections.rootfs import below
from pyruntime.runtime.config.sections.extensions import CONTEXT_TYPE
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

_SET, _CLEAR = "set", "clear"
# Per-mount attributes: option -> (set or clear, attribute). Options with a leading "r" act recursively.
ATTRIBUTES: dict[str, tuple[str, int]] = {
    "ro": (_SET, uapi.MOUNT_ATTR_RDONLY), "rw": (_CLEAR, uapi.MOUNT_ATTR_RDONLY),
    "nosuid": (_SET, uapi.MOUNT_ATTR_NOSUID), "suid": (_CLEAR, uapi.MOUNT_ATTR_NOSUID),
    "nodev": (_SET, uapi.MOUNT_ATTR_NODEV), "dev": (_CLEAR, uapi.MOUNT_ATTR_NODEV),
    "noexec": (_SET, uapi.MOUNT_ATTR_NOEXEC), "exec": (_CLEAR, uapi.MOUNT_ATTR_NOEXEC),
    "nodiratime": (_SET, uapi.MOUNT_ATTR_NODIRATIME), "diratime": (_CLEAR, uapi.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (_SET, uapi.MOUNT_ATTR_NOSYMFOLLOW), "symfollow": (_CLEAR, uapi.MOUNT_ATTR_NOSYMFOLLOW),
    # A field with three values: "clear" sets the kernel's default, relatime.
    "noatime": (_SET, uapi.MOUNT_ATTR_NOATIME), "atime": (_CLEAR, uapi.MOUNT_ATTR__ATIME),
    "relatime": (_CLEAR, uapi.MOUNT_ATTR__ATIME), "norelatime": (_CLEAR, uapi.MOUNT_ATTR__ATIME),
    "strictatime": (_SET, uapi.MOUNT_ATTR_STRICTATIME), "nostrictatime": (_CLEAR, uapi.MOUNT_ATTR__ATIME),
}
RECURSIVE = {"r" + name: value for name, value in ATTRIBUTES.items()}
PROPAGATION = {"private": uapi.MS_PRIVATE, "shared": uapi.MS_SHARED, "slave": uapi.MS_SLAVE,
               "unbindable": uapi.MS_UNBINDABLE}
RECURSIVE_PROPAGATION = {"r" + name: value for name, value in PROPAGATION.items()}
# Flags of the superblock: the kernel takes them as parameters of the filesystem.
SUPERBLOCK = {"sync", "dirsync", "lazytime", "mand"}
SUPERBLOCK_CLEAR = {"async": "sync", "nolazytime": "lazytime", "nomand": "mand"}
# No effect with the new mount API: these options are defaults, or only affect output.
IGNORED = {"defaults", "silent", "loud", "iversion", "noiversion"}
_OTHER = {"bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup"}
OPTIONS = sorted({*ATTRIBUTES, *RECURSIVE, *PROPAGATION, *RECURSIVE_PROPAGATION, *SUPERBLOCK, *SUPERBLOCK_CLEAR,
                  *IGNORED, *_OTHER})

COPY_UP = 1        # bits of the field `how` of the mount step
INHERIT_MODE = 2
PLAIN_PLACE = 4
INHERIT_OWNER = 8
# Attributes that a bind mount inherits from its source unless an option sets an attribute of the mount.
_OF_THE_SOURCE = (uapi.MOUNT_ATTR_RDONLY | uapi.MOUNT_ATTR_NOSUID | uapi.MOUNT_ATTR_NODEV | uapi.MOUNT_ATTR_NOEXEC
                  | uapi.MOUNT_ATTR_NOSYMFOLLOW)
# Of these, the source's value is kept unless one of them is given (mount(2), MS_REMOUNT).
_TIMES = uapi.MOUNT_ATTR__ATIME | uapi.MOUNT_ATTR_NODIRATIME
# New and empty: mount points beneath do not exist yet, so "ro" is set after they have been created.
_FILLED_LATER = {"tmpfs", "ramfs", "devtmpfs"}
# The kernel's own superblocks, shared or in memory: "ro" applies to the mount only. Any other filesystem may be on a
# device that cannot be written at all.
_VIRTUAL = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "ramfs", "overlay", "bpf",
            "debugfs", "tracefs", "securityfs", "configfs", "hugetlbfs", "binfmt_misc", "fuse", "selinuxfs"}


class MountOptions:
    """The parsed option strings of one mount."""

    def __init__(self, mount: Node) -> None:
        self.words: set[str] = set()
        self.attributes = {"attr_set": 0, "attr_clear": 0, "rec_set": 0, "rec_clear": 0, "propagation": 0,
                           "rec_propagation": 0}
        self.data: list[str] = []
        self.unnamed = 0   # attributes of a bind mount's source that must be cleared
        superblock: dict[str, bool] = {}
        for node in mount["options"].each():
            word = node.value
            if word in ATTRIBUTES:
                self._attribute("attr", *ATTRIBUTES[word])
            elif word in RECURSIVE:
                self._attribute("rec", *RECURSIVE[word])
            elif word in PROPAGATION:
                self.attributes["propagation"] = PROPAGATION[word]
            elif word in RECURSIVE_PROPAGATION:
                self.attributes["rec_propagation"] = RECURSIVE_PROPAGATION[word]
            elif word in SUPERBLOCK:
                superblock[word] = True
            elif word in SUPERBLOCK_CLEAR:
                superblock[SUPERBLOCK_CLEAR[word]] = False
            elif word in _OTHER:
                self.words.add(word)
            elif word not in IGNORED and word:
                # Options of the filesystem; a string may contain several, as with mount(8).
                self.data += [part for part in _split(word) if part]
        self.data += [word for word, wanted in superblock.items() if wanted]
        self.bind = bool(self.words & {"bind", "rbind"})
        self.recursive = "rbind" in self.words
        # Whether the mount sets its own propagation.
        self.propagates = bool(self.attributes["propagation"] or self.attributes["rec_propagation"])
        named = self.attributes["attr_set"] | self.attributes["attr_clear"]
        if named:
            of_the_source = _OF_THE_SOURCE | (uapi.MOUNT_ATTR_NODIRATIME if named & _TIMES else 0)
            self.unnamed = of_the_source & ~named

    def _attribute(self, prefix: str, action: str, attribute: int) -> None:
        # The last option wins, as with mount(8).
        on, off = f"{prefix}_set", f"{prefix}_clear"
        if action == _CLEAR:
            on, off = off, on
        self.attributes[on] |= attribute
        self.attributes[off] &= ~attribute
        if attribute & uapi.MOUNT_ATTR__ATIME:   # a field with three values
            other = uapi.MOUNT_ATTR__ATIME & ~attribute
            self.attributes[f"{prefix}_set"] &= ~other
            if action == _CLEAR:
                self.attributes[f"{prefix}_clear"] |= uapi.MOUNT_ATTR__ATIME


def _split(text: str) -> list[str]:
    """Split at commas outside double quotes (SELinux contexts contain commas) and remove the quotes."""
    parts, quoted = [""], False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def emit(setup: Setup) -> Iterator[Step]:
    """The steps of every mount, in order."""
    if not setup.new("mount"):
        return
    for mount in setup.config["mounts"].each():
        yield from _mount(setup, mount)


def _common(setup: Setup, mount: Node, options: MountOptions) -> dict[str, Any]:
    dest = os.path.normpath("/" + mount.value["destination"].strip("/"))
    fstype = mount.get("type", "none")
    label = f"{mount.get('source', fstype) if options.bind else fstype} on {dest}"
    propagation = below(setup)
    bound = options.bind or fstype == "cgroup"   # a new filesystem is private by default
    if (bound or propagation == uapi.MS_SHARED) and not options.propagates and "remount" not in options.words:
        options.attributes["rec_propagation"] = propagation
    return {"label": label, "dest": dest, **options.attributes}


def _mount(setup: Setup, mount: Node) -> Iterator[Step]:
    options = MountOptions(mount)
    fstype = mount.get("type", "none")
    common = _common(setup, mount, options)
    # Without a type, the entry sets the propagation of an existing mount (config/sections/mounts.py).
    if "remount" in options.words or (fstype in ("", "none") and not options.bind):
        yield step("mounts", "remount", mount.where, options=[] if options.bind else options.data, **common)
    elif options.bind:
        yield from bind(setup, mount)
    elif fstype == "cgroup":
        setup.mounted.append((common["dest"], NO_SLOT, False))
        yield from emit_cgroup_mount(mount, setup.host.cgroup, setup.cgroup_paths,
                                     cgroup_namespace="cgroup" in setup.namespaces,
                                     user_namespace=setup.in_user_namespace, attrs=options.attributes,
                                     dest=common["dest"])
    else:
        yield from _filesystem(setup, mount, fstype, options, common)


def _filesystem(setup: Setup, mount: Node, fstype: str, options: MountOptions,
                common: dict[str, Any]) -> Iterator[Step]:
    data = list(options.data)
    if options.attributes["attr_set"] & uapi.MOUNT_ATTR_RDONLY and fstype not in _VIRTUAL:
        data.append("ro")
    label = setup.config.get("linux.mountLabel", "")
    if label and setup.host.selinux and fstype not in ("proc", "sysfs", "mqueue"):
        kind = (setup.config.get("annotations") or {}).get(CONTEXT_TYPE, "context")
        data.append(f"{kind}={label}")
    how = 0
    if fstype in ("proc", "sysfs"):
        # A symbolic link in the image would redirect the filesystem, while masked paths go by the path: an attacker who
        # can change the link between the two gets an unmasked procfs (CVE-2019-19921).
        how = PLAIN_PLACE
    if fstype == "tmpfs":
        # A tmpfs has mode 1777 by default; over /run or /var/cache it should look like the covered directory.
        if not any(word.startswith("mode=") for word in data):
            how |= INHERIT_MODE
        if "tmpcopyup" in options.words:
            how |= COPY_UP
            if not any(word.startswith(("uid=", "gid=")) for word in data):
                how |= INHERIT_OWNER
    hold = _held(setup, fstype, common["dest"], full=fstype == "proc" and "subset=pid" not in data)
    if fstype in _FILLED_LATER and (common["attr_set"] | common["rec_set"]) & uapi.MOUNT_ATTR_RDONLY:
        hold = setup.slot()
        for name in ("attr_set", "rec_set"):
            common[name] &= ~uapi.MOUNT_ATTR_RDONLY
        yield step("pivot", "readonly_mount", mount["options"].where, label=common["label"], dest=common["dest"],
                   slot=hold)
    yield step("mounts", "mount", mount.where, fstype=fstype, source=mount.get("source", fstype) or fstype,
               options=data, how=how, hold=hold, **common)


def bind(setup: Setup, mount: Node) -> Iterator[Step]:
    """The steps of a bind mount."""
    options = MountOptions(mount)
    common = _common(setup, mount, options)
    source = os.path.join(setup.config.bundle, mount.get("source", ""))
    slot = NO_SLOT
    if options.words & {"idmap", "ridmap"} or mount.get("uidMappings"):
        slot = setup.slot()
        owner = mount if mount.get("uidMappings") else setup.config["linux"]
        uids, gids = mapping_lines(owner["uidMappings"]), mapping_lines(owner["gidMappings"])
        namespace = "" if uids else setup.joined("user")
        yield step("sources", "idmap_sources", mount.where, label=common["label"], source=source,
                   recursive=int(options.recursive), recursive_map=int("ridmap" in options.words), uids=uids,
                   gids=gids, namespace=namespace, slot=slot)
    elif "user" in setup.namespaces and not setup.host.rootless and not _provided(setup, mount, source):
        # The container's root may be unable to reach the source; the host's root can. Kubernetes' pods join a user
        # namespace that containerd has created, and containerd's files are below a directory that only root may enter.
        slot = setup.slot()
        yield step("sources", "open_source", mount["source"].where, label=common["label"], source=source,
                   recursive=int(options.recursive), propagation=uapi.MS_SLAVE, slot=slot)
    yield step("mounts", "bind", mount.where, source=source, otherwise="", slot=slot, recursive=int(options.recursive),
               unnamed=options.unnamed, hold=_held(setup, "", common["dest"]), **common)


def _held(setup: Setup, fstype: str, dest: str, *, full: bool = False) -> int:
    """The slot that keeps a mount on which paths are masked or read-only (NO_SLOT otherwise): a lookup beneath the
    mount itself is not affected by renames in the root filesystem."""
    linux = setup.config["linux"]
    hold = NO_SLOT
    if (fstype in ("proc", "sysfs") or (dest in ("/proc", "/sys") and fstype not in _FILLED_LATER)) and any(
            path.startswith(dest + "/") for name in ("maskedPaths", "readonlyPaths") for path in linux.get(name, [])):
        hold = setup.slot()
    setup.mounted.append((dest, hold, full))
    return hold


def _provided(setup: Setup, mount: Node, source: str) -> bool:
    """Whether the source lies on an earlier mount of the list: it can only be opened after that."""
    path = os.path.normpath(source)
    for earlier in setup.config["mounts"].each():
        if earlier.where == mount.where:
            break
        if _within(path, os.path.normpath(f"{setup.rootfs}/{earlier.value['destination']}")):
            return True
    return False


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
