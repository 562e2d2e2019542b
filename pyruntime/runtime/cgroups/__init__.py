"""Control groups: one interface over v1, hybrid and v2 hosts.

``host`` reads which hierarchies the host has, ``paths`` and ``resources`` turn config.json into steps without I/O,
``perform`` performs these steps in the parent, ``group`` has the operations of later commands on a container's cgroup,
``stats`` its statistics, ``mounts`` the view of it inside the container.
"""
