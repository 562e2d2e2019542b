"""``pyruntime exec ID COMMAND [ARGS]``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import PyruntimeError, UsageError, words
from pyruntime.runtime.cli.create import descriptors
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.exec import ExecRequest, execute
from pyruntime.runtime.lifecycle.replay import ASIDE

COMMAND = Command(
    "exec", "[options] ID COMMAND [ARGS] | --process FILE ID", "run a command in a running container",
    Flag("process", "str", "read the process object, as in config.json, from FILE", short="p", value="FILE"),
    Flag("cwd", "str", "working directory in the container", value="DIR"),
    Flag("env", "list", "set an environment variable", short="e", value="NAME=VALUE"),
    Flag("tty", "bool", "allocate a terminal", short="t"),
    Flag("user", "str", "user ID and group ID of the command", short="u", value="UID[:GID]"),
    Flag("additional-gids", "list", "add a supplementary group", short="g", value="GID"),
    Flag("detach", "bool", "run in the background: return when the command has started", short="d"),
    Flag("console-socket", "str", "AF_UNIX socket that receives the master end of the pseudoterminal", value="PATH"),
    Flag("pidfd-socket", "str", "AF_UNIX socket that receives a pidfd of the process", value="PATH"),
    Flag("pid-file", "str", "write the process ID of the command to PATH", value="PATH"),
    Flag("process-label", "str", "SELinux label of the process", value="LABEL"),
    Flag("apparmor", "str", "AppArmor profile of the process", value="PROFILE"),
    Flag("no-new-privs", "bool", "set no_new_privs: the process cannot gain privileges by execve"),
    Flag("cap", "list", "add a capability", short="c", value="CAP"),
    Flag("cgroup", "list", "run the process in an existing sub-cgroup of the container", value="[CONTROLLER:]PATH"),
    Flag("ignore-paused", "bool", "allow exec in a paused container; the command waits for `resume`"),
    Flag("preserve-fds", "int", "pass N additional file descriptors (3, 4, ...) to the command"),
    least=1, stop_at_argument=True,
    text="The command has the environment, user, capabilities and limits of the container's init process, unless\n"
         "options change them. Signals and the terminal are forwarded. The exit status is that of the command: 128+N\n"
         "when signal N killed the command; 255 when pyruntime itself fails.\n\n"
         "   pyruntime exec web ps\n"
         "   pyruntime exec --tty --user 1000:1000 --cwd /tmp web sh")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Run the command."""
    try:
        container_id, *args = parsed.arguments
        status = execute(context.root, container_id, _request(context, parsed, args))
    except PyruntimeError as error:
        error.exit_code = 255   # distinct from any exit status of the command
        raise
    except OSError as error:
        refused = PyruntimeError(words(error))
        refused.exit_code = 255
        raise refused from None
    return 0 if parsed["detach"] else status


def _request(context: RuntimeContext, parsed: Parsed, args: list[str]) -> ExecRequest:
    gids = []
    for text in parsed["additional-gids"]:
        if not (text.isascii() and text.isdecimal() and int(text) < (1 << 32) - 1):
            raise UsageError(f'--additional-gids "{text}": not a number')
        gids.append(int(text))
    options = {} if parsed["process"] else {
        "cwd": parsed["cwd"], "env": parsed["env"], "terminal": parsed["tty"], "user": parsed["user"], "gids": gids,
        "capabilities": parsed["cap"], "apparmor": parsed["apparmor"], "label": parsed["process-label"],
        "no_new_privs": parsed["no-new-privs"] if "no-new-privs" in parsed.given else None}
    return ExecRequest(
        args, process=parsed["process"], console_socket=parsed["console-socket"], pid_file=parsed["pid-file"],
        pidfd_socket=parsed["pidfd-socket"], preserve_fds=descriptors(parsed), cgroup=parsed["cgroup"],
        ignore_paused=parsed["ignore-paused"], detached=parsed["detach"], rootless=context.rootless, warn=LOG.warning,
        debug=LOG.debug, remember=context.rootless is None and parsed.given <= ASIDE, **options)
