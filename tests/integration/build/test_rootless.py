"""Builds for a user without privileges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.image.test_pyimage_rootless import IDS, run
from tests.integration.pocker.test_rootless import ENDS

TEXT = """
pyimage load -q -i layout >/dev/null
mkdir -p /mnt/context/d
echo 1 >/mnt/context/d/f
cat >/mnt/context/Dockerfile <<'DONE'
FROM plain:1 AS one
RUN id -u > /uid; mkdir /gone; echo kept > /kept
COPY d /d
FROM plain:1
COPY --from=one /uid /kept /d/f /x/
RUN --mount=type=cache,target=/c --network=none cat /x/* > /all; rm /x/uid
WORKDIR /w
DONE
"""


@pytest.mark.parametrize("ids", [IDS, ""], ids=["ids", "one id"])
@pytest.mark.parametrize("program", ["pocker", "pyimage"])
def test_a_build(tmp_path: Path, ids: str, program: str) -> None:
    done = run(tmp_path, ENDS + TEXT + f"""
{program} build --progress plain -t app /mnt/context >/mnt/first 2>/mnt/said || cat /mnt/said
{program} build --progress plain -t app /mnt/context >/mnt/second 2>/mnt/said || cat /mnt/said
cmp /mnt/first /mnt/second
grep -c CACHED /mnt/said
pocker run --name app --network none app sh -c 'cat /all; test -e /x/uid || echo removed; pwd'
""", ids)
    assert done.stdout.split() == ["5", "1", "kept", "0", "removed", "/w"], (done.stdout, done.stderr)
