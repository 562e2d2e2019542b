"""References: their meaning, and invalid ones."""

from __future__ import annotations

import pytest

from pyruntime.errors import UsageError
from pyruntime.images.reference import Reference, is_short

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(("text", "full", "familiar"), [
    ("alpine", "docker.io/library/alpine", "alpine"),
    ("alpine:3.19", "docker.io/library/alpine:3.19", "alpine:3.19"),
    ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
    ("index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"),
    ("team/app", "docker.io/team/app", "team/app"),
    ("localhost/app", "localhost/app", "localhost/app"),
    ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
    ("Registry/app", "Registry/app", "Registry/app"),
    ("registry.example.com/a/b/c", "registry.example.com/a/b/c", "registry.example.com/a/b/c"),
    ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
    ("127.0.0.1:5000/app", "127.0.0.1:5000/app", "127.0.0.1:5000/app"),
    (f"alpine@{SHA}", f"docker.io/library/alpine@{SHA}", f"alpine@{SHA}"),
    (f"alpine:3@{SHA}", f"docker.io/library/alpine:3@{SHA}", f"alpine:3@{SHA}"),
    ("a__b/c-d.e_f/g--h", "docker.io/a__b/c-d.e_f/g--h", "a__b/c-d.e_f/g--h"),
    ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
    ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
])
def test_meanings(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)
    assert Reference.parse(full) == Reference.parse(familiar) == reference


@pytest.mark.parametrize(("text", "message"), [
    ("", "name is missing"), (":1", "name is missing"), ("localhost/", "name is missing"),
    ("alpine:", "the tag after the colon is missing"), ("alpine@", "the digest after the @ is missing"),
    ("Alpine", 'write "alpine"'), ("team/App:1", 'write "team/app:1"'),
    ("alpine:.x", '".x" is not a tag'), ("alpine:a b", "is not a tag"), ("alpine:" + "x" * 129, "longer than 128"),
    ("alpine@sha256:12", "is not a digest"), ("a" * 64, "an ID"), ("x/" + "a" * 250, "longer than 255"),
    ("a//b", "between slashes is empty"), ("a___b", "not a valid component"), ("a..b/c", "not a host name"),
    ("-a", "not a valid component"), ("a_/b", "not a valid component"), ("a.-b", "not a valid component"),
    ("x/a-_b", "not a valid component"), ("h.x:5x/a", "valid port"),
    ("a b", "not a valid component"), ("h:99999/a", "no valid port"), ("h:/a", "no valid port"),
    ("[zz]/a", "not a valid component"), ("[zz]:1/a", "not a host name"), ("alp\u00efne", "not a valid component"),
])
def test_invalid_references(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"^reference ") as caught:
        Reference.parse(text)
    assert message in str(caught.value)


def test_a_tag_is_not_invented() -> None:
    reference = Reference.parse("alpine")
    assert (reference.tag, reference.tagged, reference.target) == ("", "latest", "latest")
    pinned = Reference.parse(f"alpine:3@{SHA}")
    assert (pinned.tagged, pinned.target) == ("3", SHA)
    with pytest.raises(UsageError):
        reference.with_tag("-")


def test_short_names_are_known() -> None:
    assert is_short("alpine") and is_short("team/app:1")
    assert not is_short("localhost/app") and not is_short("h:1/app")
