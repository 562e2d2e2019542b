"""buildah's RUN and its run command with pyruntime and with runc: the same exit statuses and output."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.image import layout
from tests.clients.room import Room
from tests.clients.scripts import assert_same, played, scripts
from tests.commands import COMMAND

RUNTIMES = {"pyruntime": str(COMMAND), "runc": str(shutil.which("runc"))}


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
buildah="buildah --root /run/store --runroot /run/storerun --storage-driver overlay"
buildah() {{ command $buildah "$@"; }}
words="--runtime $runtime --isolation oci"
build() {{ status buildah build -q $words $limits --network none --pull-never -t $n "$@" $context \\
    | sed 's/^[0-9a-f]*$/ID/'; }}
run() {{ status buildah run $words "$@"; }}
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
SCRIPTS = scripts("buildah.sh")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_as_runc(room: Room, script: str) -> None:
    assert_same(lambda runtime, name: played(room, _prelude(room.path, runtime), SCRIPTS[script], name),
                list(SCRIPTS).index(script))


def test_the_client_uses_pyruntime(room: Room) -> None:
    """buildah reports the error of the runtime, so the option has taken effect."""
    shown = played(room, _prelude(room.path, "pyruntime"), "from; run $n nosuch; buildah rm $n >/dev/null", "which")
    assert "error: config.json: process.args[0] (nosuch): exec: " in shown.stderr, shown
