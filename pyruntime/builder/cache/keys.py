"""Cache keys: the digest of everything that a step's result depends on.

below     the chainID of the files below (empty for COPY --link, which does not depend on them)
words     the expanded instruction: program, variables, user, directory, mounts, flags
inputs    digests of content from elsewhere; never times, never owners of a local context

Secrets, SSH agents, the content of cache mounts, and proxy variables are not part of the key.
"""

from __future__ import annotations

from pyruntime.images.digest import of

_VERSION = "1"   # changed when the result of a step of the same key changes


def key(kind: str, below: str, words: list[str], inputs: list[str], *, latest: int | None) -> str:
    """64 hexadecimal digits. ``latest``: SOURCE_DATE_EPOCH, which limits the times in the layer."""
    parts = [_VERSION, kind, below, str(latest), str(len(words)), *words, str(len(inputs)), *inputs]
    raw = [part.encode("utf-8", "surrogateescape") for part in parts]
    return of(b"".join(b"%d:%s" % (len(text), text) for text in raw)).partition(":")[2]
