"""root, linux.rootfsPropagation: the root filesystem and the switch to it.

Spec:   config.md#root, config-linux.md#rootfs-mount-propagation
Emits:  propagation, open_source, open_rootfs, pivot_root, move_root, chroot, root_readonly   (phases SOURCES, ROOTFS,
        PIVOT)
"""

from __future__ import annotations

from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.plan.steps import Step

_PROPAGATION = {"shared": uapi.MS_SHARED, "slave": uapi.MS_SLAVE, "private": uapi.MS_PRIVATE,
                "unbindable": uapi.MS_UNBINDABLE}


def emit(setup: Setup) -> Iterator[Step]:
    """The steps that open the root filesystem and make it /."""
    root = setup.config["root"]
    where = root["path"].where
    if not setup.new("mount"):
        # Other processes use the mounts of this namespace, too: only the root directory is changed.
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
        # Not recursive: a mount with its own propagation keeps it. "unbindable" must come after the paths that are
        # bind-mounted on themselves to be read-only.
        yield step("pivot", "propagation", "linux.rootfsPropagation", label=wanted, propagation=flag,
                   recursive=int(wanted == "runbindable"))
    if root.get("readonly", False):
        yield step("pivot", "root_readonly", root["readonly"].where)


def _wanted(setup: Setup) -> tuple[str, int]:
    wanted = setup.config.get("linux.rootfsPropagation", "")
    return wanted, _PROPAGATION.get(wanted.removeprefix("r"), 0)


def below(setup: Setup) -> int:
    """The propagation of mounts beneath the root that do not set their own; 0: they keep that of their source."""
    wanted, flag = _wanted(setup)
    if flag == uapi.MS_SHARED:
        return flag if wanted == "rshared" else 0
    return uapi.MS_PRIVATE if flag in (uapi.MS_PRIVATE, uapi.MS_UNBINDABLE) else 0


def own_propagation(setup: Setup) -> int:
    """The propagation of the root mount: slave if the configuration requests the host's mount events, else private."""
    return uapi.MS_SLAVE if _wanted(setup)[1] in (uapi.MS_SLAVE, uapi.MS_SHARED) else uapi.MS_PRIVATE


def opened(setup: Setup) -> Iterator[Step]:
    """The steps that detach the new mount namespace from the host's and open the root filesystem, in this order."""
    wanted, flag = _wanted(setup)
    # Later mounts of the host may propagate to a slave, but mounts of the container must not propagate to the host.
    # Only a shared root allows that: a shared mount below it, bind-mounted from a shared mount of the host, remains its
    # peer ("bidirectional" volumes). The root filesystem itself is detached even then (open_rootfs). Without pivot_root
    # a shared root is not supported: unmounting the host's /proc would propagate to the host.
    if flag != uapi.MS_SHARED or not setup.options.pivot:
        yield step("rootfs", "propagation", "linux.rootfsPropagation" if wanted else setup.where["mount"],
                   propagation=uapi.MS_SLAVE, recursive=1)
    where, slot = setup.config["root.path"].where, NO_SLOT
    if "user" in setup.namespaces and not setup.host.rootless:
        # As bind sources (mounts.py): the container's root may be unable to reach it.
        slot = setup.slot()
        yield step("sources", "open_source", where, label="root filesystem", source=setup.rootfs, recursive=1,
                   propagation=uapi.MS_SLAVE, slot=slot)
    yield step("rootfs", "open_rootfs", where, path=setup.rootfs, slot=slot, below=below(setup),
               propagation=own_propagation(setup))
