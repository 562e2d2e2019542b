"""`create` in advance, without a process: for the snapshot.

The interpreter adapts code to what it meets (PEP 659), and some tables are made at their first use. If that has
happened before the snapshot is taken, no command has to do it again.
"""

from __future__ import annotations

import os

from pyruntime.commandline.parse import parse
from pyruntime.commandline.program import read
from pyruntime.errors import PyruntimeError, StepError
from pyruntime.runtime.cli import create
from pyruntime.runtime.cli.main import GLOBAL, PROGRAM, RuntimeContext
from pyruntime.runtime.config.joining import kept_of
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.config.rules import warnings
from pyruntime.runtime.config.template import template
from pyruntime.runtime.lifecycle.create import Request, find_host, make_plan, record_of
from pyruntime.runtime.lifecycle.create import create as create_container
from pyruntime.runtime.lifecycle.life import prepare, settle
from pyruntime.runtime.lifecycle.parent import Parent
from pyruntime.runtime.lifecycle.store import StateDirectory
from pyruntime.runtime.lifecycle.template import leave
from pyruntime.runtime.plan.encode import encode
from pyruntime.system.json import encode as encode_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def rehearse(directory: str) -> None:
    """Make plans for the default configuration in an empty directory, where nothing is left. A host that cannot run it
    is no error here."""
    bundle, root = f"{directory}/bundle", f"{directory}/state"
    config = template(rootless=False, uid=0, gid=0, unified=False)
    config["process"]["terminal"] = False
    os.makedirs(f"{bundle}/rootfs")
    with open(f"{bundle}/config.json", "w") as file:
        file.write(encode_json(config, 1))
    try:
        _launch(bundle, root)
        _create(bundle, root)
    except PyruntimeError:
        return   # `create` will say it
    finally:
        os.unlink(f"{bundle}/config.json")
        os.rmdir(f"{bundle}/rootfs")
        os.rmdir(bundle)
        if os.path.isdir(root):
            os.rmdir(root)


class _Nobody(Parent):
    """Starts no stub: the launch fails when it waits for the first report."""

    def spawn(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]]) -> int:
        return 0


def _launch(bundle: str, root: str) -> None:
    """A `create` until it waits for the stub, without cgroups."""
    parsed = parse(GLOBAL, ["--root", root, "create", "--bundle", bundle, "rehearsal"], PROGRAM.style, PROGRAM.name)
    words = read(create.COMMAND, parsed.arguments[1:], PROGRAM.name, PROGRAM.style)
    assert words
    request = create.request_of(RuntimeContext(parsed), words)
    request.parent, request.cgroup_manager = _Nobody(), "disabled"
    try:
        create_container(root, "rehearsal", create.bundle_of(words), request)
    except StepError:
        return


def _create(bundle: str, root: str) -> None:
    """The same without the launch, and what follows when init exists."""
    request = Request()
    config = load_bundle(bundle)
    host = find_host(request)
    plan = make_plan(config, "rehearsal", request, host)
    warnings(config)
    encode(plan.steps)
    kept = kept_of(config, request.new_keyring)
    record = record_of(config, "rehearsal", plan)
    container = StateDirectory(root, "rehearsal")
    container.claim(record)
    try:
        container.keep(encode_json(kept).encode())
        leave(container, record, kept, host)
        settle(container, record, prepare(container, record))
    finally:
        container.remove()
