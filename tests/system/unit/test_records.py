"""Records: older ones are read, newer and damaged ones refused with path, reason and remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyruntime.errors import RecordError
from pyruntime.networks.bridges import UpNetwork
from pyruntime.networks.definitions import Network
from pyruntime.networks.endpoints import Endpoint
from pyruntime.pocker.containers.container import ContainerRecord, ContainerRun, Exit
from pyruntime.pocker.containers.health import Health
from pyruntime.pocker.volumes import Volume
from pyruntime.runtime.lifecycle.store import StateRecord
from pyruntime.system.records import Record


class Box(Record):
    """A record with a member of each kind."""

    FIELDS = ("id", "size", "open", "marks", "labels")
    NEEDED = ("id",)
    VERSION = 2

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.size: int = 3
        self.open: bool = False
        self.marks: list[str] = []
        self.labels: dict[str, str] = {}
        self._set(values)


def parse(value: object) -> Box:
    """Read a record."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Box.parse(data, "/x/box.json", "remove the box")


def test_what_is_written_is_read() -> None:
    box = Box(id="a", open=True, labels={"b": "c"})
    assert json.loads(box.encoded()) == {"version": 2, "id": "a", "size": 3, "open": True, "marks": [],
                                         "labels": {"b": "c"}}
    assert parse(box.encoded()).document() == box.document()


@pytest.mark.parametrize("version", [{}, {"version": 1}, {"version": 2}])
def test_older_records_are_read_and_unknown_members_ignored(version: dict[str, int]) -> None:
    found = parse({**version, "id": "a", "later": 1})
    assert (found.id, found.size) == ("a", 3) and not hasattr(found, "later")


@pytest.mark.parametrize("version", [3, 0, -1, "2", None, 1.5, True])
def test_other_formats_are_refused(version: object) -> None:
    with pytest.raises(RecordError) as caught:
        parse({"version": version, "id": "a"})
    assert caught.value.unknown and str(caught.value).startswith(
        f'"/x/box.json" has format {json.dumps(version)}, and pyruntime ')
    assert str(caught.value).endswith(
        "knows formats up to 2: use the version of pyruntime that wrote it, or remove the box")


@pytest.mark.parametrize(("value", "reason"), [
    (b"", "it is empty"), (b'{"id": "a"', 'line 1, column 11: expected "," or "}", found the end of the file'),
    (b"[1]", "expected an object, got [1]"), (b"\xff", "not UTF-8"), ({"size": 1}, '"id" is missing'),
    ({"id": 5}, "id: expected a string, got 5"), ({"id": "a", "size": True}, "size: expected a number, got true"),
    ({"id": "a", "open": 1}, "open: expected true or false, got 1"),
    ({"id": "a", "marks": {}}, "marks: expected an array"),
    ({"id": "a", "labels": None}, "labels: expected an object, got null")])
def test_damaged_records_are_refused(value: object, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse(value)
    assert not caught.value.unknown
    assert str(caught.value).startswith('"/x/box.json" is damaged: ') and str(caught.value).endswith("; remove the box")
    assert reason in str(caught.value), str(caught.value)


@pytest.mark.parametrize("kind", [StateRecord, ContainerRecord, ContainerRun, Exit, Health, Volume, Network, Endpoint,
                                  UpNetwork])
def test_each_kind_of_record_is_read_as_it_was_written(kind: type[Record]) -> None:
    values: dict[type, object] = {str: "a", int: 7, bool: True, list: [1], dict: {"a": 1}}
    blank = kind()
    written = kind(**{name: values.get(type(getattr(blank, name)), getattr(blank, name)) for name in kind.FIELDS})
    found = kind.parse(written.encoded(), "/x", "")
    assert vars(found) == vars(written)

