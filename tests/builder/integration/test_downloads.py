"""Downloads of ADD: byte for byte, within limits, and without credentials."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyruntime.builder.steps import origins
from pyruntime.builder.steps.origins import Origins
from pyruntime.errors import BuildError, DigestError
from pyruntime.images.store.store import Store
from tests.images.integration.registries import FakeHandler, FakeRegistry, redirect, status, trickle


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    """A server that answers with the faults that a test sets."""
    made = FakeRegistry()
    yield made
    made.stop()


@pytest.fixture
def get(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Downloads a URL as ADD does; the file."""
    def nothing(*_: object) -> None:
        raise AssertionError("no image is asked for")
    with Origins(Store.open(str(tmp_path / "store")), {}, pull=nothing) as made:   # type: ignore[arg-type]
        def fetch(url: str, checksum: str = "") -> Path:
            tree = made.fetched(url, checksum=checksum, keep_git=False)
            return Path(os.readlink(f"/proc/self/fd/{tree.fd}")) / tree.single
        yield fetch


def test_a_downloaded_file(server: FakeRegistry, get: Callable[..., Path]) -> None:
    server.fault("GET", "/d/a%20b", status(200, {"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}, b"content"))
    server.fault("GET", "/old", redirect(f"{server.url}/d/a%20b", 302))
    found = get(f"{server.url}/d/a%20b?query=1")
    assert (found.name, found.read_bytes()) == ("a b", b"content")
    assert stat.S_IMODE(found.stat().st_mode) == 0o600 and found.stat().st_mtime == 1577836800
    assert "Authorization" not in server.asked("GET")[0]


@pytest.mark.parametrize(("fault", "words"), [
    (status(404), "HTTP 404"), (status(200, {"Content-Length": "9"}, b"short"), "closed"),
    (redirect("file:///etc/passwd", 302), "not a URL of http or https"),
    (trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"), "less than 1024 bytes a second"),
    (trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no complete response"),
])
def test_failed_downloads(server: FakeRegistry, get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
                            fault: Callable[[FakeHandler], None], words: str) -> None:
    monkeypatch.setattr(origins, "_PATIENCE", 0.5)

    def closing(handler: FakeHandler) -> None:
        fault(handler)
        handler.hang_up()
    server.fault("GET", "/file", closing, times=9)
    with pytest.raises(BuildError) as caught:
        get(f"{server.url}/file")
    assert words in str(caught.value) and f"{server.url}/file" in str(caught.value)


def test_another_content(server: FakeRegistry, get: Callable[..., Path]) -> None:
    server.fault("GET", "/file", status(200, None, b"content"))
    with pytest.raises(DigestError):
        get(f"{server.url}/file", "sha256:" + "0" * 64)
