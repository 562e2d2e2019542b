"""Builds without root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.integration.test_pyimage_rootless import IDS, run
from tests.pocker.integration.test_rootless import ENDS

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
{program} build --network host --progress plain -t app /mnt/context >/mnt/first 2>/mnt/said || cat /mnt/said
{program} build --network host --progress plain -t app /mnt/context >/mnt/second 2>/mnt/said || cat /mnt/said
cmp /mnt/first /mnt/second
grep -c CACHED /mnt/said
pocker run --name app --network none app sh -c 'cat /all; test -e /x/uid || echo removed; pwd'
""", ids)
    assert done.stdout.split() == ["5", "1", "kept", "0", "removed", "/w"], (done.stdout, done.stderr)


# A host with a default route, and two servers on it; all users may open /dev/net/tun, as on most hosts.
HOST = """
mount -t tmpfs -o mode=0755 tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200
ip link set lo up
ip address add 203.0.113.1/32 dev lo
ip link add up0 type veth peer name down0
ip link set down0 up
ip link set up0 up
ip address add 198.51.100.1/24 dev up0
ip route add default via 198.51.100.2
echo served >/mnt/index.html
for address in 203.0.113.1:8000 127.0.0.1:8001; do
    setpriv --reuid 65534 --pdeathsig KILL busybox httpd -f -h /mnt -p $address >/dev/null 2>&1 &
done
"""
ASKS = """
mkdir context
cat >context/Dockerfile <<'DONE'
FROM plain:1
RUN wget -q -O /out http://203.0.113.1:8000/ && ! wget -q -T 2 -O /own http://127.0.0.1:8001/
DONE
"""


@pytest.mark.parametrize(("program", "network"), [("pocker", "pasta"), ("pocker", "slirp4netns"),
                                                   ("pyimage", "default")])
def test_a_step_reaches_the_network_but_not_the_hosts_loopback(tmp_path: Path, program: str, network: str) -> None:
    done = run(tmp_path, ENDS + "pyimage load -q -i layout >/dev/null" + ASKS + f"""
{program} build --network {network} --progress plain -t app context >/dev/null 2>said || cat said
pocker run --rm --network none app cat /out
""", root=HOST)
    assert done.stdout == "served\n", (done.stdout, done.stderr)


def test_a_step_without_network_access_is_an_error(tmp_path: Path) -> None:
    """If only root may open /dev/net/tun."""
    done = run(tmp_path, ENDS + "pyimage load -q -i layout >/dev/null" + ASKS + """
pyimage build context 2>said || cat said
ls -A "$XDG_RUNTIME_DIR/pocker/networks/containers"
""", root=HOST.replace("-m 666", "-m 600"))
    assert "pasta cannot connect" in done.stdout and "build with --network host or none\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("  RUN wget"), done.stdout
