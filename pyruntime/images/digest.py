"""Digests: identifiers of content (descriptor.md#digests)."""

from __future__ import annotations

try:
    from _sha256 import sha256 as _small  # type: ignore[import-not-found,unused-ignore]
except ImportError:   # its name since Python 3.12
    from _sha2 import sha256 as _small  # type: ignore[import-not-found,unused-ignore]

from pyruntime.errors import DigestError, ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Buffer  # type: ignore[attr-defined,unused-ignore]  # new in Python 3.12

_LENGTHS = {"sha256": 64, "sha512": 128}   # of the encoded part, by algorithm
_SMALL = 1 << 16   # bytes: below, loading OpenSSL (4 ms) takes longer than hashing
_HEX = frozenset("0123456789abcdef")
_ALGORITHM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+._-")
_ENCODED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=_-")
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"   # of the empty content


def well_formed(text: str) -> bool:
    """Whether the text follows the grammar of a digest; its algorithm may be unknown."""
    algorithm, colon, encoded = text.partition(":")
    if algorithm in _LENGTHS:
        return len(encoded) == _LENGTHS[algorithm] and _HEX.issuperset(encoded)
    parts = algorithm.replace("+", ".").replace("_", ".").replace("-", ".").split(".")
    return bool(colon and encoded) and all(parts) and _ALGORITHM.issuperset(algorithm) and _ENCODED.issuperset(encoded)


def check(text: str, where: str = "") -> str:
    """The digest itself; raises ImageError if it is malformed or its algorithm is not supported."""
    if not well_formed(text):
        raise ImageError(f'"{text}" is not a digest: write sha256: and 64 hexadecimal digits, for example',
                         where)
    if text.partition(":")[0] not in _LENGTHS:
        raise ImageError(f'digest "{text}": unknown algorithm; sha256 and sha512 can be verified', where)
    return text


def of(data: Buffer, algorithm: str = "sha256") -> str:
    """The digest of these bytes."""
    if algorithm == "sha256" and len(data) <= _SMALL:
        return f"sha256:{_small(data).hexdigest()}"
    made = _new(algorithm)
    made.update(data)
    return f"{algorithm}:{made.hexdigest()}"


def _new(algorithm: str) -> HASH:
    import _hashlib  # lazy: only for large content

    return _hashlib.new(algorithm)


class Verifier:
    """Verifies content piece by piece against a digest and a size."""

    __slots__ = ("_hash", "digest", "seen", "size")

    def __init__(self, digest: str, size: int = -1) -> None:
        """``size`` in bytes; -1 if it is unknown."""
        self._hash = _new(check(digest).partition(":")[0])
        self.digest = digest
        self.size = size
        self.seen = 0

    def update(self, data: Buffer) -> None:
        """Add the next bytes; raises DigestError as soon as the content is too long."""
        self.seen += len(data)
        if 0 <= self.size < self.seen:
            raise DigestError(f"{self.digest}: the content is longer than the {self.size} bytes of its descriptor")
        self._hash.update(data)

    def done(self) -> None:
        """Raise DigestError unless the content is complete and matches the digest."""
        if self.size >= 0 and self.seen != self.size:
            raise DigestError(f"{self.digest}: the content has {self.seen} bytes, its descriptor says {self.size}")
        found = f"{self.digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self.digest:
            raise DigestError(f"content does not match its digest: expected {self.digest}, got {found}")


def verify(data: Buffer, digest: str, size: int = -1) -> None:
    """Raise DigestError unless these bytes have this digest and this size."""
    if digest.startswith("sha256:") and len(data) == size <= _SMALL and of(data) == digest:
        return
    verifier = Verifier(digest, size)   # for its error message
    verifier.update(data)
    verifier.done()


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The ChainID of each layer on top of those below (config.md#layer-chainid)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
