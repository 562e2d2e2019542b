"""What callers of sandboxes give: paths, words, times, and values of other types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyruntime import HostMount, Pool, Sandbox, Template
from pyruntime.errors import UsageError
from tests.sandbox.programs import sh


def test_a_source_without_a_meaning_leaves_nothing() -> None:
    with pytest.raises(UsageError):
        Sandbox(5)   # type: ignore[arg-type]


ANY: Any = Sandbox   # for values of the wrong types


@pytest.mark.parametrize(("call", "words"), [
    (lambda box: box.run(["sleep", 5]), "write every argument as a text"),
    (lambda box: box.run(["ls"], env={"A": 1}), "give texts"),
    (lambda box: box.run(["ls"], env={"A=B": "1"}), 'a name without "="'),
    (lambda box: box.popen(["ls"], env=["A=1"]), "give a dictionary"),
    (lambda box: box.run(["ls"], timeout="5"), "a number of seconds"),
    (lambda box: box.popen(["ls"], timeout="5"), "a number of seconds"),   # and the end of the sandbox does not hang
    (lambda box: box.run(["ls"], input=5), "give bytes or a text"),
    (lambda box: box.write("/work/file", 5), "give bytes or a text"),
    (lambda box: ANY.host(env={"A": None}), "give texts"),
    (lambda box: ANY.host(user="nobody"), "give a number"),
    (lambda box: ANY.host(user=-1), "give a number"),
    (lambda box: ANY.host(mounts=[("/tmp", "/data")]), "give HostMount"),
    (lambda box: ANY.host(limits={"memory": "64m"}), "give Limits"),
    (lambda box: ANY(None), "name an image"),
    (lambda box: box.run(["ls"], timeout=float("nan")), "a number of seconds"),
    (lambda box: box.run(["ls"], cwd=5), "cwd 5: give a path"),
    (lambda box: ANY.host(cwd=5), "cwd 5: give a path"),
    (lambda box: box.write("/work/file", None), "give bytes or a text"),
    (lambda box: box.read(None), "give a path"),
    (lambda box: box.popen(["ls"], stdout="file"), "give PIPE, DEVNULL"),
    (lambda box: box.popen(["ls"], stdin=None), "give PIPE, DEVNULL"),
    (lambda box: box.popen(["sh"], terminal=True, size=(-1, 80)), "from 0 to 65535"),
    (lambda box: ANY.host(user=1 << 32), "up to 4294967294"),
    (lambda box: ANY.host("/usr"), "give a list of paths"),
    (lambda box: ANY.host(network="none"), "None for no network"),
    (lambda box: ANY.host(network="container:x"), "None for no network"),
    (lambda box: ANY.host(network=False), "None for no network"),
    (lambda box: ANY.host(["usr"]), "write absolute paths"),
    (lambda box: ANY.host(["/"]), "write absolute paths"),
    (lambda box: HostMount("/tmp", "data"), "write an absolute path"),
    (lambda box: HostMount("/tmp", "/"), "write an absolute path"),
    (lambda box: Pool("busybox"), "give Template"),   # type: ignore[arg-type]
])
def test_values_of_another_type(box: Sandbox, call: Callable[[Sandbox], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(box)
    assert box.run(["true"]).returncode == 0


@pytest.mark.parametrize("number", ["TERM", 999, -1])
def test_signals_that_do_not_exist(box: Sandbox, number: Any) -> None:
    with box.popen(["sleep", "300"]) as process:
        with pytest.raises(UsageError, match="give a number, as signal"):
            process.send_signal(number)
        assert process.poll() is None


def test_words_may_be_bytes_and_paths(box: Sandbox) -> None:
    assert box.run([b"echo", Path("/x"), b"\xff"]).stdout == b"/x \xff\n"   # type: ignore[list-item]


def test_paths_as_in_pathlib(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("mine")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with Sandbox(rootfs, mounts=[HostMount(Path("."), Path("/work/in"))], cwd=Path("/tmp")) as box:
        assert sh(box, "pwd; cat /work/in/data") == "/tmp\nmine"
        assert sh(box, "pwd", cwd=Path("/work")) == "/work\n"
        box.write(Path("/work/file"), "text")
        assert box.read(Path("/work/file")) == b"text"
    with Sandbox.host([Path("/usr")]) as box:
        assert sh(box, "echo x") == "x\n"


def test_long_times(box: Sandbox) -> None:
    assert box.run(["true"], timeout=1e12).reason == "exited"
    with box.popen(["true"], timeout=1e12) as process:
        assert process.wait() == 0


def test_a_bundle_with_a_wrong_configuration(rootfs: Path, tmp_path: Path) -> None:
    for process, words in (({"env": 5}, "env: 5 is not a list of texts"), ({"env": [5]}, "is not a list of texts"),
                           ({"cwd": []}, r"cwd: \[\] is not a text")):
        (tmp_path / "config.json").write_text(json.dumps({"root": {"path": str(rootfs)}, "process": process}))
        with pytest.raises(UsageError, match=words):
            Sandbox(tmp_path)


def test_an_option_that_there_is_not() -> None:
    with pytest.raises(UsageError, match=r"timeout: there is no such option of a sandbox: write .*cwd, devices"):
        Template(timeout=5)
