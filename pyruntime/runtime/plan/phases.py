"""The order of a plan, as data: steps are sorted by phase, and each phase states the reason for its position.

A phase is performed partly by the parent (actor ``host``), partly by the stub: before ``clone_init`` the stub is still
in the host's pid namespace (actor ``stub``); after it the steps are performed by the container's init process (actor
``init``).
"""

from __future__ import annotations

PHASES: dict[str, str] = {
    "cgroup": "first, so that limits exist before anything can be charged to them",
    "enter": "host paths are still reachable: OOM scores are adjusted, namespaces opened and joined",
    "sources": "sources that only the host's root can reach are opened before a user namespace takes that right away",
    "user": "before every other new namespace, so that the user namespace owns them and its root can set them up",
    "unshare": "the other namespaces; clone comes last because pid and time namespaces apply to children only",
    "isolate": "what later steps and hooks need in the new namespaces: session, loopback, names, cgroup view",
    "rootfs": "propagation is stopped before the first mount, which would otherwise appear on the host",
    "mounts": "in the order of config.json; sources still resolve in the host's tree because pivot_root comes later",
    "devices": "after the mounts: most configurations mount a tmpfs on /dev",
    "restrict": "covers paths of the mounts; before pivot_root, so that the cost is not charged to the container",
    "join": "late: memory of the set-up must not be charged to the container; before the hooks, which use the cgroup",
    "hooks": "runtime.md#lifecycle: after the environment has been created, before pivot_root",
    "pivot": "no path leads to the host after this; the root is made read-only after the hooks that may write to it",
    "view": "needs the container's own /dev/pts, /dev/console and network devices",
    "session": "if the pid namespace is shared, init enters it only now, when no descriptor of the host is open;"
               " and the terminal belongs to init's own session",
    "process": "after everything that needs privileges; failures here still fail `create`, not `start`",
    "created": "the runtime reports, and init waits for `start`",
    "start": "runtime.md#lifecycle: startContainer hooks come after `start`, before the program",
    "seal": "nothing but execve follows: labels and the filter need not allow our own set-up calls",
    "exec": "init becomes the container's program",
}

FIRST = next(iter(PHASES))   # performed by the parent only: the stub is started after it
ORDER: dict[str, int] = {name: number for number, name in enumerate(PHASES)}
