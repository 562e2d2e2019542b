"""The messages of ttrpc, of the task service, of its events and of its statistics, with the numbers of their fields.

Spec: ttrpc's PROTOCOL.md; containerd's api/runtime/task/v3/shim.proto (v2 has the same messages),
api/events/task.proto, api/types/; stats of github.com/containerd/cgroups.
"""

from __future__ import annotations

from pyruntime.shim.protobuf import BOOL, BYTES, SIGNED, TEXT, UNSIGNED, Many, Table

ANY = Table(type_url=(1, TEXT), value=(2, BYTES))
TIMESTAMP = Table(seconds=(1, SIGNED), nanos=(2, SIGNED))
EMPTY = Table()
PAIR = Table(key=(1, TEXT), value=(2, TEXT))

# ttrpc
STATUS = Table(code=(1, SIGNED), message=(2, TEXT))
REQUEST = Table(service=(1, TEXT), method=(2, TEXT), payload=(3, BYTES), timeout=(4, SIGNED), metadata=(5, Many(PAIR)))
RESPONSE = Table(status=(1, STATUS), payload=(2, BYTES))

# containerd.task.v2 and v3
MOUNT = Table(type=(1, TEXT), source=(2, TEXT), target=(3, TEXT), options=(4, Many(TEXT)))
PROCESS_INFO = Table(pid=(1, UNSIGNED), info=(2, ANY))
PROCESS_DETAILS = Table(exec_id=(1, TEXT))
_ONE = Table(id=(1, TEXT))
_PROCESS = Table(id=(1, TEXT), exec_id=(2, TEXT))
_PID = Table(pid=(1, UNSIGNED))
_EXIT = Table(exit_status=(1, UNSIGNED), exited_at=(2, TIMESTAMP))
_DELETED = Table(pid=(1, UNSIGNED), exit_status=(2, UNSIGNED), exited_at=(3, TIMESTAMP))
CREATE = Table(id=(1, TEXT), bundle=(2, TEXT), rootfs=(3, Many(MOUNT)), terminal=(4, BOOL), stdin=(5, TEXT),
               stdout=(6, TEXT), stderr=(7, TEXT), checkpoint=(8, TEXT), parent_checkpoint=(9, TEXT), options=(10, ANY))
EXEC = Table(id=(1, TEXT), exec_id=(2, TEXT), terminal=(3, BOOL), stdin=(4, TEXT), stdout=(5, TEXT), stderr=(6, TEXT),
             spec=(7, ANY))
STATE = Table(id=(1, TEXT), bundle=(2, TEXT), pid=(3, UNSIGNED), status=(4, SIGNED), stdin=(5, TEXT), stdout=(6, TEXT),
              stderr=(7, TEXT), terminal=(8, BOOL), exit_status=(9, UNSIGNED), exited_at=(10, TIMESTAMP),
              exec_id=(11, TEXT))

# method -> its request and its response
METHODS = {
    "Create": (CREATE, _PID),
    "Start": (_PROCESS, _PID),
    "Exec": (EXEC, EMPTY),
    "State": (_PROCESS, STATE),
    "Wait": (_PROCESS, _EXIT),
    "Kill": (Table(id=(1, TEXT), exec_id=(2, TEXT), signal=(3, UNSIGNED), all=(4, BOOL)), EMPTY),
    "Delete": (_PROCESS, _DELETED),
    "Pids": (_ONE, Table(processes=(1, Many(PROCESS_INFO)))),
    "Pause": (_ONE, EMPTY),
    "Resume": (_ONE, EMPTY),
    "Checkpoint": (Table(id=(1, TEXT), path=(2, TEXT), options=(3, ANY)), EMPTY),
    "Update": (Table(id=(1, TEXT), resources=(2, ANY), annotations=(3, Many(PAIR))), EMPTY),
    "ResizePty": (Table(id=(1, TEXT), exec_id=(2, TEXT), width=(3, UNSIGNED), height=(4, UNSIGNED)), EMPTY),
    "CloseIO": (Table(id=(1, TEXT), exec_id=(2, TEXT), stdin=(3, BOOL)), EMPTY),
    "Stats": (_ONE, Table(stats=(1, ANY))),
    "Connect": (_ONE, Table(shim_pid=(1, UNSIGNED), task_pid=(2, UNSIGNED), version=(3, TEXT))),
    "Shutdown": (Table(id=(1, TEXT), now=(2, BOOL)), EMPTY),
}

# Options of `create` (api/types/runc/options/oci.proto) and of `checkpoint`.
OPTIONS_TYPE = "containerd.runc.v1.Options"
OPTIONS = Table(no_pivot_root=(1, BOOL), no_new_keyring=(2, BOOL), shim_cgroup=(3, TEXT), io_uid=(4, UNSIGNED),
                io_gid=(5, UNSIGNED), binary_name=(6, TEXT), root=(7, TEXT), criu_path=(8, TEXT),
                systemd_cgroup=(9, BOOL), criu_image_path=(10, TEXT), criu_work_path=(11, TEXT))
# What CRI sends to runtimes of other types (api/types/runtimeoptions/v1/api.proto): TOML, with runc's names.
TOML_TYPE = "runtimeoptions.v1.Options"
TOML_OPTIONS = Table(type_url=(1, TEXT), config_path=(2, TEXT), config_body=(3, BYTES))
CHECKPOINT_OPTIONS = Table(exit=(1, BOOL), open_tcp=(2, BOOL), external_unix=(3, BOOL), terminal=(4, BOOL),
                           file_locks=(5, BOOL), empty_namespaces=(6, Many(TEXT)), cgroups_mode=(7, TEXT),
                           image_path=(8, TEXT), work_path=(9, TEXT), parent_path=(10, TEXT))

# Events (api/events/task.proto), by topic: the name of the message and its fields.
ENVELOPE = Table(timestamp=(1, TIMESTAMP), namespace=(2, TEXT), topic=(3, TEXT), event=(4, ANY))
FORWARD = Table(envelope=(1, ENVELOPE))
_IO = Table(stdin=(1, TEXT), stdout=(2, TEXT), stderr=(3, TEXT), terminal=(4, BOOL))
_CONTAINER = Table(container_id=(1, TEXT))
EVENTS = {
    "/tasks/create": ("TaskCreate", Table(
        container_id=(1, TEXT), bundle=(2, TEXT), rootfs=(3, Many(MOUNT)), io=(4, _IO), checkpoint=(5, TEXT),
        pid=(6, UNSIGNED))),
    "/tasks/start": ("TaskStart", Table(container_id=(1, TEXT), pid=(2, UNSIGNED))),
    "/tasks/exit": ("TaskExit", Table(container_id=(1, TEXT), id=(2, TEXT), pid=(3, UNSIGNED),
                                      exit_status=(4, UNSIGNED), exited_at=(5, TIMESTAMP))),
    "/tasks/delete": ("TaskDelete", Table(container_id=(1, TEXT), pid=(2, UNSIGNED), exit_status=(3, UNSIGNED),
                                          exited_at=(4, TIMESTAMP), id=(5, TEXT))),
    "/tasks/exec-added": ("TaskExecAdded", Table(container_id=(1, TEXT), exec_id=(2, TEXT))),
    "/tasks/exec-started": ("TaskExecStarted", Table(container_id=(1, TEXT), exec_id=(2, TEXT), pid=(3, UNSIGNED))),
    "/tasks/paused": ("TaskPaused", _CONTAINER),
    "/tasks/resumed": ("TaskResumed", _CONTAINER),
    "/tasks/oom": ("TaskOOM", _CONTAINER),
    "/tasks/checkpointed": ("TaskCheckpointed", Table(container_id=(1, TEXT), checkpoint=(2, TEXT))),
}

# -info (api/types/introspection.proto)
_VERSION = Table(version=(1, TEXT), revision=(2, TEXT))
RUNTIME_INFO = Table(name=(1, TEXT), version=(2, _VERSION), options=(3, ANY), features=(4, ANY))


def _numbers(*names: str) -> dict[str, tuple[int, str]]:
    return {name: (number, UNSIGNED) for number, name in enumerate(names, 1)}


# io.containerd.cgroups.v1.Metrics
_OF_MEMORY = ("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault",
              "pgmajfault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable")
MEMORY_STAT_1 = (*_OF_MEMORY, "hierarchical_memory_limit", "hierarchical_memsw_limit",
                 *(f"total_{name}" for name in _OF_MEMORY))   # the kernel's names, in the order of the numbers 1 to 32
_USAGE_1 = Table(**_numbers("limit", "usage", "max", "failcnt"))
_BLKIO_ENTRY = Table(op=(1, TEXT), device=(2, TEXT), major=(3, UNSIGNED), minor=(4, UNSIGNED), value=(5, UNSIGNED))
BLKIO = ("ioServiceBytesRecursive", "ioServicedRecursive", "ioQueueRecursive", "ioServiceTimeRecursive",
         "ioWaitTimeRecursive", "ioMergedRecursive", "ioTimeRecursive", "sectorsRecursive")   # numbers 1 to 8
METRICS_1 = Table(
    hugetlb=(1, Many(Table(usage=(1, UNSIGNED), max=(2, UNSIGNED), failcnt=(3, UNSIGNED), pagesize=(4, TEXT)))),
    pids=(2, Table(**_numbers("current", "limit"))),
    cpu=(3, Table(usage=(1, Table(**_numbers("total", "kernel", "user"), percpu=(4, Many(UNSIGNED)))),
                  throttling=(2, Table(**_numbers("periods", "throttledPeriods", "throttledTime"))))),
    memory=(4, Table(**_numbers(*MEMORY_STAT_1), usage=(33, _USAGE_1), swap=(34, _USAGE_1),
                     kernel=(35, _USAGE_1), kernelTCP=(36, _USAGE_1))),
    blkio=(5, Table(**{name: (number, Many(_BLKIO_ENTRY)) for number, name in enumerate(BLKIO, 1)})),
    memory_oom_control=(9, Table(**_numbers("oom_kill_disable", "under_oom", "oom_kill"))))

# io.containerd.cgroups.v2.Metrics; the names of memory.stat, from number 1 on
MEMORY_STAT_2 = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
    "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable",
    "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault", "workingset_activate",
    "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree",
    "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc")
METRICS_2 = Table(
    pids=(1, Table(**_numbers("current", "limit"))),
    cpu=(2, Table(**_numbers("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled",
                             "throttled_usec"))),
    memory=(4, Table(**_numbers(*MEMORY_STAT_2, "usage", "usage_limit", "swap_usage", "swap_limit"))),
    io=(6, Table(usage=(1, Many(Table(**_numbers("major", "minor", "rbytes", "wbytes", "rios", "wios")))))),
    hugetlb=(7, Many(Table(current=(1, UNSIGNED), max=(2, UNSIGNED), pagesize=(3, TEXT)))),
    memory_events=(8, Table(**_numbers("low", "high", "max", "oom", "oom_kill"))))


def moment(nanoseconds: int) -> dict[str, int] | None:
    """A Timestamp; none for 0."""
    seconds, nanos = divmod(nanoseconds, 10**9)
    return {"seconds": seconds, "nanos": nanos} if nanoseconds else None
