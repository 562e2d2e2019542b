"""``build`` of pocker and of pyimage: read the flags, build, print the image's ID."""

from __future__ import annotations

from pyruntime.builder.cli.flags import FLAGS, only_check, request_of
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.builder.request import BuildResult
    from pyruntime.commandline.parse import Parsed
    from pyruntime.images.cli.main import Context
    from pyruntime.networks.site import Site

__all__ = ["FLAGS", "TEXT", "build"]
TEXT = """CONTEXT is a directory, the URL of a git repository, optionally with #REF:DIRECTORY, or - for
a tar archive or a Dockerfile on standard input.

SOURCE_DATE_EPOCH, from the environment or --build-arg, makes builds reproducible:
builds of the same files give the same image.

Example:
  """


def build(context: Context, parsed: Parsed, site: Site, *, driver: str = "") -> int:
    """Build; ``site`` has the networks that RUN can use."""
    from pyruntime.builder.api import Builder  # lazy: only when a build runs
    from pyruntime.builder.cli.progress import observer
    from pyruntime.images.cli.remote import image_store
    from pyruntime.images.progress import progress

    request = request_of(parsed, context.warn)
    builder = Builder(image_store(context, parsed), site, driver=driver)
    if only_check(parsed):
        count = len(builder.check(request))
        out(f"Check complete, {count or 'no'} warning{'s' if count != 1 else ''} found.\n")
        return 1 if count else 0

    def delivered(result: BuildResult) -> None:
        _write_results(parsed, result)
        if result.image_id and not any(output.path == "-" for output in request.outputs):
            out(f"{result.image_id}\n")
    shown = observer("quiet" if parsed["quiet"] else parsed["progress"])
    try:
        with progress(quiet=parsed["quiet"]) as transfers:
            builder.build(request, shown, transfers=transfers, delivered=delivered)
    finally:
        shown.close()
    return 0


def _write_results(parsed: Parsed, result: BuildResult) -> None:
    """Write --metadata-file, with BuildKit's members, and --iidfile."""
    if result.descriptor is None:
        return
    digest = result.descriptor.digest
    document = {"containerimage.config.digest": result.image_id,
                "containerimage.descriptor": result.descriptor.json(), "containerimage.digest": digest,
                **({"image.name": ",".join(result.names)} if result.names else {})}
    for flag, text in (("metadata-file", encode(document, 2) + "\n"), ("iidfile", result.image_id)):
        if parsed[flag]:
            try:
                with open(parsed[flag], "w", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                raise UsageError(f'--{flag} "{parsed[flag]}": {error.strerror}') from None
