"""create.follow: to a v2 cgroup, or to the current cgroup of init (cgroups(7), "no internal processes")."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from pyruntime.runtime.cgroups import create

CONTAINER = "/sys/fs/cgroup/user.slice/x"


@pytest.mark.parametrize(("init", "expected"), [
    ("0::/user.slice/x/init.scope", f"{CONTAINER}/init.scope"),
    ("1:name=systemd:/\n0::/user.slice/x/a/b", f"{CONTAINER}/a/b"),
    ("0::/user.slice/x", CONTAINER),
    ("0::/somewhere/else", None),
    ("0::/", None),
])
def test_follow(monkeypatch: pytest.MonkeyPatch, init: str, expected: str | None) -> None:
    tried: list[str] = []

    def join(paths: Sequence[str], pid: int) -> None:
        assert pid == 7
        tried.extend(paths)
        if len(tried) == 1:
            raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(create, "join", join)
    monkeypatch.setattr(create, "processes", lambda path, recursive: [5])
    monkeypatch.setattr(create, "read", lambda path: {"/proc/5/cgroup": init + "\n"}[path])
    if expected is None:
        with pytest.raises(OSError, match="busy"):
            create.follow(CONTAINER, 7, 5)
        assert tried == [CONTAINER]
    else:
        create.follow(CONTAINER, 7, 5)
        assert tried == [CONTAINER, expected]


@pytest.mark.parametrize(("number", "init"), [(errno.EBUSY, 0), (errno.ENOENT, 5), (errno.EACCES, 5)])
def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch, number: int, init: int) -> None:
    def join(paths: Sequence[str], pid: int) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(create, "join", join)
    monkeypatch.setattr(create, "processes", lambda path, recursive: [])
    with pytest.raises(OSError, match="refused"):
        create.follow(CONTAINER, 7, init)


def test_a_process_in_the_cgroup_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "join", lambda paths, pid: pytest.fail("moved"))
    monkeypatch.setattr(create, "processes", lambda path, recursive: [7] if path == CONTAINER else [])
    create.follow(CONTAINER, 7, 5)
