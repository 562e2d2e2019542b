"""The messages of containerd's sandbox service, and the part of the CRI's description of a pod that concerns a shim.

Spec: containerd's api/runtime/sandbox/v1/sandbox.proto, api/types/{platform,metrics}.proto; k8s.io/cri-api's
pkg/apis/runtime/v1/api.proto. The fields ``sandbox_id`` are called ``id`` here, as in the task service.
"""

from __future__ import annotations

from pyruntime.shim.messages import ANY, EMPTY, MOUNT, PAIR, TIMESTAMP
from pyruntime.shim.protobuf import BOOL, SIGNED, TEXT, UNSIGNED, Many, Table

SERVICE = "containerd.runtime.sandbox.v1.Sandbox"
_ONE = Table(id=(1, TEXT))
_PLATFORM = Table(os=(1, TEXT), architecture=(2, TEXT), variant=(3, TEXT))
_METRIC = Table(timestamp=(1, TIMESTAMP), id=(2, TEXT), data=(3, ANY))

# method -> its request and its response
METHODS = {
    "CreateSandbox": (Table(id=(1, TEXT), bundle=(2, TEXT), rootfs=(3, Many(MOUNT)), options=(4, ANY), netns=(5, TEXT),
                            annotations=(6, Many(PAIR))), EMPTY),
    "StartSandbox": (_ONE, Table(pid=(1, UNSIGNED), created_at=(2, TIMESTAMP), spec=(3, ANY))),
    "Platform": (_ONE, Table(platform=(1, _PLATFORM))),
    "StopSandbox": (Table(id=(1, TEXT), timeout=(2, UNSIGNED)), EMPTY),
    "WaitSandbox": (_ONE, Table(exit_status=(1, UNSIGNED), exited_at=(2, TIMESTAMP))),
    "SandboxStatus": (Table(id=(1, TEXT), verbose=(2, BOOL)), Table(
        id=(1, TEXT), pid=(2, UNSIGNED), state=(3, TEXT), info=(4, Many(PAIR)), created_at=(5, TIMESTAMP),
        exited_at=(6, TIMESTAMP), extra=(7, ANY))),
    "PingSandbox": (_ONE, EMPTY),
    "ShutdownSandbox": (_ONE, EMPTY),
    "SandboxMetrics": (_ONE, Table(metrics=(1, _METRIC))),
}

# The pod: what CreateSandbox has in its options.
POD_TYPE = "runtime.v1.PodSandboxConfig"
_DNS = Table(servers=(1, Many(TEXT)), searches=(2, Many(TEXT)), options=(3, Many(TEXT)))
_ID_MAPPING = Table(outside=(1, UNSIGNED), inside=(2, UNSIGNED), size=(3, UNSIGNED))
_USERS = Table(mode=(1, SIGNED), uids=(2, Many(_ID_MAPPING)), gids=(3, Many(_ID_MAPPING)))
NAMESPACES = Table(network=(1, SIGNED), pid=(2, SIGNED), ipc=(3, SIGNED), users=(5, _USERS))
SECURITY = Table(namespaces=(1, NAMESPACES))
LINUX = Table(cgroup_parent=(1, TEXT), security=(2, SECURITY), sysctls=(3, Many(PAIR)))
POD = Table(hostname=(2, TEXT), dns=(4, _DNS), linux=(8, LINUX))
# NamespaceMode; without a message for users, their namespace is the host's
OF_POD, OF_NODE = 0, 2
