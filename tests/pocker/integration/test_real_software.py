"""PostgreSQL, Redis and nginx of Debian's packages: published, used by their own clients from the host, stopped, killed
and started again. Data whose storage was confirmed to a client is there afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.images import servers
from tests.commands import BIN
from tests.pocker.integration.lab import HOST, Lab, kill

pytestmark = pytest.mark.timeout(600)   # the first one, on a new machine, waits for the packages


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the three images."""
    path = tmp_path_factory.mktemp("servers") / "store"
    environment = {**os.environ, "PYRUNTIME_STORE": str(path)}
    for name in ("postgres", "redis", "nginx"):
        subprocess.run([str(BIN / "pyimage"), "copy", "-q", f"oci:{servers()}:{name}", name], check=True,
                       env=environment, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def lab(tmp_path: Path, images: Path) -> Iterator[Lab]:
    """A host of its own, on which nothing is left at the end."""
    made = Lab(tmp_path, images)
    try:
        yield made
        made.clear()
        if volumes := made.ok("volume", "ls", "-q").split():
            made.ok("volume", "rm", *volumes)
        made.check()
    finally:
        made.close()


class Writer:
    """A client that writes number after number, each confirmed by the server, until the connection is lost."""

    def __init__(self, lab: Lab, path: Path, line: str, *client: str) -> None:
        self.path = path
        with path.open("w") as told:
            numbers = subprocess.Popen(["seq", "-f", line, "100000000"], stdout=subprocess.PIPE)
            self.client = subprocess.Popen([*lab.prefix, *client], stdin=numbers.stdout, stdout=told,
                                           stderr=subprocess.STDOUT)
            assert numbers.stdout is not None
            numbers.stdout.close()
        self.numbers = numbers
        lab.eventually(lambda: self.told() > 100, "nothing is written")

    def told(self) -> int:
        """The last confirmed number."""
        whole = [line for line in self.path.read_text().split("\n")[:-1] if line.isdecimal()]
        return int(whole[-1]) if whole else 0

    def over(self) -> int:
        """The last confirmed number, after the server has ended."""
        for process in (self.client, self.numbers):
            process.kill()
            process.wait()
        return self.told()


def psql(lab: Lab, statement: str) -> str:
    """The answer of PostgreSQL to its client on the host."""
    return lab.on_host("psql", "-qAtX", "-h", "127.0.0.1", "-U", "postgres", "-c", statement).strip()


def redis(lab: Lab, *words: str) -> str:
    """The answer of Redis to its client on the host."""
    return lab.on_host("redis-cli", "-h", HOST, *words).strip()


def curl(lab: Lab, url: str) -> str:
    """The answer of nginx to its client on the host."""
    return lab.on_host("curl", "-sSf", "--max-time", "20", url).strip()


def answers(lab: Lab, *words: str) -> bool:
    """Whether a client gets an answer."""
    done = subprocess.run([*lab.prefix, *words], capture_output=True, check=False, timeout=60,
                          stdin=subprocess.DEVNULL)
    return done.returncode == 0


def end(lab: Lab, name: str, how: str) -> None:
    """End a container: by its signal, by SIGKILL, or by SIGKILL after its monitor has been killed."""
    if how == "monitor":
        kill(lab.run_file(name)["monitor"][0])
        assert lab.statuses()[name] == "running"
    lab.ok("kill" if how == "monitor" else how, name)
    lab.eventually(lambda: lab.statuses()[name] == "exited", f"{how} does not end it")


def test_postgresql_loses_no_committed_row(lab: Lab, tmp_path: Path) -> None:
    lab.ok("run", "-d", "--name", "db", "-v", "rows:/data", "-p", "5432:5432", "--shm-size", "128m", "postgres")
    ready = ("psql", "-qAtX", "-h", "127.0.0.1", "-U", "postgres", "-c", "select 1")
    lab.eventually(lambda: answers(lab, *ready), "no answer")
    psql(lab, "create table rows (number int primary key)")
    last = 0
    for how in ("kill", "monitor", "stop"):
        psql(lab, "delete from rows")
        writer = Writer(lab, tmp_path / "told", "insert into rows values (%.0f) returning number;",
                        "psql", "-qAtX", "-h", HOST, "-U", "postgres")
        end(lab, "db", how)
        last = writer.over()
        assert last > 100
        lab.ok("start", "db")
        lab.eventually(lambda: answers(lab, *ready), "no answer after the start")
        count, highest = map(int, psql(lab, "select count(*), max(number) from rows").split("|"))
        assert count == highest >= last, (how, count, highest, last)
    # Another container of the same volume finds the rows, under another name and on any free port.
    lab.ok("rm", "-f", "db")
    lab.ok("network", "create", "backend")
    lab.ok("run", "-d", "--name", "heir", "-v", "rows:/data", "--network", "backend", "-p", "127.0.0.1::5432",
           "postgres")
    client = ("psql", "-qAtX", "-h", "heir", "-U", "postgres", "-c", "select count(*) from rows")
    lab.eventually(lambda: lab("run", "--rm", "--network", "backend", "postgres", *client[:-1], "select 1").returncode
                   == 0, "no answer by name")
    assert int(lab.ok("run", "--rm", "--network", "backend", "postgres", *client)) >= last
    port = lab.ok("port", "heir", "5432").rpartition(":")[2]
    assert int(lab.on_host(*client[:2], "-p", port, "-h", "127.0.0.1", *client[4:])) >= last


def test_redis_loses_no_write_that_was_answered(lab: Lab, tmp_path: Path) -> None:
    lab.ok("run", "-d", "--name", "cache", "-v", "cache:/data", "-p", "6379:6379", "--read-only", "--cap-drop", "ALL",
           "redis")
    ready = ("redis-cli", "-e", "-h", HOST, "ping")
    lab.eventually(lambda: answers(lab, *ready), "no answer")
    for how in ("kill", "monitor", "stop"):
        redis(lab, "del", "rows")
        writer = Writer(lab, tmp_path / "told", "rpush rows %.0f", "redis-cli", "-h", HOST)
        end(lab, "cache", how)
        last = writer.over()
        assert last > 100
        lab.ok("start", "cache")
        lab.eventually(lambda: answers(lab, *ready), "no answer after the start")
        rows = redis(lab, "lrange", "rows", "0", "-1").splitlines()
        assert rows == [str(number) for number in range(1, len(rows) + 1)] and len(rows) >= last, how


def test_nginx_serves_a_volume(lab: Lab) -> None:
    lab.ok("run", "-d", "--name", "web", "-v", "pages:/var/www/html", "-p", "8080:80", "nginx")
    lab.eventually(lambda: answers(lab, "curl", "-sSf", "http://127.0.0.1:8080/"), "no answer")
    assert curl(lab, "http://127.0.0.1:8080/") == curl(lab, f"http://{HOST}:8080/") == "served by nginx"
    assert lab.on_outside("curl", "-sSf", "--max-time", "20", f"http://{HOST}:8080/").strip() == "served by nginx"
    # Another container writes the page that this container serves.
    for written, how in enumerate(("kill", "monitor", "stop"), 1):
        lab.ok("run", "--rm", "--network", "none", "-v", "pages:/pages", "nginx", "sh", "-c",
               f"echo page {written} > /pages/{written}")
        end(lab, "web", how)
        assert not answers(lab, "curl", "-sSf", "--max-time", "20", f"http://{HOST}:8080/")
        lab.ok("start", "web")
        lab.eventually(lambda: answers(lab, "curl", "-sSf", f"http://{HOST}:8080/"), "no answer after the start")
        for number in range(1, written + 1):
            assert curl(lab, f"http://{HOST}:8080/{number}") == f"page {number}"
    assert 'GET /3 HTTP/1.1" 200' in lab.ok("logs", "web")
    # It is stopped by the signal of its image, SIGQUIT: it finishes open requests and exits with status 0.
    lab.ok("stop", "web")
    assert lab.ok("inspect", "-f", "{{.State.ExitCode}}", "web") == "0"


def test_the_three_together(lab: Lab) -> None:
    """A network with all three, in which the pages come from the database and are counted in the cache."""
    lab.ok("network", "create", "site")
    for name, image in (("db", "postgres"), ("cache", "redis"), ("web", "nginx")):
        lab.ok("run", "-d", "--name", name, "--network", "site", *(["-p", "80:80"] if name == "web" else []), image)
    both = "psql -h db -U postgres -c 'select 1' && redis-cli -e -h cache ping"
    lab.eventually(lambda: lab("exec", "web", "sh", "-c", both).returncode == 0, "no answer by name")
    lab.ok("exec", "web", "sh", "-ec", """
        psql -qAtX -h db -U postgres -c "select 'page of version ' || 15" > /var/www/html/page
        redis-cli -h cache incr pages
        """)
    assert curl(lab, "http://127.0.0.1/page") == "page of version 15"
    assert lab.ok("exec", "cache", "redis-cli", "get", "pages") == "1"
    os.kill(lab.pid("web"), signal.SIGKILL)
    lab.eventually(lambda: lab.statuses()["web"] == "exited", "killed")
    assert lab.ok("inspect", "-f", "{{.State.ExitCode}}", "web") == "137"
    assert lab.statuses() == {"db": "running", "cache": "running", "web": "exited"}
