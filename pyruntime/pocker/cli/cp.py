"""``pocker cp SOURCE TARGET``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import say
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers import copy as copying
from pyruntime.pocker.containers.copy_tree import write_all
from pyruntime.pocker.events import of_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Container, ContainerRecord

COMMAND = Command(
    "cp", "[options] CONTAINER:PATH PATH|-  or  PATH|- CONTAINER:PATH",
    "copy files between a container and the host",
    Flag("archive", "bool", "archive mode: keep owners; from a container also set-user-ID bits, capabilities, devices",
         short="a"),
    Flag("follow-link", "bool", "follow a symbolic link at the end of the source path", short="L"),
    Flag("quiet", "bool", "suppress the message about the copied size", short="q"), least=2, most=2,
    text="The container may be running or stopped. - is a tar archive on standard output or standard input.\n"
         "A source path that ends with /. copies the content of the directory. Without --archive, files\n"
         "copied to the container belong to its root user, and files copied to the host belong to the\n"
         "caller.\n\n"
         "Example:\n  pocker cp web:/etc/nginx/nginx.conf .")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Copy."""
    (source_of, source), (target_of, target) = map(copying.split, parsed.arguments)
    if source_of and target_of:
        raise UsageError("copying between containers is not supported: copy to the host first")
    if not source_of and not target_of:
        raise UsageError(f'neither "{source}" nor "{target}" is in a container: write CONTAINER:PATH for one of them')
    if not (source if source_of else target):
        raise UsageError("the path in the container is missing: write CONTAINER:PATH")
    container = context.find(source_of or target_of)
    record = container.read()
    size = (_out if source_of else _in)(context, parsed, container, record, source, target)
    of_container(context.places, record, "archive-path" if source_of else "extract-to-dir",
                 path=source if source_of else target)
    if not parsed["quiet"] and (target if source_of else source) != "-":
        say(f"Successfully copied {size} bytes to {parsed.arguments[1]}")
    return 0


def _out(context: PockerContext, parsed: Parsed, container: Container, record: ContainerRecord, source: str,
         target: str) -> int:
    if target != "-":
        return copying.copy_out(container, record, source, target, archive=parsed["archive"],
                              follow=parsed["follow-link"], warn=context.warn)
    if os.isatty(1):
        raise UsageError("a tar archive is not for a terminal: redirect the output, or name a path")
    return copying.archive_out(container, record, source, lambda data: write_all(1, data),
                               follow=parsed["follow-link"], warn=context.warn)


def _in(context: PockerContext, parsed: Parsed, container: Container, record: ContainerRecord, source: str,
        target: str) -> int:
    if source == "-":
        return copying.archive_in(container, record, lambda size: os.read(0, size), target, archive=parsed["archive"],
                                warn=context.warn)
    return copying.copy_in(container, record, source, target, archive=parsed["archive"],
                         follow=parsed["follow-link"], warn=context.warn)
