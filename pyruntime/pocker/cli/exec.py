"""``pocker exec CONTAINER COMMAND``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import PyruntimeError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.foreground import check_terminal, failure
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.exec import ContainerExec

COMMAND = Command(
    "exec", "[options] CONTAINER COMMAND [ARGUMENT...]", "run a command in a running container",
    Flag("detach", "bool", "run the command in the background", short="d"),
    Flag("env", "list", "set an environment variable", short="e", value="NAME=VALUE"),
    Flag("env-file", "list", "read environment variables from FILE, one per line", value="FILE"),
    Flag("interactive", "bool", "keep standard input open", short="i"),
    LATEST_FLAG,
    Flag("privileged", "bool", "give the command all capabilities"),
    Flag("tty", "bool", "allocate a pseudo-terminal", short="t"),
    Flag("user", "str", "user and group to run as", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "working directory in the container", short="w", value="DIR"),
    least=2, stop_at_argument=True,
    text="The exit status is that of the command, 127 if the command is not found, and 126 if the\n"
         "command cannot be executed.\n\n"
         "Example:\n  pocker exec -it web sh")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Run the command."""
    execution = ContainerExec(context.find(parsed.arguments[0]), parsed.arguments[1:], env=_environment(parsed),
                          user=parsed["user"], workdir=parsed["workdir"], terminal=parsed["tty"],
                          privileged=parsed["privileged"])
    check_terminal(terminal=parsed["tty"], stdin=parsed["interactive"])
    execution.announce()
    try:
        status = _execute(execution, parsed)
    except PyruntimeError as error:
        error.exit_code = failure(error)
        raise
    if parsed["detach"]:
        return 0   # its exit status is not waited for
    execution.ended(status)
    return status


def _environment(parsed: Parsed) -> list[str]:
    if not parsed["env"] and not parsed["env-file"]:
        return []
    from pyruntime.pocker.options.environment import environment  # lazy: only with variables

    return environment(parsed["env"], parsed["env-file"])


def _execute(execution: ContainerExec, parsed: Parsed) -> int:
    """Run the command with its streams; its exit status, or its process ID with --detach."""
    if parsed["detach"] or parsed["tty"]:
        if parsed["detach"]:
            _leave_streams()
        return execution.run(detach=parsed["detach"], stdin=parsed["interactive"])
    from pyruntime.pocker.containers.exec_streams import Piped  # lazy: only without a terminal

    pipes = Piped(stdin=parsed["interactive"])
    return pipes.wait(pipes.start(lambda: execution.run(detach=True)))


def _leave_streams() -> None:
    """Detach the standard streams: a command in the background must not hold the caller's."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
