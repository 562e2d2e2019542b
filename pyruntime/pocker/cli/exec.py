"""``pocker exec CONTAINER COMMAND``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import PyruntimeError, StateError
from pyruntime.images.users import find_group, find_user
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.foreground import check_terminal, failure
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.container import find
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.pocker.events import of_container
from pyruntime.runtime.api import Runtime
from pyruntime.system.user_namespace import setgroups_denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def run(context: Context, parsed: Parsed) -> int:
    """Run the command."""
    container = find(context.places, parsed.arguments[0])
    record = container.read()
    name = record.name
    status = status_of(container)
    if status.word == PAUSED:
        raise StateError(f'container "{name}" is paused: `pocker unpause {name}`')
    if status.word != RUNNING:
        raise StateError(f'container "{name}" is not running: `pocker start {name}`')
    check_terminal(terminal=parsed["tty"], stdin=parsed["interactive"])
    options = {"env": _environment(parsed), "cwd": parsed["workdir"], "terminal": parsed["tty"]}
    if parsed["user"]:
        root = os.open(f"/proc/{status.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            user = find_user(parsed["user"], root)
            added = [find_group(text, root) for text in record.settings.group_add]
        except PyruntimeError as error:
            error.exit_code = 126   # Docker's exit status for a command that cannot be executed
            raise
        finally:
            os.close(root)
        # The groups of --user, not those of the container's user, which may be root.
        options |= {"user": f"{user.uid}:{user.gid}",
                    "groups": added if setgroups_denied() else [*user.groups, *added]}
    if parsed["privileged"]:
        from pyruntime.runtime.config.sections.process import CAPABILITIES
        options["capabilities"] = list(CAPABILITIES)
    exec_id, words = os.urandom(32).hex(), " ".join(parsed.arguments[1:])
    for action in ("exec_create", "exec_start"):
        of_container(context.places, record, f"{action}: {words}", execID=exec_id)
    try:
        result = _execute(Runtime(context.places.runtime), container.id, parsed, options)
    except PyruntimeError as error:
        error.exit_code = failure(error)
        raise
    if parsed["detach"]:
        return 0   # its exit status is not waited for
    of_container(context.places, record, "exec_die", execID=exec_id, exitCode=str(result))
    return result


def _environment(parsed: Parsed) -> list[str]:
    if not parsed["env"] and not parsed["env-file"]:
        return []
    from pyruntime.pocker.options.environment import environment

    return environment(parsed["env"], parsed["env-file"])


def _execute(runtime: Runtime, container_id: str, parsed: Parsed, options: dict[str, Any]) -> int:
    """Run the command with its streams; its exit status, or 0 for a detached command."""
    args = parsed.arguments[1:]
    if parsed["detach"] or parsed["tty"]:
        if parsed["detach"]:
            _leave_streams()
        return runtime.exec(container_id, args, detach=parsed["detach"], stdin=parsed["interactive"], **options)
    from pyruntime.pocker.containers.exec_streams import Piped

    pipes = Piped(stdin=parsed["interactive"])
    return pipes.wait(pipes.start(lambda: runtime.exec(container_id, args, detach=True, **options)))


def _leave_streams() -> None:
    """Detach the standard streams: a command in the background must not hold the caller's."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
