"""The order of a plan, as data: steps are sorted by phase, and each phase says why it stands where it stands.

A phase runs partly in the parent (actor ``host``), partly in the stub: before ``clone_init`` the stub still stands in
the host's pid namespace (actor ``stub``), after it the steps are the container's init process (actor ``init``).
"""

from __future__ import annotations

PHASES: dict[str, str] = {
    "cgroup": "first, so that limits exist before anything can be charged to them",
    "enter": "host paths are still reachable: score adjustments are written, namespaces opened and joined",
    "sources": "sources that only the host's root may reach are opened before a user namespace takes that right away",
    "user": "before every other new namespace, so that they belong to the user namespace and its root may set them up",
    "unshare": "the other namespaces; the clone comes last because a pid or time namespace holds only for children",
    "isolate": "what later steps and hooks expect of the new namespaces: session, loopback, names, cgroup view",
    "rootfs": "propagation is cut before the first mount, or that mount would appear on the host",
    "mounts": "in the order of config.json; sources still resolve in the host's tree because pivot_root comes later",
    "devices": "after the mounts: most configurations mount a tmpfs on /dev",
    "restrict": "over whatever the mounts brought; still before pivot_root so that their cost is not the container's",
    "join": "late, so that memory of the set-up is not charged to the container; before the hooks, which look there",
    "hooks": "runtime.md#lifecycle: after the environment has been created, before pivot_root",
    "pivot": "from here on no path leads to the host; a read-only root comes after the hooks that may still add to it",
    "view": "needs the container's own /dev/pts, /dev/console and network devices",
    "session": "where the pid namespace is shared, init appears in it only now, with nothing of the host open any"
               " more; and the terminal belongs to init's own session",
    "process": "after everything that needs privileges; failures here still fail `create`, not `start`",
    "created": "the runtime reports, and init waits for `start`",
    "start": "runtime.md#lifecycle: startContainer hooks come after `start`, before the program",
    "seal": "nothing but execve follows: labels and the filter need not allow our own set-up calls",
    "exec": "the program takes over",
}

FIRST = next(iter(PHASES))   # the parent's alone: the stub is started after it
ORDER: dict[str, int] = {name: number for number, name in enumerate(PHASES)}
