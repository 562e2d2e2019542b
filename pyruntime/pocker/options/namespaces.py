"""The namespaces of a container: its own, the host's, or another container's.

Settings: ``ipc``, ``pid``, ``uts``, ``cgroupns`` and ``userns`` as the flags have them, and the first network. "" is
the usual: all of its own, but for the user namespace, and the cgroup namespace on machines with cgroup v1.

``userns`` is ``host`` (none), ``auto`` (65536 ids that no other container has, of the ranges in /etc/subuid and
/etc/subgid of the user "pocker" or "containers"), or the name of a user whose whole ranges are taken. ROOT/ids/N is a
symbolic link to ID.PID, the container that has the N-th 65536 of ``auto`` and the process that made it.
"""

from __future__ import annotations

import os

from pyruntime.commandline.units import wrong
from pyruntime.errors import HostError, StateError, UsageError
from pyruntime.pocker.containers.container import find
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, Record
    from pyruntime.pocker.directories import Places
    from pyruntime.pocker.options.settings import Settings

_WORDS = {"ipc": ("private", "shareable", "host", "none"), "pid": ("private", "host"), "uts": ("private", "host"),
          "cgroupns": ("private", "host"), "userns": ("host", "auto")}
_FILES = {"ipc": "ipc", "pid": "pid", "uts": "uts", "network": "net"}   # below /proc/PID/ns
SHARED = "container:"
IDS = 65536                   # of a user namespace of userns=auto
AUTO_USERS = ("pocker", "containers")


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    for flag, words in _WORDS.items():
        text: str = given.get(flag, "")
        if flag in ("ipc", "pid", "uts") and text.startswith(SHARED) and len(text) > len(SHARED):
            pass   # it is looked for when the container starts
        elif flag == "userns" and text and text not in words:
            subordinate(text)
        elif text and text not in words:
            also = ", container:NAME" if flag in ("ipc", "pid", "uts") else ""
            raise wrong(flag, text, f"write {', '.join(words)}{also}")
        setattr(settings, flag, text)
    if settings.userns not in ("", "host") and given.get("userns"):
        _check_user(given)
    if settings.uts == "host" and given.get("hostname"):
        raise UsageError("--hostname and --uts host do not go together: it would be the machine's own name")


def apply(container: Container, record: Record, document: dict[str, Any]) -> None:
    """Put the namespaces into config.json. Raises NoSuchContainer, StateError for another container's."""
    settings, linux = record.settings, document["linux"]
    first = settings.networks[0]["name"] if settings.networks else ""
    wanted = {"ipc": settings.ipc, "pid": settings.pid, "uts": settings.uts,
              "network": first if first == "host" or first.startswith(SHARED) else "", "cgroup": settings.cgroupns}
    result = []
    kinds = [entry["type"] for entry in linux["namespaces"]]
    for kind in [*kinds, *(["cgroup"] if settings.cgroupns == "private" and "cgroup" not in kinds else [])]:
        text = wanted.get(kind, "")
        if text.startswith(SHARED):
            other = _other(container, text, kind)
            result.append({"type": kind, "path": f"/proc/{other}/ns/{_FILES[kind]}"})
        elif text != "host":
            result.append({"type": kind})
    linux["namespaces"] = result
    own = {entry["type"] for entry in result if "path" not in entry}
    if "uts" not in own:
        document.pop("hostname", None)
        document.pop("domainname", None)
    elif first == "host" and not settings.hostname:
        document["hostname"] = os.uname().nodename
    elif first.startswith(SHARED):
        other_record = find(container.places, first.removeprefix(SHARED)).read()
        document["hostname"] = other_record.settings.hostname or other_record.id[:12]
    if settings.ids:
        _user(document, settings.ids, own)
    if settings.ipc == "host":
        _replace(document, "/dev/shm", "/dev/shm")
    elif settings.ipc.startswith(SHARED):
        _replace(document, "/dev/shm", f"{container.directory}/mounts/shm")
    elif settings.ipc == "none":
        document["mounts"] = [mount for mount in document["mounts"] if mount["destination"] != "/dev/shm"]


def _user(document: dict[str, Any], ids: dict[str, list[str]], own: set[str]) -> None:
    linux = document["linux"]
    linux["namespaces"].append({"type": "user"})
    for name, lines in (("uidMappings", ids["uids"]), ("gidMappings", ids["gids"])):
        linux[name] = [dict(zip(("containerID", "hostID", "size"), map(int, line.split()), strict=True))
                       for line in lines]
    if "network" not in own:   # sysfs shows a network namespace, and is mounted by its owner alone
        for mount in document["mounts"]:
            if mount["destination"] == "/sys":
                mount.update(type="bind", source="/sys", options=["rbind", "nosuid", "noexec", "nodev", "ro"])


def _replace(document: dict[str, Any], place: str, source: str) -> None:
    for mount in document["mounts"]:
        if mount["destination"] == place and mount["type"] in ("tmpfs", "mqueue"):
            mount.update(type="bind", source=source, options=["rbind", "nosuid", "noexec", "nodev"])


def _other(container: Container, text: str, kind: str) -> int:
    """The pid of the init process of the container that ``container:NAME`` means."""
    from pyruntime.pocker.containers.status import status_of

    other = find(container.places, text.removeprefix(SHARED))
    if other.id == container.id:
        raise StateError(f"a container cannot share its own {kind} namespace")
    if kind == "ipc" and other.read().settings.ipc not in ("shareable", "host"):
        raise StateError(f'container "{other.read().name}" keeps its ipc namespace to itself: make it with --ipc'
                         " shareable")
    status = status_of(other)
    if not status.pid:
        raise StateError(f'container "{other.read().name}" does not run, so it has no {kind} namespace to share')
    return status.pid


def provide(container: Container, record: Record) -> None:
    """Fetch the other container's /dev/shm, without which its ipc namespace is half of it. Called where what we
    mount is seen by the container's monitor alone."""
    from pyruntime.pocker import volumes
    from pyruntime.pocker.options import mounts

    pid = _other(container, record.settings.ipc, "ipc")
    try:
        mounts.attach(container, "shm", volumes.tree_of(pid, "/dev/shm"))
    except OSError as error:
        raise HostError(f'cannot share /dev/shm of "{record.settings.ipc}": {error.strerror}') from None


# --- user namespaces --------------------------------------------------------------------------------------------------


def _check_user(given: dict[str, Any]) -> None:
    from pyruntime.system.user_namespace import privileged

    if given.get("privileged"):
        raise UsageError("--privileged and --userns do not go together: write --userns host")
    if not privileged():
        raise UsageError(f'--userns "{given["userns"]}": without root all containers share your user namespace:'
                         " write --userns host")


def take_ids(places: Places, record: Record) -> None:
    """Give a container of a user namespace its ids. Raises UsageError where there are none, or none left."""
    settings = record.settings
    if settings.userns != "auto":
        settings.ids = {name: _lines(ranges) for name, ranges in
                        zip(("uids", "gids"), subordinate(settings.userns), strict=True)}
        return
    ranges = next((found for user in AUTO_USERS if all(found := _both(user))), None)
    if ranges is None:
        raise wrong("userns", "auto", f'/etc/subuid and /etc/subgid have no ids for "{AUTO_USERS[0]}": add a line'
                    f' "{AUTO_USERS[0]}:FIRST:COUNT" to both, of ids that nobody has')
    pieces = [[one.first + start for one in kind for start in range(0, one.size - IDS + 1, IDS)] for kind in ranges]
    with places.lock("ids"):
        for number, (uid, gid) in enumerate(zip(*pieces, strict=False)):
            if _free(places, number):
                os.symlink(f"{record.id}.{os.getpid()}", f"{places.root}/ids/{number}")
                settings.ids = {"uids": [f"0 {uid} {IDS}"], "gids": [f"0 {gid} {IDS}"]}
                return
    raise wrong("userns", "auto", f"all {min(map(len, pieces))} times {IDS} ids are taken: remove containers, or give"
                " more ids in /etc/subuid and /etc/subgid")


def _free(places: Places, number: int) -> bool:
    """Whether nobody has the ids of this number: no container, and no process that is about to make one."""
    link = f"{places.root}/ids/{number}"
    try:
        owner, _, maker = os.readlink(link).partition(".")
    except FileNotFoundError:
        return True
    if os.path.isdir(f"{places.root}/containers/{owner}") or start_time(int(maker)):
        return False
    os.unlink(link)
    return True


def give_ids(places: Places, record: Record) -> None:
    """Take a container's ids back; it is being removed."""
    with places.lock("ids"):
        for number in os.listdir(f"{places.root}/ids"):
            if number.isdecimal() and os.readlink(f"{places.root}/ids/{number}").startswith(f"{record.id}."):
                os.unlink(f"{places.root}/ids/{number}")


def own_files(container: Container, settings: Settings) -> None:
    """Give the files of its network to the root of the container's user namespace, as they are elsewhere."""
    from pyruntime.images.snapshots.idmapped import Mapping
    from pyruntime.pocker.containers.etc_files import NAMES

    for name in NAMES:
        os.chown(f"{container.directory}/{name}", *Mapping(**settings.ids).owner(0, 0))


def _lines(ranges: list[Range]) -> list[str]:
    lines, inside = [], 0
    for one in ranges:
        lines.append(f"{inside} {one.first} {one.size}")
        inside += one.size
    return lines


def _both(user: str) -> tuple[list[Range], list[Range]]:
    return _ranges("/etc/subuid", user), _ranges("/etc/subgid", user)


class Range:
    """Ids of the host that a user namespace may have."""

    __slots__ = ("first", "size")

    def __init__(self, first: int, size: int) -> None:
        self.first = first
        self.size = size


def subordinate(user: str) -> tuple[list[Range], list[Range]]:
    """The ranges of a user in /etc/subuid and /etc/subgid (subuid(5)). Raises UsageError where there are none."""
    found = _both(user)
    for path, ranges in zip(("/etc/subuid", "/etc/subgid"), found, strict=True):
        if not ranges:
            raise wrong("userns", user, f"write host or auto, or give the user a range of ids: no line of {path} begins"
                        f' with "{user}:"')
    return found


def _ranges(path: str, user: str) -> list[Range]:
    result = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] == user and fields[1].isdecimal() and fields[2].isdecimal():
                    result.append(Range(int(fields[1]), int(fields[2])))
    except FileNotFoundError:
        return []
    return result
