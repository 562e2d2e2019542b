"""The network of RUN: what it reaches, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.builder.integration.conftest import Builder, write
from tests.pocker.integration.lab import OUTSIDE, kill

# Prints a server's answer; busybox's wget, linked statically, crashes in Debian's C library.
_GET = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5"
GET = f"RUN {_GET} {{}}\n"


def _said(builder: Builder, context: Path, *flags: str) -> str:
    """The output of a build's steps."""
    done = builder("build", "--progress", "json", "-t", "app", *flags, context)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return "\n".join(event["text"] for event in events if event["event"] == "output")


def _serve(builder: Builder, pid: int, address: str, port: int, text: str) -> None:
    """A web server in the network namespace of a process."""
    directory = builder.path / f"web-{port}"
    directory.mkdir(exist_ok=True)
    (directory / "index.html").write_text(text)
    process = Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "busybox", "httpd", "-f", "-h", directory, "-p",
                     f"{address}:{port}"], text=True)
    builder.processes.append(process)
    builder.eventually(lambda: builder.ask(pid, "tcp", address, port, "GET / HTTP/1.0\r\n\r\n"), "a server begins")


def test_a_step_reaches_others_and_not_the_hosts_loopback(builder: Builder, tmp_path: Path) -> None:
    _serve(builder, builder.outside, OUTSIDE, 8000, "from outside")
    _serve(builder, builder.host, "127.0.0.1", 8001, "private")
    outside, own = GET.format(f"{OUTSIDE} 8000"), GET.format("127.0.0.1 8001")
    assert "from outside" in _said(builder, write(tmp_path / "a", f"FROM busybox\n{outside}", {}))
    refused = write(tmp_path / "b", f"FROM busybox\n{own}", {})
    assert "refused" in builder.fails("build", "--progress", "plain", refused)
    assert "private" in _said(builder, refused, "--network", "host")
    explicit = own.replace("RUN", "RUN --network=host")
    asking = write(tmp_path / "c", f"FROM busybox\n{explicit}", {})
    assert "private" in _said(builder, asking, "--allow", "network.host")
    assert "private" in _said(builder, asking, "--network", "host", "--no-cache")
    said = builder.fails("build", "--progress", "plain", asking)
    assert said.startswith("error: Dockerfile:2: RUN --network=host needs the entitlement") and "#1" not in said
    again = outside.replace("RUN", "RUN --network=default")
    assert "from outside" in _said(builder, write(tmp_path / "d", f"FROM busybox\n{again}", {}), "--network", "bridge")
    assert "nreachable" in builder.fails("build", "--progress", "plain", "--no-cache", "--network", "none",
                                         tmp_path / "a")


def test_names(builder: Builder, tmp_path: Path) -> None:
    builder.serve_names()
    text = ("FROM busybox\nRUN nslookup some.example. | tail -n +3; hostname; grep -c ^nameserver /etc/resolv.conf;"
            " grep -w -e gate -e six -e four /etc/hosts\nRUN test ! -s /etc/hosts || cat /etc/hosts\n")
    context = write(tmp_path / "context", text, {})
    said = _said(builder, context, "--add-host", "gate:host-gateway", "--add-host", "six=[2001:db8::7]", "--add-host",
                 "four:192.0.2.7")
    assert "Address: 203.0.113.7" in said and "\nbuild\n1\n10.88.0.1\tgate\n2001:db8::7\tsix\n192.0.2.7\tfour" in said
    assert builder.ok("run", "--rm", "--network", "none", "app", "sh", "-c", "ls /etc") == builder.ok(
        "run", "--rm", "--network", "none", "busybox", "sh", "-c", "ls /etc")
    assert '--add-host "x"' in builder.fails("build", "--add-host", "n:x", context)


@pytest.mark.parametrize("network", ["none", "host", "default"])
def test_hosts_and_resolv_conf_are_mounted_whatever_the_network(builder: Builder, tmp_path: Path, network: str) -> None:
    """The step's /etc/hosts and resolv.conf are not the image's, and changes to them are not in the image."""
    text = ("FROM busybox AS base\nCOPY hosts resolv.conf /etc/\nFROM base\nRUN cat /etc/hosts; cat /etc/resolv.conf;"
            " for file in hosts resolv.conf; do echo of the step >>/etc/$file; done\n")
    context = write(tmp_path / "context", text, {"hosts": "of the image\n", "resolv.conf": "of the image\n"})
    said = _said(builder, context, "--network", network, "--add-host", "there:192.0.2.7")
    assert "127.0.0.1\tlocalhost" in said and "192.0.2.7\tthere" in said and "of the image" not in said
    archive = tmp_path / "app.tar"
    builder.ok("export", "app", "-o", archive, program="pyimage")
    with tarfile.open(archive) as tar:
        for name in ("hosts", "resolv.conf"):
            file = tar.extractfile(f"etc/{name}")
            assert file and file.read() == b"of the image\n"


@contextmanager
def _waiting(builder: Builder, tmp_path: Path, *flags: str) -> Iterator[tuple[Popen[str], Path, str]]:
    """A build whose step writes its address, and waits until a file is created."""
    text = ("FROM busybox\nRUN --mount=type=cache,target=/c,id=gate ip addr show eth0 | grep -o 'inet [0-9.]*';"
            f" until test -e /c/go; do sleep 0.05; done; {_GET} {OUTSIDE} 8000\n")
    context = write(tmp_path / "waits", text, {})
    log = tmp_path / "log"
    with log.open("w") as file:
        process = builder.start("build", "--progress", "plain", "-t", "app", *flags, context, stdout=file, stderr=file,
                                start_new_session=True)
    address = re.compile(r"inet ([0-9]+[0-9.]+)")
    builder.eventually(lambda: address.search(log.read_text()), "the step begins")
    try:
        found = address.search(log.read_text())
        assert found
        yield process, log, found[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _clear(builder: Builder, tmp_path: Path) -> None:
    """The next build, or a prune, removes what a killed build has left."""
    builder.build(write(tmp_path / "next", "FROM busybox\nRUN true\n", {}))
    builder.eventually(lambda: not list((builder.run / "build").glob("pocker-build.*")), "the container ends")
    builder.ok("prune", program="pyimage")
    for lock in (builder.store / "cache/locks").iterdir():
        lock.unlink()
    builder.check()


def _open(builder: Builder) -> None:
    (gate,) = (builder.store / "cache/mounts").glob("*")
    (gate / "data/go").touch()


def test_addresses_are_shared_with_containers(builder: Builder, tmp_path: Path) -> None:
    """No address is used twice, and the clean-up of other commands does not release a step's address."""
    _serve(builder, builder.outside, OUTSIDE, 8000, "from outside")
    with _waiting(builder, tmp_path) as (process, log, address):
        threads = [threading.Thread(target=builder.detached, args=(f"c{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = {builder.address(f"c{number}") for number in range(4)}
        assert len(taken) == 4 and address not in taken
        builder.ok("ps")   # removes endpoints without a container
        builder.ok("rm", "-f", *(f"c{number}" for number in range(4)))
        assert address in builder.ok("network", "inspect", "bridge")
        _open(builder)
        assert process.wait(60) == 0, log.read_text()
        assert "from outside" in log.read_text()


def test_a_user_defined_network(builder: Builder, tmp_path: Path) -> None:
    builder.ok("network", "create", "back")
    pid = builder.detached("db", "--network", "back")
    _serve(builder, pid, "0.0.0.0", 8000, "the database")
    context = write(tmp_path / "context", "FROM busybox\n" + GET.format("db 8000"), {})
    assert "the database" in _said(builder, context, "--network", "back")
    assert "bad address" in builder.fails("build", "--progress", "plain", context)
    builder.ok("rm", "-f", "db")
    with _waiting(builder, tmp_path, "--network", "back"):
        assert '"back" is in use by a build' in builder.fails("network", "rm", "back")
        assert "back" not in builder.ok("network", "prune")
    builder.eventually(lambda: builder("network", "rm", "back").returncode == 0, "no build uses the network")
    _clear(builder, tmp_path)
    assert '--network: no such network: "back"' in builder.fails("build", "--network", "back", context)


@pytest.mark.parametrize("whole", [True, False], ids=["all", "command"])
def test_a_killed_step_gives_its_address_back(builder: Builder, tmp_path: Path, whole: bool) -> None:
    with _waiting(builder, tmp_path) as (process, _, _):
        if whole:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            kill(process.pid)
        process.communicate()
        endpoints = builder.run / "networks/containers"
        builder.eventually(lambda: builder.ok("ps") and not list(endpoints.iterdir()), "the address is released")
        _clear(builder, tmp_path)


def test_a_host_without_bridges_gets_a_remedy(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nRUN true\n", {})
    builder.on_host("mount", "--bind", "/dev/null", "/usr/sbin/nft")
    try:
        said = builder.fails("build", "--progress", "plain", context)
        assert "RUN has no network" in said and "--network host or none" in said
        builder.build(context, "--network", "none")
    finally:
        builder.on_host("umount", "/usr/sbin/nft")
