"""``pyimage login``."""

from __future__ import annotations

import sys

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, registries_of

COMMAND = Command("login", "[options] [REGISTRY]", "log in to a registry",
                  Flag("username", "str", "user name", short="u"),
                  Flag("password", "str", "password; visible to every user of the host", short="p"),
                  Flag("password-stdin", "bool", "read the password from standard input"),
                  Flag("get-login", "bool", "print the user who is logged in"),
                  *(flag for flag in REMOTE if flag.name != "creds"), most=1, text="""
The credentials are checked with the registry and then stored in the credential helper that is configured for
the registry, or in the file of --authfile, $REGISTRY_AUTH_FILE or containers/auth.json of the user. REGISTRY
defaults to docker.io.""")


def run(context: Context, parsed: Parsed) -> int:
    """Ask for missing credentials, check them with the registry, and store them."""
    from pyruntime.images.registry.login import login  # lazy: only when the command runs

    registry = parsed.arguments[0] if parsed.arguments else "docker.io"
    registries = registries_of(context, parsed)
    if parsed["get-login"]:
        found = registries.credentials.find(registry)
        if found is None:
            raise UsageError(f'not logged in to "{registry}"')
        out(f"{found.username}\n")
        return 0
    username = parsed["username"] or _ask("Username: ")
    if parsed["password-stdin"]:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = parsed["password"] or _ask_secretly()
    file = login(registry, username, password, settings=registries.settings, authfile=parsed["authfile"])
    out(f"logged in to {registry}; stored in {file}\n")
    return 0


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("standard input is not a terminal: give --username and --password-stdin")
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _ask_secretly() -> str:
    import getpass  # lazy: only when the command runs

    if not sys.stdin.isatty():
        raise UsageError("standard input is not a terminal: give --username and --password-stdin")
    return getpass.getpass("Password: ", stream=sys.stderr)
