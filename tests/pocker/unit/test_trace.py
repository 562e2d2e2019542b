"""The content of the trace of `pocker run`."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.commandline.parse import parse
from pyruntime.pocker.cli.run import COMMAND
from pyruntime.pocker.cli.trace import ELSEWHERE, differences, given, record_without, together
from pyruntime.pocker.containers.container import ContainerRecord
from pyruntime.pocker.settings import IdMaps, MountPoint


@pytest.mark.parametrize(("before", "after", "lines"), [
    ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b = 2; without the flag 1"]),
    ({}, {"a": {"b": 1, "c": {"d": 2}}}, ["a.b = 1", "a.c.d = 2"]),
    ({"a": 1}, {}, ["a is missing; without the flag 1"]),
    ({"env": ["A=1", "C=3"]}, {"env": ["A=2", "B=1", "C=3"]}, ['env[0] = "A=2"; without the flag "A=1"',
                                                               'env with ["B=1"]']),
    ({"mounts": [{"destination": "/a", "options": ["rw"]}, {"destination": "/b"}]},
     {"mounts": [{"destination": "/a", "options": ["ro"]}, {"destination": "/c"}]},
     ['mounts[0].options with ["ro"]', 'mounts[0].options without ["rw"]', 'mounts[1] = {"destination": "/c"}',
      'mounts without [{"destination": "/b"}]']),
    ({"process": {"args": ["a", "b"]}}, {"process": {"args": ["b"]}},
     ['process.args = ["b"]; without the flag ["a", "b"]']),
    ({"sets": {"one": ["X"], "two": ["X"]}}, {"sets": {"one": [], "two": []}}, ['sets.{one,two} without ["X"]']),
    ({"same": [1]}, {"same": [1]}, []),
])
def test_differences(before: Any, after: Any, lines: list[str]) -> None:
    assert list(together(differences(before, after))) == lines


def test_a_flag_is_removed_from_completed_settings() -> None:
    """The trace changes neither the names of volumes nor the mounts of the image and of other containers."""
    parsed = parse(COMMAND, ["-v", "/data", "--tmpfs", "/x", "--volumes-from", "web", "--userns", "auto", "image"])
    flags = {flag.name: flag for flag in given(COMMAND, parsed)}
    record = ContainerRecord(settings=flags["tmpfs"].asked)
    record.settings = record.settings.replace(ids=IdMaps(uids=["0 1 1"], gids=["0 1 1"]), mounts=[
        MountPoint(kind="volume", source="invented", target="/data", anonymous=True),
        MountPoint(kind="tmpfs", target="/x"),
        MountPoint(kind="volume", source="theirs", target="/theirs"),
        MountPoint(kind="volume", source="images", target="/images", anonymous=True)])
    left = {name: [mount.target for mount in record_without(record, flag).settings.mounts]
            for name, flag in flags.items()}
    assert left == {"volume": ["/x", "/theirs", "/images"], "tmpfs": ["/data", "/theirs", "/images"],
                    "volumes-from": ["/data", "/x", "/images"],
                    "userns": ["/data", "/x", "/theirs", "/images"]}
    assert record_without(record, flags["tmpfs"]).settings.mounts[0].source == "invented"
    assert record_without(record, flags["tmpfs"]).settings.ids
    assert not record_without(record, flags["userns"]).settings.ids


def test_elsewhere_names_flags() -> None:
    assert set(ELSEWHERE) <= {flag.name for flag in COMMAND.flags}
