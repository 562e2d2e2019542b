"""Lines of a Dockerfile that change an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.builder.change import changed as apply
from pyruntime.errors import UsageError

BASE = {"Env": ["PATH=/bin", "A=1"], "Cmd": ["old"], "WorkingDir": "/srv", "Labels": {"keep": "me"}}


@pytest.mark.parametrize(("line", "member", "value"), [
    ('CMD ["a", "b c"]', "Cmd", ["a", "b c"]), ("cmd echo $A 'x'", "Cmd", ["/bin/sh", "-c", "echo $A 'x'"]),
    ("CMD [no json", "Cmd", ["/bin/sh", "-c", "[no json"]), ('ENTRYPOINT ["/run"]', "Entrypoint", ["/run"]),
    ("ENV A=2", "Env", ["PATH=/bin", "A=2"]), ("ENV B=$A-x", "Env", ["PATH=/bin", "A=1", "B=1-x"]),
    ("ENV B='$A' C=\"two ${A}\"", "Env", ["PATH=/bin", "A=1", "B=$A", "C=two 1"]),
    ("ENV B two words", "Env", ["PATH=/bin", "A=1", "B=two words"]),
    ("ENV B=${X:-none}${A:+some}", "Env", ["PATH=/bin", "A=1", "B=nonesome"]),
    ("ENV B=a\\ b", "Env", ["PATH=/bin", "A=1", "B=a b"]),
    ("LABEL x=1 'y z'=2", "Labels", {"keep": "me", "x": "1", "y z": "2"}),
    ("EXPOSE 80 53/UDP 8000-8001", "ExposedPorts", {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}),
    ('VOLUME ["/a b"]', "Volumes", {"/a b": {}}), ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}),
    ("WORKDIR sub", "WorkingDir", "/srv/sub"), ("WORKDIR /else/..", "WorkingDir", "/"), ("USER 1:2", "User", "1:2"),
    ("ONBUILD RUN x", "OnBuild", ["RUN x"]), ("STOPSIGNAL SIGINT", "StopSignal", "SIGINT")])
def test_one_line(line: str, member: str, value: Any) -> None:
    assert apply(BASE, [line])[member] == value


def test_a_new_entry_point_ends_the_old_arguments_but_not_the_new_ones() -> None:
    assert "Cmd" not in apply(BASE, ['ENTRYPOINT ["/run"]'])
    for lines in (['ENTRYPOINT ["/run"]', 'CMD ["x"]'], ['CMD ["x"]', 'ENTRYPOINT ["/run"]']):
        assert apply(BASE, lines)["Cmd"] == ["x"]
    assert BASE["Cmd"] == ["old"]


@pytest.mark.parametrize("line", ["RUN x", "CMD", "", "EXPOSE 0", "EXPOSE x", "EXPOSE 2-1", "ENV X", "ENV =x",
                                  "LABEL a='", "ENV A=${B", "ONBUILD ONBUILD RUN x"])
def test_what_is_none(line: str) -> None:
    with pytest.raises(UsageError, match=r"write|change"):
        apply(BASE, [line])
