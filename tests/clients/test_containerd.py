"""containerd with pyruntime through its own shim, and with runc: the same exit statuses and output.

Debian's version and the current version. ctr's option --runc-binary becomes the shim's BinaryName.
"""

from __future__ import annotations

import json

import pytest

from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.documented_configs import PYRUNTIME
from tests.clients.scripts import assert_same, played, scripts
from tests.criu import path_with_criu

pytestmark = pytest.mark.timeout(900)   # the first run builds the current containerd
_PRELUDE = f"""
namespace={NAMESPACE} box={IMAGE}
ctr="ctr --address {SOCKET} --namespace $namespace"
ctr() {{ command $ctr "$@"; }}
run() {{ ctr run --runc-binary $runtime "$@"; }}
task() {{ ctr task "$@"; }}
alive() {{ run --detach "$@" $box $n sleep 100; }}
state() {{ task ls | while read id pid state; do [ "$id" != $n ] || echo "$state"; done; }}
gone() {{ quietly task rm --force $n; quietly ctr container rm $n; }}
"""
CASES = scripts("containerd.sh")
# Each kind of call of the shim.
WITH_DEBIAN = ["run", "not found", "standard input", "terminal", "a log file", "a life", "exec",
               "exec with a terminal", "processes", "pause", "metrics", "kill", "kill all",
               "kill all in the host's pid namespace", "out of memory", "events", "a shim that dies", "checkpoint"]


def test_the_same_as_runc(containerd: Containerd, case: str) -> None:
    if case.startswith("checkpoint"):
        path_with_criu()   # skips without CRIU
    assert_same(lambda runtime, name: played(
        containerd.room, f"runtime={containerd.runtimes[runtime]}\n{_PRELUDE}", CASES[case], name),
        list(CASES).index(case))


def test_the_message_for_a_missing_program(containerd: Containerd) -> None:
    """The shim reports the message in the runtime's log; exit statuses 127 and 126 depend on its wording in other
    clients."""
    prelude = f"runtime={PYRUNTIME}\n{_PRELUDE}"
    missing = played(containerd.room, prelude, "run --rm $box $n nosuch", "words-1").stderr
    assert 'exec: "nosuch": executable file not found in $PATH' in missing
    assert "OCI runtime create failed" in missing
    refused = played(containerd.room, prelude, "run --rm $box $n /etc/passwd", "words-2").stderr
    assert "permission denied" in refused


def test_the_client_uses_pyruntime(containerd: Containerd) -> None:
    """The state directory is that of the shim, and pyruntime has the container."""
    shown = played(containerd.room, f"runtime={PYRUNTIME}\n{_PRELUDE}",
                   f"alive; $runtime --root /run/containerd/runc/{NAMESPACE} state $n | grep running; gone", "which")
    assert '"status": "running"' in shown.stdout, shown


def test_features(containerd: Containerd) -> None:
    """containerd 2.x queries the runtime's features and prints them."""
    words = ["ctr", "--address", SOCKET, "plugins", "inspect-runtime", "--runc-binary"]
    if "inspect-runtime" not in containerd.room.run(*words[:4], "--help").stdout:
        pytest.skip("this containerd has no inspect-runtime")
    ours, theirs = (json.loads(containerd.room.ok(*words, containerd.runtimes[name])) for name in ("pyruntime", "runc"))
    assert set(ours) >= set(theirs)
    assert ours["Features"]["linux"]["namespaces"]


def test_containers_survive_a_restart_of_the_daemon(containerd: Containerd) -> None:
    """A restarted daemon finds the shim, and through it the container."""
    prelude = f"runtime={PYRUNTIME}\n{_PRELUDE}"
    assert played(containerd.room, prelude, "status alive", "outlives").stdout == "status 0\n"
    containerd.daemon.terminate()
    containerd.daemon.wait(60)
    containerd.start()
    after = played(containerd.room, prelude, "state; status task exec --exec-id a $n echo hello;"
                   " status task kill --signal 9 $n; until_true 'state | grep STOPPED'; state; gone", "outlives")
    assert after.stdout.split("\n")[:5] == ["RUNNING", "hello", "status 0", "status 0", "STOPPED"], after
