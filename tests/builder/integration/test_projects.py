"""The projects of bundles/projects, built and run as by a user: from Debian's packages, over the network of RUN.
Another host has a mirror of Debian's packages and an index of Python's, under names that its name server resolves."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.images import SUITE, Layout, debian, packages
from tests.builder.integration.conftest import Builder
from tests.commands import BIN
from tests.conftest import TOP
from tests.pocker.integration.lab import HOST

pytestmark = pytest.mark.timeout(600)   # the first one, on a new machine, waits for the packages

PROJECTS = TOP / "bundles/projects"
MIRROR = "203.0.113.7"   # the answer of the other host's name server for each name
_SOURCES = "deb [trusted=yes] http://packages.example:8000/packages ./\n"
# A package that the application needs.
_WORDING = """def count(number, noun):
    return f"{number} {noun}{'' if number == 1 else 's'}"
"""


def _sdist(directory: Path, name: str, version: str, code: str) -> None:
    """A source distribution, from which pip builds a wheel."""
    files = {"pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend ="setuptools.build_meta"\n'
             f'[project]\nname = "{name}"\nversion = "{version}"\n[tool.setuptools]\npy-modules = ["{name}"]\n',
             f"{name}.py": code, "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    with tarfile.open(directory / f"{name}-{version}.tar.gz", "w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{name}-{version}/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


def _index(directory: Path) -> None:
    """A simple repository (PEP 503): the application's requirements as sources, and Debian's setuptools and wheel."""
    for name in ("wording", "setuptools", "wheel"):
        (directory / name).mkdir(parents=True)
    _sdist(directory / "wording", "wording", "1.2", _WORDING)
    unpacked = directory.parent / "unpacked"
    for name in ("setuptools", "wheel"):
        (package,) = packages().glob(f"python3-{name}-whl_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        (wheel,) = (unpacked / "usr/share/python-wheels").glob(f"{name}-*.whl")
        shutil.copy(wheel, directory / name)
    for project in directory.iterdir():
        links = "".join(f'<a href="{file.name}">{file.name}</a>\n' for file in sorted(project.iterdir()))
        (project / "index.html").write_text(links)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the mirror."""
    path = tmp_path_factory.mktemp("web")
    (path / "packages").symlink_to(packages())
    _index(path / "simple")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with Debian, which uses the mirror."""
    path = tmp_path_factory.mktemp("debian")
    layout, mirror = Layout(path / "layout"), path / "mirror"
    (mirror / "etc/apt/sources.list.d").mkdir(parents=True)
    for name in os.listdir(debian() / "etc/apt/sources.list.d"):
        (mirror / f"etc/apt/sources.list.d/.wh.{name}").touch()
    (mirror / "etc/apt/sources.list").write_text(_SOURCES)
    layout.image(f"debian:{SUITE}", [layout.layer(debian(), 1), layout.layer(mirror)], Cmd=["bash"],
                 Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    subprocess.run([str(BIN / "pyimage"), "copy", "-q", f"oci:{path}/layout:debian:{SUITE}", f"debian:{SUITE}"],
                   check=True, env={**os.environ, "PYRUNTIME_STORE": str(path / "store")}, stdout=subprocess.DEVNULL)
    shutil.rmtree(path / "layout")
    return path / "store"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, store: Path, web: Path) -> Iterator[Builder]:
    """A user with that store, in a network with the mirror."""
    path = tmp_path_factory.mktemp("user")
    made = Builder(path, store)
    try:
        made.on_outside("ip", "addr", "add", f"{MIRROR}/32", "dev", "lo")
        made.serve_names()
        mirror = subprocess.Popen(["nsenter", f"--net=/proc/{made.outside}/ns/net", sys.executable, "-m", "http.server",
                                   "--bind", MIRROR, "--directory", web, "8000"], text=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made.processes.append(mirror)
        made.eventually(lambda: made.ask(made.outside, "tcp", MIRROR, 8000, "GET / HTTP/1.0\r\n\r\n"), "the mirror")
        yield made
        made.clear()
        for volume in made.ok("volume", "ls", "-q").split():
            made.ok("volume", "rm", volume)
        made.check()
    finally:
        made.close()


def _project(name: str, tmp_path: Path) -> Path:
    """A copy of a project's files, which the test changes."""
    return Path(shutil.copytree(PROJECTS / name, tmp_path / name))


def _build(user: Builder, name: str, context: Path, *flags: str) -> str:
    """Build with the progress for users; its output."""
    done = user("build", "--progress", "plain", "-t", name, *flags, context, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _closes(user: Builder, name: str) -> str:
    """Stop a container: its stop signal makes it exit with status 0. Its output."""
    user.ok("stop", "--time", "60", name)
    assert user.ok("inspect", "-f", "{{.State.ExitCode}}", name) == "0"
    return user.ok("logs", name)


def _get(user: Builder, url: str, *words: str) -> str:
    """The output of curl on the host, and on the other host."""
    return user.on_host("curl", "-sSf", "--max-time", "20", *words, url)


def test_a_web_application_in_python(user: Builder, tmp_path: Path) -> None:
    """Two stages, wheels, a cache mount for pip; run as an unprivileged user, with its notes in a volume."""
    context = _project("web-application", tmp_path)
    flags = ("--build-arg", "PIP_INDEX_URL=http://pypi.example:8000/simple", "--build-arg",
             "PIP_TRUSTED_HOST=pypi.example")
    said = _build(user, "notes", context, *flags)
    assert "Building wheel for wording" in said and "Successfully built notes" in said
    user.ok("run", "-d", "--name", "notes", "-p", "8000:8000", "-v", "kept:/data", "notes")
    user.eventually(lambda: "0 notes" in user.ask(user.host, "tcp", "127.0.0.1", 8000, "GET / HTTP/1.0\r\n\r\n"),
                    "the application begins")
    assert _get(user, "http://127.0.0.1:8000/", "-d", "buy bread") == "kept\n"
    assert _get(user, f"http://{HOST}:8000/") == "1 note\n* buy bread\n"
    assert "closed" in _closes(user, "notes")
    looks = "id -un; ls /wheels /src 2>&1 | grep -c 'No such'"
    assert user.ok("run", "--rm", "--entrypoint", "sh", "notes", "-c", looks) == "notes\n2"
    # Changed code: its requirements are cached. Then changed requirements: the wheel is in the cache mount.
    server = context / "notes/server.py"
    server.write_text(server.read_text().replace("closed", "at an end"))
    said = _build(user, "notes", context, *flags)
    assert said.count("CACHED") == 6 and "Building wheel for notes" in said and "wheel for wording" not in said, said
    with (context / "requirements.txt").open("a") as file:
        file.write("# nothing else\n")
    said = _build(user, "wheels", context, *flags, "--target", "build")
    assert "Using cached wording-1.2-py3-none-any.whl" in said and "Building wheel for wording" not in said, said
    user.ok("run", "-d", "--name", "again", "-p", "8000:8000", "-v", "kept:/data", "notes")
    user.eventually(lambda: "1 note" in user.ask(user.host, "tcp", "127.0.0.1", 8000, "GET / HTTP/1.0\r\n\r\n"),
                    "the stored notes exist")
    assert "at an end" in _closes(user, "again")


def test_a_c_program(user: Builder, tmp_path: Path) -> None:
    """A compiler in one stage, an image of one static file; rebuilt only if a source has changed."""
    context = _project("c-program", tmp_path)
    _build(user, "echod", context)
    image = user.image("echod")
    assert len(image.manifest.layers) == 1 and image.manifest.layers[0].size < 2 << 20
    user.ok("run", "-d", "--name", "echod", "-p", "7000:7000", "--read-only", "--cap-drop", "ALL", "echod")
    user.eventually(lambda: user.ask(user.host, "tcp", "127.0.0.1", 7000, "a\nb\n") == "1 a\n2 b\n", "an answer")
    assert user.ask(user.outside, "tcp", HOST, 7000, "c\n") == "1 c\n"
    assert _closes(user, "echod") == "closed"
    assert _build(user, "echod", context).count("CACHED") == 5
    assert user.image("echod").id == image.id
    source = context / "echod.c"
    source.write_text(source.read_text().replace('"%lu %s"', '"%lu: %s"'))
    said = user("build", "--progress", "plain", context)
    assert said.returncode == 1 and "make LDFLAGS=-static && make check" in said.stderr, said.stderr
    source.write_text(source.read_text().replace('"1 a', '"1: a').replace('"2 b', '"2: b'))
    _build(user, "echod", context)
    user.ok("run", "-d", "--name", "new", "-p", "7000:7000", "echod")
    user.eventually(lambda: user.ask(user.host, "tcp", "127.0.0.1", 7000, "a\n") == "1: a\n", "an answer")
    _closes(user, "new")


def test_a_static_site_on_nginx(user: Builder, tmp_path: Path) -> None:
    """Pages are generated in one stage, and served by nginx, which is healthy and logs to the container's log."""
    context = _project("static-site", tmp_path)
    _build(user, "site", context)
    assert user.image("site").config.config["StopSignal"] == "SIGQUIT"
    user.ok("run", "-d", "--name", "site", "-p", "8080:80", "site")
    user.eventually(lambda: "(healthy)" in user.ok("ps"), "it is healthy")
    page = "<h1>Welcome</h1>\n<p>This page is made of a text.</p>\n<p>Fish &amp; chips &lt; 3.</p>"
    assert page in _get(user, "http://127.0.0.1:8080/")
    assert "Served by nginx" in user.on_outside("curl", "-sSf", "--max-time", "20", f"http://{HOST}:8080/about")
    assert "404" in user.on_host("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8080/none")
    log = _closes(user, "site")
    assert 'GET /about HTTP/1.1" 200' in log and 'GET /none HTTP/1.1" 404' in log
    (context / "pages/news.txt").write_text("News\n\nA third page.\n")
    said = _build(user, "site", context)
    assert "RUN apt-get update" in said and said.count("CACHED") >= 4, said
    user.ok("run", "-d", "--name", "newer", "-p", "8080:80", "site")
    user.eventually(lambda: user.ask(user.host, "tcp", "127.0.0.1", 8080, "GET / HTTP/1.0\r\n\r\n"), "it serves")
    assert "A third page." in _get(user, "http://127.0.0.1:8080/news")
    _closes(user, "newer")
