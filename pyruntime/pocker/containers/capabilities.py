"""The capabilities of a container: the default set, with those that are added and dropped."""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.images.runtime_config import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.settings import ContainerSettings

# linux/capability.h, in the kernel's order.
ALL = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE")


def capabilities(settings: ContainerSettings) -> list[str]:
    """The names of the container's capabilities: Docker's default fourteen or all of them, without the dropped ones,
    plus the added ones. Raises UsageError for a capability that the kernel lacks."""
    if settings.privileged:
        return known()
    if not settings.cap_add and not settings.cap_drop:
        return list(CAPABILITIES)
    have = set(known()) if "ALL" in settings.cap_add else set(CAPABILITIES)
    if "ALL" in settings.cap_drop:
        have = set(known()) if "ALL" in settings.cap_add else set()
    have -= set(settings.cap_drop)
    if missing := [name for name in settings.cap_add if name not in ("ALL", *known())]:
        raise UsageError(f"cannot add {', '.join(missing)}: the kernel or the caller's bounding set does not have it")
    return [name for name in ALL if name in have | set(settings.cap_add)]


def known() -> list[str]:
    """The capabilities of the caller's bounding set, which the kernel limits to those that it has."""
    with open("/proc/self/status", encoding="ascii") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    return [name for number, name in enumerate(ALL) if bounding >> number & 1]
