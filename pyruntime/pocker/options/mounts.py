"""What is mounted into a container: -v, --mount, --tmpfs, --volumes-from, and the volumes of its image.

In the settings a mount is an object with

    kind        bind, volume or tmpfs
    source      the host's absolute path, or the volume's name; none for tmpfs
    target      the absolute path in the container
    read_only   whether it cannot be written
    options     words for the mount: propagation of a bind, parameters of a tmpfs
    nocopy      a volume does not get what the image has at the target
    subpath     the part of the volume that is mounted
    anonymous   the volume was invented for the container, and may go with it
    create      the source of a bind is made where it does not exist
    driver, driver_options, labels     for a volume that has to be made

of which those are left out that do not hold.
"""

from __future__ import annotations

import os

from pyruntime.commandline.units import size, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.options.volume_names import volume_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.directories import Places
    from pyruntime.pocker.options.settings import Settings

PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_BIND_WORDS = {*PROPAGATIONS, "nosuid", "suid", "nodev", "dev", "noexec", "exec", "bind", "rbind", "idmap",
               "ridmap"}
_IDLE = {"rw", "z", "Z", "U", "consistent", "cached", "delegated"}   # the usual, about SELinux, or of other systems
_TMPFS_DEFAULTS = ["noexec", "nosuid", "nodev"]
_TMPFS_WORDS = {"ro", "rw", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "noatime", "relatime", "strictatime",
                "sync", "async", "tmpcopyup", "notmpcopyup", "nr_inodes", "nr_blocks", "size", "mode", "uid", "gid",
                "mpol", "huge", "private", "rprivate", "slave", "rslave", "shared", "rshared", "inode64", "inode32"}
_COVERABLE = ("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime",
              "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled")


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    settings.mounts = [of_volume_flag(text) for text in given.get("volume", [])]
    settings.mounts += [of_mount_flag(text) for text in given.get("mount", [])]
    settings.mounts += [of_tmpfs_flag(text) for text in given.get("tmpfs", [])]
    settings.volumes_from = given.get("volumes-from", [])
    targets: set[str] = set()
    for mount in settings.mounts:
        if mount["target"] in targets:
            raise UsageError(f'two mounts at "{mount["target"]}": leave out one of them')
        targets.add(mount["target"])


# --- the flags --------------------------------------------------------------------------------------------------------


def of_volume_flag(text: str) -> dict[str, Any]:
    """``[SOURCE:]TARGET[:OPTIONS]``, where SOURCE is a path or a volume's name."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise wrong("volume", text, "write [SOURCE:]TARGET[:OPTIONS]")
    if len(parts) == 1:
        return {"kind": "volume", "source": "", "target": _target("volume", text, parts[0]), "anonymous": True}
    source = parts[0]
    # This machine's procfs is one, too.
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
            raise wrong("volume", text, f'"{word}" is no option: write ro, rw, z, Z, nocopy, nosuid, nodev, noexec or'
                        f" {', '.join(PROPAGATIONS)}")
    return mount


def _target(flag: str, text: str, path: str) -> str:
    if not path.startswith("/"):
        raise wrong(flag, text, f'the path "{path}" in the container is not absolute')
    normal = os.path.normpath(path).replace("//", "/")
    if normal == "/":
        raise wrong(flag, text, "the container's root cannot be covered")
    if _is_procfs(normal):
        raise wrong(flag, text, f'"{normal}" belongs to procfs, which cannot be covered')
    return normal


def _is_procfs(path: str) -> bool:
    """Whether a path of the container is /proc or below, but for the files that programs such as lxcfs put there. Who
    covers the others keeps programs from what they ask the kernel, or makes them believe they had told it something
    (CVE-2019-16884). What leads there by a symbolic link does no harm to the runtime, which has a procfs of its own."""
    return path == "/proc" or (path.startswith("/proc/") and path.removeprefix("/proc/") not in _COVERABLE)


def of_tmpfs_flag(text: str) -> dict[str, Any]:
    """``TARGET[:OPTIONS]`` in memory."""
    target, _, words = text.partition(":")
    options = [word for word in words.split(",") if word]
    for word in options:
        if word.partition("=")[0] not in _TMPFS_WORDS:
            raise wrong("tmpfs", text, f'"{word}" is no option of a tmpfs: write size=, mode=, uid=, gid=, nr_inodes=,'
                        " ro, exec, suid or dev")
    return {"kind": "tmpfs", "target": _target("tmpfs", text, target), "options": _TMPFS_DEFAULTS + options}


_KEYS = {"src": "source", "source": "source", "dst": "target", "destination": "target", "target": "target",
         "ro": "readonly", "readonly": "readonly"}
_SOURCELESS = ("tmpfs",)


def of_mount_flag(text: str) -> dict[str, Any]:
    """``type=bind|volume|tmpfs,source=...,target=...[,...]``."""
    mount: dict[str, Any] = {"kind": "volume", "source": "", "target": ""}
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
            raise wrong("mount", text, "a bind mount needs source=, an absolute path of this machine")
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
    return {key: value for key, value in mount.items() if value not in (False, [], {}) or key == "source"}


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
            raise wrong("mount", text, f"bind-propagation is one of {', '.join(PROPAGATIONS)}")
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
            raise wrong("mount", text, "tmpfs-mode is a number of octal digits, as 1770")
        options.append(f"mode={value}")
    elif key == "volume-nocopy":
        mount["nocopy"] = not equals or _truth(text, key, value)
    elif key == "volume-subpath":
        if value.startswith("/") or ".." in value.split("/"):
            raise wrong("mount", text, 'volume-subpath is a path in the volume, without ".."')
        mount["subpath"] = value
    elif key == "volume-driver":
        mount["driver"] = value
    elif key in ("volume-opt", "volume-label"):
        name, _, word = value.partition("=")
        mount.setdefault("driver_options" if key == "volume-opt" else "labels", {})[name] = word
    elif key not in ("consistency", "z", "Z", "relabel"):
        raise wrong("mount", text, f'"{key}" is not understood: write type=, source=, target=, readonly,'
                    " bind-propagation=, bind-recursive=, volume-nocopy, volume-subpath=, volume-driver=, volume-opt=,"
                    " volume-label=, tmpfs-size= or tmpfs-mode=")


def _fields(text: str) -> list[tuple[str, str, str]]:
    """The words between commas, as one line of a CSV file has them: a word in double quotes may hold commas."""
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
    raise wrong("mount", text, f'"{key}" is true or false')


# --- a container's mounts ---------------------------------------------------------------------------------------------


def complete(places: Places, record: Record) -> None:
    """Put together what the flags, other containers and the image want to be mounted; every volume gets its name.

    A flag counts more than another container, and that more than the image. Raises NoSuchContainer, UsageError.
    """
    mounts = record.settings.mounts
    targets = {mount["target"] for mount in mounts}
    for text in record.settings.volumes_from:
        for mount in _borrowed(places, text):
            if mount["target"] not in targets:
                targets.add(mount["target"])
                mounts.append(mount)
    for path in record.image_config.get("Volumes") or {}:
        target = os.path.normpath("/" + path.strip("/"))
        if _is_procfs(target):
            raise UsageError(f'the image wants a volume at "{path}", which belongs to procfs and cannot be covered')
        if target not in targets and target != "/":
            targets.add(target)
            mounts.append({"kind": "volume", "source": "", "target": target, "anonymous": True})
    for mount in mounts:
        if mount["kind"] == "volume" and not mount["source"]:
            mount["source"] = os.urandom(32).hex()


def _borrowed(places: Places, text: str) -> list[dict[str, Any]]:
    """The volumes and binds of another container, for ``CONTAINER[:ro|rw]``."""
    from pyruntime.pocker.containers.container import find

    name, colon, mode = text.partition(":")
    if colon and mode not in ("ro", "rw", "z", "Z"):
        raise wrong("volumes-from", text, "write CONTAINER[:ro]")
    result = []
    for mount in find(places, name).read().settings.mounts:
        if mount["kind"] != "tmpfs":
            copy = {**mount, **({"read_only": True} if mode == "ro" else {})}
            copy.pop("anonymous", None)   # it goes with the container that it was made for
            result.append(copy)
    return result


def entries(container: Container, settings: Settings) -> list[dict[str, Any]]:
    """The mounts of config.json, so that what lies below another one comes after it."""
    order = sorted(enumerate(settings.mounts), key=lambda pair: str(pair[1]["target"]).count("/"))
    return [_entry(container, settings, number, mount) for number, mount in order]


def _entry(container: Container, settings: Settings, number: int, mount: dict[str, Any]) -> dict[str, Any]:
    options = list(mount.get("options", []))
    if mount["kind"] == "tmpfs":
        options += ["ro"] if mount.get("read_only") else []
        options = [word for word in options if word != "notmpcopyup"]
        return {"destination": mount["target"], "type": "tmpfs", "source": "tmpfs", "options": options}
    source = f"{container.directory}/mounts/{number}" if _apart(mount) else mount["source"]
    if mount["kind"] == "volume":
        if not _apart(mount):
            from pyruntime.pocker.volumes import data

            source = data(container.places, source)
        if settings.ids:   # a volume is shared by containers of different ids
            options.append("idmap")
    if not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    if mount.get("read_only"):   # what is mounted below it must not be written either
        options.append("rro" if "rbind" in options else "ro")
    if not set(PROPAGATIONS) & set(options):
        options.append("rprivate")
    return {"destination": mount["target"], "type": "bind", "source": source, "options": options}


def _apart(mount: dict[str, Any]) -> bool:
    """Whether what is mounted has a place of its own first: who may write to a volume may put a symbolic link into a
    path below it, between our look and the mount. And what is shared with the host has to stay so while the rest of our
    mount namespace is cut off from it."""
    return bool(mount.get("subpath")) or _shared(mount)


def _shared(mount: dict[str, Any]) -> bool:
    return mount["kind"] == "bind" and not {"shared", "rshared"}.isdisjoint(mount.get("options", []))


def shared_trees(settings: Settings) -> dict[int, int]:
    """Detached copies of what is to be shared with the host: the mount's number -> its descriptor. Called before our
    mount namespace is made a slave of the host's. Raises HostError."""
    from pyruntime.errors import HostError
    from pyruntime.system import kernel

    trees = {}
    for number, mount in enumerate(settings.mounts):
        if _shared(mount):
            _provide_bind(mount)
            try:
                trees[number] = kernel.open_tree(mount["source"], clone=True, recursive=True)
            except OSError as error:
                raise HostError(f'cannot mount "{mount["source"]}": {error.strerror}') from None
    return trees


def _attach_shared(container: Container, number: int, tree: int, source: str) -> None:
    from pyruntime.errors import HostError

    place = attach(container, str(number), tree)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split() for line in file if line.split()[4] == place]
    if not any(word.startswith("shared:") for word in fields[-1][6:fields[-1].index("-")]):
        raise HostError(f'"{source}" is to be shared with the container, but is on a mount of this machine that is not'
                        " shared: mount --make-shared it, or leave out the propagation")


def provide(container: Container, record: Record, root: int, shared: dict[int, int]) -> None:
    """See to it that all sources are there. ``root`` is the root filesystem's descriptor, for volumes that get what the
    image has; ``shared`` is what shared_trees found. Called where what we mount is seen by the container's monitor
    alone. Raises HostError."""
    for number, mount in enumerate(record.settings.mounts):
        if number in shared:
            _attach_shared(container, number, shared[number], mount["source"])
        elif mount["kind"] == "bind":
            _provide_bind(mount)
        elif mount["kind"] == "volume":
            from pyruntime.pocker import volumes

            volumes.provide(container.places, record, mount, root)
            if _apart(mount):
                tree = volumes.open_below(container.places, mount["source"], mount["subpath"])
                attach(container, str(number), tree)


def attach(container: Container, name: str, tree: int) -> str:
    """Mount a detached tree at the container's place of this name, and close it; where that is."""
    from pyruntime.system import kernel

    place = f"{container.directory}/mounts/{name}"
    try:
        if os.fstat(tree).st_mode & 0o170000 == 0o040000:
            os.makedirs(place, 0o700, exist_ok=True)
        elif not os.path.exists(place):
            os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        kernel.move_mount(tree, place)
    finally:
        os.close(tree)
    return place


def release(directory: str) -> None:
    """Unmount what ``attach`` has mounted for the container of this directory, as far as we see it."""
    from pyruntime.system import kernel

    try:
        names = os.listdir(f"{directory}/mounts")
    except FileNotFoundError:
        return
    for name in names:
        try:
            while True:   # each start has mounted one more
                kernel.umount2(f"{directory}/mounts/{name}", kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError:
            continue   # EINVAL: nothing is mounted there any more


def _provide_bind(mount: dict[str, Any]) -> None:
    from pyruntime.errors import HostError

    source = mount["source"]
    if os.path.lexists(source):
        return
    if not mount.get("create"):
        raise HostError(f'cannot mount "{source}" at "{mount["target"]}": it does not exist any more')
    try:
        os.makedirs(source, 0o755, exist_ok=True)
    except OSError as error:
        raise HostError(f'cannot make "{source}" to be mounted at "{mount["target"]}": {error.strerror}') from None
