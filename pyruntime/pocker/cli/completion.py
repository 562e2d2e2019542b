"""``pocker completion``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.main import PROGRAM, PockerContext

COMMAND = Command("completion", "bash|zsh|fish", "print the completion script for a shell", least=1, most=1, text="""
For bash: `. <(pocker completion bash)`, or save the script as
/usr/share/bash-completion/completions/pocker.

Example:
  pocker completion zsh >"${fpath[1]}/_pocker\"""")
_CONTAINERS = "ps -a --format '{{.Names}}'"
_IMAGES = "images --format '{{.Repository}}:{{.Tag}}'"
_NETWORKS = "network ls --format '{{.Name}}'"
_VOLUMES = "volume ls -q"
_OF_CONTAINERS = ["attach", "commit", "cp", "diff", "exec", "export", "inspect", "kill", "logs", "pause", "port",
                  "rename", "restart", "rm", "start", "stats", "stop", "top", "unpause", "update", "wait"]
_OF_IMAGES = ["history", "push", "run", "create", "rmi", "save", "tag"]
# Their arguments may be files, too.
_WITH_FILES = [f"{group}{name}" for group in ("", "container ") for name in ("cp", "create", "exec", "run")]


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the script."""
    from pyruntime.commandline.completion import Names, script  # lazy: only for `completion`

    names = (
        Names([*(name for name in _OF_CONTAINERS if name != "inspect"),
               *(f"container {name}" for name in _OF_CONTAINERS)], _CONTAINERS, files=_WITH_FILES),
        Names([*_OF_IMAGES, "image inspect", *(f"image {name}" for name in (
            "history", "push", "rm", "save", "tag")), "container run", "container create"], _IMAGES, files=_WITH_FILES),
        Names(["network inspect", "network rm"], _NETWORKS),
        Names(["network connect", "network disconnect"], _NETWORKS, _CONTAINERS),
        Names(["volume inspect", "volume rm"], _VOLUMES),
        Names(["inspect"], _CONTAINERS, _IMAGES, _NETWORKS, _VOLUMES))
    out(script(PROGRAM, parsed.arguments[0], names))
    return 0
