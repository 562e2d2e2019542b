"""Control groups: one interface over v1, hybrid and v2 hosts.

``host`` reads what this machine has, ``paths`` and ``resources`` turn config.json into steps without touching
anything, ``perform`` carries those steps out in the parent, ``group`` is what later commands do with a container's
cgroup, ``stats`` its numbers, ``mounts`` the container's own view of it.
"""
