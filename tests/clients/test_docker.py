"""Docker with pyruntime as a registered runtime, and with runc: the same exit statuses and output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.docker import CLIENT, DAEMON, SOCKET, Docker
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.scripts import assert_same, played, scripts

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    for program in (CLIENT, DAEMON):
        if not Path(program).exists():
            pytest.fail(f"{program} is not installed: run tools/install-deps test")
    made = Docker(tmp_path_factory.mktemp("docker"))
    yield made
    made.close()


_PRELUDE = f"""
docker="{CLIENT} --host {SOCKET}"
docker() {{ command $docker "$@"; }}
here="--runtime $runtime --network none"
run() {{ docker run $here "$@"; }}
alive() {{ quietly run -d --name $n "$@" box sleep 100; }}
show() {{ docker inspect --format "$1" $n; }}
gone() {{ quietly docker rm -f $n; }}
"""
SCRIPTS = scripts("docker.sh")


def check(docker: Docker, script: str) -> None:
    """Run a script with pyruntime and with runc."""
    configured = {"pyruntime": "pyruntime", "runc": "other"}
    assert_same(lambda runtime, name: played(
        docker.room, f"runtime={configured[runtime]}\n{_PRELUDE}", SCRIPTS[script], name), list(SCRIPTS).index(script))


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_as_runc(docker: Docker, script: str) -> None:
    check(docker, script)


def test_the_client_uses_pyruntime(docker: Docker) -> None:
    """The state directory is that of Docker, and pyruntime has the container."""
    state = f"{PYRUNTIME} --root /run/docker/runtime-runc/moby state $(show '{{{{.Id}}}}') | grep -o running"
    shown = played(docker.room, f"runtime=pyruntime\n{_PRELUDE}", "alive; show '{{.HostConfig.Runtime}}'; " + state
                   + "; gone", "which")
    assert shown.stdout.split("\n")[1:3] == ["pyruntime", "running"], shown


_BUILD = """
build() { DOCKER_BUILDKIT=0 quietly docker build --network none -t built -f - /run/context; }
mkdir /run/context
printf 'FROM box\\nRUN id >/made\\n' | build
run --rm built cat /made
printf 'FROM box\\nRUN nosuch\\n' | build
"""


def test_build(docker: Docker) -> None:
    """The default runtime is used for builds, which have no option to select one."""
    shown = played(docker.room, f"runtime=pyruntime\n{_PRELUDE}", _BUILD, "build")
    assert shown.stdout == "status 0\nuid=0(root) gid=0(root) groups=0(root)\nstatus 127\n", shown


REMAPPED = ["run", "user", "read-only", "volume", "mounts", "limits", "exec", "pause", "terminal", "restart", "copy"]


@pytest.fixture(scope="module")
def remapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """--userns-remap: every container in a user namespace, with a separate store."""
    made = Docker(tmp_path_factory.mktemp("remapped"), remap=True)
    yield made
    made.close()


@pytest.mark.parametrize("script", REMAPPED)
def test_the_same_as_runc_with_users_remapped(remapped: Docker, script: str) -> None:
    check(remapped, script)


def test_users_are_remapped(remapped: Docker) -> None:
    shown = played(remapped.room, f"runtime=pyruntime\n{_PRELUDE}", "run --rm box cat /proc/self/uid_map", "map")
    assert shown.stdout.split() == ["0", "200000", "65536"], shown
