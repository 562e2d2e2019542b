"""AppArmor: the profile that confines containers if the kernel supports AppArmor, and how it is loaded.

It is written from Docker's documentation of its own profile ("AppArmor security profiles for Docker"), in
the language of apparmor.d(5). It needs no file of the host, neither abstractions nor tunables.

Only root loads it, with apparmor_parser(8), if the kernel does not have it or has another version. Without that
program, and without privileges, containers are not confined by AppArmor, as with Docker.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.files import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NAME = "pocker-default"
ENABLED = "/sys/module/apparmor/parameters/enabled"   # missing in a kernel without AppArmor
LOADED = "/sys/kernel/security/apparmor/profiles"     # lines of the form NAME (MODE)
_PATH = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")    # a user's PATH may lack them
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def usable() -> bool:
    """Whether a new container is confined by our profile. To be called by root of the host only."""
    try:
        with open(ENABLED, "rb") as file:
            return file.read(1) == b"Y" and os.path.exists(LOADED) and bool(parser())
    except OSError:
        return False


def parser() -> str:
    """The path of apparmor_parser; "" if it is not installed."""
    return next((path for path in (f"{one}/apparmor_parser" for one in _PATH) if os.access(path, os.X_OK)), "")


def confine(process: dict[str, Any], directory: str) -> None:
    """Confine the process of a configuration with AppArmor, if the host supports it: load the profile into the kernel,
    and record its text in ``directory``. Only root of the host may load profiles. Raises HostError."""
    if usable():
        _provide(directory)
        process["apparmorProfile"] = NAME


def _provide(directory: str) -> None:
    text = profile(_ourselves())
    stamp = f"{directory}/apparmor"
    if not _loaded() or _read(stamp) != text:
        _load(text)
        # Afterwards: if we are killed in between, the profile is loaded again. A profile is replaced atomically, also
        # for running containers.
        write(stamp, text.encode())


def _loaded() -> bool:
    return any(line.rpartition(" (")[0] == NAME for line in _read(LOADED).splitlines())


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _ourselves() -> str:
    """The profile that confines this process, which sends the signals of `stop` and `kill`; "" for none."""
    for name in ("apparmor/current", "current"):   # the first since Linux 5.1
        if label := _read(f"/proc/self/attr/{name}").rstrip("\0\n"):
            label = label.rpartition(" (")[0] or label
            return label if label != "unconfined" and _PLAIN.issuperset(label) else ""
    return ""


def _load(text: str) -> None:
    import subprocess  # lazy: the profile is loaded once after each boot

    # -r: replace a loaded profile; -K: write no cache, which would never be used.
    done = subprocess.run([parser(), "-r", "-K"], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")
        raise HostError(f'cannot load the AppArmor profile "{NAME}": {said or f"apparmor_parser: {done.returncode}"};'
                        " use --security-opt apparmor=unconfined to run without AppArmor")


# --- the profile ------------------------------------------------------------------------------------------------------


def profile(ourselves: str = "") -> str:
    """The profile's text; ``ourselves``: the profile of the process that creates and stops containers, if it has
    one."""
    senders = ["unconfined", *([ourselves] if ourselves else [])]
    lines = [
        "network,",
        # seccomp refuses these sockets too, but cannot inspect socketcall(2) of 32-bit programs.
        "deny network alg,",
        "deny network vsock,",
        "capability,",
        "file,",
        "umount,",
        *(f"signal (receive) peer={peer}," for peer in senders),
        f"signal (send, receive) peer={NAME},",
        f"ptrace (trace, tracedby, read, readby) peer={NAME},",
        "deny mount,",
        # Files that are not a process's are the host's: /proc/sys, /proc/irq, /proc/sysrq-trigger and all others.
        "deny /proc/[^0-9]* wkl,",
        "deny /proc/[^0-9]*/** wkl,",
        "deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,",
        *(f"deny {pattern} wkl," for pattern in _all_but("/sys", "fs")),
        *(f"deny {pattern} wkl," for pattern in _all_but("/sys/fs", "cgroup")),
        "deny /sys/firmware/{,**} rwklx,",
        "deny /sys/devices/virtual/powercap/{,**} rwklx,",
        "deny /sys/kernel/security/{,**} rwklx,",
    ]
    # A container's files are not below our root: the kernel cannot name them all (attach_disconnected), and may have
    # to judge those that are unlinked (mediate_deleted).
    return (f"profile {NAME} flags=(attach_disconnected, mediate_deleted) {{\n"
            + "".join(f"  {line}\n" for line in lines) + "}\n")


def _all_but(directory: str, name: str) -> Iterator[str]:
    """Patterns for everything below a directory except one entry: the language has no negation."""
    for place, letter in enumerate(name):
        yield f"{directory}/{name[:place]}[^{letter}/]*{{,/**}}"
        if place:
            yield f"{directory}/{name[:place]}{{,/**}}"
    yield f"{directory}/{name}?*{{,/**}}"
