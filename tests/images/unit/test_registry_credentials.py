"""Credentials: where they are found, and that only their owner can read them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import ConfigError, UsageError
from pyruntime.images.registry import login
from pyruntime.images.registry.credentials import Credentials, Login, files, keys

HELPER = """#!/usr/bin/python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept")
known = json.loads(kept.read_text()) if kept.exists() else {}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text == "broken":
        print("the keychain is locked")
        sys.exit(1)
    if text not in known:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(known[text]))
elif sys.argv[1] == "store":
    known[json.loads(text)["ServerURL"]] = json.loads(text)
else:
    known.pop(text)
kept.write_text(json.dumps(known))
"""


def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def found(credentials: Credentials, name: str) -> str:
    known = credentials.find(name)
    return f"{known.username}:{known.password or known.identity_token}" if known else ""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a helper named "test" in its PATH."""
    helper = tmp_path / "bin/docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(HELPER)
    helper.chmod(0o755)
    return {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run"),
            "PATH": f"{helper.parent}:{os.environ['PATH']}"}


def test_order_of_files(environ: dict[str, str]) -> None:
    home, run = environ["HOME"], environ["XDG_RUNTIME_DIR"]
    assert files(environ) == [f"{run}/containers/auth.json", f"{home}/.config/containers/auth.json",
                              f"{home}/.docker/config.json", f"{home}/.dockercfg"]
    for number, path in reversed(list(enumerate(files(environ)))):
        auths = {"h.example": entry(f"user{number}:x")}
        write(Path(path), auths if path.endswith("dockercfg") else {"auths": auths})
        assert found(Credentials(environ=environ), "h.example/x") == f"user{number}:x"
    more = {**environ, "REGISTRY_AUTH_FILE": "/first", "DOCKER_CONFIG": "/dc", "XDG_CONFIG_HOME": "/xc"}
    assert files(more) == ["/first", f"{run}/containers/auth.json", "/xc/containers/auth.json", "/dc/config.json",
                           f"{home}/.dockercfg"]
    assert files({"HOME": "/h"})[0] == f"/run/containers/{os.getuid()}/auth.json"


def test_the_most_specific_key_counts(tmp_path: Path) -> None:
    write(tmp_path / "auth.json", {"auths": {
        "h/team/app": entry("app:1"), "h/team": entry("team:2"), "h": entry("all:3"), "https://old/v1/": entry("old:4"),
        "https://index.docker.io/v1/": entry("hub:5:with a colon"), "empty": {},
        "token": {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "identity"}}})
    credentials = Credentials(authfile=str(tmp_path / "auth.json"))
    assert [found(credentials, name) for name in (
        "h/team/app", "h/team/other", "h/x", "old/x", "docker.io/library/alpine", "empty/x", "token/x", "no/x")] == [
        "app:1", "team:2", "all:3", "old:4", "hub:5:with a colon", "", "me:identity", ""]
    assert keys("docker.io/a") == ["docker.io/a", "docker.io", "index.docker.io", "registry-1.docker.io"]


def test_explicit_credentials_are_for_the_origin_only(tmp_path: Path) -> None:
    credentials = Credentials(explicit=Login.parse("me:pass:word"), authfile=str(tmp_path / "none"))
    assert found(credentials, "h") == "me:pass:word" and credentials.find("mirror", mirror=True) is None
    for text in ("me", ":x", ""):
        with pytest.raises(UsageError, match="user:password"):
            Login.parse(text)


def test_helpers(tmp_path: Path, environ: dict[str, str]) -> None:
    kept = {"h": {"Username": "me", "Secret": "s"}, "t": {"Username": "<token>", "Secret": "identity"},
            "https://index.docker.io/v1/": {"Username": "hub", "Secret": "s"}}
    (tmp_path / "bin/kept").write_text(json.dumps(kept))
    warned: list[str] = []
    helpers = {"h": "test", "x": "test", "lost": "missing", "broken": "test", "bad": "../x"}
    write(tmp_path / "a", {"credHelpers": helpers,
                           "auths": {"h": entry("file:1"), "x": entry("file:2"), "y": entry("file:3")}})
    credentials = Credentials(authfile=str(tmp_path / "a"), environ=environ, warn=warned.append)
    assert [found(credentials, name) for name in ("h/a", "x/a", "y/a")] == ["me:s", "", "file:3"] and not warned
    assert not found(credentials, "lost/x") and not found(credentials, "broken/x") and not found(credentials, "bad/x")
    assert ["is not installed" in warned[0], "the keychain is locked" in warned[1], "not the name" in warned[2]] == [
        True, True, True] and all("without credentials" in text for text in warned)
    write(tmp_path / "b", {"credsStore": "test", "auths": {"y": entry("file:3")}})
    credentials = Credentials(authfile=str(tmp_path / "b"), environ=environ)
    assert [found(credentials, name) for name in ("h", "docker.io/a", "y")] == ["me:s", "hub:s", "file:3"]
    token = credentials.find("t")
    assert token and token.identity_token == "identity" and not token.password


def test_broken_files_are_named_without_their_content(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text("[]")
    with pytest.raises(ConfigError, match="expected an object"):
        Credentials(authfile=str(path)).find("h")
    write(path, {"auths": {"h": {"auth": base64.b64encode(b"hush").decode()}}})
    with pytest.raises(UsageError, match='"h": auth is not the base64') as caught:
        Credentials(authfile=str(path)).find("h")
    assert "hush" not in str(caught.value) and "hush" not in repr(Login("me", "hush"))
    path.write_text("")
    assert Credentials(authfile=str(path)).find("h") is None


def test_logins_are_readable_for_their_owner_only(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "run/containers/auth.json"
    assert login.keep("h", Login("me", "s"), environ) == str(path)
    assert path.stat().st_mode & 0o7777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    login.keep("h/team", Login("you", "t"), environ)
    assert found(Credentials(environ=environ), "h/team/x") == "you:t"
    assert login.logout("https://h/v1/", environ=environ) == [str(path)]
    assert found(Credentials(environ=environ), "h/x") == "" and login.logout("h", environ=environ) == []
    assert login.logout_all(environ=environ) == ["h/team"] and json.loads(path.read_text())["auths"] == {}
    assert [file.name for file in path.parent.iterdir()] == ["auth.json"]


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    write(real, {"auths": {}, "other": "kept"})
    link = tmp_path / "auth.json"
    link.symlink_to(real)
    login.keep("h", Login("me", "s"), {}, str(link))
    assert link.is_symlink() and json.loads(real.read_text())["other"] == "kept" and "h" in real.read_text()


def test_logins_go_to_the_helper(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "auth.json"
    write(path, {"credsStore": "test", "auths": {"docker.io": entry("was:here")}})
    assert login.keep("docker.io", Login("me", "s"), environ, str(path)) == "credential helper test"
    assert "was" not in path.read_text() and base64.b64encode(b"was:here").decode() not in path.read_text()
    assert "https://index.docker.io/v1/" in json.loads((tmp_path / "bin/kept").read_text())
    assert found(Credentials(authfile=str(path), environ=environ), "docker.io/x") == "me:s"
    assert "credential helper test" in login.logout("index.docker.io", environ=environ, authfile=str(path))
    assert not found(Credentials(authfile=str(path), environ=environ), "docker.io/x")


@pytest.mark.parametrize(("name", "user", "password"), [("", "u", "p"), ("a b", "u", "p"), ("h", "", "p"),
                                                         ("h", "u:v", "p"), ("h", "u", "")])
def test_invalid_logins(name: str, user: str, password: str) -> None:
    from pyruntime.images.registry.settings import RegistrySettings

    with pytest.raises(UsageError):
        login.login(name, user, password, settings=RegistrySettings(environ={}))
