"""Headers and bodies of registries: challenges, errors, links, ranges, versions."""

from __future__ import annotations

import pytest

from pyruntime.errors import RegistryError
from pyruntime.images.registry.answers import codes
from pyruntime.images.registry.auth import Challenge, challenges, merged
from pyruntime.images.registry.referrers import described, subject_of, tag_of
from pyruntime.images.registry.tags import version, worth_asking
from pyruntime.images.registry.upload import end
from pyruntime.images.registry.url import Url, printable


@pytest.mark.parametrize(("values", "expected"), [
    (['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'],
     [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})]),
    (['Basic realm="a \\"b\\", c"'], [Challenge("basic", {"realm": 'a "b", c'})]),
    (['Basic realm="x", Bearer realm="y"'], [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})]),
    (["Negotiate", "Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
    (["Negotiate YII==, Basic realm=x"], [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
    (["Basic"], [Challenge("basic")]), (['BEARER Realm = "x" , Error="insufficient_scope"'],
                                        [Challenge("bearer", {"realm": "x", "error": "insufficient_scope"})]),
    (['Bearer realm="never ends'], [Challenge("bearer", {"realm": "never ends"})]),
    (["", ",,,", '"'], []), (["Digest realm=a, nonce=b, Basic realm=c"],
                             [Challenge("digest", {"realm": "a", "nonce": "b"}), Challenge("basic", {"realm": "c"})]),
])
def test_challenges(values: list[str], expected: list[Challenge]) -> None:
    assert challenges(values) == expected


def test_scopes_are_merged_by_resource() -> None:
    assert merged(["repository:a:pull", "repository:b:pull", "repository:a:push,pull"]) == [
        "repository:a:pull,push", "repository:b:pull"]


def test_errors() -> None:
    assert codes(b'{"errors":[{"code":"DENIED","message":"no\\u001b[31m\\nway"},{"code":"X","detail":"d"},3]}') == [
        ("DENIED", "no [31m way"), ("X", "d")]
    assert codes(b"<html>") == codes(b"[]") == codes(b'{"errors":{}}') == []
    assert len(printable("x" * 1000)) == 300


@pytest.mark.parametrize(("text", "base", "expected"), [
    ("https://h/a", "", "https://h/a"), ("https://h:443", "", "https://h/"), ("http://[::1]:5000/v2/", "", None),
    ("/v2/x?a=b%2Fc", "http://h:1/y", "http://h:1/v2/x?a=b%2Fc"), ("x/y", "http://h/v2/z", "http://h/v2/x/y"),
    ("//o/p", "https://h/", "https://o/p"), ("https://u:p@h/a#f", "", "https://h/a"),
    ("https://h/a b\u00e9", "", "https://h/a%20b%C3%A9"),
])
def test_urls(text: str, base: str, expected: str | None) -> None:
    assert str(Url(text, Url(base) if base else None)) == (expected or text)


@pytest.mark.parametrize("text", ["file:///etc/passwd", "h/a", "https://", "http://h:99999/", "gopher://h/"])
def test_invalid_urls(text: str) -> None:
    with pytest.raises(RegistryError, match="is not a URL of http or https"):
        Url(text)


def test_a_signature_in_a_query_is_not_shown() -> None:
    assert Url("https://h/a?sig=secret").shown == "https://h/a"


@pytest.mark.parametrize(("digest", "tag"), [
    ("sha256:" + "a" * 64, "sha256-" + "a" * 64), ("sha512:" + "a" * 128, "sha512-" + "a" * 64),
    ("test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:"
     "alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation",
     "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot"),
])
def test_the_specifications_referrers_tags(digest: str, tag: str) -> None:
    assert tag_of(digest) == tag


def test_the_descriptor_of_a_referrer() -> None:
    assert described(b'{"config":{"mediaType":"c"},"annotations":{"a":"b"}}', "m").extra == {
        "artifactType": "c", "annotations": {"a": "b"}}
    assert described(b'{"artifactType":"t","config":{"mediaType":"c"}}', "m").extra == {"artifactType": "t"}
    assert subject_of(b'{"subject":{"digest":"sha256:x"}}') == "sha256:x"
    assert subject_of(b"nonsense") == subject_of(b'{"subject":3}') == subject_of(b"[]") == ""


def test_versions_sort_as_people_read_them() -> None:
    expected = ["1-rc1", "1", "1.9-beta", "1.9", "1.10-rc1", "1.10-rc2", "1.10", "v2", "10"]
    assert sorted(reversed(expected), key=version) == expected


def test_tags_worth_asking() -> None:
    tags = ["1.0", "1.10", "1.9", "edge", "nightly", "sha256-abc", "sha256-abc.sig", "stable", "zz.att", "2.0"]
    assert worth_asking(tags, 4) == ["2.0", "1.10", "stable", "nightly"]
    assert worth_asking(["a", "b", "c"], 2) == ["c", "b"]
    assert worth_asking(["3", "1", "2", "x"], 4) == ["3", "2", "1", "x"]
    assert worth_asking(["sha256-abc"], 4) == []


def test_ranges_of_uploads() -> None:
    assert [end(text, 7) for text in ("0-99", "bytes=0-0", "", "nonsense", "0-")] == [100, 1, 7, 7, 7]
