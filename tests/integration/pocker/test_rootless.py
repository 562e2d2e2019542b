"""``pocker`` for a user without privileges: one user namespace for all of his containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.image.test_pyimage_rootless import IDS, run

END = """
pocker rm -f $(pocker ps -aq) >/dev/null
read holder <"$XDG_RUNTIME_DIR/pocker/namespace" || :   # no newline
holder=${holder#[}
kill "${holder%%,*}"
"""


@pytest.mark.parametrize("ids", [IDS, ""], ids=["ids", "one id"])
def test_a_containers_life(tmp_path: Path, ids: str) -> None:
    done = run(tmp_path, """
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
""" + END, ids)
    assert done.stdout.split("\n") == ["0", "written", "one running", "again", "hello", "one", "one", "one",
                                       "one Exited (137)", ""]


def test_commands_find_one_anothers_containers(tmp_path: Path) -> None:
    """Each command joins the same namespaces; when the process that keeps them is gone, they are made anew."""
    done = run(tmp_path, """
pyimage load -q -i layout >/dev/null
pocker create --name kept --network none plain:1 sh -c 'echo x >>/count; wc -l </count' >/dev/null
pocker start -a kept
""" + END.replace("pocker rm -f $(pocker ps -aq) >/dev/null", "") + """
pocker start -a kept
""" + END)
    assert done.stdout.split() == ["1", "2"]
