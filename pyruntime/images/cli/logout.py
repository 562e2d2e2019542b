"""``pyimage logout``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context

COMMAND = Command("logout", "[options] [REGISTRY]", "log out of a registry",
                  Flag("authfile", "str", "remove the credentials from FILE", value="FILE"),
                  Flag("all", "bool", "log out of all registries", short="a"), most=1)


def run(context: Context, parsed: Parsed) -> int:
    """Remove the credentials from the file or the helper of login."""
    import os  # lazy: only when the command runs

    from pyruntime.errors import UsageError
    from pyruntime.images.registry.login import logout, logout_all

    if parsed["all"]:
        places = logout_all(environ=os.environ, authfile=parsed["authfile"])
        out("".join(f"removed from {place}\n" for place in places))
        return 0
    registry = parsed.arguments[0] if parsed.arguments else "docker.io"
    places = logout(registry, environ=os.environ, authfile=parsed["authfile"])
    if not places:
        raise UsageError(f'not logged in to "{registry}"')
    out("".join(f"removed {registry} from {place}\n" for place in places))
    return 0
