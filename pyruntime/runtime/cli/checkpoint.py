"""``pyruntime checkpoint ID``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.main import RuntimeContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = (
    Flag("image-path", "str", "directory of the checkpoint's image files (default: ./checkpoint)", value="DIR"),
    Flag("work-path", "str", "directory for CRIU's log and statistics (default: the directory of --image-path)",
         value="DIR"),
    Flag("tcp-established", "bool", "allow open TCP connections"),
    Flag("ext-unix-sk", "bool", "allow external UNIX sockets"),
    Flag("shell-job", "bool", "allow shell jobs: a terminal from outside the container"),
    Flag("file-locks", "bool", "save and restore file locks"),
    Flag("manage-cgroups-mode", "str", "cgroups mode of CRIU: soft, full, strict or ignore (default: soft)",
         value="MODE"),
    Flag("empty-ns", "list", "create a namespace without restoring its contents; supported: network", value="KIND"),
    Flag("auto-dedup", "bool", "free pages of older memory images that the new image replaces"),
    Flag("lazy-pages", "bool", "transfer memory pages on first use (userfaultfd)"),
)
COMMAND = Command(
    "checkpoint", "[options] ID", "checkpoint a running container to disk", *FLAGS,
    Flag("parent-path", "str", "directory of an earlier --pre-dump, relative to --image-path", value="DIR"),
    Flag("leave-running", "bool", "leave the container running after the checkpoint"),
    Flag("tcp-skip-in-flight", "bool", "skip TCP connections that are not yet established"),
    Flag("link-remap", "bool", "link deleted files that are still open back into the filesystem"),
    Flag("status-fd", "int", "file descriptor that receives a zero byte when lazy pages are ready",
         default=-1),
    Flag("page-server", "str", "page server that receives the memory pages", value="ADDRESS:PORT"),
    Flag("pre-dump", "bool", "save only the memory, for a later --parent-path; leave the container running"),
    least=1, most=1,
    text="Requires CRIU 4.0 or later. The container is deleted after the checkpoint unless --leave-running is given.\n"
         "If the checkpoint fails, the container keeps running, and dump.log in --work-path has the details.\n\n"
         "   pyruntime checkpoint --image-path /var/lib/web.image web\n"
         "   pyruntime restore --image-path /var/lib/web.image --bundle /containers/web web")


def common(context: RuntimeContext, parsed: Parsed) -> dict[str, Any]:
    """The options that `checkpoint` and `restore` share."""
    names = [flag.name for flag in FLAGS]
    return {**{name.replace("-", "_"): parsed[name] for name in names}, "criu": context.criu,
            "rootless": context.rootless}


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Checkpoint the container."""
    # lazy: help and completion load every command's module
    from pyruntime.runtime.lifecycle.checkpoint import CheckpointRequest, checkpoint

    checkpoint(context.root, parsed.arguments[0], CheckpointRequest(
        parent_path=parsed["parent-path"], leave_running=parsed["leave-running"],
        tcp_skip_in_flight=parsed["tcp-skip-in-flight"], link_remap=parsed["link-remap"],
        status_fd=parsed["status-fd"], page_server=parsed["page-server"], pre_dump=parsed["pre-dump"],
        warn=LOG.warning, **common(context, parsed)))
    return 0
