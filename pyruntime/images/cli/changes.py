"""Options that set members of an image's configuration."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed

CHANGES = (
    Flag("entrypoint", "list", "set a word of the entrypoint (repeatable)", value="WORD"),
    Flag("cmd", "list", "set a word of the default arguments (repeatable)", value="WORD"),
    Flag("env", "list", "set an environment variable", short="e", value="NAME=VALUE"),
    Flag("workdir", "str", "set the working directory", short="w", value="DIR"),
    Flag("user", "str", "set the user that the program runs as", short="u", value="USER[:GROUP]"),
    Flag("label", "list", "set a label", short="l", value="NAME=VALUE"),
    Flag("expose", "list", "expose a port", value="PORT/PROTOCOL"),
    Flag("volume", "list", "declare a volume", value="DIR"),
    Flag("stop-signal", "str", "set the signal that stops the container", value="SIGNAL"),
)
# Option -> member of the configuration
_TEXTS = {"workdir": "WorkingDir", "user": "User", "stop-signal": "StopSignal"}
_LISTS = {"entrypoint": "Entrypoint", "cmd": "Cmd", "env": "Env"}
_SETS = {"expose": "ExposedPorts", "volume": "Volumes"}


def changes(parsed: Parsed) -> dict[str, object]:
    """The members of the configuration that the options set."""
    found: dict[str, object] = {member: parsed[flag] for flag, member in (_TEXTS | _LISTS).items() if parsed[flag]}
    found |= {member: {item: {} for item in parsed[flag]} for flag, member in _SETS.items() if parsed[flag]}
    if parsed["label"]:
        found["Labels"] = {text.partition("=")[0]: text.partition("=")[2] for text in parsed["label"]}
    return found
