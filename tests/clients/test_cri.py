"""Pods: containerd's CRI with pyruntime and runc as two runtime handlers of one configuration, compared.

critest, the interface's own suite, is run manually: python -m tests.clients.critest (docs/clients.md has the figures).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.containerd import Containerd
from tests.clients.cri import Pod, refused
from tests.clients.documented_configs import PYRUNTIME, block

pytestmark = pytest.mark.timeout(900)   # the first run builds the current containerd


FACTS = "while read a b; do case $a in Cap*|NoNew*|Seccomp:|Groups:) echo $a $b;; esac; done < /proc/self/status; id"
LIMITS = ("cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus"
          " memory.max cpu.weight cpu.max cpuset.cpus 2>/dev/null")
Play = Callable[[Callable[..., Pod]], Any]
CASES: dict[str, Play] = {}


def play(function: Play) -> Play:
    """Register a function to run with each handler; its results must be the same."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def context(**fields: Any) -> dict[str, Any]:
    """A container's configuration with a security context."""
    return {"linux": {"securityContext": fields}}


@play
def output_and_status(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.start("sh", "-c", "echo out; echo err >&2; sleep 0.2; exit 3")
        return made.ended(container), sorted(made.output(container))


@play
def a_life(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.create("sleep", "100")
        seen = [made.state(container)["state"]]
        made.ask("StartContainer", containerId=container)
        seen.append(made.state(container)["state"])
        made.ask("StopContainer", containerId=container, timeout=0)
        seen += [made.state(container)["state"], made.state(container)["exitCode"]]
        made.ask("RemoveContainer", containerId=container)
        return seen, made.ask("ListContainers", filter={"podSandboxId": made.id})


@play
def stop_in_peace(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.start("sh", "-c", "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.1; done")
        while "stdout ready" not in made.output(container):
            pass
        made.ask("StopContainer", containerId=container, timeout=30)
        return made.state(container)["exitCode"], made.output(container)


@play
def removed_while_it_runs(pod: Callable[..., Pod]) -> Any:
    made = pod()
    container = made.start("sleep", "100")
    made.ask("StopPodSandbox", podSandboxId=made.id)
    state = made.state(container)["state"]
    made.ask("RemovePodSandbox", podSandboxId=made.id)
    return state, made.ask("ListPodSandbox", filter={"id": made.id})


@play
def a_program_that_is_missing(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.create("nosuch")
        code = refused(lambda: made.ask("StartContainer", containerId=container))
        return code, made.state(container)["reason"], made.state(container)["exitCode"], made.ran("echo next")


@play
def exec_in_it(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.start("sleep", "100")
        return (made.exec(container, "echo", "hello"), made.exec(container, "sh", "-c", "echo err >&2; exit 9"),
                made.exec(container, "sh", "-c", FACTS),
                refused(lambda: made.exec(container, "nosuch")),
                refused(lambda: made.exec(container, "sleep", "50", timeout=1)),
                [line for line in made.exec(container, "ps")[1].splitlines() if b"sleep 50" in line])


@play
def exec_when_it_has_ended(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.start("true")
        made.ended(container)
        return refused(lambda: made.exec(container, "true"))


@play
def out_of_memory(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        # The shell runs for another second: the event must reach containerd before the reason is queried.
        container = made.start("sh", "-c", "dd if=/dev/zero of=/dev/shm/file bs=1M count=60; sleep 1; exit 137",
                               linux={"resources": {"memoryLimitInBytes": 33554432}})
        return made.ended(container)


@play
def network(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        address = made.ask("PodSandboxStatus", podSandboxId=made.id)["status"]["network"]["ip"]
        shown = made.ran("ls /sys/class/net; cat /proc/net/fib_trie")
        return address.startswith("10.88."), shown[0], [line for line in shown[1] if re.search(r" (eth0|lo)$", line)]


@play
def network_of_the_host(pod: Callable[..., Pod]) -> Any:
    options = {"securityContext": {"namespaceOptions": {"network": "NODE"}}}
    with pod(linux=options) as made:
        return made.ran("ls /sys/class/net", linux=options)


@play
def name_sysctls_and_resolver(pod: Callable[..., Pod]) -> Any:
    with pod(hostname="pod1", linux={"sysctls": {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}},
             dnsConfig={"servers": ["192.0.2.1"], "searches": ["example.org"], "options": ["ndots:3"]}) as made:
        return made.ran("cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced"
                        " /etc/resolv.conf")


@play
def processes_of_the_pod(pod: Callable[..., Pod]) -> Any:
    options = {"securityContext": {"namespaceOptions": {"pid": "POD"}}}
    with pod(linux=options) as made:
        made.start("sleep", "987", linux=options)
        return made.ran("ps | grep -c 'sleep 98[7]'; [ $$ -gt 1 ] && echo other", linux=options)


@play
def processes_of_the_container_and_the_host(pod: Callable[..., Pod]) -> Any:
    own, host = ({"securityContext": {"namespaceOptions": {"pid": kind}}} for kind in ("CONTAINER", "NODE"))
    with pod(linux=host) as made:
        return made.ran("echo $$", linux=own), made.ran("[ $$ -gt 1 ] && cat /proc/1/comm", linux=host)


@play
def who_it_is(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        return [made.ran(FACTS, **context(**fields)) for fields in (
            {}, {"runAsUser": {"value": 1000}}, {"runAsUsername": "user"},
            {"runAsUser": {"value": 5}, "runAsGroup": {"value": 6}, "supplementalGroups": [7, 8]})]


@play
def rights(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        return [made.ran(FACTS, **context(**fields)) for fields in (
            {"capabilities": {"dropCapabilities": ["ALL"]}},
            {"capabilities": {"addCapabilities": ["NET_ADMIN"], "dropCapabilities": ["CHOWN"]}},
            {"noNewPrivs": True}, {"seccomp": {"profileType": "RuntimeDefault"}},
            {"seccomp": {"profileType": "Unconfined"}})]


@play
def hidden_and_read_only(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        fields = context(maskedPaths=["/etc/group", "/home"], readonlyPaths=["/tmp"])
        return (made.ran("cat /etc/group; ls /home; touch /tmp/x", **fields),
                made.ran("touch /x; echo x >/dev/shm/x && echo written", **context(readonlyRootfs=True)))


@play
def mounts(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        made.room.ok("mkdir", "-p", "/run/data/inner")
        made.room.ok("sh", "-c", "echo here >/run/data/file")
        found = []
        for fields in ({"readonly": True}, {}, {"propagation": "PROPAGATION_HOST_TO_CONTAINER"}):
            mount = {"hostPath": "/run/data", "containerPath": "/data", **fields}
            found.append(made.ran("cat /data/file; touch /data/x && echo written", mounts=[mount]))
        return found


@play
def mounts_of_the_container_reach_the_host(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        name = f"/run/shared-{made.id[:8]}"
        made.room.ok("sh", "-c", f"mkdir -p {name} && mount --bind {name} {name} && mount --make-shared {name}")
        mount = {"hostPath": name, "containerPath": "/data", "propagation": "PROPAGATION_BIDIRECTIONAL"}
        shown = made.ran("mkdir /data/in && mount -t tmpfs tmpfs /data/in && touch /data/in/seen", mounts=[mount],
                         **context(capabilities={"addCapabilities": ["SYS_ADMIN"]},
                                   seccomp={"profileType": "Unconfined"}))
        listed = made.room.run("ls", f"{name}/in").stdout
        made.room.ok("umount", "-R", name)
        return shown, listed


@play
def devices(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        device = {"hostPath": "/dev/full", "containerPath": "/dev/mine", "permissions": "r"}
        return made.ran("head -c 3 /dev/mine | wc -c; echo x >/dev/mine", devices=[device])


@play
def limits(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        resources = {"memoryLimitInBytes": 67108864, "cpuShares": 512, "cpuQuota": 50000, "cpuPeriod": 100000,
                     "cpusetCpus": "0"}
        container = made.start("sleep", "100", linux={"resources": resources})
        before = made.exec(container, "sh", "-c", LIMITS)
        made.ask("UpdateContainerResources", containerId=container,
                 linux={"memoryLimitInBytes": 100663296, "cpuShares": 256, "cpuQuota": 25000, "cpuPeriod": 100000})
        return before, made.exec(container, "sh", "-c", LIMITS)


@play
def figures(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        container = made.start("sleep", "100")
        stats = made.ask("ContainerStats", containerId=container)["stats"]
        return sorted(stats), sorted(stats["cpu"]), sorted(stats["memory"])


@play
def standard_input_and_terminal(pod: Callable[..., Pod]) -> Any:
    with pod() as made:
        return made.ran("stty -a </dev/tty >/dev/null && echo a terminal", tty=True)


WITH_DEBIAN = ["output and status", "a life", "a program that is missing", "exec in it", "out of memory", "network",
               "limits", "rights", "mounts"]


def test_the_same_as_runc(containerd: Containerd, case: str, request: pytest.FixtureRequest) -> None:
    handlers = ["runc", "pyruntime", "shim"]
    if "debian" not in request.node.name:
        handlers.append("pods")   # containerd 1.6 has no sandbox API
    theirs, *ours = (CASES[case](lambda handler=handler, **config: Pod(
        containerd, handler, f"p{list(CASES).index(case)}", **config)) for handler in handlers)
    for handler, seen in zip(handlers[1:], ours, strict=True):
        assert (handler, seen) == (handler, theirs)


def test_the_client_uses_pyruntime(containerd: Containerd) -> None:
    with Pod(containerd, "pyruntime", "which") as made:
        shown = containerd.room.run(containerd.runtimes["pyruntime"], "--root", "/run/containerd/runc/k8s.io", "state",
                                    made.id).stdout
    assert '"status": "running"' in shown


def test_the_documented_configuration(containerd: Containerd, request: pytest.FixtureRequest) -> None:
    """config.toml of docs/clients.md: this containerd reads the handler in it."""
    config = containerd.room.path / "documented.toml"
    config.write_text(block("toml", "version = 2" if "debian" in request.node.name else "version = 3"))
    shown = tomllib.loads(containerd.room.ok("containerd", "--config", str(config), "config", "dump"))
    handlers = [plugin["containerd"]["runtimes"]["pyruntime"] for plugin in shown["plugins"].values()
                if "pyruntime" in plugin.get("containerd", {}).get("runtimes", {})]
    assert [handler["options"]["BinaryName"] for handler in handlers] == [PYRUNTIME]
