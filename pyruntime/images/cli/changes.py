"""Options that set members of an image's configuration."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed

CHANGES = (
    Flag("entrypoint", "list", "a word of the entry point (repeatable)", value="WORD"),
    Flag("cmd", "list", "a word of the default arguments (repeatable)", value="WORD"),
    Flag("env", "list", "an environment variable", short="e", value="NAME=VALUE"),
    Flag("workdir", "str", "working directory", short="w", value="DIR"),
    Flag("user", "str", "whom the program runs as", short="u", value="USER[:GROUP]"),
    Flag("label", "list", "a label", short="l", value="NAME=VALUE"),
    Flag("expose", "list", "a port that the program listens on", value="PORT/PROTOCOL"),
    Flag("volume", "list", "a place of data", value="DIR"),
    Flag("stop-signal", "str", "what the program is to be stopped with", value="SIGNAL"),
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
