"""``pyruntime restore ID [BUNDLE]``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli import checkpoint
from pyruntime.runtime.cli.create import bundle_of
from pyruntime.runtime.cli.main import Context

COMMAND = Command(
    "restore", "[options] ID [BUNDLE]", "bring a container back from disk",
    Flag("bundle", "str", "directory that holds config.json; default: the working directory", short="b", value="DIR"),
    *checkpoint.FLAGS,
    Flag("console-socket", "str", "AF_UNIX socket that gets the terminal's master side", value="PATH"),
    Flag("detach", "bool", "return when the container runs", short="d"),
    Flag("pid-file", "str", "file to write init's pid to", value="PATH"),
    Flag("lsm-profile", "str", "label of the processes, instead of the image's", value="TYPE:NAME"),
    Flag("lsm-mount-context", "str", "SELinux context of the mounts, instead of the image's", value="CONTEXT"),
    Flag("no-pivot", "bool", "accepted, and without effect: CRIU enters the root filesystem"),
    Flag("no-subreaper", "bool", "do not become the parent of orphaned processes"),
    # containerd gives it here as well; the image itself knows its parent.
    Flag("parent-path", "str", "accepted, and without effect", value="DIR", hidden=True),
    least=1, most=2,
    text="The bundle has to be like the one of the container that was written: the same root filesystem, mounts and\n"
         "namespaces. The cgroup is new, with the limits of its config.json. In the foreground, signals and the\n"
         "terminal are forwarded and the program's exit status is returned; then the container is deleted.")


def run(context: Context, parsed: Parsed) -> int:
    """Bring the container back."""
    from pyruntime.runtime.lifecycle.restore import RestoreRequest, restore

    request = RestoreRequest(
        console_socket=parsed["console-socket"], pid_file=parsed["pid-file"], detached=parsed["detach"],
        lsm_profile=parsed["lsm-profile"], lsm_mount_context=parsed["lsm-mount-context"], warn=LOG.warning,
        cgroup_manager=context.cgroup_manager, debug=LOG.debug,
        **checkpoint.common(context, parsed))
    return restore(context.root, parsed.arguments[0], bundle_of(parsed), request, subreaper=not parsed["no-subreaper"])
