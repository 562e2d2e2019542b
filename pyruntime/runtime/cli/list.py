"""``pyruntime list``."""

from __future__ import annotations

import os

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.errors import NoSuchContainer, PyruntimeError, UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.status import document, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, identifiers
from pyruntime.system.json import encode

COMMAND = Command("list", "[options]", "list containers",
                  Flag("format", "str", "output format: table or json", short="f", default="table"),
                  Flag("quiet", "bool", "print only container IDs", short="q"), most=0)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the containers below the state directory, sorted by ID."""
    if parsed["format"] not in ("table", "json"):
        raise UsageError(f'invalid format option "{parsed["format"]}": write table or json')
    if context.root_given and not os.path.isdir(context.root):
        raise UsageError(f'--root "{context.root}": No such file or directory')
    rows = []
    for name in identifiers(context.root):
        container = StateDirectory(context.root, name)
        try:
            record = container.read()
            state = document(record, status_of(container, record))
            state["owner"] = _owner(container.directory)
        except (NoSuchContainer, FileNotFoundError):
            continue   # deleted meanwhile
        except PyruntimeError as error:   # a damaged container must not hide the others
            LOG.warning(str(error))
            continue
        rows.append(state)
    if parsed["quiet"]:
        out("".join(f"{row['id']}\n" for row in rows))
    elif parsed["format"] == "json":
        out((encode(rows) if rows else "null") + "\n")
    else:
        table = [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
        table += [[str(row[key]) for key in ("id", "pid", "status", "bundle", "created", "owner")] for row in rows]
        out(columns(table, least=12))
    return 0


def _owner(directory: str) -> str:
    import pwd  # lazy: only for containers that exist

    uid = os.stat(directory).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
