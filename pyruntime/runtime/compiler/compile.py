"""Compile a configuration into its plan: the sections emit steps, the phases order them. Pure."""

from __future__ import annotations

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups import resources
from pyruntime.runtime.compiler.sections import (
    devices,
    hooks,
    kernel,
    mounts,
    namespaces,
    process,
    restrict,
    rootfs,
    seccomp,
)
from pyruntime.runtime.compiler.sections import exec as enter
from pyruntime.runtime.compiler.setup import Setup
from pyruntime.runtime.plan.phases import ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.compiler.setup import Host, Joined, PlanOptions, Revived
    from pyruntime.runtime.config.load import Config
    from pyruntime.runtime.plan.steps import Step

# Within a phase, the steps are in this order of sections.
SECTIONS = (namespaces, rootfs, mounts, devices, restrict, kernel, hooks, process, seccomp)
EXEC_SECTIONS = (process.emit, enter.emit, devices.console, kernel.emit, seccomp.emit)


class Plan:
    """Ordered steps, and the data that the parent needs to perform them.

    ``slots``         names of the descriptors that the stub is started with, in order
    ``document``      the document that ``where`` of the steps refers to, for messages
    ``cgroup_paths``  the container's cgroup directory in each hierarchy ("" is v2)
    ``warnings``      the warnings that the specification requires
    ``encoded``       the stub's part in binary form; empty until it is known
    """

    __slots__ = ("cgroup_paths", "document", "encoded", "slots", "steps", "warnings")

    def __init__(self, steps: list[Step], slots: list[str], cgroup_paths: dict[str, str],
                 warnings: list[str], document: str = "config.json") -> None:
        self.steps = steps
        self.document = document
        self.slots = slots
        self.cgroup_paths = cgroup_paths
        self.warnings = warnings
        self.encoded = b""


def compile_plan(config: Config, host: Host, options: PlanOptions, container_id: str) -> Plan:
    """Compile a checked configuration. Raises ConfigError, and HostError if the host lacks something."""
    setup = Setup(config, host, options, container_id)
    try:
        steps = _cgroup(setup)
        for section in SECTIONS:
            steps += section.emit(setup)
    except HostError as error:
        raise _placed(error, config) from None
    return _ordered(setup, steps)


def _cgroup(setup: Setup) -> list[Step]:
    config, host = setup.config, setup.host
    if setup.options.cgroup_manager == "disabled":
        resources.refuse_limits(config, host.cgroup)
        return []
    place = resources.placement(config, host.cgroup, setup.container_id, host.systemd)
    # CRIU is not cloned into a cgroup, and an init that is cloned last would be too late for hooks that inspect the
    # cgroup.
    born = setup.revived is None and not namespaces.shares_pids(setup)
    if born and resources.born_inside(host.cgroup, place, rootless=host.rootless):
        setup.birthplace = setup.slot()
    steps = list(resources.emit(config, host.cgroup, place, setup.container_id, rootless=host.rootless,
                                slot=setup.slot, birthplace=setup.birthplace))
    # When rootless, hierarchies that are not writable are left out.
    made: set[str] = set()
    for item in steps:
        if item.op.name == "cgroup_create":
            made.add(item.args["path"])
        elif item.op.name == "cgroup_scope":
            made.update(item.args["paths"])
    setup.cgroup_paths = {key: path for key, path in place.paths.items() if path in made}
    return steps


def compile_exec(config: Config, host: Host, options: PlanOptions, container_id: str, joined: Joined) -> Plan:
    """Compile the plan by which another process enters a container. ``config`` has the process and the parts of the
    container's configuration that apply to each of its processes. Raises ConfigError, HostError."""
    setup = Setup(config, host, options, container_id, joined)
    steps: list[Step] = []
    try:
        for section in EXEC_SECTIONS:
            steps += section(setup)
    except HostError as error:
        raise _placed(error, config) from None
    return _ordered(setup, steps)


def compile_restore(config: Config, host: Host, options: PlanOptions, container_id: str, revived: Revived) -> Plan:
    """Compile the plan that starts CRIU to restore a container: the cgroup as for `create`, then CRIU in the place of
    init. Raises ConfigError, HostError."""
    from pyruntime.runtime.compiler.sections import restore as revive  # lazy: no other command needs it

    setup = Setup(config, host, options, container_id, revived=revived)
    try:
        steps = [*_cgroup(setup), *namespaces.cgroup_owner(setup), *kernel.rdt(setup), *revive.emit(setup)]
    except HostError as error:
        raise _placed(error, config) from None
    return _ordered(setup, steps)


def _placed(error: HostError, config: Config) -> HostError:
    if error.where and error.where not in str(error.args[0]):
        return HostError(f"{config.document}: {error.where}: {error.args[0]}", error.where)
    return error


def _ordered(setup: Setup, steps: list[Step]) -> Plan:
    steps.sort(key=lambda item: ORDER[item.phase])   # stable: sections keep their own order within a phase
    return Plan(steps, setup.slots, setup.cgroup_paths, setup.warnings, setup.config.document)
