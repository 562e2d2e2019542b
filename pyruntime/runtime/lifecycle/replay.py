"""A repeated `exec --process FILE`, which the front (native/front) carries out without an interpreter.

Health checks and probes start the same process in the same container again and again, and clients such as containerd
write the same process file each time. The front does not read JSON. So Python keeps the launch plan the first time, as
a list for the front (in the state directory: exec.0 to exec.7), and the front carries the plan out for each later
process file with the same bytes. Neither --detach nor --pid-file changes the plan.
"""

from __future__ import annotations

import os
from binascii import crc32

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.lifecycle.exec_list import emit_conditions, emit_launch, ordinary
from pyruntime.runtime.plan.encode import HEADER
from pyruntime.runtime.plan.life import KEPT, SLOTS, InstructionList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

ASIDE = {"process", "detach", "pid-file"}   # options that do not change the plan
_LARGEST = 1 << 16   # bytes of a process file


def keep(container: StateDirectory, record: StateRecord, plan: Plan, encoded: bytes, content: bytes) -> None:
    """Keep the plan of a successful `exec` with this content of the process file, unless the front cannot carry it
    out."""
    if (not 0 < len(content) <= _LARGEST or not ordinary(plan) or "PYRUNTIME_FAULT" in os.environ
            or os.environ.get("PYRUNTIME_FRONT") == "off"):
        return
    listing = InstructionList()
    try:
        for name in ("state.json", "exec.json"):
            listing.unchanged(name, os.stat(os.path.join(container.directory, name)))
        if not record.alive():
            return   # perhaps the files are those of a later container with this ID, and other privileges
        listing.emit("require_process", content=content)
        emit_conditions(listing, plan)
        listing.emit("copy", records=HEADER.unpack_from(encoded)[2], data=encoded[HEADER.size:])
        emit_launch(listing, plan)
        container.keep_plan(f"{KEPT}{crc32(content) % SLOTS}", listing.framed())
    except (OSError, PyruntimeError):
        return   # the container was deleted, or the disk is full: the program runs nevertheless
