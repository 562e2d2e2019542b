"""``pocker push IMAGE``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.trust import check_trust
from pyruntime.errors import NoSuchImage, UsageError
from pyruntime.images.cli import push as there
from pyruntime.images.reference import Reference
from pyruntime.pocker.cli.borrowed import as_there, borrowed
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pull import TRUST

_IT = borrowed(there, "push", "push registry.example/team/web:1.2")
COMMAND = Command("push", _IT.usage, _IT.about, *_IT.flags, TRUST,
                  Flag("all-tags", "bool", "push all tags of the repository", short="a"), least=1, most=2,
                  text=_IT.text)
_push = as_there(there, "push")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Push, and print the digests of the images in the registry."""
    check_trust(disabled=parsed["disable-content-trust"])
    if not parsed["all-tags"]:
        return _push(context, parsed)
    wanted = Reference.parse(parsed.arguments[0])
    if wanted.tag or wanted.digest or len(parsed.arguments) > 1:
        raise UsageError(f'--all-tags "{" ".join(parsed.arguments)}": write the repository alone, without a tag')
    names = [name for name in context.places.store.names() if name.startswith(f"{wanted.name}:")]
    if not names:
        raise NoSuchImage(f'no such image: "{parsed.arguments[0]}" with any tag')
    for name in names:
        parsed.arguments = [name]
        _push(context, parsed)
    return 0
