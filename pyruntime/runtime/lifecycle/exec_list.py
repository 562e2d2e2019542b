"""The common part of the lists by which the front carries out `exec`: where they hold, and the launch.

template.py and replay.py add what is different: the records of the launch plan.
"""

from __future__ import annotations

import os

from pyruntime.runtime.compiler.setup import NAMESPACES, PROC_NAMES
from pyruntime.runtime.lifecycle.launch import STUB, stub_arguments
from pyruntime.runtime.plan.encode import STUB as STEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.plan.life import InstructionList

_HOST_STEPS = {"cgroup_follow", "report_process"}


def ordinary(plan: Plan) -> bool:
    """Whether the front can carry out this plan of `exec`: without warnings, terminal or seccomp agent, and with no
    host steps but those that it supports."""
    host = [step for step in plan.steps if step.op.actor == "host"]
    return (not plan.warnings and set(plan.slots) <= {"init", "root"} and os.geteuid() == 0
            and all(step.op.name in _HOST_STEPS and not step.tolerate for step in host))


def emit_conditions(listing: InstructionList, plan: Plan) -> None:
    """The plan was compiled in this user namespace, for these namespaces of init that are not the runtime's."""
    flags = next((step.args["flags"] for step in plan.steps if step.op.name == "join_container"), 0)
    present = os.listdir("/proc/self/ns")   # the kernel may lack some kinds
    same: list[str] = []
    other: list[str] = []
    for kind, flag in NAMESPACES.items():
        name = PROC_NAMES.get(kind, kind)
        if name in present:
            (other if flags & flag else same).append(name)
    listing.emit("require_namespaces", same=same, other=other)
    own = "/proc/self/ns/user"
    file = os.stat(own)
    listing.emit("require_file", path=own, device=file.st_dev, inode=file.st_ino)


def emit_launch(listing: InstructionList, plan: Plan) -> None:
    """The launch with the records emitted before, and the parent's steps."""
    clone = next(number for number, step in enumerate(plan.steps) if step.op.name == "clone_init")
    listing.emit("launch", header=STEPS.frame([]), program=STUB, arguments=stub_arguments(3, len(plan.slots)), first=3,
                 slots=plan.slots, clone=clone)
    before = -2
    for number, step in enumerate(plan.steps):
        if step.op.actor != "host":
            continue
        if number != before + 1:
            if before >= 0:
                listing.emit("go")
            listing.emit("await_sync", index=number)
        if step.op.name == "cgroup_follow":
            listing.emit("follow_cgroup", path=step.args["path"])
        else:
            listing.emit("report_process")
        before = number
    if before >= 0:
        listing.emit("go")
    listing.emit("await_program")
