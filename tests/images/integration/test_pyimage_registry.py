"""``pyimage`` and registries: pull, push, tags, login, inspect without pulling."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.images.integration.command import Pyimage
from tests.images.integration.registries import PASSWORD, USER, FakeRegistry, Registry, TokenServer, free_port, status
from tests.images.integration.samples import HOST, OTHER, blobs_of

Layout = tuple[Path, dict[str, str]]


def reach(registry: Registry, *, login: bool = True) -> list[str]:
    """The options for a test registry."""
    options = ["--cert-dir", registry.cert_dir] if registry.cert_dir else []
    return options + (["--creds", ":".join(registry.login)] if login and registry.login else [])


@pytest.mark.parametrize("kind", ["plain", "tls", "token"])
def test_push_and_pull(loaded: Pyimage, layout: Layout, request: pytest.FixtureRequest, kind: str) -> None:
    registry: Registry = request.getfixturevalue(f"{kind}_registry")
    digests = layout[1]
    for name in ("busy:1", "dock:1", "multi:1"):
        reference = f"{registry.host}/team/{name}"
        assert loaded.ok("push", "-q", *reach(registry), name, reference) == f"{digests[name]}\n"
        assert loaded.ok("pull", "-q", *reach(registry), reference) == f"{digests[name]}\n"
        assert loaded.ok("inspect", "-f", "{{.Digest}}", reference) == f"{digests[name]}\n"
    assert loaded.ok("tags", *reach(registry), f"{registry.host}/team/busy") == "1\n"
    told = json.loads(loaded.ok("tags", "-f", "json", *reach(registry), f"{registry.host}/team/busy"))
    assert told == {"Repository": f"{registry.host}/team/busy", "Tags": ["1"]}


def test_into_an_empty_store(pyimage: Pyimage, layout: Layout, plain_registry: Registry, tmp_path: Path) -> None:
    path, digests = layout
    reference = f"{plain_registry.host}/empty/busy:1"
    assert pyimage.ok("copy", "-q", f"oci:{path}:docker.io/library/busy:1", f"docker://{reference}").strip() \
        == digests["busy:1"]
    done = pyimage("pull", reference)
    assert done.stdout == f"{reference}@{digests['busy:1']}\n", done.stderr
    assert len(done.stderr.splitlines()) == 3 and "config" in done.stderr and "layer" in done.stderr, "a line a blob"
    assert pyimage.blobs() == blobs_of(path, digests["busy:1"])
    assert pyimage.ok("verify") == "" and len(list((pyimage.store / "layers").iterdir())) == 2
    pinned = f"{plain_registry.host}/empty/busy@{digests['busy:1']}"
    assert pyimage.ok("pull", "-q", pinned).strip() == digests["busy:1"]
    assert pyimage.ok("pull", "-q", f"docker://{plain_registry.host}/empty/busy:1").strip() == digests["busy:1"]


def test_no_extract(pyimage: Pyimage, layout: Layout, plain_registry: Registry) -> None:
    reference = f"{plain_registry.host}/packed/busy:1"
    pyimage.ok("copy", "-q", f"oci:{layout[0]}:busy:1", f"docker://{reference}")
    pyimage.ok("pull", "--no-extract", reference)
    assert list((pyimage.store / "layers").iterdir()) == []
    assert "up to date" in pyimage("pull", "--no-extract", reference).stderr
    assert "up to date" not in pyimage("pull", reference).stderr
    assert len(list((pyimage.store / "layers").iterdir())) == 2, "pull extracts layers that were not extracted"


def test_layers_are_mounted_from_another_repository(loaded: Pyimage, layout: Layout, plain_registry: Registry) -> None:
    first, second = (f"{plain_registry.host}/mounts/{name}" for name in ("first:1", "second:1"))
    loaded.ok("push", "-q", "busy:1", first)
    loaded.ok("tag", "busy:1", first)
    told = loaded("push", "busy:1", second).stderr
    assert told.count("mounted") == 3, told


def test_bearer_tokens(loaded: Pyimage, token_registry: Registry, tokens: TokenServer) -> None:
    """A user without push permission gets an error; the requested token names the actions."""
    reference = f"{token_registry.host}/tokens/busy:1"
    said = loaded.fails("push", "busy:1", reference)
    assert "denied" in said.lower() or "unauthorized" in said.lower() or "401" in said, said
    loaded.ok("push", "-q", *reach(token_registry), "busy:1", reference)
    loaded.ok("rm", "busy:1")
    tokens.asked.clear()
    loaded.ok("pull", "-q", reference)
    assert {scope for _, query, _ in tokens.asked for scope in query["scope"]} == {"repository:tokens/busy:pull"}
    assert not any(authorization for _, _, authorization in tokens.asked)


def test_wrong_password(loaded: Pyimage, tls_registry: Registry) -> None:
    reference = f"{tls_registry.host}/wrong/busy:1"
    said = loaded.fails("push", "--cert-dir", tls_registry.cert_dir, "--creds", f"{USER}:wrong", "busy:1", reference)
    assert "user name or password is wrong" in said, said
    said = loaded.fails("pull", reference, "--creds", f"{USER}:{PASSWORD}")
    assert "certificate is not trusted" in said and "ca.crt" in said, said


def test_login(loaded: Pyimage, tls_registry: Registry, tmp_path: Path) -> None:
    host, certificates = tls_registry.host, ["--cert-dir", tls_registry.cert_dir]
    reference = f"{host}/login/busy:1"
    loaded.fails("push", *certificates, "busy:1", reference)
    said = loaded.fails("login", *certificates, "-u", USER, "--password-stdin", host, stdin=None, input="wrong\n")
    assert "user name or password is wrong" in said, said
    done = loaded.ok("login", *certificates, "-u", USER, "--password-stdin", host, stdin=None, input=PASSWORD + "\n")
    file = tmp_path / "containers/auth.json"
    assert str(file) in done and PASSWORD not in done and file.stat().st_mode & 0o777 == 0o600
    assert loaded.ok("login", "--get-login", host) == f"{USER}\n"
    loaded.ok("push", "-q", *certificates, "busy:1", reference)
    loaded.ok("pull", "-q", *certificates, reference)
    assert str(file) in loaded.ok("logout", host)
    assert "not logged in" in loaded.fails("logout", host) and "not logged in" in loaded.fails(
        "login", "--get-login", host)
    assert "not logged in" not in loaded.ok("logout", "--all")


def test_authfile_and_docker_config(loaded: Pyimage, tls_registry: Registry, tmp_path: Path) -> None:
    host, certificates = tls_registry.host, ["--cert-dir", tls_registry.cert_dir]
    authfile = tmp_path / "mine.json"
    loaded.ok("login", *certificates, "--authfile", authfile, "-u", USER, "-p", PASSWORD, host)
    assert not (tmp_path / "containers").exists()
    loaded.ok("push", "-q", *certificates, "--authfile", authfile, "busy:1", f"{host}/files/busy:1")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_bytes(authfile.read_bytes())
    loaded.ok("pull", "-q", *certificates, f"{host}/files/busy:1")
    (tmp_path / ".docker/config.json").unlink()
    loaded.fails("tags", *certificates, f"{host}/files/busy")
    assert loaded.ok("tags", *certificates, f"{host}/files/busy", env={"REGISTRY_AUTH_FILE": str(authfile)}) == "1\n"
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(f"#!/bin/sh\nread host\necho '{json.dumps({'Username': USER, 'Secret': PASSWORD})}'\n")
    helper.chmod(0o755)
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credsStore": "tests"}))
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert loaded.ok("tags", *certificates, f"{host}/files/busy", env={"PATH": path}) == "1\n"


def test_inspect_reads_no_layer(pyimage: Pyimage, fake: FakeRegistry) -> None:
    manifest = fake.add_image("team/app", "1")
    layer, config = manifest["layers"][0]["digest"], manifest["config"]["digest"]
    there = f"docker://{fake.host}/team/app:1"
    found = json.loads(pyimage.ok("inspect", there))
    assert found["Id"] == config and found["Layers"][0]["digest"] == layer and found["Os"] == "linux"
    assert pyimage.ok("inspect", "--raw", there) == json.dumps(manifest)
    assert pyimage.ok("inspect", "--raw", "--config", there).encode() == fake.blobs[config]
    assert json.loads(pyimage.ok("inspect", "--config", there))["created"] == "2024-01-01T00:00:00Z"
    assert pyimage.ok("inspect", "--format", "{{.Os}}/{{.Architecture}} {{index .RootFS.Layers 0}}", there) \
        == f"linux/amd64 {layer}\n"
    assert "7B" in pyimage.ok("history", there)
    assert fake.asked("GET", layer) == [] and fake.asked("GET", "tags/list") == [] and pyimage.blobs() == set()


def test_an_unchanged_image_needs_only_head(pyimage: Pyimage, fake: FakeRegistry) -> None:
    manifest = fake.add_image("team/app", "1")
    reference = f"{fake.host}/team/app:1"
    first = pyimage("pull", "--no-extract", reference)
    assert first.returncode == 0 and len(fake.asked("GET", "/manifests/")) == 1, first.stderr
    assert len(fake.asked("GET", manifest["config"]["digest"])) == 1, "a configuration is read once"
    fake.requests.clear()
    again = pyimage("pull", "--no-extract", reference)
    assert again.stdout == first.stdout and again.stderr == f"{reference}: up to date\n"
    assert [method for method, path, _ in fake.requests if path != "/v2/"] == ["HEAD"], fake.requests
    fake.requests.clear()
    pinned = f"{fake.host}/team/app@{first.stdout.strip().partition('@')[2]}"
    pyimage.ok("pull", "-q", "--no-extract", pinned)   # a new name, but nothing to download
    assert fake.asked("GET", "/blobs/") == []
    fake.requests.clear()
    assert pyimage("pull", "-q", "--no-extract", pinned).stderr == "" and fake.requests == []
    changed = fake.add_image("team/app", "1", layer=b"another layer")
    assert pyimage.ok("pull", "-q", "--no-extract", reference) != first.stdout
    assert len(fake.asked("GET", changed["layers"][0]["digest"])) == 1


def test_missing_content_is_pulled_again(pyimage: Pyimage, layout: Layout, plain_registry: Registry) -> None:
    path, digests = layout
    reference = f"{plain_registry.host}/missing/multi:1"
    pyimage.ok("copy", "-aq", f"oci:{path}:multi:1", f"docker://{reference}")
    pyimage.ok("pull", reference)
    assert "up to date" in pyimage("pull", reference).stderr
    for told in (["--platform", f"linux/{OTHER}"], ["-a"]):
        assert "up to date" not in pyimage("pull", *told, reference).stderr
        assert "up to date" in pyimage("pull", *told, reference).stderr
    manifest = json.loads((path / "blobs/sha256" / digests[HOST][7:]).read_bytes())
    (pyimage.store / "blobs/sha256" / manifest["layers"][1]["digest"][7:]).unlink()
    assert "copied" in pyimage("pull", reference).stderr and pyimage.ok("verify") == ""


def test_without_a_tag_the_newest_is_pulled(pyimage: Pyimage, fake: FakeRegistry) -> None:
    for tag, year in (("1.9", 2021), ("1.10", 2024), ("edge", 2022)):
        fake.add_image("team/app", tag, layer=tag.encode(), created=f"{year}-01-01T00:00:00Z")
    done = pyimage("pull", "--no-extract", f"{fake.host}/team/app")
    assert done.returncode == 0 and 'has no tag "latest": using the newest tag, "1.10"' in done.stderr, done.stderr
    assert done.stdout.startswith(f"{fake.host}/team/app:1.10@sha256:")
    assert json.loads(pyimage.ok("inspect", f"docker://{fake.host}/team/app"))["RepoTags"] == [
        f"{fake.host}/team/app:1.10"]
    fake.add_image("team/app", "latest", layer=b"latest")
    done = pyimage("pull", "--no-extract", f"{fake.host}/team/app")
    assert ":latest@" in done.stdout and "newest" not in done.stderr


def test_a_short_name_uses_the_search_registries(pyimage: Pyimage, fake: FakeRegistry, tmp_path: Path
                                                           ) -> None:
    fake.add_image("short", "1")
    nobody = f"127.0.0.1:{free_port()}"
    conf = tmp_path / "registries.conf"
    conf.write_text(f'unqualified-search-registries = ["{fake.host}", "{nobody}"]\n')
    assert pyimage.ok("pull", "--no-extract", "--registries-conf", conf, "--retries", "0", "short:1").startswith(
        f"{fake.host}/short:1@")
    conf.write_text(f'unqualified-search-registries = ["{nobody}", "{fake.host}"]\n')
    assert pyimage.ok("pull", "--no-extract", "--registries-conf", conf, "--retries", "0", "short:1").startswith(
        f"{fake.host}/short:1@"), "an unreachable registry is skipped"
    other = FakeRegistry()
    try:
        conf.write_text(f'unqualified-search-registries = ["{other.host}", "{fake.host}"]\n')
        assert pyimage.ok("pull", "--no-extract", "--registries-conf", conf, "short:1").startswith(
            f"{fake.host}/short:1@"), "a registry without the image is skipped"
        said = pyimage.fails("pull", "--registries-conf", conf, "absent:1")
        assert fake.host in said and other.host in said, said
    finally:
        other.stop()


def test_missing_images(pyimage: Pyimage, fake: FakeRegistry) -> None:
    fake.add_image("team/app", "1")
    said = pyimage.fails("pull", f"{fake.host}/team/app:2")
    assert "404" in said or "unknown" in said, said
    assert "team/absent" in pyimage.fails("pull", f"{fake.host}/team/absent")
    assert f"127.0.0.1:{(port := free_port())}" in pyimage.fails("pull", "--retries", "0", f"127.0.0.1:{port}/x:1")
    fake.fault("HEAD", "", status(429, {"Retry-After": "0"}), times=2)
    pyimage.ok("pull", "--no-extract", f"{fake.host}/team/app:1")
    assert pyimage.ok("ls", "-q").count("\n") == 1
