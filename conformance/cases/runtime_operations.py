"""runtime.md#start, #kill, #delete: when they succeed, and when they generate an error without effect."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from conformance.lib.host import cgroups_named
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

START = "runtime.md#start"
KILL = "runtime.md#kill"
DELETE = "runtime.md#delete"


def _without_id(operation: str, section: str) -> None:
    @requirement(section, f"{operation} without an id generates an error", name=f"{operation}_without_id")
    def case(t: Trial) -> None:
        t.fail(t.runtime.call(operation), f"{operation} without an id")


def _unknown(operation: str, section: str, *rest: str) -> None:
    @requirement(section, f"{operation} of an unknown container generates an error", name=f"{operation}_unknown")
    def case(t: Trial) -> None:
        t.fail(t.runtime.call(operation, t.new_id(), *rest), f"{operation} of an unknown container")


for _operation, _section in (("start", START), ("kill", KILL), ("delete", DELETE)):
    _without_id(_operation, _section)
    _unknown(_operation, _section, *(["TERM"] if _operation == "kill" else []))


@requirement(START, "start runs the program of process")
def start_runs(t: Trial) -> None:
    t.equal(t.output("echo it runs"), "it runs", "output")


@requirement(START, "start of a running container generates an error and has no effect")
def start_running(t: Trial) -> None:
    container = t.start(t.config("echo once; exec sleep 1000"))
    t.eventually(lambda: container.stdout == "once\n", "the program to run")
    before = container.state()
    t.fail(container.start(), "start of a running container")
    t.equal(container.state(), before, "state")
    t.equal(container.stdout, "once\n", "output")


@requirement(START, "start of a stopped container generates an error and has no effect")
def start_stopped(t: Trial) -> None:
    container = t.run("echo once")
    t.fail(container.start(), "start of a stopped container")
    t.equal(container.state()["status"], "stopped", "status")
    t.equal(container.stdout, "once\n", "output")


@requirement(START, "start generates an error if process was not set")
def start_without_process(t: Trial) -> None:
    config = t.sleeper()
    del config["process"]
    container = t.container(config)
    if container.create().status:
        t.skip("this runtime refuses create without process (see runtime_create.without_process)")
    t.fail(container.start(), "start without process")


@requirement(START, "start generates an error if the program does not exist (unless create did)")
def start_program_missing(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["args"] = ["/no/such/program"]
    t.refused_by_start(config, "a program that does not exist")


@requirement(START, "start generates an error if the program is not executable (unless create did)")
def start_program_not_executable(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["args"] = ["/etc/passwd"]
    t.refused_by_start(config, "a program that cannot be executed")


@requirement(KILL, "kill of a stopped container generates an error and has no effect")
def kill_stopped(t: Trial) -> None:
    container = t.run("true")
    before = container.state()
    t.fail(container.kill("TERM"), "kill of a stopped container")
    t.equal(container.state(), before, "state")


@requirement(KILL, "kill works on a created container")
def kill_created(t: Trial) -> None:
    container = t.create(t.sleeper())
    t.succeed(container.kill("KILL"), "kill of a created container")
    container.wait("stopped")


def _signal(name: str, argument: str, caught: str) -> None:
    @requirement(KILL, f"kill sends the given signal: {argument}", name=f"kill_sends_{name}")
    def case(t: Trial) -> None:
        script = f"trap 'echo caught; exit' {caught}; echo ready; while :; do sleep 0.05; done"
        container = t.start(t.config(script))
        t.eventually(lambda: "ready" in container.stdout, "the trap to be set")
        t.succeed(container.kill(argument), f"kill {argument}")
        container.wait("stopped")
        t.equal(container.stdout.split(), ["ready", "caught"], "output")


_SIGNALS = {"name": "USR1", "long_name": "SIGUSR1", "number": str(int(signal.SIGUSR1)), "hup": "HUP", "int": "INT"}
for _key, _argument in _SIGNALS.items():
    _signal(_key, _argument, {"HUP": "HUP", "INT": "INT"}.get(_argument, "USR1"))


@requirement(KILL, "kill with a signal that does not exist generates an error and has no effect")
def kill_unknown_signal(t: Trial) -> None:
    container = t.start(t.sleeper())
    t.fail(container.kill("NOSUCHSIGNAL"), "kill with an unknown signal")
    t.equal(container.state()["status"], "running", "status")


@requirement(KILL, "kill sends the signal to the container process, not to its children")
def kill_process_only(t: Trial) -> None:
    script = (
        "(trap 'echo child' USR1; echo ready; n=0; while [ $n -lt 40 ]; do sleep 0.05; n=$((n+1)); done) & "
        "trap 'echo parent' USR1; wait $!; wait"
    )
    container = t.start(t.config(script))
    t.eventually(lambda: "ready" in container.stdout, "the child to be ready")
    t.succeed(container.kill("USR1"), "kill")
    container.wait("stopped")
    t.check("parent" in container.stdout, f"the container process received no signal: {container.stdout!r}")
    t.check("child" not in container.stdout, "a child also received the signal")


@requirement(DELETE, "delete of a running container generates an error and has no effect")
def delete_running(t: Trial) -> None:
    container = t.start(t.sleeper())
    before = container.state()
    t.fail(container.delete(), "delete of a running container")
    t.equal(container.state(), before, "state")


@requirement(DELETE, "delete of a created container generates an error and has no effect")
def delete_created(t: Trial) -> None:
    container = t.create(t.sleeper())
    t.fail(container.delete(), "delete of a created container")
    t.equal(container.state()["status"], "created", "status")


@requirement(DELETE, "a second delete generates an error")
def delete_twice(t: Trial) -> None:
    container = t.run("true")
    t.succeed(container.delete(), "delete")
    t.fail(container.delete(), "the second delete")


@requirement(DELETE, "delete frees the id for a new container")
def delete_frees_id(t: Trial) -> None:
    first = t.run("true")
    t.succeed(first.delete(), "delete")
    t.succeed(t.container(t.sleeper(), identifier=first.id).create(), "create with the id of a deleted container")


@requirement(DELETE, "delete removes the cgroups that create created")
def delete_removes_cgroups(t: Trial) -> None:
    config = t.sleeper()
    name = t.new_id()
    config["linux"]["cgroupsPath"] = f"/{name}"
    container = t.start(config)
    made = cgroups_named(name)
    t.skip_unless(made, "the runtime creates no cgroup of that name")
    t.succeed(container.kill(), "kill")
    container.wait()
    t.succeed(container.delete(), "delete")
    t.equal([path for path in made if path.exists()], [], "cgroups left")


@requirement(DELETE, "delete keeps the root filesystem, the bundle and bind-mounted host directories", level="MUST NOT")
def delete_keeps_what_it_did_not_make(t: Trial) -> None:
    shared = t.path / "shared"
    shared.mkdir()
    (shared / "kept").write_text("kept")
    config = t.config("touch /made-inside")
    config["mounts"].append({"destination": "/mnt", "type": "none", "source": str(shared), "options": ["rbind", "rw"]})
    container = t.run(config)
    t.succeed(container.delete(), "delete")
    t.equal((shared / "kept").read_text(), "kept", "a file in a bound directory")
    t.check((container.rootfs / "made-inside").exists(), "a file created in the root filesystem is missing")
    t.check((container.bundle / "config.json").exists(), "config.json is missing")


@requirement(DELETE, "delete does not affect a namespace that the container only joined", level="MUST NOT")
def delete_keeps_joined_namespace(t: Trial) -> None:
    owner = t.start(t.sleeper())
    config = t.config("true")
    path = f"/proc/{owner.pid}/ns/net"
    inode = os.stat(path).st_ino
    for entry in config["linux"]["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = path
    guest = t.run(config)
    t.succeed(guest.delete(), "delete")
    t.equal(os.stat(path).st_ino, inode, "network namespace of the other container")
    t.equal(owner.state()["status"], "running", "status of the other container")


@requirement(DELETE, "delete ends what the container process left running in its pid namespace")
def delete_leaves_no_process(t: Trial) -> None:
    container = t.start(t.config("sleep 1000 & exec sleep 1000"))
    t.eventually(lambda: len(_in_namespace(container.namespace("pid"))) == 2, "both processes")
    inode = container.namespace("pid")
    t.succeed(container.kill(), "kill")
    container.wait()
    t.succeed(container.delete(), "delete")
    t.eventually(lambda: not _in_namespace(inode), "all processes of the container to exit")


def _in_namespace(inode: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == inode:
                    found.append(entry)
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
    return found


def _realtime(number: int) -> None:
    @requirement(KILL, f"kill sends real-time signals too: {number}", name=f"kill_sends_{number}")
    def case(t: Trial) -> None:
        container = t.start(t.config("exec sleep 1000"))
        t.eventually(lambda: b"sleep" in container.proc("cmdline").read_bytes().split(b"\0")[0], "the program")
        t.succeed(container.kill(str(number)), f"kill {number}")
        # Process 1 of a pid namespace ignores what it has no handler for: only that the call succeeds can be seen.
        t.equal(container.state()["status"], "running", "status")


for _number in (34, 64):
    _realtime(_number)


@requirement(START, "of several starts at once exactly one succeeds")
def start_at_once(t: Trial) -> None:
    container = t.create(t.config("echo once; exec sleep 1000"))
    with ThreadPoolExecutor(4) as pool:
        statuses = [done.status for done in pool.map(lambda _: container.start(), range(4))]
    t.equal(sum(1 for status in statuses if status == 0), 1, f"successes (statuses {statuses})")
    t.eventually(lambda: container.stdout == "once\n", "the program to run once")


@requirement("runtime.md#create", "of several parallel creates with one id exactly one succeeds")
def create_at_once(t: Trial) -> None:
    name = t.new_id()
    containers = [t.container(t.sleeper(), identifier=name) for _ in range(4)]
    for number, container in enumerate(containers):
        container.bundle = container.bundle.rename(t.path / f"bundle-{number}")
    null = subprocess.DEVNULL
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(
                lambda c: t.runtime.call("create", "--bundle", str(c.bundle), name, stdout=null, stderr=null),
                containers,
            )
        )
    statuses = [one.status for one in done]
    t.equal(sum(1 for status in statuses if status == 0), 1, f"successes (statuses {statuses})")
    t.equal(containers[0].state()["status"], "created", "status")


@requirement(DELETE, "of several parallel deletes exactly one succeeds")
def delete_at_once(t: Trial) -> None:
    container = t.run("true")
    with ThreadPoolExecutor(4) as pool:
        statuses = [done.status for done in pool.map(lambda _: container.delete(), range(4))]
    t.equal(sum(1 for status in statuses if status == 0), 1, f"successes (statuses {statuses})")
