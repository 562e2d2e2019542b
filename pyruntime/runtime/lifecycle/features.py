"""The features document: the features that the runtime supports (features.md, features-linux.md)."""

from __future__ import annotations

from pyruntime._version import __version__
from pyruntime.errors import HostError
from pyruntime.runtime.compiler.sections import mounts
from pyruntime.runtime.compiler.sections.kernel import MEMORY_FLAGS, MEMORY_MODES
from pyruntime.runtime.compiler.setup import NAMESPACES
from pyruntime.system.uapi import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def _seccomp() -> dict[str, Any]:
    from pyruntime.runtime.compiler.sections import seccomp_filter, seccomp_values  # lazy: --version needs no filter

    flags = sorted(seccomp_values.FLAGS)
    return {"enabled": True, "actions": sorted(seccomp_filter.ACTIONS), "operators": sorted(seccomp_filter.OPERATORS),
            "archs": sorted(seccomp_filter.ARCHITECTURES), "knownFlags": flags, "supportedFlags": flags}


def libseccomp_version() -> str:
    """The version of libseccomp, or ``none``: containers without linux.seccomp do not need the library."""
    try:
        from pyruntime.runtime.compiler.sections import seccomp_filter  # lazy: the import fails without libseccomp
    except HostError:
        return "none"
    return seccomp_filter.libseccomp_version()


def document(criu: str = "") -> dict[str, Any]:
    """The supported features, whether or not the host's kernel has them. ``criu`` is the CRIU program (default: the one
    in PATH); without it, checkpoint is not supported."""
    from pyruntime.runtime.lifecycle.checkpoint_criu import search  # lazy: --version needs no CRIU

    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": HOOKS,
        "mountOptions": mounts.OPTIONS,
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(ALL_CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": sorted(MEMORY_MODES), "flags": sorted(MEMORY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"io.github.seccomp.libseccomp.version": libseccomp_version(),
                        "org.opencontainers.runc.checkpoint.enabled": str(bool(search(criu))).lower(),
                        "io.pyruntime.version": __version__},
        # A property can name a program to run or lift a limit, and CRIU runs as root.
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property.", "org.criu.config"],
    }
