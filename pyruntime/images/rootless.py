"""Without root: become root of a user namespace, so that the rest of the code need not distinguish.

``enter`` moves this process into a new user namespace, in which its user is root, followed by the IDs of /etc/subuid
and /etc/subgid (user_namespaces(7), newuidmap(1)), and into a new mount namespace: its mounts are visible there only.
Without subordinate IDs only the user itself is mapped, which is enough for many images.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, words
from pyruntime.system.uapi import CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable



def subordinate_ids(path: str, user: str, uid: int) -> list[tuple[int, int]]:
    """The ranges (first, count) of a user in /etc/subuid or /etc/subgid. subuid(5)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with open(fd, encoding="utf-8", errors="replace") as file:
        fields = [line.strip().split(":") for line in file]
    return [(int(field[1]), int(field[2])) for field in fields
            if len(field) == 3 and field[0] in (user, str(uid)) and field[1].isdecimal() and field[2].isdecimal()
            and int(field[2]) > 0]


def map_words(own: int, ranges: list[tuple[int, int]]) -> list[str]:
    """newuidmap's arguments: the user is root, and the ranges follow from 1 on."""
    words = ["0", str(own), "1"]
    inside = 1
    for first, count in ranges:
        words += [str(inside), str(first), str(count)]
        inside += count
    return words


def enter(store_root: str = "", warn: Callable[[str], None] | None = None) -> None:
    """Become root in a new user and mount namespace; no effect for root.

    To be called before there are threads. ``store_root``: the store to be used; another user's store is refused here,
    while the owner is still visible. ``warn`` is called if IDs are missing. Raises HostError.
    """
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    if store_root and os.path.exists(store_root) and os.stat(store_root).st_uid != uid:
        raise HostError(f'store "{store_root}" belongs to user {os.stat(store_root).st_uid}, not to {uid}: name'
                        " your own store with PYRUNTIME_STORE")
    ranges = _ranges(uid, warn or (lambda _text: None))
    ready, tell = os.pipe()
    answer, reply = os.pipe()
    helper = os.fork()   # the child stays outside, where newuidmap has privileges
    if helper == 0:
        _help(ready, reply, (tell, answer), (uid, gid), ranges)
    os.close(ready)
    os.close(reply)
    try:
        _unshare(CLONE_NEWUSER)
        os.write(tell, b"1")
    finally:
        os.close(tell)
        problem = b"".join(iter(lambda: os.read(answer, 4096), b"")).decode("utf-8", "replace").strip()
        os.close(answer)
        os.waitpid(helper, 0)
    if problem:
        raise HostError(f"cannot map user and group IDs into a user namespace: {problem}")
    _become_root()


def join(namespace: int) -> None:
    """As `enter`, but into the user namespace of a descriptor, which this user has made and which has its IDs. Closes
    the descriptor. Raises HostError."""
    from pyruntime.system import kernel  # lazy: only without root

    try:
        kernel.setns(namespace, CLONE_NEWUSER)
    except OSError as error:
        raise HostError(f"cannot enter this program's user namespace again: {error.strerror}") from None
    os.close(namespace)
    _become_root()


def _become_root() -> None:
    """Root of this user namespace, and a mount namespace that belongs to it."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _unshare(CLONE_NEWNS)


def _ranges(uid: int, warn: Callable[[str], None]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The user's subordinate IDs; empty, after a warning, if they cannot be used."""
    import pwd  # lazy: only without root

    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = ""
    uids, gids = (subordinate_ids(f"/etc/sub{kind}", user, uid) for kind in ("uid", "gid"))
    problem = ""
    if not user:
        problem = f"newuidmap needs the name of the user, and /etc/passwd has none: add user {uid}"
    elif not (uids and gids):
        problem = f'/etc/subuid and /etc/subgid have no IDs for user "{user}": add some (usermod --add-subuids' \
                  f" 100000-165535 --add-subgids 100000-165535 {user})"
    elif not (_program("newuidmap") and _program("newgidmap")):
        problem = "newuidmap and newgidmap are not installed (package uidmap)"
    if problem:
        warn(f"only user {uid} can be mapped, so files of other users cannot be created: {problem}")
        return [], []
    return uids, gids


def _program(name: str) -> str:
    path = os.environ.get("PATH") or "/usr/bin:/bin"
    places = [f"{place}/{name}" for place in (*path.split(":"), "/usr/bin", "/usr/sbin") if place]
    return next((place for place in places if os.access(place, os.X_OK)), "")


def _unshare(kind: int) -> None:
    from pyruntime.system import kernel  # lazy: only without root

    try:
        kernel.unshare(kind)
    except OSError as error:
        from pyruntime.system.restrictions import user_namespaces  # lazy: only for a refusal

        reason = user_namespaces(error.errno or 0)
        raise HostError(f"cannot create a user namespace: {reason}{reason and ': '}{error.strerror}") from None


def _help(ready: int, reply: int, others: tuple[int, int], own: tuple[int, int],
          ranges: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> None:
    """The forked helper: wait for the namespace, map its IDs, report problems. Never returns."""
    try:
        for fd in others:
            os.close(fd)
        try:
            # Nothing to read: the parent's unshare failed, and the parent reports that.
            problem = _map(os.getppid(), own, ranges) if os.read(ready, 1) else ""
        except OSError as error:
            problem = f"{_limits(error.errno or 0)}{words(error)}"
        except Exception as error:
            problem = f"{type(error).__name__}: {words(error)}"
        os.write(reply, problem.encode())
    finally:
        os._exit(0)   # the child must never return into the caller's code


def _limits(number: int) -> str:
    from pyruntime.system.restrictions import limits  # lazy: only for a refusal

    reason = limits(number)
    return f"{reason}: " if reason else ""


def _map(pid: int, own: tuple[int, int], ranges: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> str:
    """Write the ID maps of a process; "" or the problem."""
    for kind, mine, given in (("uid", own[0], ranges[0]), ("gid", own[1], ranges[1])):
        if given:
            words = [_program(f"new{kind}map"), str(pid), *map_words(mine, given)]
            output, end = os.pipe()
            child = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, end, 2)])
            os.close(end)
            said = b"".join(iter(lambda fd=output: os.read(fd, 4096), b""))  # type: ignore[misc]
            if os.waitpid(child, 0)[1]:
                problem = said.decode("utf-8", "replace").strip() or f"{words[0]} failed"
                return (f"{problem}: check the lines of user {own[0]} in /etc/subuid and /etc/subgid, and that"
                        " newuidmap and newgidmap are setuid root")
            continue
        if kind == "gid":   # without it an unprivileged process may not write gid_map (user_namespaces(7))
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/{kind}_map", f"0 {mine} 1")
    return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
