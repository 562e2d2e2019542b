"""process: user, program, working directory and limits.

Spec:  config.md#process, #posix-process, #linux-process, #user
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.text import GUESSES, list_error, nearest, shown
from pyruntime.system.uapi import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node

_SPEC = "config.md#process"
_POSIX = "config.md#posix-process"
_LINUX = "config.md#linux-process"

RLIMITS = (
    "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING", "RLIMIT_STACK",
)  # fmt: skip

_KNOWN_CAPABILITIES = frozenset(ALL_CAPABILITIES)


def problems(process: Node, platform: str) -> Iterator[Problem]:
    yield from _program(process, platform)
    yield from env_problems(process["env"], _SPEC)
    if process.get("terminal"):
        yield from _console(process["consoleSize"])
    if platform == "windows":
        return
    yield from _user(process["user"])
    yield from _rlimits(process["rlimits"], platform)
    if platform == "linux":
        yield from _scheduler(process["scheduler"])
        for node in (process["execCPUAffinity.initial"], process["execCPUAffinity.final"]):
            error = list_error(node.or_(""))
            if error:
                yield Problem(node.where, error, 'write for example "0-3,7"', _LINUX)


def _program(process: Node, platform: str) -> Iterator[Problem]:
    args = process["args"]
    windows = platform == "windows"
    if not args.value:
        if not (windows and process.get("commandLine")):
            remedy = "name the program to run" + (", or write a commandLine" if windows else ', for example ["sh"]')
            yield Problem(args.where, "args must not be empty", remedy, _SPEC)
    elif not args.value[0]:
        yield Problem(f"{args.where}[0]", 'the program\'s name is ""', "name the program to run", _SPEC)
    cwd = process.get("cwd")
    if not cwd:
        yield Problem(process["cwd"].where, "Cwd property must not be empty", 'write "/"', _SPEC)
    elif not (windows_path(cwd) if windows else cwd[0] == "/"):
        remedy = "write a drive and a path" if windows else f"write {shown('/' + cwd)}"
        yield Problem(process["cwd"].where, f"Cwd must be an absolute path, and {shown(cwd)} is not", remedy, _SPEC)


def windows_path(path: str) -> bool:
    """Whether ``path`` is absolute on Windows: C:\\x, C:/x or \\\\server\\x."""
    return path[1:3] in (":\\", ":/") or path[:2] == "\\\\"


def env_problems(env: Node, spec: str) -> Iterator[Problem]:
    """Entries that are not valid in environ(7). Hooks have entries of the same form."""
    for index, entry in enumerate(env.or_(())):
        if entry.find("=") < 1:
            remedy = f"write {shown(entry + '=value')}" if entry and entry[0] != "=" else "write NAME=value"
            yield Problem(f"{env.where}[{index}]", f"{shown(entry)} is not of the form NAME=value", remedy, spec)


def _console(size: Node) -> Iterator[Problem]:
    for side in ("height", "width"):
        cells = size.get(side, 0)
        if cells > 65535:
            yield Problem(size[side].where, f"{cells} is above 65535", "write the terminal's size in characters", _SPEC)


def _user(user: Node) -> Iterator[Problem]:
    for kind in ("uid", "gid"):
        if user and not user[kind]:
            yield Problem(user[kind].where, "is missing", f'add "{kind}": 0', "config.md#posix-platform-user")


def _rlimits(rlimits: Node, platform: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(rlimits.or_(())):
        where = f"{rlimits.where}[{index}]"
        kind = entry["type"]
        if platform == "linux" and kind not in RLIMITS:
            guess = nearest(kind, RLIMITS) if index < GUESSES else ""
            remedy = f'write "{guess}", if that is what you mean' if guess else "write a name from getrlimit(2)"
            yield Problem(f"{where}.type", f"wrong rlimit value: {kind}", remedy, _POSIX)
        if kind in seen:
            what = f'"{kind}" is already set in {rlimits.where}[{seen[kind]}]'
            yield Problem(f"{where}.type", what, "remove one of them", _POSIX)
        seen[kind] = index
        if entry["soft"] > entry["hard"]:
            what = f"{entry['soft']} is above the hard limit, {entry['hard']}"
            yield Problem(f"{where}.soft", what, "lower the soft limit, or raise the hard one", _POSIX)


def _scheduler(scheduler: Node) -> Iterator[Problem]:
    if not scheduler:
        return
    policy = scheduler.value["policy"]
    nice, priority = scheduler.get("nice", 0), scheduler.get("priority", 0)
    realtime = policy in ("SCHED_FIFO", "SCHED_RR")
    if not -20 <= nice <= 19:
        what = f"invalid scheduler.nice: {nice} when specified should be between -20 to 19"
        yield Problem(scheduler["nice"].where, what, "write a number from -20 to 19", _LINUX)
    if priority and not realtime:
        what = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy"
        yield Problem(scheduler["priority"].where, what, "remove it", _LINUX)
    elif realtime and not 1 <= priority <= 99:
        what = f'{priority} is not a valid priority of policy "{policy}"'
        yield Problem(scheduler["priority"].where, what, "write a number from 1 to 99", _LINUX)
    if policy == "SCHED_DEADLINE":
        yield from _deadline(scheduler)
    else:
        for field in ("runtime", "deadline", "period"):
            if scheduler.get(field):
                what = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy"
                yield Problem(scheduler[field].where, what, "remove it", _LINUX)
    for flag in scheduler["flags"].each():
        if flag.value in ("SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN") and policy != "SCHED_DEADLINE":
            what = f'"{flag.value}" can only be specified for policy "SCHED_DEADLINE"'
            yield Problem(flag.where, what, "remove it", _LINUX)


def _deadline(scheduler: Node) -> Iterator[Problem]:
    """sched_setattr(2): 1024 <= runtime <= deadline <= period, where a period of 0 means the deadline."""
    runtime, deadline = scheduler.get("runtime", 0), scheduler.get("deadline", 0)
    period = scheduler.get("period", 0) or deadline
    if runtime < 1024:
        yield Problem(scheduler["runtime"].where, f"{runtime} is below 1024 nanoseconds", "raise it", _LINUX)
    if deadline < runtime or not deadline:
        what = f"{deadline} is below the runtime, {runtime}"
        yield Problem(scheduler["deadline"].where, what, "write runtime <= deadline <= period", _LINUX)
    if period < deadline:
        what = f"{period} is below the deadline, {deadline}"
        yield Problem(scheduler["period"].where, what, "write runtime <= deadline <= period", _LINUX)


def warnings(process: Node) -> Iterator[Problem]:
    """Capabilities that cannot be granted: the specification requires only a warning."""
    capabilities = process["capabilities"]
    if not capabilities:
        return
    sets = {name: frozenset(node.or_(())) for name, node in capabilities.items()}
    known = _KNOWN_CAPABILITIES
    for name, node in capabilities.items():
        if name in ("bounding", "effective", "inheritable", "permitted", "ambient") and not sets[name] <= known:
            for index, item in enumerate(node.each()):
                if item.value not in known:
                    guess = nearest(item.value, ALL_CAPABILITIES) if index < GUESSES else ""
                    remedy = f'write "{guess}", if that is what you mean' if guess else "remove it"
                    yield Problem(item.where, f"{shown(item.value)} is not a capability, ignored", remedy, _LINUX)
    for name, needed in (("effective", "permitted"), ("ambient", "permitted"), ("ambient", "inheritable")):
        lacking = sets.get(name, frozenset()) & known - sets.get(needed, frozenset())
        if lacking:
            listed = ", ".join(sorted(lacking))
            if name == "ambient":
                what = f"can't raise ambient capability {listed}: it is not {needed}, ignored"
            else:
                what = f"{listed} cannot be {name} without being {needed}, ignored"
            remedy = f"add to {capabilities.where}.{needed}, or remove here"
            yield Problem(f"{capabilities.where}.{name}", what, remedy, _LINUX)
