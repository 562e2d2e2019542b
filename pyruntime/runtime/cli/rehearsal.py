"""`create` in advance, as far as it happens in memory: for the snapshot.

The interpreter adapts code to what it meets (PEP 659), and some tables are made at their first use. If that has
happened before the snapshot is taken, no command has to do it again.
"""

from __future__ import annotations

import os

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.config.joining import kept_of
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.config.rules import warnings
from pyruntime.runtime.config.template import template
from pyruntime.runtime.lifecycle.create import Request, find_host, make_plan, record_of
from pyruntime.runtime.lifecycle.life import prepare, settle
from pyruntime.runtime.lifecycle.store import StateDirectory
from pyruntime.runtime.lifecycle.template import leave
from pyruntime.runtime.plan.encode import encode
from pyruntime.system.json import encode as encode_json


def rehearse(directory: str) -> None:
    """Make plans for the default configuration in an empty directory, where nothing is left. A host that cannot run it
    is no error here."""
    bundle, root = f"{directory}/bundle", f"{directory}/state"
    os.mkdir(bundle)
    with open(f"{bundle}/config.json", "w") as file:
        file.write(encode_json(template(rootless=False, uid=0, gid=0, unified=False), 1))
    try:
        _create(bundle, root)
    except PyruntimeError:
        return   # `create` will say it
    finally:
        os.unlink(f"{bundle}/config.json")
        os.rmdir(bundle)
        if os.path.isdir(root):
            os.rmdir(root)


def _create(bundle: str, root: str) -> None:
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
