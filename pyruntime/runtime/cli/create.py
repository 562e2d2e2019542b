"""``pyruntime create ID [BUNDLE]``."""

from __future__ import annotations

import os

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.activation import handed_over
from pyruntime.runtime.lifecycle.create import Request, create

FLAGS = (
    Flag("bundle", "str", "path of the bundle directory (default: the working directory)", short="b", value="DIR"),
    Flag("config", "str", "read FILE instead of the bundle's config.json", value="FILE"),
    Flag("console-socket", "str", "AF_UNIX socket that receives the master end of the pseudoterminal", value="PATH"),
    Flag("pidfd-socket", "str", "AF_UNIX socket that receives a pidfd of the init process", value="PATH"),
    Flag("pid-file", "str", "write the process ID of the init process to PATH", value="PATH"),
    Flag("no-pivot", "bool", "do not use pivot_root; for a root filesystem on a ramdisk"),
    Flag("no-new-keyring", "bool", "do not create a new session keyring for the container"),
    Flag("preserve-fds", "int", "pass N additional file descriptors (3, 4, ...) to the container"),
)
COMMAND = Command(
    "create", "[options] ID [BUNDLE]", "create a container", *FLAGS, least=1, most=2,
    text="Sets up the container as config.json describes. The container's program does not run until `start`.\n\n"
         "   pyruntime create web /containers/web && pyruntime start web\n\n"
         "Sockets of a service manager (LISTEN_FDS, LISTEN_PID) are passed to the container before the descriptors of\n"
         "--preserve-fds. If NOTIFY_SOCKET is set, the program can report to the service manager that it is ready\n"
         "(sd_notify(3)), and `start` waits for that report.")


def bundle_of(parsed: Parsed) -> str:
    """The bundle: the second argument, or --bundle, or the working directory."""
    if len(parsed.arguments) > 1:
        if parsed["bundle"]:
            raise UsageError("the bundle is given twice: as an argument and by --bundle")
        return str(parsed.arguments[1])
    return str(parsed["bundle"] or ".")


def descriptors(parsed: Parsed) -> int:
    """The number of descriptors to pass to the container."""
    count: int = parsed["preserve-fds"]
    if count < 0 or count > 256:
        raise UsageError(f'invalid value "{count}" for --preserve-fds: write a number up to 256')
    return count


def request_of(context: RuntimeContext, parsed: Parsed) -> Request:
    """The request that the flags describe."""
    listen, variables = handed_over(os.environ, os.getpid())
    return Request(command=True, console_socket=parsed["console-socket"], pid_file=parsed["pid-file"],
                   pidfd_socket=parsed["pidfd-socket"], pivot=not parsed["no-pivot"],
                   new_keyring=not parsed["no-new-keyring"], preserve_fds=descriptors(parsed),
                   rootless=context.rootless, cgroup_manager=context.cgroup_manager, config_file=parsed["config"],
                   notify=os.environ.get("NOTIFY_SOCKET", ""), listen=listen, variables=variables, warn=LOG.warning,
                   debug=LOG.debug)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Create the container."""
    create(context.root, parsed.arguments[0], bundle_of(parsed), request_of(context, parsed))
    return 0
