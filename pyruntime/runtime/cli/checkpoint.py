"""``pyruntime checkpoint ID``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = (
    Flag("image-path", "str", 'directory of the image; default: "checkpoint" in the working directory', value="DIR"),
    Flag("work-path", "str", "directory for CRIU's log and statistics; default: the image's", value="DIR"),
    Flag("tcp-established", "bool", "allow open TCP connections"),
    Flag("ext-unix-sk", "bool", "allow UNIX sockets that are connected to the outside"),
    Flag("shell-job", "bool", "allow a terminal that is not the container's own"),
    Flag("file-locks", "bool", "keep file locks"),
    Flag("manage-cgroups-mode", "str", "what CRIU does about cgroups: soft (default), full, strict or ignore",
         value="MODE"),
    Flag("empty-ns", "list", "leave out what a namespace holds; CRIU knows network", value="KIND"),
    Flag("auto-dedup", "bool", "give memory that was written anew back to the disk that holds older images"),
    Flag("lazy-pages", "bool", "hand over memory when it is used first (userfaultfd)"),
)
COMMAND = Command(
    "checkpoint", "[options] ID", "write a running container to disk", *FLAGS,
    Flag("parent-path", "str", "earlier image of --pre-dump, relative to --image-path", value="DIR"),
    Flag("leave-running", "bool", "let the container go on afterwards"),
    Flag("tcp-skip-in-flight", "bool", "leave out TCP connections that are not established yet"),
    Flag("link-remap", "bool", "keep files that are open and deleted, by a link of their own"),
    Flag("status-fd", "int", "descriptor that gets a zero byte when the lazy page server listens", default=-1),
    Flag("page-server", "str", "page server that takes the memory", value="ADDRESS:PORT"),
    Flag("pre-dump", "bool", "only write the memory, and let the container go on; --parent-path builds on it"),
    least=1, most=1,
    text="CRIU 4.0 or later has to be installed. Unless --leave-running is given, the container is deleted when it\n"
         "has been written. When something fails it goes on as before, and dump.log in --work-path says more.\n\n"
         "   pyruntime checkpoint --image-path /var/lib/web.image web\n"
         "   pyruntime restore --image-path /var/lib/web.image --bundle /containers/web web")


def common(context: Context, parsed: Parsed) -> dict[str, Any]:
    """What the flags that `restore` has, too, ask for."""
    names = [flag.name for flag in FLAGS]
    return {**{name.replace("-", "_"): parsed[name] for name in names}, "criu": context.criu,
            "rootless": context.rootless}


def run(context: Context, parsed: Parsed) -> int:
    """Write the container to disk."""
    from pyruntime.runtime.lifecycle.checkpoint import CheckpointRequest, checkpoint

    checkpoint(context.root, parsed.arguments[0], CheckpointRequest(
        parent_path=parsed["parent-path"], leave_running=parsed["leave-running"],
        tcp_skip_in_flight=parsed["tcp-skip-in-flight"], link_remap=parsed["link-remap"],
        status_fd=parsed["status-fd"], page_server=parsed["page-server"], pre_dump=parsed["pre-dump"],
        warn=LOG.warning, **common(context, parsed)))
    return 0
