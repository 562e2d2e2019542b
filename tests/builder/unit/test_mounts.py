"""The values of RUN --mount, modes of --chmod, times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.builder.dockerfile.mounts import MountError, parse_mount
from pyruntime.builder.steps.modes import mode_of
from pyruntime.errors import BuildError
from pyruntime.system import durations


@pytest.mark.parametrize(("text", "expected"), [
    ("target=/x", {"kind": "bind", "target": "/x", "readonly": True}),
    ("type=bind,target=x,rw", {"target": "/w/x", "readonly": False}),
    ("type=bind,from=a,src=/b,dst=/c,readonly=false",
    {"origin": "a", "source": "/b", "target": "/c", "readonly": False}),
    ("type=cache,target=/x", {"id": "/x", "sharing": "shared", "mode": 0o755, "readonly": False}),
    ("type=cache,target=/x,id=y,sharing=locked,mode=0700,uid=5,gid=6",
     {"id": "y", "sharing": "locked", "mode": 0o700, "uid": 5, "gid": 6}),
    ("type=secret,id=a", {"target": "/run/secrets/a", "mode": 0o400}),
    ("type=secret,id=a,env=X", {"target": "", "env": "X"}),
    ("type=secret,target=/etc/a", {"id": "a", "target": "/etc/a"}),
    ("type=secret,id=a,required", {"required": True}),
    ("type=ssh", {"id": "default", "target": "", "mode": 0o600}),
    ("type=tmpfs,target=/t,size=64m", {"size": 64 << 20}),
    ('type=bind,"target=/a,b"', {"target": "/a,b"}),
    ("type=tmpfs,target=/a/../b/", {"target": "/b"}),
])
def test_mounts(text: str, expected: dict[str, object]) -> None:
    mount = parse_mount(text, "/w")
    assert {name: getattr(mount, name) for name in expected} == expected


@pytest.mark.parametrize(("text", "words"), [
    ("type=volume,target=/x", 'unknown mount type "volume"'), ("type=bind", "the mount has no target"),
    ("type=cache,targets=/x", 'has no option "targets"'), ("type=secret", "the secret has no name"),
    ("type=cache,target=/x,sharing=all", '"sharing" cannot be "all"'),
    ("type=bind,target=/", "cannot replace the root"),
    ("type=cache,target=/x,mode=9", '"mode" must be a number'),
    ("type=tmpfs,target=/x,size=much", '"size" must be a number'),
    ("type=bind,target=/x,ro=maybe", "true or false"), ("type=tmpfs,target=/x,from=a", 'has no option "from"'),
])
def test_wrong_mounts(text: str, words: str) -> None:
    with pytest.raises(MountError, match=words.replace("(", "\\(")):
        parse_mount(text)


@given(st.text(alphabet="type=bindcachesrt,/\"0 ", max_size=40))
def test_any_text_is_a_mount_or_refused(text: str) -> None:
    try:
        assert parse_mount(text).target != "/"
    except MountError as error:
        assert str(error)


@pytest.mark.parametrize(("text", "mode", "directory", "expected"), [
    ("644", 0o755, False, 0o644), ("0755", 0, True, 0o755), ("4755", 0, False, 0o4755),
    ("u=rwX,go=rX", 0o600, False, 0o644),
    ("u=rwX,go=rX", 0o700, False, 0o755), ("u=rwX,go=rX", 0o600, True, 0o755), ("+x", 0o644, False, 0o755),
    ("a-w", 0o666, False, 0o444), ("g+s", 0o755, True, 0o2755), ("u+s", 0o755, False, 0o4755),
    ("+t", 0o777, True, 0o1777),
    ("go=", 0o777, False, 0o700), ("g=u", 0o750, False, 0o770), ("u+rw-x", 0o100, False, 0o600),
    ("o+X", 0o700, False, 0o701),
])
def test_modes(text: str, mode: int, directory: bool, expected: int) -> None:
    assert mode_of(text, mode, directory=directory) == expected


@pytest.mark.parametrize("text", ["", "9", "77777", "u", "x=r", "u=q", "u=r,", "rw"])
def test_wrong_modes(text: str) -> None:
    with pytest.raises(BuildError, match="is not a mode"):
        mode_of(text, 0o644, directory=False)


@pytest.mark.parametrize(("text", "seconds"), [
    ("1s", 1.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("100ms", 0.1), ("0", 0.0), ("1h2m3s", 3723.0), ("", None),
    ("1", None),
    ("s", None), ("-1s", None), ("1x", None), ("1s2", None), ("1..s", None),
])
def test_durations(text: str, seconds: float | None) -> None:
    found = durations.parse(text)
    assert found == (None if seconds is None else round(seconds * 10**9))
