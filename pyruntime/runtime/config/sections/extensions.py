"""annotations: those of crun that Podman and CRI-O set, and how each is handled.

Source: crun(1), "Extensions to OCI". Any other key concerns only the caller (config.md#annotations:
unknown keys MUST NOT be an error). Reasons: docs/decisions/0014-systemd.md.
"""

from __future__ import annotations

from pyruntime.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

SPEC = "config.md#annotations"
KEEP_GROUPS = "run.oci.keep_original_groups"          # supported: compiler/sections/user.py
CONTEXT_TYPE = "run.oci.mount_context_type"           # supported: compiler/sections/mounts.py
CONTEXT_TYPES = ("context", "fscontext", "defcontext", "rootcontext")
# Refused: without these, the container would not be the requested one.
REFUSED = {
    "run.oci.handler": "pyruntime runs programs directly, not in a virtual machine or a WebAssembly engine",
    "run.oci.seccomp.receiver": "write linux.seccomp.listenerPath instead",
    "run.oci.seccomp.plugins": "write linux.seccomp.listenerPath, and run an agent there",
    "run.oci.seccomp_bpf_data": "write the rules in linux.seccomp",
    "run.oci.systemd.force_cgroup_v1": "mount a cgroup v1 hierarchy of the host with a bind mount",
}
# Ignored with a warning: the container works without these.
LEFT_OUT = {
    "run.oci.delegate-cgroup": "the container can create cgroups below its own",
    "run.oci.hooks.stderr": "the error message has the output of a failed hook",
    "run.oci.hooks.stdout": "the error message has the output of a failed hook",
    "run.oci.seccomp_fail_unknown_syscall": "unknown system calls are left out of the filter",
    "run.oci.systemd.subgroup": "the container runs in the scope itself, as with runc",
    "run.oci.timens_offset": "write linux.timeOffsets",
}


def unsupported(annotations: Node) -> Iterator[Problem]:
    for key, node in annotations.items():
        if key in REFUSED:
            yield Problem(f'annotations["{key}"]', f'"{node.value}" is not supported', REFUSED[key], SPEC)
        elif key == CONTEXT_TYPE and node.value not in CONTEXT_TYPES:
            yield Problem(f'annotations["{key}"]', f'"{node.value}" is not a kind of SELinux context',
                          "write " + ", ".join(CONTEXT_TYPES[:-1]) + " or " + CONTEXT_TYPES[-1], SPEC)


def warnings(annotations: Node) -> Iterator[Problem]:
    for key, node in annotations.items():
        if key in LEFT_OUT and node.value:
            yield Problem(f'annotations["{key}"]', "is not supported; ignored", LEFT_OUT[key], SPEC)
