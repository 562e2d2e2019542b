"""The flags of `create` and `run`, and the settings that they stand for."""

from __future__ import annotations

from pyruntime.cli.parse import Flag, Parsed
from pyruntime.engine.settings import Settings

FLAGS = (
    Flag("entrypoint", "str", "program instead of the image's entrypoint", value="PROGRAM"),
    Flag("env", "list", "set a variable of the environment", short="e", value="NAME=VALUE"),
    Flag("hostname", "str", "host name of the container", short="h", value="NAME"),
    Flag("interactive", "bool", "keep the standard input open", short="i"),
    Flag("name", "str", "name of the container", value="NAME"),
    Flag("network", "list", "network to join: a name, none, host, container:ID", value="NETWORK"),
    Flag("restart", "str", "when to start it again: no, on-failure[:N], always, unless-stopped", default="no"),
    Flag("rm", "bool", "remove the container when it has ended"),
    Flag("tty", "bool", "give it a terminal", short="t"),
    Flag("user", "str", "user, and group, to run as", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "working directory", short="w", value="DIR"),
)


def settings_of(parsed: Parsed) -> Settings:
    """What the flags and the words after the image say. Raises UsageError."""
    settings = Settings()
    settings.args = parsed.arguments[1:]
    if "entrypoint" in parsed.given:
        settings.entrypoint = [parsed["entrypoint"]] if parsed["entrypoint"] else []
    settings.env = parsed["env"]
    settings.hostname = parsed["hostname"]
    settings.stdin = parsed["interactive"]
    settings.terminal = parsed["tty"]
    settings.user = parsed["user"]
    settings.workdir = parsed["workdir"]
    settings.remove = parsed["rm"]
    settings.restart = parsed["restart"]
    return settings
