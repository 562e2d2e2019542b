"""Perform the host steps. Each performer returns its undo function, or None if there is nothing to undo."""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError, SystemdError
from pyruntime.runtime.cgroups import create as cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.runtime.lifecycle.create import Creation
    from pyruntime.runtime.lifecycle.exec import ExecLaunch
    from pyruntime.runtime.lifecycle.launch import Launch
    from pyruntime.runtime.plan.steps import Step

    Undo = Callable[[], None] | None


def perform(step: Step, launch: Launch) -> Undo:
    """Perform one host step. Raises OSError if the system refuses, and the errors of the performer."""
    return _PERFORMERS[step.op.name](launch, step)


def _cgroup_create(launch: Launch, step: Step) -> Undo:
    made = cgroups.create(step.args["path"])
    if not made:
        return None

    def undo() -> None:
        for path in reversed(made):
            cgroups.remove(path)
    return undo


def _cgroup_scope(launch: Launch, step: Step) -> Undo:
    from pyruntime.runtime.cgroups import systemd_bus  # lazy: only for the systemd driver

    unit, user = step.args["unit"], bool(step.args["user"])
    holder = launch.hold()
    # In a frozen or full parent cgroup the process would wait for the runtime and the runtime for the process: the undo
    # ends it.
    try:
        systemd_bus.start_scope(unit, step.args["properties"], [holder], user=user)
    except BaseException:
        launch.release()
        raise
    made: list[str] = []

    def undo() -> None:
        launch.release()
        for path in reversed(made):
            cgroups.remove(path)
        systemd_bus.stop_unit(unit, user=user)
    try:
        for path in step.args["paths"]:
            made += cgroups.adopt(path)
    except BaseException:
        undo()
        raise
    return undo


def _cgroup_attach(launch: Launch, step: Step) -> Undo:
    from pyruntime.runtime.cgroups import systemd_bus  # lazy: only for the systemd driver

    systemd_bus.attach(step.args["unit"], "", launch.stub, user=bool(step.args["user"]))
    return None


def _cgroup_release(launch: Launch, step: Step) -> Undo:
    launch.release()
    return None


def _cgroup_write(launch: Launch, step: Step) -> Undo:
    cgroups.write(step.args["path"], step.args["file"], step.args["data"])
    return None


def _cgroup_devices(launch: Launch, step: Step) -> Undo:
    cgroups.devices(step.args["path"], step.args["rules"])
    return None


def _cgroup_join(launch: Launch, step: Step) -> Undo:
    cgroups.join(step.args["paths"], launch.process)
    return None


def _cgroup_own(launch: Launch, step: Step) -> Undo:
    cgroups.own(step.args["path"], step.args["uid"])
    return None


def _map_ids(launch: Launch, step: Step) -> Undo:
    uids, gids = step.args["uids"], step.args["gids"]
    if step.args["setgroups"]:
        _write_proc(launch.stub, "setgroups", step.args["setgroups"])
    for file, program, lines in (("uid_map", "newuidmap", uids), ("gid_map", "newgidmap", gids)):
        if not lines:
            continue
        try:
            _write_proc(launch.stub, file, "\n".join(lines))
        except PermissionError:
            # For more than the user's own ID, the set-uid helpers of shadow consult /etc/subuid.
            _map_with_helper(program, launch.stub, lines)
    return None


def _write_proc(pid: int, file: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())   # one write: the kernel accepts the whole map or nothing
    finally:
        os.close(fd)


def _map_with_helper(program: str, pid: int, lines: list[str]) -> None:
    import shutil  # lazy: only without root (20 ms)
    import subprocess

    path = shutil.which(program, path=os.environ.get("PATH") or "/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        raise PyruntimeError(f"{program} is not installed (package uidmap), and without it the kernel"
                             " lets users map only their own ID")
    done = subprocess.run([path, str(pid), *" ".join(lines).split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PyruntimeError(f"{program}: {done.stderr.strip() or f'exit status {done.returncode}'}")


def _idmap_sources(launch: Launch, step: Step) -> Undo:
    from pyruntime.system import kernel  # lazy: only with id-mapped mounts

    args = step.args
    tree = kernel.open_tree(args["source"], clone=True, recursive=bool(args["recursive"]))
    try:
        if args["namespace"]:
            namespace = _foreign_user_namespace(args["namespace"])
        else:
            namespace = kernel.user_namespace(args["uids"], args["gids"])
        try:
            kernel.mount_idmap(tree, namespace, recursive=bool(args["recursive_map"]))
        finally:
            os.close(namespace)
    except BaseException:
        os.close(tree)
        raise
    launch.hand_over(args["slot"], tree)
    return None


def _foreign_user_namespace(path: str) -> int:
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if os.path.sameopenfile(namespace, own := os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)):
        os.close(namespace)
        namespace = -1
    os.close(own)
    if namespace < 0:
        raise PyruntimeError(f'option "idmap" without mappings: "{path}" is the host\'s own user namespace, which has'
                             " no mappings")
    return namespace


def _rdt_group(launch: Creation, step: Step) -> Undo:
    from pyruntime.runtime.lifecycle import rdt  # lazy: only with linux.intelRdt

    return rdt.join(launch, **step.args)


def _rdt_follow(launch: Launch, step: Step) -> Undo:
    from pyruntime.runtime.lifecycle import rdt  # lazy: only with linux.intelRdt

    rdt.follow(step.args["groups"], launch.process)
    return None


def _net_device(launch: Launch, step: Step) -> Undo:
    from pyruntime.runtime.lifecycle import netdevices  # lazy: only with linux.netDevices

    netdevices.move(launch.process, step.args["name"], step.args["rename"])
    return None


def _host_hook(launch: Creation, step: Step) -> Undo:
    from pyruntime.runtime.lifecycle.hooks import environment, run_hook  # lazy: only with hooks

    args = step.args
    launch.commit()
    run_hook(step.where, path=args["path"], args=args["args"], timeout=args["timeout"],
             env=None if args["inherit_env"] else environment(args["env"]),
             state=launch.state(args["status"]))
    return None


def _cgroup_follow(launch: Launch, step: Step) -> Undo:
    path, unit = step.args["path"], step.args["unit"]
    try:
        cgroups.follow(path, launch.process, step.args["init"])
    except PermissionError:
        # A user who requested a cgroup in a scope of the user's own systemd may now be in a session, and only that
        # systemd can move the process out of it; without the scope's name the cgroup is optional.
        own = unit or next((name for name in reversed(path.split("/")) if name.endswith(".scope")), "")
        if not own:
            raise
        from pyruntime.runtime.cgroups import systemd_bus  # lazy: only for the systemd driver

        below, user = path.rpartition(f"/{own}")[2], bool(step.args["user"]) or not unit
        try:
            systemd_bus.attach(own, below, launch.process, user=user)
        except (HostError, SystemdError):
            if unit:
                raise
        else:
            return None
        raise
    return None


def _report_process(launch: ExecLaunch, step: Step) -> Undo:
    launch.report(step.args["pid_file"], step.args["pidfd_socket"])
    path = step.args["pid_file"]
    return (lambda: os.unlink(path)) if path else None


# The kind of launch that each performer needs: steps that need a container being created are emitted for `create` only.
_PERFORMERS: dict[str, Callable[[Any, Step], Undo]] = {
    "cgroup_create": _cgroup_create,
    "cgroup_scope": _cgroup_scope,
    "cgroup_attach": _cgroup_attach,
    "cgroup_release": _cgroup_release,
    "cgroup_write": _cgroup_write,
    "cgroup_devices": _cgroup_devices,
    "cgroup_join": _cgroup_join,
    "cgroup_own": _cgroup_own,
    "cgroup_follow": _cgroup_follow,
    "report_process": _report_process,
    "map_ids": _map_ids,
    "idmap_sources": _idmap_sources,
    "rdt_group": _rdt_group,
    "rdt_follow": _rdt_follow,
    "net_device": _net_device,
    "host_hook": _host_hook,
}
