"""Real content, extracted by pyruntime and by others: every entry has the same type, attributes and content."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.images.integration.hostile import directory, file, hardlink, header, node, pax, symlink, tar
from tests.images.integration.trees import Layers, Listing, listing

PARTS = ["usr/share/doc/bash", "usr/share/perl5", "usr/lib/tmpfiles.d", "etc/alternatives", "usr/share/zoneinfo/Etc",
         "usr/share/terminfo", "bin/su", "usr/bin/passwd", "usr/bin/perl", "usr/share/ca-certificates"]
ODD = tar(
    directory(b"./"), file(b"suid", mode=b"0006755", uid=b"0000005"), file(b"h\xc3\xa4\xff", b"name"),
    hardlink(b"hard", b"suid"), header(b"fifo", b"6", mode=b"0000600"), node(b"null", b"3", 1, 3),
    node(b"sda", b"4", 8, 0), symlink(b"dangling", b"/no/where"), directory(b"closed", mode=b"0000500"),
    file(b"closed/f", b"", mtime=b"00000000007"), pax((b"mtime", b"1350244992.023960108")), file(b"fraction"),
    pax((b"SCHILY.xattr.user.a", b"\0b"), (b"SCHILY.xattr.security.capability",
                                           b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0")), file(b"xattrs"),
    pax((b"path", b"/".join([b"deep" * 20] * 12))), file(b"x", b"deep"), file(b"zeros", bytes(1 << 20)))
SECOND = tar(file(b"usr/share/.wh.terminfo", b""), file(b"usr/share/perl5/.wh..wh..opq", b""),
             file(b"usr/bin/perl", b"new"), file(b".wh.fifo", b""),
             directory(b"closed", mode=b"0000711"), file(b"suid", b"replaced"))


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    """Layers: files of the host packed by GNU tar, unusual entries, and changes of both."""
    present = [part for part in PARTS if Path("/", part).exists()]
    assert len(present) > 5
    real = subprocess.run(["tar", "-C", "/", "--numeric-owner", "--xattrs", "--format=pax",
                           "--pax-option=delete=atime,delete=ctime", "-cf-", *present], check=True,
                          capture_output=True).stdout
    return [real, ODD, SECOND]


def without_parents(found: Listing) -> Listing:
    """Without the times of directories that have no entry, and of the root, which depend on the tool."""
    implicit = {".", "usr", "usr/share", "usr/lib", "usr/bin", "etc", "bin", "usr/share/doc", "usr/share/zoneinfo",
                *("/".join(["deep" * 20] * count) for count in range(12))}
    return {name: (entry[0], *entry[2:4], *entry[6:]) if name in implicit else entry for name, entry in found.items()
            if name != "."}


def ours(top: Path, content: list[bytes]) -> Path:
    layers = Layers(top)
    for blob in content:
        layers.add(gzip.compress(blob, 1))
    return layers.merged()


def layout(top: Path, content: list[bytes]) -> Path:
    """An OCI image layout of these layers (image-layout.md)."""
    image = top / "image"
    (image / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (image / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layers = [blob(gzip.compress(data, 1, mtime=0), "layer.v1.tar+gzip") for data in content]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest() for data in content]}}
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    entry = {**blob(json.dumps(manifest).encode(), "manifest.v1+json"),
             "annotations": {"org.opencontainers.image.ref.name": "test"}}
    (image / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (image / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return image


def test_as_umoci(tmp_path: Path, content: list[bytes]) -> None:
    if not shutil.which("umoci"):
        pytest.skip("umoci is not installed")
    image = layout(tmp_path, content)
    subprocess.run(["umoci", "unpack", "--image", f"{image}:test", tmp_path / "bundle"], check=True,
                   capture_output=True)
    mine = without_parents(listing(ours(tmp_path, content)))
    assert len(mine) > 300
    assert mine == without_parents(listing(tmp_path / "bundle/rootfs"))


def test_as_gnu_tar(tmp_path: Path, content: list[bytes]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for blob in content[:2]:   # GNU tar knows no whiteouts
        subprocess.run(["tar", "-C", other, "-xf-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-p"],
                       input=blob, check=True, capture_output=True)
    assert without_parents(listing(ours(tmp_path, content[:2]))) == without_parents(listing(other))


def test_merged_as_mounted(tmp_path: Path, content: list[bytes]) -> None:
    layers = Layers(tmp_path)
    for blob in content:
        layers.add(blob)
    with layers.mounted() as mounted:
        assert listing(mounted, links=False) == listing(layers.merged(), links=False)


IN_NAMESPACE = """
import io, os, sys
from pyruntime.images.layers.apply import ExtractOptions, complete, extract
from tests.images.integration.hostile import directory, file, node, pax, tar
layer = tar(directory(b"d", mode=b"0000555"), file(b"d/f"), file(b"d/.wh..wh..opq", b""), file(b".wh.gone", b""),
            node(b"null", b"3", 1, 3), pax((b"SCHILY.xattr.trusted.a", b"b")), file(b"t"))
fd = os.open(sys.argv[1], os.O_RDONLY)
done = extract(io.BytesIO(layer).read, fd, ExtractOptions(privileged=False, userxattr=True, warn=print))
print(*done.whiteouts, os.getxattr(sys.argv[1] + "/d", "user.overlay.opaque"), os.path.exists(sys.argv[1] + "/null"))
"""


def test_in_a_user_namespace(tmp_path: Path) -> None:
    """Devices are skipped with a warning, whiteouts are created, and opaque directories are for an overlay with
    userxattr."""
    target = tmp_path / "t"
    target.mkdir()
    done = subprocess.run(["unshare", "--user", "--map-root-user", sys.executable, "-c", IN_NAMESPACE, target],
                          env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '"null": device 1:3 skipped: creating it needs root',
        '"t": attribute "trusted.a" skipped: Operation not permitted', "b'gone' b'y' False"]


def test_without_root_a_foreign_owner_is_refused(tmp_path: Path) -> None:
    from pyruntime.errors import LayerError
    from pyruntime.images.layers.apply import ExtractOptions, extract
    from tests.images.integration.trees import opened

    with opened(tmp_path) as fd, pytest.raises(LayerError, match="is not mapped"):
        extract(io.BytesIO(tar(file(b"f", uid=b"0000007"))).read, fd,
                ExtractOptions(privileged=False, uid=lambda uid: os.getuid() if uid == 0 else None))
