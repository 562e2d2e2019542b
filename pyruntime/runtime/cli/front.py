"""Write the front's tables: ``python -m pyruntime.runtime.cli.front``, into native/front/life.h.

They are the instructions of life plans (plan/life.py), and the command lines that select their lists, as the commands
of this package define them.
"""

from __future__ import annotations

import sys

from pyruntime.commandline.parse import Command, Flag
from pyruntime.runtime.cli.main import GLOBAL, PROGRAM
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.foreground import FORWARDED
from pyruntime.runtime.lifecycle.store import SYSTEM_ROOT, UNCLAIMED
from pyruntime.runtime.plan import life
from pyruntime.runtime.plan.generate import header
from pyruntime.system.signals import SIGNALS

# Global options that the front accepts: they do not change the effect of a life plan.
PASSED = ("root", "log", "log-format", "systemd-cgroup")
# Options of `exec` that the front fills in, or carries out itself.
EXEC = {"cwd": "EXEC_CWD", "env": "EXEC_ENV", "user": "EXEC_USER", "detach": "EXEC_DETACH",
        "pid-file": "EXEC_PID_FILE", "process": "EXEC_PROCESS"}
STATUSES = ("CREATED", "RUNNING", "PAUSED", "STOPPED", "ALIVE", "ANY")


STRUCTS = """
struct flag {
	const char *name, *letter;
	int valued;
};
struct command {
	const char *name;
	int least, most, stop_at_argument;
};
struct form { /* command lines with this flag, or without any, select the list of the verb */
	const char *command;
	struct flag flag;
	const char *value;
	int sigkill;
	enum verb verb;
};
struct exec_flag {
	struct flag flag;
	enum { EXEC_CWD, EXEC_ENV, EXEC_USER, EXEC_DETACH, EXEC_PID_FILE, EXEC_PROCESS } role;
};
struct signal_name {
	const char *name;
	int number;
};
"""


def tables() -> str:
    """The text of native/front/life.h."""
    return "\n".join([
        header(life.LIFE, "pyruntime/runtime/plan/life.py", "front"),
        "enum status {", *(f"\t{name} = {getattr(life, name)}," for name in STATUSES), "};",
        "enum verb {", *(f"\tVERB_{name} = {number}," for name, number in life.NUMBERS.items()), "};", "",
        "enum source {", *(f"\tSOURCE_{name.upper()}," for name in life.SOURCES), "};",
        "/* Init's report before it executes its program: lifecycle/channel.py. */",
        f"#define REPORT_SIZE {channel.REPORT.size}",
        f"#define REPORT_EXEC {channel.EXEC}",
        f"#define REPORT_SYNC {channel.SYNC}",
        f"#define REPORT_CLONED {channel.CLONED}",
        f"#define EXEC_SLOTS {life.SLOTS}",
        f"#define FORWARDED {sum(1 << number - 1 for number in FORWARDED):#x}ull /* lifecycle/foreground.py */",
        f'#define DEFAULT_ROOT "{SYSTEM_ROOT}"',
        f"#define UNCLAIMED '{UNCLAIMED}' /* no ID starts with this: lifecycle/store.py */", STRUCTS,
        "#ifdef COMMAND_TABLES",
        "enum { " + ", ".join(f"GLOBAL_{_upper(name)}" for name in PASSED) + ", GLOBALS };",
        "static const struct flag global_flags[GLOBALS] = {",
        *(f"\t[GLOBAL_{_upper(name)}] = {_flag(GLOBAL, name)}," for name in PASSED), "};",
        "static const struct command commands[] = {",
        *map(_row, dict.fromkeys(verb.command for verb in life.VERBS.values())), "};",
        "static const struct form forms[] = {", *(_form(name, verb) for name, verb in life.VERBS.items()), "};",
        "static const struct exec_flag exec_flags[] = {",
        *(f'\t{{{_flag(_command("exec"), name)}, {role}}},' for name, role in EXEC.items()), "};",
        "static const struct signal_name signals[] = {",
        *(f'\t{{"{name}", {number}}},' for name, number in SIGNALS.items()), "};", "#endif", ""])


def _row(name: str) -> str:
    command = _command(name)
    most = 1 << 20 if command.most is None else command.most
    return f'\t{{"{name}", {command.least}, {most}, {int(command.stop_at_argument)}}},'


def _form(name: str, verb: life.Verb) -> str:
    flag = _flag(_command(verb.command), verb.flag) if verb.flag else "{0}"
    return f'\t{{"{verb.command}", {flag}, "{verb.value}", {int(verb.sigkill)}, VERB_{name}}},'


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _command(name: str) -> Command:
    command = PROGRAM.module(name).COMMAND
    assert isinstance(command, Command)
    return command


def _flag(command: Command, name: str) -> str:
    flag = command.flag(name)
    assert isinstance(flag, Flag), name
    return f'{{"{flag.name}", "{flag.short}", {int(not flag.switch)}}}'


if __name__ == "__main__":
    sys.stdout.write(tables())
