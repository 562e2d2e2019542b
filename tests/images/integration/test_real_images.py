"""Images of Debian packages: built, pushed, pulled, unpacked, and run by their own entrypoints until they answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from bundles.images import debian, install
from tests.commands import COMMAND
from tests.containers import PATIENCE, Runtime, end
from tests.images.integration.command import Pyimage
from tests.images.integration.registries import Registry


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pyimage]:
    """A store with an image of a minimal Debian; all mounts below its directory are removed at the end."""
    pyimage = Pyimage(tmp_path_factory.mktemp("real"))
    with subprocess.Popen(["tar", "-C", debian(), "-c", "."], stdout=subprocess.PIPE) as packer:
        pyimage.ok("import", "--cmd", "bash", "-", "debian:12", stdin=packer.stdout)
    assert packer.returncode == 0
    yield pyimage
    pyimage.close()


def made(pyimage: Pyimage, registry: Registry, name: str, packages: list[str], *change: str, script: str = "") -> str:
    """Install packages on top of Debian, create an image, push it, remove it, pull it; its name."""
    building = pyimage.path / f"build-{name}"
    pyimage.ok("unpack", "debian:12", building)
    install(building / "rootfs", *packages)
    if script:
        subprocess.run(["chroot", building / "rootfs", "sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(building / "rootfs/var/lib/apt/lists")
    reference = f"{registry.host}/{name}:1"
    pyimage.ok("repack", building, reference, "--created-by", f"apt-get install {' '.join(packages)}", *change)
    pyimage.ok("umount", "--remove", building)
    digest = pyimage.ok("push", "-q", reference)
    pyimage.ok("rm", reference)
    assert pyimage.ok("pull", "-q", reference) == digest
    return reference


class Running:
    """A container of an image, in a network namespace of its own."""

    def __init__(self, pyimage: Pyimage, runtime: Runtime, name: str, reference: str, *options: str) -> None:
        self.pyimage = pyimage
        self.bundle = pyimage.path / f"bundle-{name}"
        pyimage.ok("unpack", *options, reference, self.bundle)
        self.runtime = runtime
        self.name = name
        self.log = (pyimage.path / f"{name}.log").open("w+")
        self.process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "--bundle", self.bundle, name],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def inside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image in the container's namespaces."""
        pid = str(self.runtime.state(self.name)["pid"])
        return subprocess.run(["nsenter", "-t", pid, "--all", "--root", "--wd", *words], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def answers(self, *words: str) -> str:
        """Run the command until it succeeds; its output."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.said()
            try:
                done = self.inside(*words)
            except AssertionError:   # not created yet
                done = None
            if done and done.returncode == 0:
                return done.stdout
            assert time.monotonic() < deadline, (done, self.said())
            time.sleep(0.2)

    def said(self) -> str:
        """The output of the container."""
        self.log.seek(0)
        return self.log.read()

    def stop(self, signal: str) -> int:
        """Send the image's own stop signal; the exit status."""
        self.runtime.ok("kill", self.name, signal)
        try:
            return self.process.wait(PATIENCE)
        finally:
            end(self.process)
            self.log.close()

    def remove(self) -> None:
        """Unmount and remove the bundle."""
        self.pyimage.ok("umount", "--remove", self.bundle)
        assert not self.bundle.exists()


@pytest.mark.timeout(900)
def test_postgresql(base: Pyimage, plain_registry: Registry, runtime: Runtime) -> None:
    reference = made(
        base, plain_registry, "postgresql", ["postgresql"], "--user", "postgres", "--volume", "/var/lib/postgresql",
        "--entrypoint", "/usr/lib/postgresql/15/bin/postgres", "--cmd", "-D", "--cmd", "/var/lib/postgresql/15/main",
        "--cmd", "-c", "--cmd", "config_file=/etc/postgresql/15/main/postgresql.conf", "--stop-signal", "SIGINT")
    container = Running(base, runtime, "postgresql", reference)
    try:
        query = ("runuser", "-u", "postgres", "--", "psql", "-h", "/var/run/postgresql", "-tAc")
        assert container.answers(*query, "select 6 * 7").strip() == "42"
        container.answers(*query, "create table t as select generate_series(1, 1000) as n")
        assert container.answers(*query, "select sum(n) from t").strip() == "500500"
        config = json.loads((container.bundle / "config.json").read_text())
        assert config["annotations"]["org.opencontainers.image.stopSignal"] == "SIGINT"
        assert config["process"]["user"]["uid"] != 0 and config["process"]["user"]["additionalGids"]
        assert any((container.bundle / "volumes/0/15/main/base").iterdir()), "data lie in the volume"
    finally:
        status = container.stop("INT")
    assert status == 0, container.bundle
    assert (container.bundle / "volumes/0/15/main/PG_VERSION").read_text() == "15\n"
    container.remove()


@pytest.mark.timeout(900)
def test_nginx(base: Pyimage, plain_registry: Registry, runtime: Runtime) -> None:
    reference = made(base, plain_registry, "nginx", ["nginx-light", "curl"], "--entrypoint", "nginx", "--cmd", "-g",
                     "--cmd", "daemon off;", "--expose", "80/tcp", "--stop-signal", "SIGQUIT",
                     script="echo served by pyruntime > /var/www/html/index.html")
    container = Running(base, runtime, "nginx", reference)
    try:
        assert container.answers("curl", "-sf", "http://127.0.0.1/") == "served by pyruntime\n"
        workers = container.inside("sh", "-c", "cat /proc/[0-9]*/status | grep -c '^Uid:.33'")
        assert int(workers.stdout) >= 1, "workers run as www-data: root of the image could become another user"
    finally:
        status = container.stop("QUIT")
    assert status == 0
    container.remove()


@pytest.mark.timeout(900)
def test_a_python_application(base: Pyimage, plain_registry: Registry, runtime: Runtime) -> None:
    program = ("import http.server, os\\n"
               "class H(http.server.BaseHTTPRequestHandler):\\n"
               "    def do_GET(self):\\n"
               "        self.send_response(200); self.end_headers()\\n"
               "        self.wfile.write(f\\\"{os.environ['GREETING']} {os.getuid()} {os.getcwd()}\\\".encode())\\n"
               "http.server.HTTPServer(('', 8000), H).serve_forever()\\n")
    reference = made(base, plain_registry, "application", ["python3"], "--entrypoint", "python3", "--cmd", "main.py",
                     "--workdir", "/srv/app", "--user", "1000:1000", "--env", "GREETING=hello", "--env",
                     "PATH=/usr/bin:/bin", script=f'mkdir /srv/app; printf "{program}" > /srv/app/main.py')
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/').read().decode())"
    container = Running(base, runtime, "application", reference, "--env", "GREETING=good morning", "--driver", "copy")
    try:
        assert container.answers("python3", "-c", ask) == "good morning 1000 /srv/app\n"
    finally:
        container.stop("KILL")
    container.remove()


def test_the_same_changes_give_the_same_image(base: Pyimage) -> None:
    digests = set()
    for number in range(2):
        bundle = base.path / f"same-{number}"
        base.ok("unpack", "debian:12", bundle)
        (bundle / "rootfs/etc/added").write_text("x")
        os.utime(bundle / "rootfs/etc/added", (1700000000, 1700000000))
        (bundle / "rootfs/etc/issue").unlink()
        shutil.rmtree(bundle / "rootfs/usr/share/doc")
        for changed in ("etc", "usr/share"):
            os.utime(bundle / "rootfs" / changed, (1700000000, 1700000000))
        digests.add(base.ok("repack", "-q", bundle, f"same:{number}"))
        base.ok("umount", "-r", bundle)
    assert len(digests) == 1
