"""Docker's flags, command by command, against ours: what is missing is named here, and in docs/differences.md.

Docker's are those of `docker COMMAND --help` (28.2); of ``build`` those of its page `docker buildx build`, too.
"""

from __future__ import annotations

import pytest

from pyruntime.commandline.groups import Group
from pyruntime.commandline.parse import Command
from pyruntime.pocker.cli.main import PROGRAM
from tests.conftest import TOP

DOCKER = {
    "attach":
        "detach-keys no-stdin sig-proxy",
    "build":
        "add-host allow annotation attest build-arg build-context builder cache-from cache-to call "
        "cgroup-parent check compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems debug "
        "disable-content-trust file force-rm iidfile isolation label load memory memory-swap metadata-file "
        "network no-cache no-cache-filter output platform progress provenance pull push quiet rm sbom secret "
        "security-opt shm-size squash ssh tag target ulimit",
    "builder prune":
        "all filter force keep-storage",
    "commit":
        "author change message pause",
    "container prune":
        "filter force",
    "cp":
        "archive follow-link quiet",
    "create":
        "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns "
        "cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus "
        "cpuset-cpus cpuset-mems device device-cgroup-rule device-read-bps device-read-iops device-write-bps "
        "device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file "
        "expose gpus group-add health-cmd health-interval health-retries health-start-interval "
        "health-start-period health-timeout hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc "
        "isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory "
        "memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck "
        "oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet "
        "read-only restart rm runtime security-opt shm-size stop-signal stop-timeout storage-opt sysctl tmpfs "
        "tty ulimit use-api-socket user userns uts volume volume-driver volumes-from workdir",
    "events":
        "filter format since until",
    "exec":
        "detach detach-keys env env-file interactive privileged tty user workdir",
    "export":
        "output",
    "history":
        "format human no-trunc platform quiet",
    "image inspect":
        "format platform",
    "image prune":
        "all filter force",
    "images":
        "all digests filter format no-trunc quiet tree",
    "import":
        "change message platform",
    "info":
        "format",
    "inspect":
        "format size type",
    "kill":
        "signal",
    "load":
        "input platform quiet",
    "login":
        "password password-stdin username",
    "logs":
        "details follow since tail timestamps until",
    "network connect":
        "alias driver-opt gw-priority ip ip6 link link-local-ip",
    "network create":
        "attachable aux-address config-from config-only driver gateway ingress internal ip-range ipam-driver "
        "ipam-opt ipv4 ipv6 label opt scope subnet",
    "network disconnect":
        "force",
    "network inspect":
        "format verbose",
    "network ls":
        "filter format no-trunc quiet",
    "network prune":
        "filter force",
    "ps":
        "all filter format last latest no-trunc quiet size",
    "pull":
        "all-tags disable-content-trust platform quiet",
    "push":
        "all-tags disable-content-trust platform quiet",
    "restart":
        "signal timeout",
    "rm":
        "force link volumes",
    "rmi":
        "force no-prune platform",
    "run":
        "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns "
        "cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus "
        "cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps "
        "device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search "
        "domainname entrypoint env env-file expose gpus group-add health-cmd health-interval health-retries "
        "health-start-interval health-start-period health-timeout hostname init interactive io-maxbandwidth "
        "io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt "
        "mac-address memory memory-reservation memory-swap memory-swappiness mount name network network-alias "
        "no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all "
        "pull quiet read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout "
        "storage-opt sysctl tmpfs tty ulimit use-api-socket user userns uts volume volume-driver volumes-from "
        "workdir",
    "save":
        "output platform",
    "search":
        "filter format limit no-trunc",
    "start":
        "attach checkpoint checkpoint-dir detach-keys interactive",
    "stats":
        "all format no-stream no-trunc",
    "stop":
        "signal timeout",
    "system df":
        "format verbose",
    "system prune":
        "all filter force volumes",
    "update":
        "blkio-weight cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus "
        "cpuset-mems memory memory-reservation memory-swap pids-limit restart",
    "version":
        "format",
    "volume create":
        "availability driver group label limit-bytes opt required-bytes scope secret sharing "
        "topology-preferred topology-required type",
    "volume inspect":
        "format",
    "volume ls":
        "cluster filter format quiet",
    "volume prune":
        "all filter force",
}
_WINDOWS, _SWARM, _CLUSTER = "Windows only", "Swarm only", "cluster volumes only"
_LEGACY = "flags of Docker's classic builder; BuildKit ignores them"
# Reason -> the flags that are missing for that reason.
_RUN = {_WINDOWS: "cpu-count cpu-percent io-maxbandwidth io-maxiops isolation",
        "the kernel assigns link-local addresses": "link-local-ip",
        "there is no daemon and no socket": "use-api-socket"}
LEFT_OUT = {
    "run": _RUN,
    "create": _RUN,
    "build": {_LEGACY: "cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems memory memory-swap security-opt",
              _WINDOWS: "isolation",
              "a global option: `pocker --debug build`": "debug"},
    "builder prune": {"remove cache entries by age: `--filter until=24h`": "keep-storage"},
    "exec": {"a command in the foreground ends with its client": "detach-keys"},
    "images": {"output formats are tables, JSON and templates": "tree"},
    "image inspect": {"an index shows the image for the host; use `pyimage inspect --platform`": "platform"},
    "network connect": {"the kernel assigns link-local addresses": "link-local-ip",
                        "use `run --link` for another name of a container": "link",
                        "all networks are bridges; the first has the default route": "driver-opt gw-priority"},
    "network create": {_SWARM: "attachable config-from config-only ingress scope",
                       "there is one address manager, and every network has IPv4": "aux-address ipam-driver"
                                                                                        " ipam-opt ipv4"},
    "network inspect": {_SWARM: "verbose"},
    "rm": {"a link belongs to the container that was created with it": "link"},
    "rmi": {"an index is removed with all of its images": "platform"},
    "start": {"`pyruntime checkpoint` and `restore` work on the runtime's containers": "checkpoint checkpoint-dir"},
    "volume create": {_CLUSTER: "availability group limit-bytes required-bytes scope secret sharing topology-preferred"
                                " topology-required type"},
    "volume ls": {_CLUSTER: "cluster"},
}
_HIDDEN = {"run": "dns-opt net net-alias", "create": "dns-opt net net-alias", "stop": "time", "restart": "time"}


def _command(words: str) -> Command:
    name, _, member = words.partition(" ")
    command = PROGRAM.module(name).COMMAND
    if isinstance(command, Group):
        command = command.member(member)[0]
    assert isinstance(command, Command)
    return command


def _left_out(words: str) -> set[str]:
    return {flag for flags in LEFT_OUT.get(words, {}).values() for flag in flags.split()}


@pytest.mark.parametrize("words", DOCKER)
def test_every_flag_of_docker_is_supported_or_left_out_for_a_reason(words: str) -> None:
    ours = {flag.name for flag in _command(words).flags}
    assert set(DOCKER[words].split()) - ours == _left_out(words)


@pytest.mark.parametrize("words", _HIDDEN)
def test_dockers_older_names(words: str) -> None:
    flags = {flag.name: flag for flag in _command(words).flags}
    assert all(flags[name].hidden for name in _HIDDEN[words].split())


def test_flags_that_are_left_out_are_documented() -> None:
    text = (TOP / "docs/differences.md").read_text()
    for words, reasons in LEFT_OUT.items():
        for reason, flags in reasons.items():
            row = f"| `{words}` | {', '.join(f'`--{flag}`' for flag in flags.split())} | {reason} |"
            assert row in text, row


def test_names_of_commands() -> None:
    """Docker's long, short and alternative names of a command run the same command."""
    same = (("build", "image build", "builder build", "buildx build"), ("images", "image ls", "image list"),
            ("ps", "container ls", "container list", "container ps"), ("rm", "container rm", "container remove"),
            ("rmi", "image rm", "image remove"), ("volume ls", "volume list"), ("network rm", "network remove"),
            ("export", "container export"), ("info", "system info"), ("events", "system events"),
            ("builder prune", "buildx prune"))
    for first, *others in same:
        wanted = _command(first).flags
        assert all(_command(other).flags == wanted for other in others), first
