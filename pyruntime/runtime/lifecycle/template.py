"""The exec template: an ordinary `exec`, which the front (native/front) carries out without an interpreter.

`create` and `restore` compile the launch plan of a process that differs from the container's own only in its program,
and leave it in the state directory as a list for the front (plan/life.py). The records that depend on the command line
are those in _FILLED: the front fills in their first fields, and adds the other records unchanged.
"""

from __future__ import annotations

import os

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.compiler.sections.process import DEFAULT_PATH
from pyruntime.runtime.compiler.setup import NAMESPACES, PROC_NAMES
from pyruntime.runtime.config.joining import asked_process
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.lifecycle.exec import ExecRequest, exec_plan
from pyruntime.runtime.lifecycle.exec_list import emit_conditions, emit_launch, ordinary
from pyruntime.runtime.plan.encode import RECORD, STUB, records
from pyruntime.runtime.plan.life import SOURCES, TEMPLATE, InstructionList
from pyruntime.system.environment import last_of_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.compiler.setup import Host
    from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

# The steps that depend on the command line: what goes into their first fields.
_FILLED = {"find_home": ("uid",), "own_streams": ("uid",), "set_user": ("uid", "gid"), "chdir": ("cwd",),
           "find_executable": ("name", "path"), "prepare_exec": ("args", "env")}
_NOT_FOR_ROOT = {"own_streams"}   # steps that the compiler leaves out for the user 0
_SOMEBODY = 1                     # any other user


def leave(container: StateDirectory, record: StateRecord, kept: dict[str, Any], host: Host) -> None:
    """Write the template of a container that is being created, unless its processes need what the front cannot do.
    ``kept`` is the content of exec.json (config.joining.kept_of); init need not exist yet. Raises PyruntimeError if the
    file cannot be written."""
    if host.rootless or host.euid or host.user_namespace:
        return
    try:
        process = asked_process(kept, ["/"])
        user = {**process["user"], "uid": _SOMEBODY}
        config = Config({**kept, "process": {**process, "user": user}}, "exec", record.bundle)
        plan = exec_plan(container, record, config, ExecRequest(), host, namespaces_of(config))
    except (OSError, PyruntimeError):
        return   # Python tries it again for each `exec`, and reports the error
    if ordinary(plan):
        container.keep_plan(TEMPLATE, template(container, plan, process))


def template(container: StateDirectory, plan: Plan, process: dict[str, Any]) -> bytes:
    """The template for a launch plan of a user other than 0; ``process`` is the container's own process object."""
    listing = InstructionList()
    listing.unchanged("exec.json", os.stat(os.path.join(container.directory, "exec.json")))
    emit_conditions(listing, plan)
    user = process["user"]
    listing.emit("process", uid=user["uid"], gid=user["gid"], cwd=process["cwd"], env=last_of_each(process["env"]),
                 variable="PATH", otherwise=DEFAULT_PATH)
    same: list[bytes] = []
    for step, record in records(plan.steps, {}):
        sources = _FILLED.get(step.op.name)
        if sources is None:
            same.append(record)
            continue
        _copy(listing, same)
        listing.emit("fill", head=record[:RECORD.size], sources=bytes(map(SOURCES.index, sources)),
                     rest=STUB.body(step.op.name, step.args, step.where, len(sources)),
                     root=int(step.op.name not in _NOT_FOR_ROOT))
    _copy(listing, same)
    emit_launch(listing, plan)
    return listing.framed()


def _copy(listing: InstructionList, same: list[bytes]) -> None:
    if same:
        listing.emit("copy", records=len(same), data=b"".join(same))
        same.clear()


def namespaces_of(config: Config) -> int:
    """The namespaces (CLONE_NEW*) that init will have and the runtime does not, as exec.foreign_namespaces."""
    flags = 0
    for node in config["linux.namespaces"].each():
        kind, path = node.get("type"), node.get("path", "")
        if not path or not os.path.samefile(path, f"/proc/self/ns/{PROC_NAMES.get(kind, kind)}"):
            flags |= NAMESPACES[kind]
    return flags
