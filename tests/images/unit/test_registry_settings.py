"""Settings: registries.conf, certs.d, proxies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyruntime.errors import ConfigError, RegistryError, UsageError
from pyruntime.images.reference import Reference
from pyruntime.images.registry import certificates, proxy
from pyruntime.images.registry.settings import RegistrySettings

CONF = """
unqualified-search-registries = ["one.example", "two.example:5000"]
[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"
[[registry.mirror]]
location = "mirror-0.local/for-foo"
[[registry.mirror]]
location = "mirror-1.local/foo"
insecure = true
pull-from-mirror = "digest-only"
[[registry]]
location = "example.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.example.com"
[[registry]]
prefix = "*.wild.example"
insecure = true
[[registry]]
location = "bad.example"
blocked = true
[aliases]
"tool" = "quay.example/tools/tool"
"""


def settings(text: str = CONF) -> RegistrySettings:
    made = RegistrySettings(environ={})
    made.take(text.encode(), "registries.conf")
    return made


def reached(text: str, *, push: bool = False, made: RegistrySettings | None = None) -> list[str]:
    found = (made or settings()).endpoints(Reference.parse(text), push=push)
    return [f"{endpoint}{' insecure' * endpoint.insecure}{' mirror' * endpoint.mirror}"
            f"{'' if endpoint.pulls == 'all' else ' ' + endpoint.pulls}" for endpoint in found]


def test_mirrors_come_before_the_rewritten_origin() -> None:
    assert reached("example.com/foo/image:1") == [
        "mirror-0.local/for-foo/image mirror", "mirror-1.local/foo/image insecure mirror digest-only",
        "internal.example.net/bar/image"]


def test_the_longest_prefix_counts_and_ends_at_a_separator() -> None:
    assert reached("example.com/food") == ["mirror.example.com/food mirror digest-only", "example.com/food"]
    assert reached("example.com/foo") == ["mirror-0.local/for-foo mirror",
                                          "mirror-1.local/foo insecure mirror digest-only", "internal.example.net/bar"]
    assert reached("example.community/x") == ["example.community/x"]


def test_wildcards_and_blocks() -> None:
    assert reached("a.b.wild.example:5000/x") == ["a.b.wild.example:5000/x insecure"]
    assert reached("wild.example/x") == ["wild.example/x"]
    with pytest.raises(RegistryError, match='blocked by the prefix "bad'):
        reached("bad.example/x")


def test_a_push_goes_to_the_origin() -> None:
    assert reached("example.com/foo/image", push=True) == ["example.com/foo/image"]


def test_docker_hub_has_another_host() -> None:
    assert reached("alpine", made=settings("")) == ["registry-1.docker.io/library/alpine"]


def test_the_command_line_decides_about_verification() -> None:
    made = RegistrySettings(insecure=True, environ={})
    assert reached("example.com/x", made=made) == ["example.com/x insecure"]
    made = settings()
    made.insecure = False
    assert reached("a.wild.example/x", made=made) == ["a.wild.example/x"]


def test_short_names() -> None:
    made = settings()
    assert list(map(str, made.candidates("tool:1"))) == ["quay.example/tools/tool:1"]
    assert list(map(str, made.candidates("app:1"))) == ["one.example/app:1", "two.example:5000/app:1"]
    assert list(map(str, made.candidates("localhost/app"))) == ["localhost/app"]
    assert list(map(str, settings("").candidates("app"))) == ["docker.io/library/app"]


@pytest.mark.parametrize(("text", "message"), [
    ("x = ", "not TOML"), ("registry = 1", 'expected a list, got 1'), ("[[registry]]\nprefix='a'", "location: is requ"),
    ("[[registry]]\nlocation='a'\ninsecure=1", "registry[0].insecure: expected true or false"),
    ("[[registry]]\nlocation='a'\n[[registry.mirror]]\ninsecure=true", "registry[0].mirror[0].location: is required"),
    ("[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='x'", "pull-from-mirror"),
    ("[registries.search]\nregistries=[]", "version 1"), ("[aliases]\na=1", "aliases.a"),
    ("unqualified-search-registries=['a/b']", "is not a registry"),
])
def test_wrong_files_are_refused_by_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^registries") as caught:
        settings(text)
    assert message in str(caught.value)


def test_which_files_are_read(tmp_path: Path) -> None:
    system, home = tmp_path / "etc", tmp_path / "home"
    own = home / ".config/containers"
    for directory in (system, own):
        (directory / "registries.conf.d").mkdir(parents=True)
    (system / "registries.conf").write_text('unqualified-search-registries=["system"]\n[aliases]\na="x.y/1"')
    (system / "registries.conf.d/10.conf").write_text('[aliases]\na="x.y/2"\nb="x.y/b"')
    (system / "registries.conf.d/ignored").write_text("nonsense")
    (own / "registries.conf.d/20.conf").write_text('[aliases]\nb=""\nc="x.y/c"')
    environ = {"HOME": str(home)}
    made = RegistrySettings.load(system=str(system), environ=environ)
    assert made.search == ["system"] and made.aliases == {"a": "x.y/2", "b": "", "c": "x.y/c"}
    (own / "registries.conf").write_text('unqualified-search-registries=["own"]')
    made = RegistrySettings.load(system=str(system), environ=environ)
    assert made.search == ["own"] and made.aliases == {"b": "", "c": "x.y/c"}
    alone = tmp_path / "alone.conf"
    alone.write_text('unqualified-search-registries=["alone"]')
    made = RegistrySettings.load(system=str(system), environ={**environ, "CONTAINERS_REGISTRIES_CONF": str(alone)})
    assert made.search == ["alone"] and not made.aliases
    assert RegistrySettings.load(str(alone), system=str(system), environ=environ).search == ["alone"]
    with pytest.raises(UsageError, match="no such file"):
        RegistrySettings.load(str(tmp_path / "missing"), environ={})


def test_certificates(tmp_path: Path) -> None:
    home = tmp_path / "home/.config/containers/certs.d/h:1"
    system = tmp_path / "etc/h:1"
    for directory, name in ((home, "mine"), (system, "all")):
        directory.mkdir(parents=True)
        (directory / f"{name}.crt").touch()
    (home / "me.cert").touch()
    (home / "me.key").touch()
    made = RegistrySettings(environ={"HOME": str(tmp_path / "home")})
    found = certificates.find(made, "h:1", [str(tmp_path / "etc")])
    none, named = RegistrySettings(environ={}), RegistrySettings(environ={}, cert_dir=str(system))
    assert found.authorities == [f"{home}/mine.crt"] and found.clients == [(f"{home}/me.cert", f"{home}/me.key")]
    assert certificates.find(none, "h:1", [str(tmp_path / "etc")]).authorities == [f"{system}/all.crt"]
    assert not certificates.find(made, "h:2", [str(tmp_path / "etc")]).authorities
    assert certificates.find(named, "x").authorities == [f"{system}/all.crt"]
    (home / "me.key").unlink()
    with pytest.raises(UsageError, match='its key "me'):
        certificates.find(made, "h:1")
    with pytest.raises(UsageError, match="not a usable certificate"):
        certificates.context(RegistrySettings(environ={}, cert_dir=str(system)), "x")
    with pytest.raises(UsageError, match="No such file"):
        certificates.find(RegistrySettings(environ={}, cert_dir=str(tmp_path / "none")), "x")


@pytest.mark.parametrize(("no_proxy", "host", "direct"), [
    ("", "example.com", False),
    ("*", "example.com", True), ("example.com", "example.com", True),
    ("example.com", "a.example.com", True),
    (".example.com", "a.example.com", True), ("example.com", "xample.com", False),
    ("ample.com", "example.com", False), ("example.com:5000", "example.com", False),
    ("other, EXAMPLE.com:443", "example.com", True), ("10.0.0.0/8", "10.1.2.3", True),
    ("10.0.0.0/8", "11.1.2.3", False),
    ("10.0.0.0/8", "example.com", False), ("::1/128,fd00::/8", "fd00::1", True), ("[fd00::1]:443", "fd00::1", True),
    ("", "localhost", True), ("", "127.3.2.1", True), ("", "::1", True), ("nonsense/8", "example.com", False),
])
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy}
    assert (proxy.find(environ, "https", host, 443) is None) == direct


def test_proxies() -> None:
    found = proxy.find({"https_proxy": "us%3Aer:p%40ss@proxy:1", "HTTPS_PROXY": "http://other"}, "https", "h", 443)
    assert found and (found.host, found.port, found.authorization) == ("proxy", 1, "Basic dXM6ZXI6cEBzcw==")
    assert proxy.find({"HTTPS_PROXY": "http://x"}, "http", "h", 80) is None
    assert proxy.find({"HTTP_PROXY": "http://x", "REQUEST_METHOD": "GET"}, "http", "h", 80) is None
    for text in ("socks5://user:secret@h:1", "https://user:secret@h", "http://", "http://h:secret"):
        with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
            proxy.find({"HTTPS_PROXY": text}, "https", "h", 443)
        assert "user" not in str(caught.value)
