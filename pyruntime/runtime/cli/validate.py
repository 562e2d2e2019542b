"""``pyruntime validate [BUNDLE]``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import ConfigError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.config.lenient import forgive
from pyruntime.runtime.config.load import FILE, check_value, read_file
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.config.rules import warnings
from pyruntime.system.json import decode

COMMAND = Command("validate", "[options] [BUNDLE]", "check the config.json of a bundle",
                  Flag("strict", "bool", "refuse values that are otherwise accepted with a warning"), most=1,
                  text="Prints each violation with its place, the value, a remedy and the specification's section.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print errors and warnings; exit with 1 if there is an error."""
    try:
        return _check(parsed)
    except ConfigError as error:
        error.for_people = True
        raise


def _check(parsed: Parsed) -> int:
    bundle = os.path.abspath(parsed.arguments[0] if parsed.arguments else ".")
    value = decode(read_file(os.path.join(bundle, FILE), FILE), FILE)
    accepted, forgiven = forgive(value)
    problems = check_value(value, FILE) or forgiven if parsed["strict"] else check_value(accepted, FILE)
    if problems:
        raise ConfigError(FILE, problems)
    for problem in (*forgiven, *warnings(Node(accepted))):
        out(f"{FILE}: warning: {problem}\n")
    out(f"{os.path.join(bundle, FILE)}: valid\n")
    return 0
