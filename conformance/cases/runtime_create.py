"""runtime.md#create, #lifecycle steps 1-2 and #errors: the results of create, its errors, and leftovers of errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from conformance.lib.bundle import add_namespace, write_config
from conformance.lib.host import cgroups_named
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

CREATE = "runtime.md#create"
LIFECYCLE = "runtime.md#lifecycle"
ERRORS = "runtime.md#errors"


@requirement(CREATE, "create without an id generates an error")
def without_id(t: Trial) -> None:
    t.fail(t.runtime.call("create", "--bundle", str(t.bundle(t.sleeper()))), "create without an id")


@requirement(CREATE, "create with a bundle path that does not exist generates an error")
def bundle_missing(t: Trial) -> None:
    name = t.new_id()
    t.fail(t.runtime.call("create", "--bundle", str(t.path / "nowhere"), name), "create without a bundle")
    t.fail(t.runtime.call("state", name), "state after the failed create")


@requirement(CREATE, "create with a bundle without config.json generates an error")
def config_missing(t: Trial) -> None:
    container = t.container(t.sleeper())
    (container.bundle / "config.json").unlink()
    t.fail(container.create(), "create without config.json")
    t.fail(container.query(), "state after the failed create")


@requirement(CREATE, "create with a config.json that is not JSON generates an error")
def config_broken(t: Trial) -> None:
    container = t.container(t.sleeper())
    (container.bundle / "config.json").write_text('{"ociVersion": ')
    t.fail(container.create(), "create with broken JSON")
    t.fail(container.query(), "state after the failed create")


@requirement(CREATE, "create with an id in use generates an error and does not affect the first container")
def id_in_use(t: Trial) -> None:
    first = t.start(t.sleeper())
    before = first.state()
    second = t.container(t.sleeper(), identifier=first.id)
    t.fail(second.create(), "create with an id in use")
    t.equal(first.state(), before, "state of the first container")


@requirement(CREATE, "an id in use is refused even if its container is stopped")
def id_in_use_stopped(t: Trial) -> None:
    first = t.run("true")
    second = t.container(t.sleeper(), identifier=first.id)
    t.fail(second.create(), "create with the id of a stopped container")


def _invalid(name: str, identifier: str) -> None:
    @requirement(CREATE, f"create with the invalid id {identifier!r} generates an error", name=f"invalid_id_{name}")
    def case(t: Trial) -> None:
        container = t.container(t.sleeper())
        done = t.runtime.call("create", "--bundle", str(container.bundle), identifier)
        if done.status == 0:
            t.runtime.call("delete", "--force", identifier)
        t.fail(done, f"create with the id {identifier!r}")


for _name, _identifier in {"empty": "", "parent": "..", "slash": "a/b", "climbs": "../conformance-climbs"}.items():
    _invalid(_name, _identifier)


@requirement(LIFECYCLE, "the user's program does not run before start")
def program_waits(t: Trial) -> None:
    container = t.create(t.config("echo ran; touch /ran"))
    t.equal(container.state()["status"], "created", "status")
    t.check(not (container.rootfs / "ran").exists(), "the program was run")
    t.equal(container.stdout, "", "standard output")


@requirement(LIFECYCLE, "namespaces and mounts exist after create, before start")
def environment_exists(t: Trial) -> None:
    container = t.create(t.sleeper())
    for kind in ("pid", "net", "ipc", "uts", "mnt"):
        ours = Path("/proc/self/ns", kind).readlink()
        t.check(container.namespace(kind) != str(ours), f"the created container is in the runtime's {kind} namespace")
    targets = [line.split()[4] for line in container.proc("mountinfo").read_text().splitlines()]
    for target in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/sys"):
        t.check(target in targets, f"{target} is not mounted in the created container")


@requirement(LIFECYCLE, "a change of config.json after create does not affect the container")
def config_changes_after_create(t: Trial) -> None:
    container = t.create(t.config("echo $A $(hostname)") | {"hostname": "before"})
    changed = t.config("echo changed") | {"hostname": "after"}
    write_config(container.bundle, changed)
    t.succeed(container.start(), "start")
    container.wait()
    t.equal(container.stdout.strip(), "before", "output")


@requirement(LIFECYCLE, "removing config.json after create does not affect start, kill, state and delete")
def config_removed_after_create(t: Trial) -> None:
    container = t.create(t.sleeper())
    (container.bundle / "config.json").unlink()
    t.succeed(container.start(), "start")
    t.succeed(container.kill(), "kill")
    container.wait()
    t.succeed(container.delete(), "delete")


@requirement(CREATE, "a property that cannot be applied: an error, and no container (no source of a bind mount)")
def cannot_apply(t: Trial) -> None:
    config = t.sleeper()
    config["mounts"].append(
        {"destination": "/mnt", "type": "none", "source": "/nonexistent/conformance", "options": ["bind"]}
    )
    t.refused(config, "a bind mount whose source does not exist")


@requirement(ERRORS, "a failed create leaves no process, no mount and no cgroup")
def failure_leaves_nothing(t: Trial) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    config = t.sleeper()
    config["linux"]["cgroupsPath"] = f"/{t.new_id()}"
    config["mounts"].append({"destination": "/mnt", "type": "no-such-filesystem", "source": "x"})
    container = t.container(config)
    t.fail(container.create(), "create with an unknown filesystem type")
    t.equal(Path("/proc/self/mountinfo").read_text(), mounts, "mounts of the runtime's namespace")
    name = config["linux"]["cgroupsPath"].strip("/")
    t.equal(cgroups_named(name), [], "cgroups left behind")
    again = t.container(t.sleeper(), identifier=container.id)
    t.succeed(again.create(), "create with the same id after the failure")


@requirement(ERRORS, "the id of a failed create can be used again")
def failure_frees_id(t: Trial) -> None:
    config = t.sleeper()
    config["root"]["path"] = "nowhere"
    container = t.container(config)
    t.fail(container.create(), "create without a root filesystem")
    write_config(container.bundle, t.sleeper())
    t.succeed(container.create(), "create with the same id")


@requirement(CREATE, "create without process succeeds: it is only required by start")
def without_process(t: Trial) -> None:
    config = t.sleeper()
    del config["process"]
    container = t.container(config)
    t.succeed(container.create(), "create without process")
    t.equal(container.state()["status"], "created", "status")


@requirement(
    CREATE, "properties other than process.args are applied by create: hostname and mounts are set before start"
)
def applied_by_create(t: Trial) -> None:
    config = t.sleeper() | {"hostname": "applied"}
    config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "conf"})
    container = t.create(config)
    mounts = container.proc("mountinfo").read_text()
    t.check(" /mnt " in mounts, "/mnt is not mounted after create")
    nsenter = t.need_tool("nsenter")
    seen = subprocess.run(
        [nsenter, "-t", str(container.pid), "-u", "uname", "-n"], capture_output=True, text=True, check=True
    )
    t.equal(seen.stdout.strip(), "applied", "hostname after create")


@requirement(
    "bundle.md#container-format", "the configuration is the file config.json in the bundle's root", level="MUST"
)
def config_is_in_the_root(t: Trial) -> None:
    container = t.container(t.sleeper())
    (container.bundle / "config.json").rename(container.bundle / "Config.json")
    t.fail(container.create(), "create with Config.json instead of config.json")


@requirement("config.md#extensibility", "unknown properties are ignored at every level")
def unknown_properties(t: Trial) -> None:
    config = t.config("echo fine")
    for place in (config, config["process"], config["root"], config["linux"], config["linux"]["resources"]):
        place["comExampleUnknown"] = {"x": [1, "two", None]}
    config["mounts"][0]["comExampleUnknown"] = True
    t.equal(t.output(json.loads(json.dumps(config))), "fine", "output")


@requirement(LIFECYCLE, "create does not return before the container exists: state works at once")
def state_at_once(t: Trial) -> None:
    for _ in range(3):
        config = t.sleeper()
        add_namespace(config, "cgroup")
        t.equal(t.create(config).state()["status"], "created", "status right after create")
