"""Cache keys: what a step's result depends on, as a digest, and nothing else.

    below     the chainID of the files that it works on (nothing for COPY --link, which does not see them)
    words     the instruction when all is expanded: program, variables, user, directory, mounts, flags
    inputs    digests of the content that it takes from elsewhere; never times, never owners of a local context

Secrets, SSH agents, the content of caches, and the proxy variables are not part of it.
"""

from __future__ import annotations

from pyruntime.images.digest import of

_VERSION = "1"   # changes when a step of the same key would give something else


def key(kind: str, below: str, words: list[str], inputs: list[str], *, latest: int | None) -> str:
    """64 hexadecimal digits. ``latest``: SOURCE_DATE_EPOCH, which is in the layer's times."""
    parts = [_VERSION, kind, below, str(latest), str(len(words)), *words, str(len(inputs)), *inputs]
    raw = [part.encode("utf-8", "surrogateescape") for part in parts]
    return of(b"".join(b"%d:%s" % (len(text), text) for text in raw)).partition(":")[2]
