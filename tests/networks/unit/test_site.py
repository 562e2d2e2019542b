"""networks/ does not depend on pocker: it calls its owner through the callbacks of a Site."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyruntime.errors import HostError
from pyruntime.networks import attach, endpoints
from pyruntime.networks import definitions as networks
from pyruntime.networks.attach import EndpointConfig
from pyruntime.networks.site import Site
from pyruntime.pocker.directories import Directories
from pyruntime.pocker.events import events
from pyruntime.runtime.cgroups import scope


def test_creating_and_removing_a_network_are_events(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []
    site = Site(str(tmp_path / "root"), str(tmp_path / "run"), event=lambda *event: seen.append(event))
    with networks.lock(site):
        network = networks.make(site, "back", subnets=["10.254.77.0/24"])
        networks.remove(site, network)
    assert seen == [("create", network.id, "back"), ("destroy", network.id, "back")]


def test_pocker_writes_events_of_networks_into_its_journal(tmp_path: Path) -> None:
    places = Directories(str(tmp_path / "root"), str(tmp_path / "run"))
    with networks.lock(places.networks):
        network = networks.make(places.networks, "back", subnets=["10.254.77.0/24"])
    (event,) = events(places, since=0, follow=False)
    assert (event["Type"], event["Action"], event["Actor"]) == (
        "network", "create", {"ID": network.id, "Attributes": {"name": "back"}})


def test_what_a_killed_start_has_not_recorded_is_released(tmp_path: Path) -> None:
    """It was killed after it had taken an address, while it was writing that down."""
    site, killed, other = Site(str(tmp_path / "root"), str(tmp_path / "run")), "a" * 64, "b" * 64
    with networks.lock(site):
        network = networks.make(site, "back", subnets=["10.254.77.0/24"])
        endpoints.save(site, endpoints.Endpoint(id=killed))
        for id in (killed, killed, other):
            endpoints.lease(site, network, 4, id)
        (tmp_path / f"run/networks/containers/{killed}.1.new").touch()
        endpoints.give_back(site, "back", killed)
        endpoints.drop(site, killed)
        assert list(endpoints.leased(site, "back").values()) == [other]
    assert list((tmp_path / "run/networks/containers").iterdir()) == []


def test_an_endpoint_without_a_container_is_swept(tmp_path: Path) -> None:
    kept, gone = "a" * 64, "b" * 64
    site = Site(str(tmp_path / "root"), str(tmp_path / "run"), exists=lambda id: id == kept)
    for id in (kept, gone):
        endpoints.save(site, EndpointConfig(id, [id[:12]]).endpoint())
    attach.sweep(site, pytest.fail)
    assert endpoints.identifiers(site) == [kept]


def test_a_damaged_endpoint_does_not_keep_others(tmp_path: Path) -> None:
    damaged, gone = "a" * 64, "b" * 64
    site = Site(str(tmp_path / "root"), str(tmp_path / "run"), exists=lambda id: False)
    for id in (damaged, gone):
        endpoints.save(site, EndpointConfig(id, [id[:12]]).endpoint())
    path = tmp_path / "run/networks/containers" / damaged
    path.write_text("{}")
    said: list[str] = []
    attach.sweep(site, said.append)
    assert endpoints.identifiers(site) == [damaged]
    assert len(said) == 1 and str(path) in said[0] and "remove this file" in said[0]


def test_pocker_recognizes_its_containers_by_their_directories(tmp_path: Path) -> None:
    places = Directories(str(tmp_path / "root"), str(tmp_path / "run"))
    places.below("containers", "a" * 64)
    assert [places.networks.exists(id * 64) for id in "ab"] == [True, False]


def test_an_error_of_creating_directories_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="name other directories with POCKER_ROOT and POCKER_RUN"):
        Directories(str(tmp_path / "file/root"), str(tmp_path / "run")).networks.below("networks")


def test_pocker_moves_the_name_server_into_a_scope_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    monkeypatch.setattr(scope, "move", lambda name, pid: moved.append((name, pid)))
    Directories(str(tmp_path / "root"), str(tmp_path / "run")).networks.adopt(7)
    assert moved == [("pocker-names", 7)]
