"""Lists for people, for jq and for templates: Docker's members, and the same texts in all three."""

from __future__ import annotations

import json
import re

import pytest

from tests.pocker.integration.command import Pocker

# Docker's members of each list, as `docker ... --format '{{json .}}'` prints them.
LISTS = {
    "ps": "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Ports RunningFor Size State Status",
    "images": "Containers CreatedAt CreatedSince Digest ID Repository SharedSize Size Tag UniqueSize VirtualSize",
    "history busybox": "Comment CreatedAt CreatedBy CreatedSince ID Size",
    "volume ls": "Driver Labels Links Mountpoint Name Scope Size",
    "network ls": "CreatedAt Driver ID IPv4 IPv6 Internal Labels Name Scope",
    "stats --no-stream": "BlockIO CPUPerc Container ID MemPerc MemUsage Name NetIO PIDs",
    "system df": "Active Reclaimable Size TotalCount Type",
}


@pytest.fixture
def web(pocker: Pocker) -> Pocker:
    """A container with everything that lists show."""
    pocker.ok("run", "-d", "--name", "web", "--network", "none", "--label", "tier=front", "-v", "data:/data", "busybox",
              "sh", "-c", "head -c 5000 /dev/zero >/file; exec sleep 1000")
    return pocker


def _rows(pocker: Pocker, *words: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in pocker.ok(*words, "--format", "json").splitlines()]


@pytest.mark.parametrize("words", LISTS)
def test_json_is_an_object_a_line_with_dockers_members(web: Pocker, words: str) -> None:
    rows = _rows(web, *words.split())
    assert rows
    for row in rows:
        assert list(row) == LISTS[words].split()
        assert all(isinstance(text, str) for text in row.values()), row
    web.clear()
    web.ok("volume", "rm", "data")


def test_templates_and_tables_have_the_same_texts(web: Pocker) -> None:
    row = _rows(web, "ps")[0]
    for name in ("ID", "Image", "Command", "CreatedAt", "Labels", "LocalVolumes", "Mounts", "Names", "Networks"):
        assert web.ok("ps", "--format", f"{{{{.{name}}}}}") == row[name]
    assert re.fullmatch("[0-9a-f]{12}", row["ID"]) and row["ID"] == web.ok("ps", "-q")
    assert row["LocalVolumes"] == "1" and row["Mounts"] == "data"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \w+", row["CreatedAt"])
    assert web.ok("ps", "--format", '{{.Label "tier"}}|{{.Label "none"}}') == "front|"
    image = _rows(web, "images")[0]
    assert (image["Repository"], image["Tag"]) == ("busybox", "latest") and re.fullmatch("[0-9a-f]{12}", image["ID"])
    assert re.fullmatch(r"[\d.]+MB", image["Size"]) and image["CreatedSince"].endswith("ago")
    assert image["ID"] in web.ok("images") and image["ID"] in web.ok("history", "-q", "busybox")
    assert web.ok("history", "--human=false", "--format", "{{.Size}}", "busybox").splitlines()[0].isdigit()
    web.clear()
    web.ok("volume", "rm", "data")


def test_how_long_and_how_large(web: Pocker) -> None:
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", _rows(web, "ps")[0]["Status"])
    web.eventually(lambda: _rows(web, "ps", "-s")[0]["Size"].startswith("5kB (virtual "), "the file is written")
    heading, row = web.ok("ps", "--size").splitlines()
    assert heading.split()[-1] == "SIZE" and "(virtual " in row
    assert json.loads(web.ok("inspect", "-s", "web"))[0]["SizeRw"] == 5000
    assert "SizeRw" not in json.loads(web.ok("inspect", "web"))[0]
    web.clear()
    web.ok("volume", "rm", "data")


def test_missing_objects_are_named_as_by_docker(pocker: Pocker) -> None:
    for words, said in ((("inspect",), "no such object"), (("container", "inspect"), "no such container"),
                        (("image", "inspect"), "no such image"), (("volume", "inspect"), "no such volume"),
                        (("network", "inspect"), "no such network"), (("rmi",), "no such image"),
                        (("logs",), "no such container")):
        done = pocker(*words, "nosuch")
        assert done.returncode == 1 and f'{said}: "nosuch"' in done.stderr, done
        assert "pyimage" not in done.stderr
        if words[-1] == "inspect":
            assert done.stdout == "[]\n"


def test_inspect_type(web: Pocker) -> None:
    web.ok("tag", "busybox", "web")
    assert web.ok("inspect", "-f", "{{.Name}}", "web") == "/web"
    assert web.ok("image", "inspect", "-f", "{{.RepoTags}}", "web") == "[busybox:latest web:latest]"
    assert web.ok("inspect", "-f", "{{.Driver}}", "bridge") == "bridge"
    whole = web.ok("inspect", "web")
    assert whole.startswith('[\n    {\n        "Id": "')
    assert json.loads(web.ok("inspect", "-f", "json", "web")) == json.loads(whole)
    web.ok("rmi", "web")
    web.clear()
    web.ok("volume", "rm", "data")


def test_top_asks_for_the_containers_own_processes(web: Pocker) -> None:
    """Even on a terminal, whose processes ps(1) shows unless an option selects others."""
    done = web.ok("top", "web", "-o", "pid,comm", program="pocker")
    assert done.splitlines()[0].split() == ["PID", "COMMAND"] and done.split()[-1] == "sleep"
    assert web.ok("top", "web", "f").split()[-2:] == ["sleep", "1000"]
    web.clear()
    web.ok("volume", "rm", "data")
