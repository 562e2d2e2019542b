"""root, linux.rootfsPropagation: the root filesystem and the way into it.

Spec:   config.md#root, config-linux.md#rootfs-mount-propagation
Emits:  propagation, open_rootfs, pivot_root, move_root, chroot, root_readonly   (phases ROOTFS, PIVOT)
"""

from __future__ import annotations

from pyruntime.runtime.plan.steps import step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.plan.steps import Step

_PROPAGATION = {"shared": uapi.MS_SHARED, "slave": uapi.MS_SLAVE, "private": uapi.MS_PRIVATE,
                "unbindable": uapi.MS_UNBINDABLE}


def emit(setup: Setup) -> Iterator[Step]:
    """The steps that open the root filesystem and those that make it /."""
    root = setup.config["root"]
    where = root["path"].where
    if not setup.new("mount"):
        # The mounts of this namespace belong to somebody else as well: only the root directory is changed.
        yield step("rootfs", "open_plain_rootfs", where, path=setup.rootfs)
        yield step("pivot", "chroot", where)
        return
    yield from opened(setup)
    wanted, flag = _wanted(setup)
    if setup.options.pivot:
        yield step("pivot", "pivot_root", where)
    else:
        yield step("pivot", "move_root", where, hide=list(setup.host.proc_mounts))
    if flag:
        # Not recursively: a mount with a propagation of its own keeps that. "unbindable" cannot come before the paths
        # that are bound on themselves to be read-only.
        yield step("pivot", "propagation", "linux.rootfsPropagation", label=wanted, propagation=flag,
                   recursive=int(wanted == "runbindable"))
    if root.get("readonly", False):
        yield step("pivot", "root_readonly", root["readonly"].where)


def _wanted(setup: Setup) -> tuple[str, int]:
    wanted = setup.config.get("linux.rootfsPropagation", "")
    return wanted, _PROPAGATION.get(wanted.removeprefix("r"), 0)


def below(setup: Setup) -> int:
    """The propagation of every mount beneath the root that names none of its own; 0 for that of its source."""
    wanted, flag = _wanted(setup)
    if flag == uapi.MS_SHARED:
        return flag if wanted == "rshared" else 0
    return uapi.MS_PRIVATE if flag in (uapi.MS_PRIVATE, uapi.MS_UNBINDABLE) else 0


def own_propagation(setup: Setup) -> int:
    """The root mount's: a slave of the host's where the configuration wants to hear of it, else private."""
    return uapi.MS_SLAVE if _wanted(setup)[1] in (uapi.MS_SLAVE, uapi.MS_SHARED) else uapi.MS_PRIVATE


def opened(setup: Setup) -> Iterator[Step]:
    """The steps that cut the new mount namespace off from the host's and open the root filesystem, which is last."""
    wanted, flag = _wanted(setup)
    # What the host mounts later may reach a slave; nothing of ours may reach the host. Only a shared root asks for
    # more: a shared mount below it, bound from a shared mount of the host, remains its peer ("bidirectional" volumes).
    # The root filesystem itself is cut off even then (open_rootfs). Without pivot_root it is not done: letting go of
    # the host's /proc would reach the host as well.
    if flag != uapi.MS_SHARED or not setup.options.pivot:
        yield step("rootfs", "propagation", "linux.rootfsPropagation" if wanted else setup.where["mount"],
                   propagation=uapi.MS_SLAVE, recursive=1)
    yield step("rootfs", "open_rootfs", setup.config["root.path"].where, path=setup.rootfs, below=below(setup),
               propagation=own_propagation(setup))
