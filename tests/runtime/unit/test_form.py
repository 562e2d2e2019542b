"""Plans with blanks: filled in, they are the plans that the compiler makes for these names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from pyruntime import Runtime, Sandbox
from pyruntime.errors import UsageError
from pyruntime.runtime.api import ID_MARK
from pyruntime.runtime.compiler.form import Form
from pyruntime.runtime.config.load import Config, load_bundle
from pyruntime.runtime.lifecycle.create import Request, make_plan
from pyruntime.runtime.plan.encode import encode
from pyruntime.sandbox.configuration import configuration
from pyruntime.sandbox.limits import Limits
from pyruntime.sandbox.sources import Prepared
from pyruntime.system.json import encode as text


def _config(name: str) -> Config:
    document = configuration(Prepared("/rootfs", work="/work"), Limits(), scratch="/scratch", mounts=(), user=(1, 1),
                             env={}, writable=False, limited=True, cgroup=f"/{name}", swap=True)
    return Config(document, "config.json", "/bundle")


def test_a_filled_plan_is_the_compiled_one() -> None:
    request = Request()
    form = Form(make_plan(_config(ID_MARK), ID_MARK, request), [ID_MARK])
    for name in ("first", "another-name"):
        filled, compiled = form.fill({ID_MARK: name}, {}), make_plan(_config(name), name, request)
        assert list(map(repr, filled.steps)) == list(map(repr, compiled.steps))
        assert filled.encoded == encode(compiled.steps)
        assert filled.cgroup_paths == compiled.cgroup_paths and name in next(iter(filled.cgroup_paths.values()))
        assert ID_MARK not in "".join(map(repr, filled.steps))


def test_fields_are_replaced() -> None:
    form = Form(make_plan(_config("x"), "x", Request()), [])
    filled = form.fill({}, {"find_executable": {"name": "other", "path": "/p"}}, "other")
    (changed,) = [step for step in filled.steps if step.op.name == "find_executable"]
    assert (changed.args, changed.label) == ({"name": "other", "path": "/p"}, "other")
    assert filled.encoded == encode(filled.steps)


@pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")
def test_the_front_does_not_know_prepared_containers() -> None:
    with Sandbox.host() as box:
        runtime = Runtime("/run/pyruntime-sandbox/state")
        assert runtime.state(box.name).status == "running"
        assert runtime.exec(box.name, ["true"]) == 0
        assert not Path(f"/run/pyruntime-sandbox/state/{box.name}/life.plan").exists()


def test_only_what_containers_share_is_prepared(tmp_path: Path) -> None:
    document = dict(_config("x").value)
    busybox_rootfs(tmp_path / "rootfs")
    document["root"] = {"path": "rootfs"}
    document["process"] = {**document["process"], "terminal": True}
    (tmp_path / "config.json").write_text(text(document))
    assert load_bundle(str(tmp_path))
    with pytest.raises(UsageError, match="not prepared"):
        Runtime(tmp_path / "state").prepare(tmp_path)
