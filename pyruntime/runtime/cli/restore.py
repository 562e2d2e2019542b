"""``pyruntime restore ID [BUNDLE]``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli import checkpoint
from pyruntime.runtime.cli.create import bundle_of
from pyruntime.runtime.cli.main import RuntimeContext

COMMAND = Command(
    "restore", "[options] ID [BUNDLE]", "restore a container from a checkpoint",
    Flag("bundle", "str", "path of the bundle directory (default: the working directory)", short="b", value="DIR"),
    *checkpoint.FLAGS,
    Flag("console-socket", "str", "AF_UNIX socket that receives the master end of the pseudoterminal", value="PATH"),
    Flag("detach", "bool", "run in the background: return when the container is running", short="d"),
    Flag("pid-file", "str", "write the process ID of the init process to PATH", value="PATH"),
    Flag("lsm-profile", "str", "LSM profile of the processes (default: as in the checkpoint)", value="TYPE:NAME"),
    Flag("lsm-mount-context", "str", "SELinux context of the mounts (default: as in the checkpoint)", value="CONTEXT"),
    Flag("no-pivot", "bool", "accepted for compatibility; has no effect"),
    Flag("no-subreaper", "bool", "do not become the parent of orphaned processes"),
    # containerd passes this option to restore, too; the image itself records its parent.
    Flag("parent-path", "str", "accepted for compatibility; has no effect", value="DIR", hidden=True),
    least=1, most=2,
    text="The bundle must have the same root filesystem, mounts and namespaces as the checkpointed container.\n"
         "A new cgroup is created with the limits of the bundle's config.json. Without --detach, signals and the\n"
         "terminal are forwarded, the container is deleted when its program exits, and the exit status is that of the\n"
         "program.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Restore the container."""
    # lazy: help and completion load every command's module
    from pyruntime.runtime.lifecycle.restore import RestoreRequest, restore

    request = RestoreRequest(
        console_socket=parsed["console-socket"], pid_file=parsed["pid-file"], detached=parsed["detach"],
        lsm_profile=parsed["lsm-profile"], lsm_mount_context=parsed["lsm-mount-context"], warn=LOG.warning,
        cgroup_manager=context.cgroup_manager, debug=LOG.debug,
        **checkpoint.common(context, parsed))
    request.create.command = True
    return restore(context.root, parsed.arguments[0], bundle_of(parsed), request, subreaper=not parsed["no-subreaper"])
