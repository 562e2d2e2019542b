"""Start CRIU where it can restore a container.

Spec:   none (runc-checkpoint(8)); https://criu.org/Docker for CRIU's requirements on the root filesystem
Emits:  unshare, propagation, copy_rootfs, open_rootfs, make_dir, mount, bind, mask_path, join_keyring,
        find_executable, prepare_exec, execve
        (phases SOURCES, UNSHARE, ROOTFS, MOUNTS, DEVICES, RESTRICT, PROCESS, SEAL, EXEC)

CRIU recreates the container's namespaces, mounts and processes from the image. It requires a root filesystem that is a
mount point, a mount point for every mount of the image, and the sources of the host's mounts. It must run in the
container's cgroup, because its children are the container's first processes. All of this is set up in a mount namespace
of CRIU's own, so that nothing is left on the host when CRIU dies.
"""

from __future__ import annotations

import errno

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups.mounts import emit_mount as emit_cgroup_mount
from pyruntime.runtime.compiler.sections import devices, mounts, process, restrict, rootfs
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.plan.steps import Step

_PLAIN: dict[str, Any] = {"attr_set": 0, "attr_clear": 0, "rec_set": 0, "rec_clear": 0, "propagation": 0,
                          "rec_propagation": 0}
_TAKEN = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST)   # absent, or below another masked path


def emit(setup: Setup) -> Iterator[Step]:
    """The steps from the runtime's namespaces to a CRIU that waits for a request."""
    revived = setup.revived
    assert revived is not None
    if not setup.new("mount"):
        raise HostError("CRIU cannot restore a container without a new mount namespace", "linux.namespaces")
    root = setup.config["root.path"].where
    yield step("unshare", "unshare", root, label="mount", flags=uapi.CLONE_NEWNS)
    *cut, entered = rootfs.opened(setup)
    yield from cut
    # CRIU bind-mounts its root, which must not have mounts beneath it: in a user namespace these mounts are locked, and
    # the kernel refuses the bind mount. CRIU 4.1 forgets that the root is read-only, and a bind mount inherits it.
    yield step("rootfs", "copy_rootfs", root, path=setup.rootfs, dest=setup.options.scratch,
               propagation=rootfs.own_propagation(setup), readonly=int(setup.config.get("root.readonly", False)))
    yield entered
    if setup.config.get("root.readonly", False):
        # CRIU moves the old root there for a moment; without this directory, it would create and remove one in the
        # image.
        yield step("mounts", "make_dir", root, path="/tmp",
                   tolerate=(errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP))
    yield from _staged(setup)
    # CRIU restores no keyrings: the processes inherit CRIU's, which must not be that of the runtime's caller.
    yield from process.new_keyring(setup)
    yield step("process", "find_executable", "criu", label=revived.program, name=revived.program,
               path="")
    # CRIU's descriptors: 3 is the socket of its requests, followed by those of the namespaces.
    yield step("seal", "prepare_exec", "criu", label=revived.program, args=[revived.program, "swrk", "3"],
               env=revived.environment, preserve=revived.descriptors)
    yield step("exec", "execve", "criu", label=revived.program)


def _staged(setup: Setup) -> Iterator[Step]:
    """Mount everything that the container gets from the host at the container's path, but in CRIU's namespace: CRIU
    bind-mounts it from there, with the attributes it has there. (CRIU's own way to set the attributes forgets "ro" if
    two mounts are of one filesystem: mount-v2.c of 4.2, do_bind_mount_v2.) Mounts that CRIU creates itself are empty
    tmpfs mounts here."""
    new: list[str] = []
    for mount in setup.config["mounts"].each():
        options = mounts.MountOptions(mount)
        dest = "/" + mount.value["destination"].strip("/")
        fstype = mount.get("type", "none")
        if "remount" in options.words or (fstype in ("", "none") and not options.bind):
            continue
        if options.bind:
            yield from mounts.bind(setup, mount)
        elif fstype == "cgroup":   # a bind mount, with a cgroup namespace as well: it looks the same
            yield from emit_cgroup_mount(mount, setup.host.cgroup, setup.cgroup_paths, cgroup_namespace=False,
                                         user_namespace=False, attrs=options.attributes, dest=dest)
        else:
            plain = mounts.PLAIN_PLACE if fstype in ("proc", "sysfs") else 0
            yield step("mounts", "mount", mount.where, label=f"place of {fstype} on {dest}", fstype="tmpfs",
                       source="tmpfs", options=["mode=755"], dest=dest, how=plain, hold=NO_SLOT,
                       **_PLAIN)
            new.append(dest + "/")
    if setup.in_user_namespace and not devices.host_dev(setup):
        yield from devices.nodes(setup)
    read_only: dict[str, Any] = {**_PLAIN, "attr_set": uapi.MOUNT_ATTR_RDONLY}
    for node in restrict.each(setup.config["linux.maskedPaths"]):
        if node.value.startswith(tuple(new)):
            # Perhaps a file: only the image has this information. It is a file here; an unused mount does no harm.
            yield step("restrict", "bind", node.where, label=node.value, source="/dev/null", otherwise="",
                       slot=NO_SLOT, recursive=0,
                       unnamed=0, hold=NO_SLOT, dest=node.value, tolerate=_TAKEN, **read_only)
        else:
            yield step("restrict", "mask_path", node.where, path=node.value, slot=NO_SLOT, below="",
                       tolerate=_TAKEN)
