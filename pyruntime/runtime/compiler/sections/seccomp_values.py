"""linux.seccomp: its flags as the number for seccomp(2), and a compiled filter as a value."""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.config.node import Node

SPEC = "config-linux.md#seccomp"

# TSYNC is accepted and has the value 0: the task that loads the filter has no other threads.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": uapi.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": uapi.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": uapi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

INSTRUCTION = 8           # sizeof(struct sock_filter)
MAX_INSTRUCTIONS = 4096   # BPF_MAXINSNS


class Filter:
    """A compiled profile.

    ``program``   an array of ``struct sock_filter``
    ``flags``     for seccomp(2), with SECCOMP_FILTER_FLAG_NEW_LISTENER when ``listener``
    ``listener``  whether a rule notifies, so that the kernel returns a listener, which is sent to the agent
    ``unknown``   names in the profile that libseccomp does not know; they have no rule
    """

    __slots__ = ("flags", "listener", "program", "unknown")

    def __init__(self, program: bytes, flags: int, listener: bool, unknown: tuple[str, ...] = ()) -> None:
        self.program = program
        self.flags = flags
        self.listener = listener
        self.unknown = unknown


def mistake(node: Node, what: str, remedy: str = "") -> ConfigError:
    """The error for an invalid value at ``node``."""
    return ConfigError("config.json", [Problem(node.where, what, remedy, SPEC)])


def read_flags(seccomp: Node, listener: bool) -> int:
    """linux.seccomp.flags as the number for seccomp(2). Raises ConfigError for a flag that does not exist."""
    if not seccomp["flags"]:
        flags = uapi.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    else:
        flags = 0
        for node in seccomp["flags"].each():
            if node.value not in FLAGS:
                raise mistake(node, f'unknown seccomp flag "{node.value}"')
            flags |= FLAGS[node.value]
    if listener:
        return flags | uapi.SECCOMP_FILTER_FLAG_NEW_LISTENER
    # This flag selects how a task waits for the listener's reply; without a listener the kernel refuses it.
    return flags & ~uapi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
