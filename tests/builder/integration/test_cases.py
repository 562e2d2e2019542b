"""Every Dockerfile of cases.py: built, run, and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder.integration.cases import CASES, Case
from tests.builder.integration.conftest import Builder, write


def test_names_are_unique_and_many() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 120


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, shared: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", case.text, case.files)
    flags = [flag.replace("CONTEXT", str(context)) for flag in case.flags]
    if case.fails:
        said = shared.fails("build", "--progress", "quiet", *flags, context)
        assert case.fails in said, said
        return
    name = f"case-{case.name}"
    shared.ok("build", "--progress", "plain", "-t", name, *flags, context)
    config = shared.image(name).config.config
    for member, value in case.config.items():
        assert config.get(member) == value, (member, config)
    if case.script:
        done = shared("run", "--rm", "--network", "none", "--entrypoint", "sh", name, "-c", case.script)
        assert done.stdout.rstrip("\n") == case.prints, (done.stdout, done.stderr)
