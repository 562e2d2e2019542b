"""``pocker search``, at a registry of ours: Docker Hub's answers are of this form."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.pocker.integration.command import Pocker

RESULTS = [{"name": "debian", "description": "Debian is a Linux distribution\nof free and open software.",
            "star_count": 5000, "is_official": True}, {"name": "team/debian", "description": None, "star_count": 3}]


class _Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        found = RESULTS[:int(query.get("n", 0))] if query.get("q") == "debian" else []
        body = json.dumps({"results": found} if url.path == "/v1/search" and query.get("q") != "bad" else []).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_is_found(pocker: Pocker, hub: str) -> None:
    table = pocker.ok("search", f"{hub}/debian").splitlines()
    assert table[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert " ".join(table[1].split()) == "debian Debian is a Linux distribution of free and o… 5000 [OK]"
    assert "open software." in pocker.ok("search", "--no-trunc", f"{hub}/debian")
    rows = [json.loads(line) for line in pocker.ok("search", "--format", "json", f"{hub}/debian").splitlines()]
    assert rows[1] == {"Description": "", "IsOfficial": "", "Name": "team/debian", "StarCount": "3"}
    name = ("search", "--format", "{{.Name}}")
    assert pocker.ok(*name, "--limit", "1", f"{hub}/debian") == "debian"
    assert pocker.ok(*name, "-f", "is-official=false", f"{hub}/debian") == "team/debian"
    assert pocker.ok(*name, "-f", "stars=10", f"{hub}/debian") == "debian"
    assert pocker.ok(*name, f"{hub}/nosuch") == ""


def test_errors_of_search(pocker: Pocker, hub: str) -> None:
    assert "may not support searches" in pocker.fails("search", f"{hub}/bad")
    for words in (("--limit", "0"), ("--limit", "101"), ("-f", "stars=x"), ("-f", "nosuch=1")):
        assert words[0].replace("-f", "--filter") in pocker.fails("search", *words, f"{hub}/debian")
