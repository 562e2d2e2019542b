"""Flags to settings: bind mounts, volumes, tmpfs mounts, and the volumes of other containers."""

from __future__ import annotations

import os

from pyruntime.commandline.units import size, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.containers.mounts import PROPAGATIONS, is_procfs
from pyruntime.pocker.settings import MountPoint, VolumesFrom
from pyruntime.pocker.volume_names import problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

_BIND_WORDS = {*PROPAGATIONS, "nosuid", "suid", "nodev", "dev", "noexec", "exec", "bind", "rbind", "idmap",
               "ridmap"}
_IDLE = {"rw", "z", "Z", "U", "consistent", "cached", "delegated"}   # defaults, SELinux labels, other systems
_TMPFS_DEFAULTS = ["noexec", "nosuid", "nodev"]
_TMPFS_WORDS = {"ro", "rw", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "noatime", "relatime", "strictatime",
                "sync", "async", "tmpcopyup", "notmpcopyup", "nr_inodes", "nr_blocks", "size", "mode", "uid", "gid",
                "mpol", "huge", "private", "rprivate", "slave", "rslave", "shared", "rshared", "inode64", "inode32"}


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    mounts = [of_volume_flag(text) for text in given.get("volume", [])]
    mounts += [of_mount_flag(text) for text in given.get("mount", [])]
    mounts += [of_tmpfs_flag(text) for text in given.get("tmpfs", [])]
    targets: set[str] = set()
    for mount in mounts:
        if mount.target in targets:
            raise UsageError(f'two mounts at "{mount.target}": leave out one of them')
        targets.add(mount.target)
    return settings.replace(mounts=mounts, volumes_from=[volumes_from(text) for text in given.get("volumes-from", [])])


def volumes_from(text: str) -> VolumesFrom:
    """The container of ``CONTAINER[:ro|rw]``. Raises UsageError."""
    name, colon, mode = text.partition(":")
    if not name or (colon and mode not in ("ro", "rw", "z", "Z")):
        raise wrong("volumes-from", text, "write CONTAINER[:ro]")
    return VolumesFrom(container=name, read_only=mode == "ro")


def volume_name(flag: str, text: str, name: str) -> str:
    """The name itself. Raises UsageError for a name that no volume can have."""
    if what := problem(name):
        raise wrong(flag, text, what)
    return name


def of_volume_flag(text: str) -> MountPoint:
    """The mount of ``[SOURCE:]TARGET[:OPTIONS]``, where SOURCE is a path or a volume's name. Raises UsageError."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise wrong("volume", text, "write [SOURCE:]TARGET[:OPTIONS]")
    if len(parts) == 1:
        return MountPoint(kind="volume", target=_target("volume", text, parts[0]), anonymous=True)
    source = parts[0]
    # The host's procfs is a procfs, too.
    target = "/proc" if source == parts[1] == "/proc" else _target("volume", text, parts[1])
    words = parts[2].split(",") if len(parts) == 3 else []
    if source.startswith(("/", ".", "~")):
        path = os.path.expanduser(source) if source.startswith("~") else source
        mount: dict[str, Any] = {"kind": "bind", "source": os.path.abspath(path), "target": target, "create": True}
    else:
        mount = {"kind": "volume", "source": volume_name("volume", text, source), "target": target}
    for word in words:
        if word == "ro":
            mount["read_only"] = True
        elif word == "nocopy" and mount["kind"] == "volume":
            mount["nocopy"] = True
        elif word in _BIND_WORDS:
            mount.setdefault("options", []).append(word)
        elif word not in _IDLE:
            raise wrong("volume", text, f'"{word}" is not an option: write ro, rw, z, Z, nocopy, nosuid, nodev, noexec'
                        f" or {', '.join(PROPAGATIONS)}")
    return MountPoint(**mount)


def _target(flag: str, text: str, path: str) -> str:
    if not path.startswith("/"):
        raise wrong(flag, text, f'the path "{path}" in the container is not absolute')
    normal = os.path.normpath(path).replace("//", "/")
    if normal == "/":
        raise wrong(flag, text, "a mount must not cover the container's root")
    if is_procfs(normal):
        raise wrong(flag, text, f'"{normal}" belongs to procfs, which a mount must not cover')
    return normal


def of_tmpfs_flag(text: str) -> MountPoint:
    """The tmpfs mount of ``TARGET[:OPTIONS]``. Raises UsageError."""
    target, _, words = text.partition(":")
    options = [word for word in words.split(",") if word]
    for word in options:
        if word.partition("=")[0] not in _TMPFS_WORDS:
            raise wrong("tmpfs", text, f'"{word}" is not an option of a tmpfs: write size=, mode=, uid=, gid=,'
                        " nr_inodes=, ro, exec, suid or dev")
    return MountPoint(kind="tmpfs", target=_target("tmpfs", text, target), options=_TMPFS_DEFAULTS + options)


_KEYS = {"src": "source", "source": "source", "dst": "target", "destination": "target", "target": "target",
         "ro": "readonly", "readonly": "readonly"}


def of_mount_flag(text: str) -> MountPoint:
    """The mount of ``type=bind|volume|tmpfs,source=...,target=...[,...]``. Raises UsageError."""
    mount: dict[str, Any] = {"kind": "volume", "source": "", "target": ""}   # fields of MountPoint
    for key, equals, value in _fields(text):
        if key == "type":
            mount["kind"] = value
        elif key in ("src", "source", "dst", "destination", "target"):
            mount[_KEYS[key]] = value
        elif key in ("ro", "readonly"):
            mount["read_only"] = _truth(text, key, value) if equals else True
        else:
            _detail(mount, text, key, value, equals)
    kind = mount["kind"]
    if kind not in ("bind", "volume", "tmpfs"):
        raise wrong("mount", text, f'type "{kind}": write bind, volume or tmpfs')
    if not (kind == "bind" and mount["source"] == mount["target"] == "/proc"):
        mount["target"] = _target("mount", text, mount["target"] or "")
    strange = next((key for key in mount if _OF.get(key, kind) != kind), "")
    if strange:
        raise wrong("mount", text, f'type {kind} has no "{_SPELLED[strange]}"')
    if kind == "bind":
        if not os.path.isabs(mount["source"]) and not mount["source"].startswith("."):
            raise wrong("mount", text, "a bind mount needs source=, an absolute path of the host")
        mount["source"] = os.path.abspath(mount["source"])
        if not mount.get("create") and not os.path.exists(mount["source"]):
            raise wrong("mount", text, f'"{mount["source"]}" does not exist')
    elif kind == "tmpfs":
        if mount.pop("source"):
            raise wrong("mount", text, "a tmpfs has no source")
        mount["options"] = [*_TMPFS_DEFAULTS, *mount.get("options", [])]
        if not any(word.startswith("mode=") for word in mount["options"]):
            mount["options"].append("mode=1777")
    elif mount["source"]:
        volume_name("mount", text, mount["source"])
    else:
        mount["anonymous"] = True
    return MountPoint(**mount)


# Member that only one kind of mount has -> the kind; and how --mount spells it.
_OF = {"nocopy": "volume", "subpath": "volume", "driver": "volume", "driver_options": "volume", "labels": "volume",
       "create": "bind"}
_SPELLED = {"nocopy": "volume-nocopy", "subpath": "volume-subpath", "driver": "volume-driver",
            "driver_options": "volume-opt", "labels": "volume-label", "create": "bind-create-src"}


def _detail(mount: dict[str, Any], text: str, key: str, value: str, equals: str) -> None:
    """A key of one kind of mount."""
    options = mount.setdefault("options", [])
    if key == "bind-propagation":
        if value not in PROPAGATIONS:
            raise wrong("mount", text, f"bind-propagation must be one of {', '.join(PROPAGATIONS)}")
        options.append(value)
    elif key in ("bind-nonrecursive", "bind-recursive"):
        deep = value == "disabled" if key == "bind-recursive" else not equals or _truth(text, key, value)
        options += ["bind"] if deep else []
    elif key == "bind-create-src":
        mount["create"] = not equals or _truth(text, key, value)
    elif key == "tmpfs-size":
        options.append(f"size={size('mount tmpfs-size', value)}")
    elif key == "tmpfs-mode":
        if not value or not set(value) <= set("01234567"):
            raise wrong("mount", text, "tmpfs-mode must be an octal number, for example 1770")
        options.append(f"mode={value}")
    elif key == "volume-nocopy":
        mount["nocopy"] = not equals or _truth(text, key, value)
    elif key == "volume-subpath":
        if value.startswith("/") or ".." in value.split("/"):
            raise wrong("mount", text, 'volume-subpath must be a path in the volume, without ".."')
        mount["subpath"] = value
    elif key == "volume-driver":
        mount["driver"] = value
    elif key in ("volume-opt", "volume-label"):
        name, _, word = value.partition("=")
        mount.setdefault("driver_options" if key == "volume-opt" else "labels", {})[name] = word
    elif key not in ("consistency", "z", "Z", "relabel"):
        raise wrong("mount", text, f'unknown key "{key}": write type=, source=, target=, readonly,'
                    " bind-propagation=, bind-recursive=, volume-nocopy, volume-subpath=, volume-driver=, volume-opt=,"
                    " volume-label=, tmpfs-size= or tmpfs-mode=")


def _fields(text: str) -> list[tuple[str, str, str]]:
    """The words between commas, as in a line of a CSV file: a word in double quotes may contain commas."""
    words, quoted = [""], False
    for sign in text:
        if sign == '"':
            quoted = not quoted
        elif sign == "," and not quoted:
            words.append("")
        else:
            words[-1] += sign
    return [word.partition("=") for word in words]


def _truth(text: str, key: str, value: str) -> bool:
    if value.lower() in ("true", "1"):
        return True
    if value.lower() in ("false", "0"):
        return False
    raise wrong("mount", text, f'"{key}" must be true or false')
