"""Root filesystems of real images, from Debian packages, and images of them: what tests and benchmarks work with.

Made by debootstrap, apt-get, pip and GNU tar: nothing of ours, so that ours can be compared with it. What takes long is
kept in a cache directory (IMAGE_CACHE, by default ~/.cache/pyruntime-images).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("IMAGE_CACHE", Path.home() / ".cache/pyruntime-images"))
SUITE = "bookworm"
CREATED = "2024-01-01T00:00:00Z"


def _mirror() -> str:
    """The package mirror of this machine, where it is a Debian; debootstrap's own choice ("") elsewhere."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        for line in path.read_text().splitlines() if path.is_file() else []:
            words = line.split()
            if words[:1] in (["deb"], ["URIs:"]):
                found = next((word for word in words if word.startswith("http")), "")
                if "/debian" in found and "security" not in found:
                    return found
    return ""


def debian() -> Path:
    """A tree with a minimal Debian, made once by debootstrap."""
    tree = CACHE / f"debian-{SUITE}"
    if tree.is_dir():
        return tree
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        made = Path(work, "root")
        _run("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(made),
             *filter(None, [_mirror()]))
        for path in ("etc/apt/sources.list", "etc/resolv.conf"):
            (made / path).write_bytes(Path("/", path).read_bytes() if Path("/", path).is_file() else b"")
        for extra in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/keyrings"):
            if Path("/", extra).is_dir():
                shutil.copytree(Path("/", extra), made / extra, dirs_exist_ok=True)
        (made / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")   # no service is started in a chroot
        (made / "usr/sbin/policy-rc.d").chmod(0o755)
        made.chmod(0o755)
        made.rename(tree)
    return tree


def install(tree: Path, *packages: str, only_download: bool = False) -> None:
    """apt-get install in a root filesystem that is there to be changed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C",
                   "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    script = ('set -e; root=$1; shift; mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/tmp";'
              ' chroot "$root" apt-get -qq update;'
              ' chroot "$root" apt-get -qq -y --no-install-recommends install "$@"')
    packages = (*(["--download-only"] if only_download else []), *packages)
    _run("unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", str(tree), *packages, env=environment)


def _run(*words: str, **options: Any) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=1500, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout[-3000:]}")


def _packed(tree: Path) -> Iterator[bytes]:
    """The archive that GNU tar makes of a directory's content."""
    packer = subprocess.Popen(["tar", "--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*",
                               "--xattrs-exclude=trusted.*", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE)
    assert packer.stdout is not None
    with packer.stdout as pipe:
        while data := pipe.read(1 << 20):
            yield data
    if packer.wait():
        raise RuntimeError(f"tar failed on {tree}")


class Layout:
    """An OCI image layout that is written by hand: gzip layers by GNU tar, one image a call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._manifests: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Write a small blob; its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def layer(self, tar: bytes | Path, level: int = 6) -> tuple[dict[str, Any], str]:
        """A layer of an archive, or of a directory's content; its descriptor and its diffID."""
        temporary = self.path / "layer.tmp"
        diff = hashlib.sha256()
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", level, file, mtime=0) as packed:
            for data in [tar] if isinstance(tar, bytes) else _packed(tar):
                diff.update(data)
                packed.write(data)
        with temporary.open("rb") as whole:
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
        size = temporary.stat().st_size
        temporary.rename(self.path / "blobs/sha256" / digest)
        described = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{digest}",
                     "size": size}
        return described, f"sha256:{diff.hexdigest()}"

    def image(self, name: str, layers: list[tuple[dict[str, Any], str]], **config: Any) -> str:
        """An image of these layers; its manifest's digest."""
        document = {"created": CREATED, "architecture": "amd64", "os": "linux", "config": config,
                    "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
                    "history": [{"created": CREATED, "created_by": f"layer {number}"} for number in range(len(layers))]}
        described = self.blob(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described,
                    "layers": [layer for layer, _ in layers]}
        descriptor = self.blob(json.dumps(manifest).encode(), str(manifest["mediaType"]))
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": name}
        descriptor["platform"] = {"architecture": "amd64", "os": "linux"}
        self._manifests.append(descriptor)
        (self.path / "index.json").write_text(json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": self._manifests}))
        return str(descriptor["digest"])


# What the layers above Debian and Python of the benchmark's image hold: large and many files, compiled and not.
_WHEELS = [["numpy", "scipy", "pandas"], ["django", "sympy", "botocore", "matplotlib", "scikit-learn", "sqlalchemy",
                                          "babel", "networkx"]]


def python_application() -> Path:
    """An image layout with one image "app" of six layers and some 40,000 entries, as Python applications have: Debian,
    its Python and compilers, two layers of packages from PyPI, the application, and a layer that takes things away."""
    path = CACHE / "python-application"
    if path.is_dir():
        return path
    base = debian()
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        made = Layout(Path(work, "layout"))
        upper, scratch, merged = (Path(work, name) for name in ("upper", "scratch", "merged"))
        for directory in (upper, scratch, merged):
            directory.mkdir()
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={scratch}",
             str(merged))
        try:
            install(merged, "python3", "python3-dev", "gcc", "g++", "make", "git", "perl")
            shutil.rmtree(merged / "var/lib/apt/lists")
        finally:
            _run("umount", str(merged))
        layers = [made.layer(base), made.layer(_without_whiteouts(upper))]
        for number, names in enumerate(_WHEELS):
            target = Path(work, f"wheels-{number}")
            _run(sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--only-binary", ":all:", "--target",
                 str(target / "usr/local/lib/python3.11/dist-packages"), *names)
            layers.append(made.layer(target))
        layers.append(made.layer(_application(Path(work, "app"))))
        last = Path(work, "last")
        (last / "usr/share").mkdir(parents=True)
        (last / "usr/share/.wh.doc").touch()
        (last / "srv/app").mkdir(parents=True)
        (last / "srv/app/settings.py").write_text("DEBUG = False\n")
        layers.append(made.layer(last))
        made.image("app", layers, Cmd=["python3", "/srv/app/main.py"], WorkingDir="/srv/app",
                   Env=["PATH=/usr/local/bin:/usr/bin:/bin"])
        made.path.rename(path)
    return path


def _without_whiteouts(upper: Path) -> Path:
    """The upper directory without what only overlayfs understands: apt-get removes nothing that matters here."""
    for directory, _, files in os.walk(upper):
        for name in files:
            path = Path(directory, name)
            if path.is_char_device() and path.stat().st_rdev == 0:
                path.unlink()
    return upper


def _application(path: Path) -> Path:
    for number in range(2000):
        file = path / f"srv/app/package_{number % 40}/module_{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'"""Module {number}."""\n\n\ndef value() -> int:\n    return {number}\n' * (1 + number % 7))
    (path / "srv/app/main.py").write_text("import http.server, numpy\nhttp.server.test(port=8000)\n")
    return path


# --- servers ----------------------------------------------------------------------------------------------------------

_PROGRAMS = "/usr/lib/postgresql/15/bin"
# Image -> its configuration. Each server runs as its own user, keeps its data in a volume and writes its log to its
# streams, as the official images of these servers do.
_SERVERS: dict[str, dict[str, Any]] = {
    "postgres": {
        "User": "postgres", "ExposedPorts": {"5432/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT",
        "Env": [f"PATH={_PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", "PGDATA=/data/cluster"],
        "Entrypoint": ["/srv/postgres"], "Cmd": ["postgres", "-c", "listen_addresses=*"]},
    "redis": {
        "User": "redis", "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/data",
        "Cmd": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--appendonly", "yes", "--appendfsync",
                "always"]},
    "nginx": {
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/var/www/html": {}}, "StopSignal": "SIGQUIT",
        "Cmd": ["nginx", "-g", "daemon off; error_log stderr;"]},
}
_POSTGRES = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --auth=trust --encoding=UTF8 >/dev/null
    echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
fi
exec "$@"
"""


def servers() -> Path:
    """An image layout with images "postgres", "redis" and "nginx" of Debian's packages, on the same layers."""
    path = CACHE / "servers"
    if path.is_dir():
        return path
    base = debian()
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        upper, scratch, merged = (Path(work, name) for name in ("upper", "scratch", "merged"))
        for directory in (upper, scratch, merged):
            directory.mkdir()
        upper.chmod(0o755)
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={scratch}",
             str(merged))
        try:
            _settle_servers(merged)
        finally:
            _run("umount", str(merged))
        made = Layout(Path(work, "layout"))
        layers = [made.layer(base, 1), made.layer(_without_whiteouts(upper), 1)]
        for name, config in _SERVERS.items():
            made.image(name, layers, **config)
        made.path.rename(path)
    return path


def _settle_servers(tree: Path) -> None:
    (tree / "etc/postgresql-common").mkdir(parents=True)
    (tree / "etc/postgresql-common/createcluster.conf").write_text("create_main_cluster = false\n")
    install(tree, "postgresql-15", "redis-server", "nginx-light")
    shutil.rmtree(tree / "var/lib/apt/lists")
    (tree / "srv/postgres").write_text(_POSTGRES)
    (tree / "srv/postgres").chmod(0o755)
    (tree / "data").mkdir()
    (tree / "data").chmod(0o1777)   # the volume's own mode: each server's user writes there
    for name, stream in (("access.log", "stdout"), ("error.log", "stderr")):
        (tree / "var/log/nginx" / name).unlink(missing_ok=True)
        (tree / "var/log/nginx" / name).symlink_to(f"/dev/{stream}")
    (tree / "var/www/html").mkdir(parents=True, exist_ok=True)
    (tree / "var/www/html/index.html").write_text("served by nginx\n")


# --- packages ---------------------------------------------------------------------------------------------------------

# What the Dockerfiles of bundles/projects install, and the wheels with which pip builds others.
_PACKAGES = ("gcc", "libc6-dev", "make", "nginx-light", "python3", "python3-venv", "python3-setuptools-whl",
             "python3-wheel-whl")


def packages() -> Path:
    """A directory with these packages and all that they need, and the index by which apt finds them there."""
    path = CACHE / "packages"
    if path.is_dir():
        return path
    base = debian()
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        upper, scratch, merged, made = (Path(work, name) for name in ("upper", "scratch", "merged", "packages"))
        for directory in (upper, scratch, merged, made):
            directory.mkdir()
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={scratch}",
             str(merged))
        try:
            install(merged, *_PACKAGES, only_download=True)
            for file in sorted((merged / "var/cache/apt/archives").glob("*.deb")):
                shutil.copy(file, made / file.name.replace("%3a", "."))   # it would have to be quoted in the index
        finally:
            _run("umount", str(merged))
        (made / "Packages").write_text("\n".join(map(_indexed, sorted(made.glob("*.deb")))))
        made.chmod(0o755)
        made.rename(path)
    return path


def _indexed(package: Path) -> str:
    """A package's stanza of the index. sources.list(5), apt-ftparchive(1)."""
    control = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{control.rstrip()}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
