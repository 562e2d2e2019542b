"""How CRIU is brought to where it can restore a container.

Spec:   none (runc-checkpoint(8)); https://criu.org/Docker for what CRIU asks of a root filesystem
Emits:  unshare, propagation, open_rootfs, mount_point, find_executable, prepare_exec, execve
        (phases UNSHARE, ROOTFS, MOUNTS, PROCESS, SEAL, EXEC)

CRIU makes the container's namespaces, mounts and processes anew from the image. It wants a root filesystem that is a
mount point, with a place for every mount of the image, and it has to stand in the container's cgroup: its children are
the container's first processes. All of that is done in a mount namespace of its own, so that nothing is left on the
host when it dies.
"""

from __future__ import annotations

import os

from pyruntime.linux.mounts import Options
from pyruntime.plan import uapi
from pyruntime.plan.steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.setup import Setup
    from pyruntime.plan.steps import Step


def emit(setup: Setup) -> Iterator[Step]:
    """The steps from the runtime's namespaces to a CRIU that waits for its request."""
    revived = setup.revived
    assert revived is not None
    root = setup.config["root.path"].where
    yield step("unshare", "unshare", root, label="mount", flags=uapi.CLONE_NEWNS)
    # A slave: the host's mounts that come later are the container's business, ours are not the host's.
    yield step("rootfs", "propagation", root, propagation=uapi.MS_SLAVE, recursive=1)
    yield step("rootfs", "open_rootfs", root, path=setup.rootfs, propagation=uapi.MS_PRIVATE)
    yield from _places(setup)
    yield step("process", "find_executable", "criu", label=revived.program, name=revived.program,
               candidates=[revived.program])
    # Its descriptors: 3 is the socket that it is spoken to, then those of namespaces.
    yield step("seal", "prepare_exec", "criu", label=revived.program, args=[revived.program, "swrk", "3"],
               env=revived.environment, preserve=revived.descriptors)
    yield step("exec", "execve", "criu", label=revived.program)


def _places(setup: Setup) -> Iterator[Step]:
    """Where the image's mounts stand. What lies below another mount is in the image, or in what is bound there."""
    covered: list[str] = []
    if not setup.new("mount"):
        return
    for mount in setup.config["mounts"].each():
        dest = "/" + mount.value["destination"].strip("/")
        options = Options(mount)
        if "remount" in options.words or (mount.get("type", "none") in ("", "none") and not options.bind):
            continue
        if not any(dest.startswith(f"{above}/") for above in covered):
            yield step("mounts", "mount_point", mount["destination"].where, dest=dest,
                       source=os.path.join(setup.config.bundle, mount.get("source", "")) if options.bind else "")
        covered.append(dest)
