"""buildah's RUN and its run command use pyruntime as they use runc: the same statuses, the same output."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.image import layout
from tests.clients.room import Room
from tests.clients.scripts import assert_same, played
from tests.conftest import TOP

RUNTIMES = {"pyruntime": str(TOP / ".venv/bin/pyruntime"), "runc": str(shutil.which("runc"))}
CGROUP = "buildah-buildah"   # what its containers' cgroups begin with


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    if not shutil.which("buildah"):
        pytest.fail("buildah is not installed: run tools/install-deps test")
    made = Room(tmp_path_factory.mktemp("buildah"), [])
    image = layout(made.path / "image")
    (made.path / "context").mkdir()
    (made.path / "context/file").write_text("from the context\n")
    for name, text in DOCKERFILES.items():
        (made.path / "context" / name).write_text(text)
    made.ok("sh", "-c", f"{_prelude(made.path, 'runc')}buildah pull -q oci:{image.path}:box &&"
            " buildah tag $(buildah images -q) localhost/box")
    yield made
    made.close()


def _prelude(path: Path, runtime: str) -> str:
    # The store is in the room: its mounts and its files go with it.
    return f"""
context={path}/context runtime={RUNTIMES[runtime]}
export BUILDAH_ISOLATION=oci BUILDAH_RUNTIME=$runtime CONTAINERS_CONF=/dev/null
limits="--ulimit nofile=1000:1000 --ulimit nproc=2000:2000"
buildah() {{ command buildah --root /run/store --runroot /run/storerun --storage-driver overlay "$@"; }}
build() {{ status buildah build -q --runtime $runtime --isolation oci --network none $limits --pull-never -t $n "$@" $context \\
    | sed 's/^[0-9a-f]*$/ID/'; }}
run() {{ status buildah run --runtime $runtime --isolation oci "$@"; }}
from() {{ buildah from -q --pull-never --name $n $limits "$@" box >/dev/null; }}
show() {{ from=$(buildah from -q --pull-never $limits localhost/$n); run $from "$@"; buildah rm $from >/dev/null; }}
"""


DOCKERFILES = {
    "plain": "FROM box\nRUN echo made >/made && id\nRUN cat /made\n",
    "words": "FROM box\nENV ONE=1\nWORKDIR /work\nRUN [\"sh\", \"-c\", \"echo $FROM $ONE >here; pwd >>here\"]\n"
             "USER user\nRUN id >/tmp/id\nUSER root\nRUN cat here /tmp/id >/made\n",
    "mounts": "FROM box\nRUN --mount=type=bind,source=file,target=/file cat /file >/made\n"
              "RUN --mount=type=tmpfs,target=/scratch touch /scratch/x && mount | grep scratch >>/made\n",
    "fails": "FROM box\nRUN echo before && exit 3\n",
    "missing": "FROM box\nRUN [\"nosuch\"]\n",
    "stages": "FROM box AS one\nRUN echo first >/first\nFROM box\nCOPY --from=one /first /made\nRUN cat /made\n",
}
SCRIPTS = {
    **{f"build: {name}": f"build -f $context/{name}; buildah images -q localhost/$n | wc -l; show cat /made"
       for name in ("plain", "words", "mounts", "stages")},
    "build: fails": "build -f $context/fails; buildah images -q localhost/$n | wc -l",
    "build: missing": "build -f $context/missing; buildah images -q localhost/$n | wc -l",
    "run": "from; run $n echo hello; run $n sh -c 'exit 7'; run $n nosuch; run $n /etc/passwd; buildah rm $n | wc -l",
    "user, environment, directory": "from; run --user user $n id; run --env ONE=1 --workingdir /home $n sh -c"
                                    " 'echo $FROM $ONE; pwd'; buildah rm $n | wc -l",
    "a terminal": "from; tty buildah --root /run/store --runroot /run/storerun --storage-driver overlay run --runtime"
                  " $runtime --isolation oci --terminal $n sh -c '\"stty -a >/dev/null && echo a terminal; exit 5\"';"
                  " echo $?; buildah rm $n | wc -l",
    "input": "from; echo one | run $n cat; buildah rm $n | wc -l",
    "capabilities": "from --cap-drop all --cap-add chown; run $n sh -c \"$facts\"; buildah rm $n | wc -l",
    "no privileges": "from --security-opt seccomp=unconfined; run $n sh -c \"$facts\"; buildah rm $n | wc -l",
    "volume": "from; mkdir -p /run/$n; run -v /run/$n:/data $n touch /data/x; run -v /run/$n:/data:ro $n touch /data/y;"
              " ls /run/$n; buildah rm $n | wc -l",
    "memory": "from --memory 64m; run $n sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
              " 2>/dev/null'; buildah rm $n | wc -l",
    "mounts": "from; run $n sh -c \"$tree\"; buildah rm $n | wc -l",
    "host network": "from; run --network host $n ls /sys/class/net; buildah rm $n | wc -l",
    "kept changes": "from; run $n touch /made; buildah commit -q $n localhost/$n >/dev/null; show ls /made;"
                    " buildah rm $n | wc -l",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_as_runc(room: Room, script: str) -> None:
    number = list(SCRIPTS).index(script)
    ours, theirs = (played(room, _prelude(room.path, name), SCRIPTS[script], f"{name}-{number}")
                    for name in ("pyruntime", "runc"))
    assert_same(ours, theirs)


def test_what_runs_is_pyruntime(room: Room) -> None:
    """A runtime that fails is what buildah reports: the option is heeded."""
    shown = played(room, _prelude(room.path, "pyruntime"), "from; run $n nosuch; buildah rm $n >/dev/null", "which")
    assert "phase process (find_executable, execve)" in shown.stderr, shown
