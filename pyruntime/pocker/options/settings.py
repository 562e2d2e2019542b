"""What a container is asked to be: what the flags of `create` and `run` say, checked and spelled out.

Kept in the container's record, so that every start makes the same container. Values that the image decides stay empty
here; pyruntime.pocker.containers.runtime_config puts both together.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Settings:
    """The settings of one container; units are bytes, seconds and billionths of a CPU unless a name says otherwise."""

    FIELDS = (
        "args", "entrypoint", "env", "user", "workdir", "hostname", "domainname", "terminal", "stdin", "stop_signal",
        "stop_timeout", "init", "labels", "annotations", "cap_add", "cap_drop", "privileged", "security", "seccomp",
        "read_only", "userns", "ids", "ipc", "pid", "uts", "cgroupns", "group_add", "mounts", "volumes_from", "devices",
        "device_rules", "shm_size", "limits", "ulimits", "oom_score", "cgroup_parent", "sysctls", "networks", "ports",
        "publish_all", "expose", "dns", "dns_search", "dns_options", "hosts", "links", "restart", "restart_limit",
        "remove", "log_driver", "log_size", "log_files", "log_details", "health", "platform")

    def __init__(self, **values: Any) -> None:
        # The process.
        self.args: list[str] = []                    # instead of the image's Cmd
        self.entrypoint: list[str] | None = None     # instead of the image's Entrypoint, whose Cmd is dropped then
        self.env: list[str] = []                     # NAME=VALUE; the last one of a name counts
        self.user: str = ""
        self.workdir: str = ""
        self.hostname: str = ""                      # "": the short ID
        self.domainname: str = ""
        self.terminal: bool = False
        self.stdin: bool = False                     # kept open (-i)
        self.stop_signal: str = ""                   # "": the image's, or SIGTERM
        self.stop_timeout: int = 10
        self.init: bool = False
        self.labels: dict[str, str] = {}             # without the image's
        self.annotations: dict[str, str] = {}
        # What it may do.
        self.cap_add: list[str] = []                 # CAP_NAME, or ALL
        self.cap_drop: list[str] = []
        self.privileged: bool = False
        self.security: list[str] = []                # as --security-opt has it (pyruntime.pocker.options.security)
        self.seccomp: dict[str, Any] | None = None   # the profile of --security-opt seccomp=FILE, as it was then
        self.read_only: bool = False
        # Namespaces: "", host, private, container:ID; ipc also shareable and none, userns as namespaces.py says.
        self.userns: str = ""
        self.ids: dict[str, list[str]] = {}          # of a user namespace: lines of its maps, "uids" and "gids"
        self.ipc: str = ""
        self.pid: str = ""
        self.uts: str = ""
        self.cgroupns: str = ""
        self.group_add: list[str] = []               # names or numbers
        # Files.
        self.mounts: list[dict[str, Any]] = []       # see pyruntime.pocker.options.mounts
        self.volumes_from: list[str] = []            # CONTAINER[:ro]
        self.devices: list[str] = []                 # HOST[:PATH[:rwm]], or a CDI name
        self.device_rules: list[str] = []            # as the cgroup has them: "c 1:3 rwm"
        self.shm_size: int = 64 << 20
        # Limits: linux.resources of the runtime's configuration, without devices.
        self.limits: dict[str, Any] = {}
        self.ulimits: list[dict[str, Any]] = []      # process.rlimits
        self.oom_score: int | None = None
        self.cgroup_parent: str = ""
        self.sysctls: dict[str, str] = {}
        # The network: see pyruntime.networks.
        # networks   {"name", "ip", "ip6", "mac", "aliases"}: the last four "" or [] where they are not asked for; none,
        #            host and container:ID are names that stand alone; [] is the network called bridge
        # ports      {"host": address or "", "port", "last", "to", "protocol"}: port..last are those of the host that
        #            may be taken, the first free one is; 0 and 0: any. A range onto a range is an entry for each port
        # expose     "80/tcp"
        # hosts      NAME:ADDRESS, where ADDRESS may be host-gateway
        self.networks: list[dict[str, Any]] = []
        self.ports: list[dict[str, Any]] = []
        self.publish_all: bool = False
        self.expose: list[str] = []
        self.dns: list[str] = []
        self.dns_search: list[str] = []
        self.dns_options: list[str] = []
        self.hosts: list[str] = []
        self.links: dict[str, str] = {}              # another name for a container, which it alone is told -> its ID
        # Its life.
        self.restart: str = "no"                     # no, always, on-failure, unless-stopped
        self.restart_limit: int = 0                  # of on-failure; 0: none
        self.remove: bool = False                    # when it has ended, with its anonymous volumes
        self.log_driver: str = "file"                # or none
        self.log_size: int = 0                       # bytes before the log is rotated; 0: never
        self.log_files: int = 1
        self.log_details: dict[str, list[str]] = {}   # names of "labels" and of "env" that `logs --details` shows
        # {"test": ["CMD", ...] | ["CMD-SHELL", line] | ["NONE"], "interval", "timeout", "start_period",
        # "start_interval", "retries"}; what is missing the image says (`create` puts both together); {}: no check
        self.health: dict[str, Any] = {}
        self.platform: str = ""
        for name, value in values.items():
            assert name in self.FIELDS, name
            setattr(self, name, value)

    def document(self) -> dict[str, Any]:
        """As the container's record keeps it."""
        return {name: getattr(self, name) for name in self.FIELDS}
