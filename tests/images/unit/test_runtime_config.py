"""conversion.md: an image's configuration as config.json."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.commandline.template import render
from pyruntime.errors import ImageError, UsageError
from pyruntime.images.document import ImageConfig
from pyruntime.images.runtime_config import Wishes, convert
from pyruntime.images.users import find_user


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n# comment\nbroken\n"
                                         "web:x:33:34:Web:/var/www:/bin/sh\n77:x:5:5::/five:/bin/sh\n"
                                         ":x:6:7::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:root\nwww:x:34:web\nmail:x:8:web,other\n"
                                        "log:x:9:web\nwheel:x:10:root\n88:x:0:\n")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def image(config: dict[str, Any] | None = None, **more: Any) -> ImageConfig:
    return ImageConfig(b"", {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                             "config": {"Cmd": ["run"], **(config or {})}, **more})


def converted(root: int, config: dict[str, Any] | None = None, wishes: Wishes | None = None,
              **more: Any) -> dict[str, Any]:
    return convert(image(config, **more), root, wishes or Wishes(), uid=0, gid=0, unified=True)


@pytest.mark.parametrize(("text", "uid", "gid", "groups", "home"), [
    ("", 0, 0, [0, 10], "/root"), ("root", 0, 0, [0, 10], "/root"), ("0", 0, 0, [0, 10], "/root"),
    ("web", 33, 34, [34, 8, 9], "/var/www"), ("33", 33, 34, [34, 8, 9], "/var/www"),
    ("web:mail", 33, 8, [8], "/var/www"), ("web:99", 33, 99, [99], "/var/www"), ("33:34", 33, 34, [34], "/var/www"),
    ("1234", 1234, 0, [0], ""), ("1234:mail", 1234, 8, [8], ""), ("1234:5", 1234, 5, [5], ""),
    ("77", 77, 0, [0], ""),   # a number is an ID, even if a user has that name
    ("77:88", 77, 88, [88], ""), ("web:88", 33, 88, [88], "/var/www"),
    ("6", 6, 7, [7], "/"),    # and a user without a name is not the empty member of each group without members
])
def test_users(root: int, text: str, uid: int, gid: int, groups: list[int], home: str) -> None:
    """The primary group is the first of the supplementary ones, and each group occurs once."""
    user = find_user(text, root)
    assert (user.uid, user.gid, user.groups, user.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(("text", "words"), [
    ("nobody", 'has no user "nobody"'), ("web:nogroup", 'has no group "nogroup"'), ("4294967295", "the largest ID"),
    ("0:99999999999", "the largest ID"), ("²", 'has no user "²"'),
])
def test_unknown_users(root: int, text: str, words: str) -> None:
    with pytest.raises(ImageError, match=r"config\.User") as caught:
        find_user(text, root)
    assert words in str(caught.value)


def test_the_passwd_of_the_host_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("../../../../../../../etc/passwd")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ImageError, match='has no user "daemon"'):
            find_user("daemon", fd)
    finally:
        os.close(fd)


def test_a_pipe_in_place_of_passwd_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert find_user("5", fd).uid == 5
    finally:
        os.close(fd)


def test_verbatim_fields(root: int) -> None:
    document = converted(root, {"Entrypoint": ["/entry", "a"], "Cmd": ["b"], "WorkingDir": "/srv",
                                "Env": ["PATH=/only", "X=1", "HOME=/h"], "User": "web"})
    process = document["process"]
    assert process["args"] == ["/entry", "a", "b"] and process["cwd"] == "/srv"
    assert process["env"] == ["PATH=/only", "X=1", "HOME=/h"]
    assert process["user"] == {"uid": 33, "gid": 34, "additionalGids": [34, 8, 9]}
    assert process["terminal"] is False and document["root"] == {"path": "rootfs", "readonly": False}


def test_defaults(root: int) -> None:
    process = converted(root, {"Env": None, "Entrypoint": None, "WorkingDir": ""})["process"]
    assert process["cwd"] == "/" and process["args"] == ["run"]
    assert process["env"][1] == "HOME=/root" and process["env"][0].startswith("PATH=/usr/local/sbin")
    assert "CAP_SETUID" in process["capabilities"]["bounding"] and len(process["capabilities"]["bounding"]) == 14


def test_the_caller_overrides_the_image(root: int) -> None:
    wishes = Wishes(args=["x"], env=["A=2", "B=3"], user="5:6", workdir="/w", terminal=True, hostname="h",
                    host_network=True)
    document = converted(root, {"Entrypoint": ["e"], "Env": ["A=1", "C=1"]}, wishes)
    process = document["process"]
    assert process["args"] == ["e", "x"] and process["env"][:3] == ["A=2", "C=1", "B=3"] and process["cwd"] == "/w"
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
    assert "TERM=xterm" in process["env"] and document["hostname"] == "h"
    assert "network" not in [entry["type"] for entry in document["linux"]["namespaces"]]
    replaced = converted(root, {"Entrypoint": ["e"], "Cmd": ["c"]}, Wishes(entrypoint=["/bin/sh"]))
    assert replaced["process"]["args"] == ["/bin/sh"], "a new entrypoint drops the image's Cmd"


def test_variables_without_a_value_are_not_set(root: int) -> None:
    """As with Docker: NAME alone in an image's Env sets nothing, and is no error."""
    config = {"Env": ["PATH=/only", "ALONE", "=nameless", "", "A=", "HOME=/h"]}
    assert converted(root, config)["process"]["env"] == ["PATH=/only", "A=", "HOME=/h"]
    assert "ALONE=1" in converted(root, config, Wishes(env=["ALONE=1"]))["process"]["env"]


def test_nothing_to_run_is_an_error(root: int) -> None:
    with pytest.raises(ImageError, match="neither Entrypoint nor Cmd"):
        converted(root, {"Cmd": []})


def test_annotations_and_labels(root: int) -> None:
    features: dict[str, Any] = {"os.features": ["a", "b"]}
    document = converted(root, {"Labels": {"org.opencontainers.image.author": "label", "own": "1"},
                                "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}},
                         author="field", created="2024-01-01T00:00:00Z", variant="v2", **features)
    found = document["annotations"]
    assert found["org.opencontainers.image.author"] == "label", "labels take precedence (conversion.md)"
    assert found["org.opencontainers.image.exposedPorts"] == "443/tcp,80/tcp" and found["own"] == "1"
    assert found["org.opencontainers.image.stopSignal"] == "SIGQUIT"
    assert found["org.opencontainers.image.variant"] == "v2"
    assert found["org.opencontainers.image.os.features"] == "a,b" and found["org.opencontainers.image.os"] == "linux"


@pytest.mark.parametrize(("template", "text"), [
    ("{{.Id}}", "5"), ("{{.config.cmd}} x", "[a b] x"), ("{{json .Config}}", '{"Cmd":["a","b"]}'),
    ("{{index .Config.Cmd 1}}", "b"), ("plain\\n", "plain\n"), ("{{.Yes}}{{.None}}", "true<nil>"),
    ("{{ .Id }}", "5"),
])
def test_templates(template: str, text: str) -> None:
    value = {"Id": 5, "Config": {"Cmd": ["a", "b"]}, "Yes": True, "None": None}
    assert render(template, value) == text


@pytest.mark.parametrize(("template", "words"), [
    ("{{.Nothing}}", 'there is no "Nothing"; there is: Id'), ("{{.Id", '"{{" without "}}"'),
    ("{{range .Id}}", "is not supported"), ("{{index .Id 3}}", "there is no item 3"), ("{{.Id.More}}", "there is no"),
])
def test_templates_that_are_wrong(template: str, words: str) -> None:
    with pytest.raises(UsageError, match="--format") as caught:
        render(template, {"Id": 5})
    assert words in str(caught.value)
