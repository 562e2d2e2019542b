"""``pocker`` for a user without privileges: one user namespace for all of his containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.image.test_pyimage_rootless import IDS, run

# Before a script's own lines: whatever becomes of it, no container is left, and nobody keeps the namespaces.
ENDS = """
let_go() {
    holder=
    read holder <"$XDG_RUNTIME_DIR/pocker/namespace" || :   # no newline
    holder=${holder#[}
    kill "${holder%%,*}"
}
finish() {
    containers=$(pocker ps -aq) && test -z "$containers" || pocker rm -f $containers >/dev/null
    let_go || :
}
trap finish EXIT
"""


@pytest.mark.parametrize("ids", [IDS, ""], ids=["ids", "one id"])
def test_a_containers_life(tmp_path: Path, ids: str) -> None:
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker run --rm --network none plain:1 sh -c 'id -u; echo written >/file; cat /file'
pocker run -d --name one --network none plain:1 sh -c 'echo hello; sleep 1000' >/dev/null
pocker ps --format '{{.Names}} {{.State}}'
pocker exec one sh -c 'echo again'
pocker logs one
pocker stop -t 0 one
pocker start one
pocker kill one
pocker ps -a --format '{{.Names}} {{.Status}}' | cut -c1-16
""", ids)
    assert done.stdout.split("\n") == ["0", "written", "one running", "again", "hello", "one", "one", "one",
                                       "one Exited (137)", ""]


def test_commands_find_one_anothers_containers(tmp_path: Path) -> None:
    """Each command joins the same namespaces; when the process that keeps them is gone, they are made anew."""
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker create --name kept --network none plain:1 sh -c 'echo x >>/count; wc -l </count' >/dev/null
pocker start -a kept
let_go
pocker start -a kept
""")
    assert done.stdout.split() == ["1", "2"]


def test_files_and_numbers(tmp_path: Path) -> None:
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker run -d --name one --network none --health-cmd 'test -e /well' --health-interval 100ms plain:1 sleep 1000 >id
mkdir tree && echo text >tree/file && ln -s file tree/link
pocker cp -q tree one:/in
pocker exec one sh -c 'cat /in/link; touch /well; chown 7:8 /in/file'
while ! pocker ps | grep -q '(healthy)'; do :; done
pocker stop -t 0 one
pocker diff one
pocker cp -q one:/in out && cat out/link && stat -c %u out/file   # the user that root is outside
pocker cp -q out/file one:/again
pocker cp -a one:/in - | tar -tvf - | grep -e 'in/file$' | cut -c 1-14
pocker export one | tar -tf - | grep -c -e ^again -e in/file
pocker commit one mine:1 >/dev/null
pocker run --rm --network none mine:1 ls -ln /in/file /again | awk '{ print $3 ":" $4 " " $9 }'
pocker events --stream=false --filter event=health_status --format '{{.Action}}'
""")
    assert done.stdout.split("\n") == [
        "text", "one", "A /in", "A /in/file", "A /in/link", "A /well", "text", "65534", "-rw-r--r-- 7/8", "2",
        "0:0 /again", "7:8 /in/file", "health_status: healthy", ""], (done.stdout, done.stderr)
