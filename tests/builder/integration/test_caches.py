"""Exported and imported caches: in registries, directories and images. Two stores represent two hosts."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.images.store import steps
from pyruntime.images.store.store import Store
from tests.builder.integration.conftest import write
from tests.builder.integration.machines import Machine, builder, fake, other
from tests.images.integration.registries import Authority, FakeRegistry, Registry, free_port, serve, sha256
from tests.images.integration.test_pyimage_rootless import IDS, run
from tests.pocker.integration.test_rootless import ENDS

__all__ = ["builder", "fake", "other"]   # fixtures
STAGES = ("FROM busybox AS one\nRUN echo 1 > /a; echo > /other\nFROM busybox\nCOPY --from=one /a /a\nCOPY f /f\n"
          "RUN cat /a /f > /b\n")
CACHE = "application/vnd.pyruntime.build.cache.v1+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """TLS by a test authority, and a password."""
    path = tmp_path_factory.mktemp("closed")
    with serve(path, authority=Authority(path), htpasswd=True) as made:
        yield made


class Build:
    """A build's output: all titles, title -> outcome of each step that changes files, and the warnings."""

    def __init__(self, builder: Machine, context: Path, *flags: str, **options: Any) -> None:
        done = builder("build", "--progress", "json", "-t", "app", *flags, context, **options)
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        titles = {event["step"]: event["title"] for event in events if event["event"] == "begin"}
        ends = [(titles[event["step"]], event["outcome"]) for event in events if event["event"] == "end"]
        self.outcomes = {title.partition("] ")[2]: outcome for title, outcome in ends
                         if title.startswith("[") and "FROM" not in title}
        self.titles = list(titles.values())
        self.warnings = [line for line in lines if not line.startswith("{")]
        self.id = done.stdout.strip()

    @property
    def cached(self) -> list[bool]:
        """The outcomes in the order of the titles, whichever stage was faster."""
        return [outcome == "cached" for _, outcome in sorted(self.outcomes.items())]


def _context(path: Path, text: str = STAGES) -> Path:
    return write(path / "context", text, {"f": "1"})


def _blobs(fake: FakeRegistry) -> list[str]:
    """The digests of blobs that were downloaded."""
    return [path.rpartition("/")[2] for method, path, _ in fake.requests if method == "GET" and "/blobs/sha" in path]


def _cache(fake: FakeRegistry, name: str = "cache", tag: str = "latest") -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the cache document of an exported cache."""
    manifest = json.loads(fake.manifests[name, tag][1])
    assert manifest["config"]["mediaType"] == CACHE
    return manifest, json.loads(fake.blobs[manifest["config"]["digest"]])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_a_registry(mode: str, compression: str, builder: Machine, other: Machine, registry: Registry, tmp_path: Path
                    ) -> None:
    context = _context(tmp_path)
    ref = f"{registry.host}/cache/{mode}:{compression}"
    first = Build(builder, context, "--cache-to", f"type=registry,ref={ref},mode={mode},compression={compression}")
    assert first.cached == [False] * 4 and first.titles[-1] == f"exporting cache to {ref}"
    for said in (ref, f"type=registry,ref={ref}"):
        shutil.rmtree(other.store / "cache", ignore_errors=True)
        again = Build(other, context, "--cache-from", said)
        assert again.cached == [True] * 4 and again.id == first.id and not again.warnings
        assert f"importing cache from {ref}" in again.titles
    assert other.image("app").descriptor.digest == builder.image("app").descriptor.digest
    assert other.ok("run", "--rm", "--network", "none", "app", "cat", "/b") == "1\n1"
    assert other.ok("verify", program="pyimage") == ""
    # Imported steps are in the build cache, also by content: without the first RUN's layer, later steps are cached.
    assert Build(other, context).cached == [True, True, True, False]
    (context / "f").write_text("2")
    changed = Build(other, context, "--cache-from", ref)
    assert changed.outcomes == {"RUN echo 1 > /a; echo > /other": "cached", "COPY --from=one /a /a": "cached",
                                "COPY f /f": "done", "RUN cat /a /f > /b": "done"}


def test_only_layers_of_the_result_are_downloaded(builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path
                                                ) -> None:
    context = _context(tmp_path)
    ref = f"{fake.host}/cache"
    Build(builder, context, "--cache-to", f"type=registry,ref={ref},mode=max")
    manifest, document = _cache(fake)
    assert len(manifest["layers"]) == 4 and all("blob" in layer for layer in document["layers"])
    fake.requests.clear()
    assert Build(other, context, "--cache-from", ref).cached == [True] * 4
    result = {layer.digest for layer in other.image("app").manifest.layers}
    needed = {manifest["layers"][layer["blob"]]["digest"] for layer in document["layers"] if layer["diffID"] in result}
    assert len(needed) == 3 and set(_blobs(fake)) == needed | {manifest["config"]["digest"]}
    # A step that must be executed needs the layers below it.
    fake.requests.clear()
    write(context, STAGES.replace("FROM busybox\n", "RUN cat /other > /more\nFROM busybox\n"), {})
    done = Build(other, context, "--cache-from", ref)
    assert done.outcomes.pop("RUN cat /other > /more") == "done" and set(done.outcomes.values()) == {"cached"}
    assert len(_blobs(fake)) == 2   # the document, and the layer of the first RUN


def test_an_unneeded_cache_is_not_contacted(builder: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    context = _context(tmp_path)
    Build(builder, context)
    Build(builder, context, "--cache-from", f"{fake.host}/cache")
    Build(builder, context, "--no-cache", "--cache-from", f"{fake.host}/cache")
    assert not fake.requests


def test_a_base_image_is_not_downloaded_for_a_stage_that_is_cached(builder: Machine, other: Machine, fake: FakeRegistry,
                                                                   tmp_path: Path) -> None:
    base = write(tmp_path / "base", "FROM busybox\nRUN echo base > /base\n", {})
    builder.ok("build", "-t", f"{fake.host}/base", base)
    builder.ok("push", f"{fake.host}/base")
    text = STAGES.replace("FROM busybox AS one", f"FROM {fake.host}/base AS one")
    context = _context(tmp_path, text)
    ref = f"{fake.host}/cache"
    first = Build(builder, context, "--cache-to", ref)
    layer = builder.image(f"{fake.host}/base").manifest.layers[-1].digest
    fake.requests.clear()
    again = Build(other, context, "--cache-from", ref)
    assert again.cached == [True] * 4 and again.id == first.id and layer not in _blobs(fake)
    write(context, text.replace("echo > /other", "cat /base > /other"), {})
    assert Build(other, context, "--cache-from", ref).outcomes["RUN echo 1 > /a; cat /base > /other"] == "done"
    assert layer in _blobs(fake) and f"{fake.host}/base:latest" in other.ok("images", "--format",
                                                                            "{{.Repository}}:{{.Tag}}")


def test_images_are_pulled_when_a_step_is_executed(builder: Machine, other: Machine, fake: FakeRegistry,
                                                                tmp_path: Path) -> None:
    name = f"{fake.host}/base"
    builder.ok("build", "-t", name, write(tmp_path / "base", "FROM busybox\nRUN echo base > /base\n", {}))
    builder.ok("push", name)
    builder.ok("rmi", name)
    builder.ok("builder", "prune")
    fake.requests.clear()
    context = _context(tmp_path, f"FROM busybox\nRUN --mount=from={name},target=/m cp /m/base /a\n"
                                 f"COPY --from={name} /base /b\n")
    first = Build(builder, context, "--cache-to", f"{fake.host}/cache")
    assert first.titles.count(f"fetching {name}:latest") == 1
    again = Build(other, context, "--cache-from", f"{fake.host}/cache")
    assert again.cached == [True] * 2 and again.id == first.id and f"fetching {name}:latest" not in again.titles
    assert other.ok("run", "--rm", "--network", "none", "app", "cat", "/a", "/b") == "base\nbase"


def test_mode_min_knows_other_stages_by_name(builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path
                                             ) -> None:
    """A stage without exported layers is built if its files are needed, and the later steps come from the cache."""
    context = _context(tmp_path)
    ref = f"{fake.host}/cache"
    Build(builder, context, "--cache-to", ref)
    manifest, document = _cache(fake)
    assert len(manifest["layers"]) == 3 and sum("blob" not in layer for layer in document["layers"]) == 1
    write(context, STAGES.replace("RUN cat /a /f", "COPY --from=one /other /o\nRUN cat /a /f"), {})
    done = Build(other, context, "--cache-from", ref)
    assert done.outcomes["COPY --from=one /other /o"] == "done" and not done.warnings
    assert done.outcomes["COPY --from=one /a /a"] == done.outcomes["COPY f /f"] == "cached"
    assert other.ok("run", "--rm", "--network", "none", "app", "cat", "/b", "/o") == "1\n1"


def test_a_second_export_uploads_nothing_again(builder: Machine, other: Machine, fake: FakeRegistry,
                                                       tmp_path: Path) -> None:
    context = _context(tmp_path)
    ref = f"{fake.host}/cache"
    Build(builder, context, "--cache-to", f"type=registry,ref={ref},mode=max")
    before = fake.manifests["cache", "latest"]
    for machine in (builder, other):   # the second host has none of the layers
        fake.requests.clear()
        Build(machine, context, "--cache-from", ref, "--cache-to", f"type=registry,ref={ref},mode=max")
        assert fake.manifests["cache", "latest"] == before and not fake.asked("POST")
    kept = tmp_path / "kept"   # an export to another place includes the layers
    Build(other, context, "--cache-from", ref, "--cache-to", f"type=local,dest={kept},mode=max")
    assert len(list((kept / "blobs/sha256").iterdir())) == 6


@pytest.mark.parametrize("harm", ["content", "gone", "not its diffID", "no archive at all"])
def test_a_damaged_layer_is_built_again(harm: str, builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path
                                      ) -> None:
    context = _context(tmp_path)
    ref = f"{fake.host}/cache"
    first = Build(builder, context, "--cache-to", f"type=registry,ref={ref},mode=max")
    manifest, document = _cache(fake)
    titles = {entry.made.diff_id: entry.made.title for entry in steps.entries(Store.open(str(builder.store)).layout)}
    number = next(number for number, layer in enumerate(document["layers"])
                  if titles[layer["diffID"]].startswith("COPY f"))
    blob = manifest["layers"][document["layers"][number]["blob"]]
    if harm == "content":
        fake.blobs[blob["digest"]] = b"x" * blob["size"]
    elif harm == "gone":
        del fake.blobs[blob["digest"]]
    else:
        evil = gzip.compress(b"evil" * 10_000) if harm == "not its diffID" else b"evil" * 100
        fake.blobs[sha256(evil)] = evil
        blob |= {"digest": sha256(evil), "size": len(evil)}
        fake.add_manifest("cache", "latest", manifest["mediaType"], json.dumps(manifest).encode())
    done = Build(other, context, "--cache-from", ref, "--retries", "0")
    assert done.outcomes["COPY f /f"] == "done" and done.outcomes["COPY --from=one /a /a"] == "cached"
    assert done.outcomes["RUN cat /a /f > /b"] in ("cached", "done")   # cached if the new layer equals the old
    assert len(done.warnings) == 1 and "cannot be used" in done.warnings[0]
    assert done.id != first.id or other.image("app").config.diff_ids == builder.image("app").config.diff_ids
    assert other.ok("run", "--rm", "--network", "none", "app", "cat", "/b") == "1\n1"
    assert other.ok("verify", program="pyimage") == ""


@pytest.mark.parametrize("harm", ["content", "not its diffID"])
def test_a_damaged_cache_heals(harm: str, builder: Machine, other: Machine, tmp_path: Path) -> None:
    """The layer that is built again is the same, and the damaged one is not used."""
    context = _context(tmp_path)
    kept = tmp_path / "kept"
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    Build(builder, context, "--cache-to", str(kept), env=epoch)
    index = json.loads((kept / "index.json").read_text())
    blobs = kept / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    layer = blobs / manifest["layers"][0]["digest"][7:]
    if harm == "content":
        layer.write_bytes(b"x" * layer.stat().st_size)
    else:
        manifest["layers"][0] = manifest["layers"][1]
        raw = json.dumps(manifest).encode()
        (blobs / sha256(raw)[7:]).write_bytes(raw)
        index["manifests"][0] |= {"digest": sha256(raw), "size": len(raw)}
        (kept / "index.json").write_text(json.dumps(index))
    healing = Build(other, context, "--cache-from", str(kept), "--cache-to", str(kept), env=epoch)
    assert len(healing.warnings) == 1
    shutil.rmtree(other.store / "cache")
    again = Build(other, context, "--cache-from", str(kept), env=epoch)
    assert again.cached == [True] * 4 and not again.warnings
    assert json.loads((kept / "index.json").read_text()) != index or harm == "content"


@pytest.mark.parametrize(("member", "value"), [
    ("layers", None), ("steps", []), ("steps", {"x": [0, ""]}), ("steps", {"0" * 64: [99, "2026-01-01T00:00:00Z"]}),
    ("steps", {"0" * 64: [0, "\x1b[2J"]}), ("steps", {"0" * 64: [True, "2026-01-01T00:00:00Z"]}),
    ("layers", [{"diffID": "sha256:../x", "size": 1}]), ("layers", [{"diffID": "sha256:" + "0" * 64, "size": -1}]),
])
def test_a_damaged_cache_is_no_cache(member: str, value: Any, builder: Machine, fake: FakeRegistry, tmp_path: Path
                                     ) -> None:
    context = _context(tmp_path, "FROM busybox\nRUN echo 1 > /a\n")
    ref = f"{fake.host}/cache"
    Build(builder, context, "--cache-to", ref)
    manifest, document = _cache(fake)
    raw = json.dumps({**document, member: value}).encode()
    fake.blobs[sha256(raw)] = raw
    manifest["config"] |= {"digest": sha256(raw), "size": len(raw)}
    fake.add_manifest("cache", "latest", manifest["mediaType"], json.dumps(manifest).encode())
    shutil.rmtree(builder.store / "cache")
    done = Build(builder, context, "--cache-from", ref)
    assert done.cached == [False] and len(done.warnings) == 1 and "continuing without this cache" in done.warnings[0]


def test_missing_caches(builder: Machine, fake: FakeRegistry, registry: Registry, tmp_path: Path) -> None:
    context = _context(tmp_path, "FROM busybox\nRUN echo 1 > /a\n")
    fake.add_image("image", "latest")
    absent = [f"{fake.host}/none", f"{registry.host}/none:x", f"127.0.0.1:{free_port()}/none", str(tmp_path / "none"),
              f"{fake.host}/image"]
    done = Build(builder, context, "--retries", "0", *(word for ref in absent for word in ("--cache-from", ref)))
    assert done.cached == [False] and len(done.warnings) == len(absent)
    for ref, warning in zip(absent, done.warnings, strict=True):
        assert f'warning: importing cache from "{ref}"' in warning
    assert "nor an image with an inline cache" in done.warnings[-1]


def test_an_export_that_fails(builder: Machine, tmp_path: Path) -> None:
    """The image is stored nevertheless."""
    context = _context(tmp_path, "FROM busybox\nRUN echo 1 > /a\n")
    ref = f"127.0.0.1:{free_port()}/none"
    said = builder.fails("build", "-t", "app", "--retries", "0", "--cache-to", ref, context)
    assert f'error: exporting cache to "{ref}"' in said and builder.image("app")
    (tmp_path / "file").touch()
    assert "exporting cache to " in builder.fails("build", "--cache-to", tmp_path / "file/x", context)
    done = Build(builder, context, "--retries", "0", "--cache-to", f"type=registry,ref={ref},ignore-error=true")
    assert len(done.warnings) == 1 and "exporting cache to " in done.warnings[0]


def test_credentials(builder: Machine, other: Machine, closed_registry: Registry, tmp_path: Path) -> None:
    assert closed_registry.login
    user, password = closed_registry.login
    context = _context(tmp_path)
    ref = f"{closed_registry.host}/cache"
    tls = ("--cert-dir", closed_registry.cert_dir)
    said = builder.fails("build", "-t", "app", *tls, "--cache-to", ref, context)
    assert "authentication required" in said, said
    Build(builder, context, *tls, "--creds", f"{user}:{password}", "--cache-to", ref)
    refused = Build(other, context, *tls, "--cache-from", ref)
    assert refused.cached == [False] * 4 and len(refused.warnings) == 1
    shutil.rmtree(other.store / "cache")
    auth = tmp_path / "auth.json"
    other.ok("login", *tls, "--authfile", auth, "-u", user, "--password-stdin", closed_registry.host, input=password)
    assert Build(other, context, *tls, "--authfile", str(auth), "--cache-from", ref).cached == [True] * 4


def test_an_image_that_is_its_own_cache(builder: Machine, other: Machine, registry: Registry, tmp_path: Path) -> None:
    context = _context(tmp_path)
    name = f"{registry.host}/own"
    first = Build(builder, context, "-t", name, "--cache-to", "type=inline", "--compression", "gzip")
    builder.ok("push", name)
    again = Build(other, context, "--cache-from", name, "--cache-to", "inline")
    assert again.cached == [True] * 4 and again.id == first.id
    plain = Build(other, context)
    assert plain.id != first.id and other.image("app").config.diff_ids == builder.image(name).config.diff_ids
    assert "squashed image has no layers" in builder.fails("build", "--squash", "--cache-to", "type=inline", context)


def test_a_directory_is_an_image_layout(builder: Machine, other: Machine, registry: Registry, tmp_path: Path) -> None:
    context = _context(tmp_path)
    kept = tmp_path / "kept"
    Build(builder, context, "--cache-to", f"type=local,dest={kept},tag=main,mode=max")
    write(context, STAGES + "RUN echo more > /more\n", {})
    Build(builder, context, "--cache-to", f"type=local,dest={kept},tag=next")
    assert json.loads((kept / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    names = [entry["annotations"]["org.opencontainers.image.ref.name"]
             for entry in json.loads((kept / "index.json").read_text())["manifests"]]
    assert names == ["main", "next"]
    assert Build(other, context, "--cache-from", f"type=local,src={kept},tag=main").cached.count(False) == 1
    shutil.rmtree(other.store / "cache")
    assert "latest" in Build(other, context, "--cache-from", f"type=local,src={kept}").warnings[0]
    # To a registry and back with other image tools.
    ref = f"{registry.host}/moved:1"
    other.ok("copy", f"oci:{kept}:next", f"docker://{ref}", program="pyimage")
    shutil.rmtree(other.store / "cache")
    assert Build(other, context, "--cache-from", ref).cached == [True] * 5


def test_a_build_without_steps(builder: Machine, registry: Registry, tmp_path: Path) -> None:
    context = _context(tmp_path, "FROM busybox\nLABEL a=b\n")
    ref = f"{registry.host}/nothing"
    Build(builder, context, "--cache-to", ref)
    write(context, "FROM busybox\nRUN true\n", {})
    done = Build(builder, context, "--cache-from", ref)
    assert done.cached == [False] and not done.warnings


def test_steps_that_make_the_same_layer(builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    context = _context(tmp_path, "FROM busybox\nRUN true\nRUN echo > /a\nRUN true\nRUN true\n")
    first = Build(builder, context, "--cache-to", f"{fake.host}/cache")
    assert len(_cache(fake)[0]["layers"]) == 2
    again = Build(other, context, "--cache-from", f"{fake.host}/cache")
    assert again.cached == [True] * 2 and again.id == first.id   # by title


def test_several_caches(builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    """The first cache with a step provides it; a layer that it cannot deliver comes from the next one."""
    context = _context(tmp_path, "FROM busybox\nRUN echo 1 > /a\nRUN echo 2 > /b\n")
    kept = tmp_path / "kept"
    Build(builder, context, "--cache-to", str(kept), "--cache-to", f"{fake.host}/cache")
    for blob in (kept / "blobs/sha256").iterdir():
        if blob.stat().st_size < 400 and not blob.read_bytes().startswith(b"{"):
            blob.write_bytes(b"x" * blob.stat().st_size)
    done = Build(other, context, "--cache-from", str(kept), "--cache-from", f"{fake.host}/none,{fake.host}/cache",
                 "--retries", "0")
    assert done.cached == [True] * 2 and len(done.warnings) == 3


def test_source_date_epoch(builder: Machine, other: Machine, fake: FakeRegistry, tmp_path: Path) -> None:
    """Two hosts write the same cache."""
    context = _context(tmp_path)
    for name, machine in (("one", builder), ("two", other)):
        Build(machine, context, "--cache-to", f"{fake.host}/{name}", env={"SOURCE_DATE_EPOCH": "1700000000"})
    assert fake.manifests["one", "latest"] == fake.manifests["two", "latest"]


@pytest.mark.parametrize("flags", [
    ("--cache-to", "type=gha"), ("--cache-to", "type=registry"), ("--cache-to", "type=local"),
    ("--cache-to", "type=registry,ref=x,mode=all"), ("--cache-to", "type=registry,ref=x,size=1"),
    ("--cache-to", "type=inline,mode=max"), ("--cache-to", "type=registry,ref=x,oci-mediatypes=false"),
    ("--cache-from", "type=inline"), ("--cache-from", "type=local,dest=/x"), ("--cache-from", "type=registry,ref=A B"),
    ("--cache-from", "A B"), ("--cache-to", "type=registry,ref=x,compression=xz"),
])
def test_wrong_flags(flags: tuple[str, str], builder: Machine, tmp_path: Path) -> None:
    said = builder.fails("build", *flags, _context(tmp_path))
    assert flags[1] in said or "reference" in said, said


def test_without_root(tmp_path: Path) -> None:
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
mkdir -p /mnt/context
cat >/mnt/context/Dockerfile <<'DONE'
FROM plain:1 AS one
RUN echo kept > /kept; chown 7:8 /kept
FROM plain:1
COPY --from=one /kept /x/
RUN cat /x/* > /all
DONE
pyimage build -q --network none --cache-to type=local,dest=/mnt/kept,mode=max /mnt/context >/mnt/first
export PYRUNTIME_STORE=/mnt/another
pyimage load -q -i layout >/dev/null
pyimage build --network none --progress plain --cache-from /mnt/kept /mnt/context >/mnt/second 2>/mnt/said
cmp /mnt/first /mnt/second
grep -c CACHED /mnt/said
! grep -i warning /mnt/said
pyimage verify
""", IDS)
    assert done.stdout.split() == ["3"], (done.stdout, done.stderr)
