"""checkpoint, restore: the request to CRIU for each flag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime import Runtime as Library
from pyruntime.errors import CriuError
from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle, Runtime, end
from tests.images.integration.registries import free_port
from tests.runtime.integration.checkpoint.checkpointed import COUNT, fake_criu, grows, script


def _asked(runtime: Runtime, directory: Path, *words: object, notify: str = "", **options: Any) -> dict[str, Any]:
    """The options of the last request of a command to a fake CRIU, which reports success."""
    requests = directory / "requests"
    fake = script(directory / "recording/criu", f"export PYTHONPATH={TOP}\n"
                   f'exec {sys.executable} {TOP}/tests/data/fake_criu.py {requests} {notify} -- "$@"')
    done = runtime("--criu", fake, *words, **options)
    assert done.returncode == (1 if "restore" in words else 0), done.stderr
    asked = json.loads(requests.read_text().splitlines()[-1])["opts"]
    assert isinstance(asked, dict)
    return asked


@pytest.mark.parametrize(("words", "options"), [
    ([], {"leave_running": 0, "tcp_established": 0, "file_locks": 0, "shell_job": 0, "ext_unix_sk": 0, "link_remap": 0,
          "tcp_skip_in_flight": 0, "auto_dedup": 0, "lazy_pages": 0, "track_mem": 0, "manage_cgroups_mode": 3,
          "empty_ns": 0x40000000}),
    (["--leave-running"], {"leave_running": 1}), (["--tcp-established"], {"tcp_established": 1}),
    (["--tcp-skip-in-flight"], {"tcp_skip_in_flight": 1}), (["--link-remap"], {"link_remap": 1}),
    (["--ext-unix-sk"], {"ext_unix_sk": 1}), (["--shell-job"], {"shell_job": 1}), (["--file-locks"], {"file_locks": 1}),
    (["--auto-dedup"], {"auto_dedup": 1}), (["--lazy-pages"], {"lazy_pages": 1}), (["--pre-dump"], {"track_mem": 1}),
    (["--page-server", "10.0.0.1:27"], {"ps": {"address": "10.0.0.1", "port": 27}}),
    (["--page-server=[::1]:27"], {"ps": {"address": "::1", "port": 27}}),
    (["--parent-path", "../state"], {"parent_img": "../state", "track_mem": 1}),
    (["--manage-cgroups-mode", "ignore"], {"manage_cgroups_mode": 0}),
    (["--empty-ns", "network"], {"empty_ns": 0x40000000}),
])
def test_requests_of_checkpoint(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, words: list[str],
                                options: dict[str, Any]) -> None:
    """Every option of checkpoint; after a reported success the container is deleted, unless it is left running."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    pid = runtime.state("c1")["pid"]
    asked = _asked(runtime, tmp_path, "checkpoint", "--image-path", tmp_path / "image", *words, "c1")
    assert {key: value for key, value in asked.items() if key in options} == options
    assert asked["pid"] == pid and asked["notify_scripts"] == 1
    stays = words in (["--leave-running"], ["--pre-dump"])
    assert runtime("state", "c1").returncode == (0 if stays else 1)


@pytest.mark.parametrize(("words", "options"), [
    ([], {"empty_ns": 0x40000000, "rst_sibling": 1, "tcp_established": 0, "lazy_pages": 0, "manage_cgroups_mode": 3}),
    (["--tcp-established"], {"tcp_established": 1}), (["--ext-unix-sk"], {"ext_unix_sk": 1}),
    (["--shell-job"], {"shell_job": 1}), (["--file-locks"], {"file_locks": 1}), (["--auto-dedup"], {"auto_dedup": 1}),
    (["--lazy-pages"], {"lazy_pages": 1}), (["--empty-ns", "network"], {"empty_ns": 0x40000000}),
    (["--manage-cgroups-mode", "full"], {"manage_cgroups_mode": 4}), (["--no-subreaper"], {"rst_sibling": 1}),
    (["--lsm-profile", "apparmor:other"], {"lsm_profile": "apparmor:other"}),
    (["--lsm-mount-context", "a:b:c:s0"], {"lsm_mount_context": "a:b:c:s0"}), (["--parent-path", "x"], {}),
])
def test_requests_of_restore(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, words: list[str],
                                 options: dict[str, Any]) -> None:
    """Every option of restore, and the paths of the container's files on the host."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text('["/dev/pts/0","pipe:[5]","file[18:3]"]')
    own_bundle.shell(COUNT)
    asked = _asked(runtime, tmp_path, "restore", "--image-path", tmp_path / "image", *words, "-b", own_bundle, "c1")
    assert {key: value for key, value in asked.items() if key in options} == options
    assert asked["inherit_fd"] == {"key": "file[18:3]", "fd": 2} and asked["notify_scripts"] == 1
    assert asked["root"] == str(runtime.root / "c1/stage")
    assert asked["ext_mnt"]["key"] == "/dev/null"   # the last of them


def test_the_status_descriptor(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """--status-fd receives a zero byte and end of file when the page server listens."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    ready, status = os.pipe()
    _asked(runtime, tmp_path, "checkpoint", "--lazy-pages", "--status-fd", status, "--image-path", tmp_path / "image",
           "c1", notify="pre-dump status-ready post-dump", pass_fds=[status])
    os.close(status)
    assert os.read(ready, 10) == b"\0" and os.read(ready, 10) == b""
    os.close(ready)


def test_memory_over_the_network(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """--page-server: the pages are sent to CRIU's page server, whose directory then has the image."""
    image, port = tmp_path / "image", free_port()
    image.mkdir()
    server = subprocess.Popen(["criu", "page-server", "--images-dir", image, "--address", "127.0.0.1", "--port",
                               str(port)], env=criu.environment)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.02)
        criu.ok("checkpoint", "--page-server", f"127.0.0.1:{port}", "--image-path", image, "c1")
        assert server.wait(PATIENCE) == 0 and list(image.glob("pages-*.img"))
        criu.ok("restore", "-d", "--image-path", image, "--bundle", own_bundle, "c1")
        grows(counter)
    finally:
        end(server)


def _listens(port: int) -> bool:
    # Not by connecting: the server takes one connection.
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
               for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


def test_pre_dump(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """The memory first and the rest later; if the kernel does not track writes, the error names that."""
    done = criu("checkpoint", "--pre-dump", "--image-path", tmp_path / "first", "c1")
    if done.returncode:
        assert "CRIU is missing features: mem_track: the kernel does not track which pages were written" in done.stderr
        assert criu.state("c1")["status"] == "running"
        return
    grows(counter)
    criu.ok("checkpoint", "--parent-path", "../first", "--image-path", tmp_path / "second", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "second", "--bundle", own_bundle, "c1")
    grows(counter)


def test_a_configuration_of_criu(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The annotation org.criu.config: its settings override the runtime's."""
    settings = tmp_path / "criu.conf"
    settings.write_text("log-file another.log\n")
    own_bundle.shell(COUNT, annotations={"org.criu.config": str(settings)})
    criu.ok("run", "-d", "c1", own_bundle)
    criu.ok("checkpoint", "--leave-running", "--image-path", tmp_path / "image", "c1")
    assert (tmp_path / "image/another.log").exists()
    settings.unlink()
    done = criu("checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and f'annotation org.criu.config: "{settings}" is not a file' in done.stderr


def test_the_library(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", criu.environment["PATH"])
    library = Library(criu.root)
    with pytest.raises(CriuError) as raised:
        library.checkpoint("c1", tmp_path / "none", criu=str(fake_criu(tmp_path, "exit 1")))
    assert raised.value.log == str(tmp_path / "none/dump.log")
    library.checkpoint("c1", tmp_path / "image")
    assert library.restore("c1", own_bundle.path, tmp_path / "image") == 0
    pid = library.state("c1").pid
    grows(counter)
    library.delete("c1", force=True)
    assert os.waitpid(pid, 0)[0] == pid


def test_features_report_whether_criu_is_installed(criu: Runtime, tmp_path: Path) -> None:
    key = "org.opencontainers.runc.checkpoint.enabled"
    assert json.loads(criu.ok("features"))["annotations"][key] == "true"
    assert json.loads(criu.ok("features", env={"PATH": str(tmp_path)}))["annotations"][key] == "false"
