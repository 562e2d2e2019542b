"""Fixtures for registries: see registries.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.images.reference import Reference
from pyruntime.images.registry.client import Repository
from pyruntime.images.registry.credentials import Credentials, Login
from pyruntime.images.registry.http import Transport
from pyruntime.images.registry.settings import RegistrySettings
from tests.images.integration.command import Pyimage
from tests.images.integration.registries import Authority, FakeRegistry, Registry, TokenServer, serve
from tests.images.integration.samples import samples


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Plain HTTP, without authentication."""
    with serve(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Registry]:
    """TLS by a test authority, and Basic authentication."""
    with serve(tmp_path_factory.mktemp("tls"), authority=authority, htpasswd=True) as registry:
        yield registry


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Registry]:
    """Plain HTTP, and Bearer authentication by the test token server (``.tokens``)."""
    tokens = TokenServer(authority)
    try:
        with serve(tmp_path_factory.mktemp("token"), tokens=tokens) as registry:
            yield registry
    finally:
        tokens.server.stop()


@pytest.fixture
def tokens(token_registry: Registry) -> Iterator[TokenServer]:
    """The token server of token_registry, without recorded requests."""
    assert token_registry.tokens
    server = token_registry.tokens
    server.asked.clear()
    yield server
    server.statuses.clear()
    server.expiry = 60


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry in memory that misbehaves on command."""
    made = FakeRegistry()
    yield made
    made.stop()


@pytest.fixture
def fakes() -> Iterator[Callable[..., FakeRegistry]]:
    """Creates further fake registries."""
    made: list[FakeRegistry] = []

    def make(authority: Authority | None = None) -> FakeRegistry:
        made.append(FakeRegistry(authority))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An image layout written without pyruntime: see samples.py."""
    path = tmp_path_factory.mktemp("samples") / "layout"
    path.mkdir()
    return path, samples(path)


@pytest.fixture
def pyimage(tmp_path: Path) -> Iterator[Pyimage]:
    """The command with an empty store."""
    made = Pyimage(tmp_path)
    yield made
    made.close()
    assert made.leftovers() == []


@pytest.fixture
def loaded(pyimage: Pyimage, layout: tuple[Path, dict[str, str]]) -> Pyimage:
    """The command with a store that has all samples."""
    pyimage.ok("load", "-q", "-i", layout[0])
    return pyimage


class Client:
    """Opens repositories with settings that no file of the host changes; ``slept`` and ``warned`` record waits and
    warnings."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.slept: list[float] = []
        self.warned: list[str] = []
        self.said: list[str] = []
        self.transports: list[Transport] = []

    def settings(self, text: str = "", **options: Any) -> RegistrySettings:
        settings = RegistrySettings(**{"timeout": 20, "environ": {"HOME": str(self.home)}, **options})
        if text:
            settings.take(text.encode(), "registries.conf")
        return settings

    def transport(self, settings: RegistrySettings) -> Transport:
        self.transports.append(Transport(settings, warn=self.warned.append, debug=self.said.append,
                                         sleep=self.slept.append))
        return self.transports[-1]

    def open(self, text: str, *, login: Login | tuple[str, str] | None = None, push: bool = False, conf: str = "",
             **options: Any) -> Repository:
        settings = self.settings(conf, **options)
        explicit = Login(*login) if isinstance(login, tuple) else login
        credentials = Credentials(explicit=explicit, environ={"HOME": str(self.home), "XDG_RUNTIME_DIR":
                                                              str(self.home)}, warn=self.warned.append)
        return Repository.open(Reference.parse(text), settings=settings, credentials=credentials, push=push,
                               transport=self.transport(settings))

    def at(self, registry: Registry, name: str, *, push: bool = False, **options: Any) -> Repository:
        return self.open(f"{registry.host}/{name}", push=push,
                         **{"login": registry.login, "cert_dir": registry.cert_dir, **options})


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Opens repositories, and closes their connections at the end."""
    made = Client(tmp_path)
    yield made
    for transport in made.transports:
        transport.close()
