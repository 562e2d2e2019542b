"""containerd with our shim, and with its own shim and runc: the same exit statuses and output.

The scripts are those of tests/clients, where containerd's own shim calls pyruntime as a command.
"""

from __future__ import annotations

import pytest

from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.scripts import assert_same, played, scripts

pytestmark = pytest.mark.timeout(300)
PRELUDE = f"""
namespace={NAMESPACE} box={IMAGE}
ctr="ctr --address {SOCKET} --namespace $namespace"
ctr() {{ command $ctr "$@"; }}
run() {{ ctr run $with "$@"; }}
task() {{ ctr task "$@"; }}
alive() {{ run --detach "$@" $box $n sleep 100; }}
state() {{ task ls | while read id pid state; do [ "$id" != $n ] || echo "$state"; done; }}
gone() {{ quietly task rm --force $n; quietly ctr container rm $n; }}
"""
CASES = scripts("containerd.sh")
del CASES["a runtime that is missing"]   # an option of containerd's own shim


@pytest.mark.parametrize("case", CASES)
def test_the_same_as_runc(daemon: Containerd, case: str) -> None:
    script = CASES[case].replace("--runc-binary $runtime", "$with").replace("shim-runc-v2", "shim-.*-v2")
    assert_same(lambda runtime, name: played(
        daemon.room, f"with='--runtime io.containerd.{runtime}.v2'\n{PRELUDE}", script, name), list(CASES).index(case))
