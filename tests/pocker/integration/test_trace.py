"""``pocker run --trace``: every flag, with what it changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.pocker.integration.command import Pocker
from tests.pocker.integration.lab import Lab

NONE = ("--network", "none")


def trace(pocker: Pocker, *words: object) -> str:
    """The trace of a container named "it", which exists afterwards."""
    done = pocker("run", "-d", "--name", "it", "--trace", *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def told(text: str) -> dict[str, list[str]]:
    """The lines about each flag, by its words."""
    flags = text.partition("\nflags: ")[2].partition("\nconfiguration: ")[0]
    found: dict[str, list[str]] = {}
    for line in flags.splitlines()[1:]:
        if line.startswith("    "):
            found[list(found)[-1]].append(line.strip())
        else:
            found[line.strip()] = []
    return found


def test_each_flag_has_its_places(pocker: Pocker) -> None:
    text = trace(pocker, *NONE, "-m", "64m", "--cpus", "0.5", "-e", "A=1", "-e", "B=2", "--cap-drop", "ALL",
                 "--cap-add", "CHOWN", "-v", "/tmp:/mnt:ro", "-v", "data:/data", "--init", "-h", "box", "--pid", "host",
                 "--ulimit", "nofile=100", "--pids", "0", "busybox", "sleep", "1000")
    flags = told(text)
    assert flags["--memory 64m"] == ["config.json: linux.resources.memory.limit = 67108864",
                                     "config.json: linux.resources.memory.swap = 134217728"]
    assert flags["--cpus 0.5"] == ["config.json: linux.resources.cpu.period = 100000",
                                   "config.json: linux.resources.cpu.quota = 50000"]
    assert flags["--env A=1 --env B=2"] == ['config.json: process.env with ["A=1", "B=2"]']
    assert flags["--cap-add CHOWN"] == [
        'config.json: process.capabilities.{bounding,effective,permitted} with ["CAP_CHOWN"]']
    assert any('without ["CAP_DAC_OVERRIDE",' in line for line in flags["--cap-drop ALL"])
    assert 'config.json: hostname = "box"; without the flag "' in flags["--hostname box"][1]
    assert flags["--pid host"] == ['config.json: linux.namespaces without [{"type": "pid"}]']
    assert flags["--ulimit nofile=100"] == [
        'config.json: process.rlimits[0] = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}']
    volumes = flags["--volume /tmp:/mnt:ro --volume data:/data"]
    assert any('"/tmp", "options": ["rbind", "rro"' in line for line in volumes)
    assert any(f'"{pocker.root}/volumes/data' in line for line in volumes)
    assert flags["--init"][0].endswith('["/.pocker-init", "--", "sleep", "1000"]; without the flag ["sleep", "1000"]')
    assert flags["sleep 1000"][0].endswith('without the flag ["/.pocker-init", "--", "sh"]')
    assert flags["--name it"] and "config.json" not in flags["--name it"][0]
    assert flags["--network none"] == ["the network above"]
    assert "--trace" not in flags
    # The trace is true.
    config = json.loads((pocker.directory("it") / "config.json").read_text())
    assert f"\n  mounts       {', '.join(mount['destination'] for mount in config['mounts'])}\n" in text
    assert f"\nconfiguration: {pocker.directory('it')}/config.json\n" in text
    assert re.search(r"^image: busybox\n  manifest     sha256:[0-9a-f]{64}\n", text)
    for layer in re.findall(r"^  layer 1 +(.+)", text, re.M):
        assert Path(layer, "bin/busybox").exists()
    # The command in its last line works: `explain` prints as many steps as the trace counted.
    command = text.splitlines()[-1].split()
    assert command[:2] == ["pyruntime", "explain"]
    steps = [line for line in pocker.ok(*command[1:], program="pyruntime").splitlines()
             if re.match(r" *\d+ (host|stub|init) ", line)]
    assert f"\nplan: {len(steps)} steps\n" in text
    pocker.ok("rm", "-f", "-v", "it")
    pocker.ok("volume", "rm", "data")


@pytest.mark.parametrize(("words", "flag", "line"), [
    (["--memory", "64m", "--memory-swap", "-1"], "--memory 64m, with --memory-swap that needs it",
     "config.json: linux.resources.memory.limit = 67108864"),
    (["--privileged", "--security-opt", "seccomp=unconfined"], "--security-opt seccomp=unconfined",
     "config.json: is the same without it"),
    (["--security-opt", "seccomp=unconfined", "--privileged"], "--security-opt seccomp=unconfined",
     'container.json: settings.security = ["seccomp=unconfined"]'),
    (["--cpu-shares", "0"], "--cpu-shares 0", "config.json: is the same without it, as is everything"),
    (["--read-only"], "--read-only", "config.json: root.readonly = true; without the flag false"),
    (["--restart", "always"], "--restart always", "container.json: read when the program has ended"),
    (["--volumes-from", "other"], "--volumes-from other", "volumes: missing volumes are created now"),
    (["-t"], "--tty", "config.json: process.terminal = true; without the flag false"),
    (["--log-opt", "max-size=1m"], "--log-opt max-size=1m", "the monitor, which writes the log"),
    (["--label", "a=b"], "--label a=b", "container.json: shown by `pocker inspect`, used by filters"),
])
def test_trace_of_flags_outside_the_configuration(pocker: Pocker, words: list[str], flag: str, line: str) -> None:
    pocker.ok("run", "--name", "other", *NONE, "-v", "kept:/kept", "busybox", "true")
    flags = told(trace(pocker, *NONE, *words, "busybox", "sleep", "1000"))
    assert line in flags[flag], flags
    pocker.ok("rm", "-f", "it", "other")
    pocker.ok("volume", "rm", "kept")


def test_the_network(lab: Lab) -> None:
    lab.ok("network", "create", "--ipv6", "back")
    text = trace(lab, "--network", "back", "--network-alias", "db", "-p", "8080:80", "--add-host", "a:1.2.3.4",
                 "busybox", "sleep", "1000")
    entry = lab.endpoint("it")["joined"][0]
    assert "\nnetwork: back\n" in text
    assert f"address      {entry['ip']} of {entry['subnet']}, default route through {entry['gateway']}\n" in text
    assert f"address      {entry['ip6']} of {entry['subnet6']}, default route through {entry['gateway6']}\n" in text
    assert "port         0.0.0.0 8080/tcp leads to 80\n" in text
    rules = next(line.split()[1:] for line in text.splitlines() if line.startswith("  rules "))
    assert "8080" in lab.on_host(*rules)
    assert f"on the host {entry['link']}, in the bridge {entry['interface']}" in text
    assert entry["link"] in lab.interfaces()
    flags = told(text)
    assert flags["--publish 8080:80"] == ["the network above: ports, rules and the proxy"]
    assert flags["--add-host a:1.2.3.4"] == ["the container's /etc/hosts"]


def test_programs_streams_are_untouched(pocker: Pocker) -> None:
    """The trace goes to our standard error, before any output of the program; without the flag there is none."""
    done = pocker("run", "--rm", "--trace", *NONE, "-i", "busybox", "sh", "-c", "cat; echo last >&2", input="text")
    assert done.stdout == "text" and done.stderr.startswith("image: busybox\n") and done.stderr.endswith("\nlast\n")
    assert "read it while the container exists:" in done.stderr
    assert pocker("run", "--rm", *NONE, "busybox", "true").stderr == ""


def test_the_trace_precedes_the_error(pocker: Pocker) -> None:
    done = pocker("run", "--rm", "--trace", *NONE, "busybox", "nosuch")
    assert done.returncode == 127
    assert "flags: " in done.stderr and 'exec: "nosuch": executable file not found' in done.stderr.splitlines()[-2]
