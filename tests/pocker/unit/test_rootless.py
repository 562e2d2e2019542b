"""pyruntime.pocker.containers.rootless: the process that keeps the user namespace."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import HostError
from pyruntime.pocker.containers import rootless
from pyruntime.system.processes import start_time


@pytest.mark.parametrize(("number", "ended"), [(errno.ENOENT, True), (errno.ESRCH, True), (errno.EMFILE, False)])
def test_a_keeper_that_exits_has_no_namespaces_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int,
                                                         ended: bool) -> None:
    """Before it is a zombie, /proc has its start time, but no files of namespaces."""
    path = tmp_path / "namespace"
    path.write_text(json.dumps([os.getpid(), start_time(os.getpid())]))
    opened = os.open

    def refused(name: Any, *words: Any, **options: Any) -> int:
        if "/ns/" in str(name):
            raise OSError(number, os.strerror(number))
        return opened(name, *words, **options)

    monkeypatch.setattr(os, "open", refused)
    if ended:
        assert not rootless._join(str(path))
    else:
        with pytest.raises(HostError, match="cannot join the user namespace"):
            rootless._join(str(path))
