"""Malicious layers, and layers that other tools get wrong: data for tests of the extraction and of whole commands.

Each case is a blob as the author of an image may have created it. ``refused`` is a part of the expected error;
None means that the layer is extracted, and nothing outside the target changes. ``expect`` is then the content.

Canaries: the tests plant OUTSIDE/canary, and no case may change anything there.
"""

from __future__ import annotations

import base64
import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

OUTSIDE = Path(f"/tmp/pyruntime-outside-{os.getpid()}")   # the target of escapes; created and checked by the tests
_AWAY = bytes(OUTSIDE)


def header(name: bytes, kind: bytes = b"0", size: int | bytes = 0, *, mode: bytes = b"0000644", uid: bytes = b"0000000",
           gid: bytes = b"0000000", mtime: bytes = b"00000000000", link: bytes = b"", magic: bytes = b"ustar\x0000",
           device: tuple[bytes, bytes] = (b"0000000", b"0000000"), prefix: bytes = b"",
           checksum: bytes | None = None) -> bytes:
    """A header with any bytes in any field; the checksum is right unless it is given."""
    if isinstance(size, int):
        size = b"%011o" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    block = b"".join((name.ljust(100, b"\0")[:100], mode.ljust(8, b"\0"), uid.ljust(8, b"\0"), gid.ljust(8, b"\0"),
                      size.ljust(12, b"\0"), mtime.ljust(12, b"\0"), b" " * 8, kind, link.ljust(100, b"\0")[:100],
                      magic.ljust(8, b"\0"), bytes(64), device[0].ljust(8, b"\0"), device[1].ljust(8, b"\0"),
                      prefix.ljust(167, b"\0")))
    assert len(block) == 512, len(block)
    return block[:148] + (b"%06o\0 " % sum(block) if checksum is None else checksum) + block[156:]


def padded(data: bytes) -> bytes:
    """Content as the archive has it."""
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"x", *, mode: bytes = b"0000644", uid: bytes = b"0000000",
         mtime: bytes = b"00000000000", prefix: bytes = b"") -> bytes:
    return header(name, b"0", len(data), mode=mode, uid=uid, mtime=mtime, prefix=prefix) + padded(data)


def directory(name: bytes, mode: bytes = b"0000755", uid: bytes = b"0000000", mtime: bytes = b"00000000000") -> bytes:
    return header(name, b"5", mode=mode, uid=uid, mtime=mtime)


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=b"0000777")


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def node(name: bytes, kind: bytes, major: int, minor: int) -> bytes:
    return header(name, kind, device=(b"%07o" % major, b"%07o" % minor))


def record(key: bytes, value: bytes) -> bytes:
    """A PAX record."""
    size = len(key) + len(value) + 3
    total = size + len(str(size + len(str(size))))
    return b"%d %s=%s\n" % (total, key, value)


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return raw_pax(b"".join(record(key, value) for key, value in pairs), kind)


def raw_pax(data: bytes, kind: bytes = b"x") -> bytes:
    return header(b"PaxHeaders/x", kind, len(data)) + padded(data)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


END = bytes(1024)


def tar(*parts: bytes) -> bytes:
    return b"".join(parts) + END


class Case:
    """One layer. ``expect``: path -> content (bytes), "dir", "link:TARGET", "absent", "whiteout", "opaque"."""

    def __init__(self, name: str, layer: Callable[[], bytes], refused: str | None = None,
                 expect: dict[str, bytes | str] | None = None) -> None:
        self.name = name
        self.layer = layer
        self.refused = refused
        self.expect = expect or {}

    def __repr__(self) -> str:
        return self.name


def _numbered(name: str, size: int | bytes, refused: str) -> Case:
    return Case(name, lambda: tar(header(b"f", b"0", size), padded(b"x")), refused)


def _gzip_bomb() -> bytes:
    """A gigabyte of zeros in a megabyte, which is gzip's best: only the limit of bytes stops it."""
    # In pieces: libFuzzer, in another test, counts the peak memory of its parent as its own.
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = engine.compress(header(b"bomb", b"0", 1 << 30))
    return head + b"".join(engine.compress(bytes(1 << 20)) for _ in range(1 << 10)) + engine.flush()


def _zstd_bomb() -> bytes:
    """256 MiB of zeros in a few kilobytes: run-length blocks, written by hand (RFC 8878)."""
    # Frame header: no single segment, no content size, no checksum; window of 128 KiB.
    frame = b"\x28\xb5\x2f\xfd" + bytes((0x00, 7 << 3))
    size = 128 << 10
    run = struct.pack("<I", (size << 3) | (1 << 1))[:3] + b"\0"
    head = header(b"bomb", b"0", 256 << 20)
    raw = struct.pack("<I", (512 << 3))[:3] + head
    return frame + raw + run * 2048 + struct.pack("<I", (1 << 3) | (1 << 1) | 1)[:3] + b"\0"


def _zstd_window() -> bytes:
    """A zstd frame that requires a window of 2 GiB."""
    return b"\x28\xb5\x2f\xfd" + bytes((0x00, 21 << 3)) + struct.pack("<I", (512 << 3) | 1)[:3] + bytes(512)


def _sparse_old(pieces: list[tuple[int, int]], real: int, data: bytes, stored: int | None = None) -> bytes:
    block = bytearray(header(b"sparse", b"S", len(data) if stored is None else stored, magic=b"ustar  "))
    for index, (offset, length) in enumerate(pieces[:4]):
        block[386 + index * 24:386 + index * 24 + 24] = b"%011o\0%011o\0" % (offset, length)
    block[483:495] = b"%011o\0" % real
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(data)


def _sparse_1_0(text: bytes, real: bytes, data: bytes) -> bytes:
    content = padded(text) + data
    return pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"sparse"),
               (b"GNU.sparse.realsize", real)) + file(b"GNUSparseFile.0/sparse", content)


def _deep(levels: int) -> bytes:
    return b"/".join([b"d"] * levels)


_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)   # cap_net_bind_service, effective

CASES = [
    # ---- out of the directory by name
    Case("dotdot", lambda: tar(file(b"../escape")), '".."'),
    Case("dotdot-deep", lambda: tar(file(b"a/b/../../../escape")), '".."'),
    Case("dotdot-inner", lambda: tar(file(b"a/../b")), '".."'),
    Case("dotdot-last", lambda: tar(directory(b"a/..")), '".."'),
    Case("dotdot-whiteout", lambda: tar(file(b"../.wh.tmp", b"")), '".."'),
    Case("dotdot-opaque", lambda: tar(file(b"../.wh..wh..opq", b"")), '".."'),
    Case("dotdot-pax", lambda: tar(pax((b"path", b"../escape")), file(b"x")), '".."'),
    Case("dotdot-gnu", lambda: tar(gnu_long(b"../" * 50 + b"escape"), file(b"x")), '".."'),
    Case("dotdot-prefix", lambda: tar(file(b"escape", prefix=b"..")), '".."'),
    Case("dotdot-hardlink", lambda: tar(hardlink(b"h", b"../../../etc/passwd")), '".."'),
    Case("absolute", lambda: tar(file(_AWAY + b"/new")), None, {_AWAY.decode()[1:] + "/new": b"x"}),
    Case("absolute-canary", lambda: tar(file(_AWAY + b"/canary")), None, {_AWAY.decode()[1:] + "/canary": b"x"}),
    Case("absolute-slashes", lambda: tar(file(b"///a//./b")), None, {"a/b": b"x"}),
    Case("absolute-hardlink", lambda: tar(hardlink(b"h", _AWAY + b"/canary")), "in no layer"),
    # ---- out of the directory through symbolic links of the same layer
    Case("symlink-parent", lambda: tar(symlink(b"out", _AWAY), file(b"out/canary")), None,
         {_AWAY.decode()[1:] + "/canary": b"x"}),
    Case("symlink-parent-relative", lambda: tar(symlink(b"out", b"../../../../.." + _AWAY), file(b"out/canary")), None,
         {_AWAY.decode()[1:] + "/canary": b"x"}),
    Case("symlink-chain", lambda: tar(symlink(b"a", b"b"), symlink(b"b", b"c"), symlink(b"c", _AWAY),
                                      file(b"a/canary")), None, {_AWAY.decode()[1:] + "/canary": b"x"}),
    Case("symlink-dotdot-inside", lambda: tar(directory(b"d"), symlink(b"d/up", b"../.."), file(b"d/up/new")), None,
         {"new": b"x"}),
    Case("symlink-root", lambda: tar(symlink(b"r", b"/"), file(b"r/new")), None, {"new": b"x"}),
    Case("symlink-file", lambda: tar(symlink(b"f", _AWAY + b"/canary"), file(b"f")), None, {"f": b"x"}),
    Case("symlink-file-twice", lambda: tar(symlink(b"f", _AWAY + b"/new"), file(b"f", b"1"), file(b"f", b"2")), None,
         {"f": b"2"}),
    Case("symlink-directory", lambda: tar(symlink(b"d", _AWAY), directory(b"d", b"0000700"), file(b"d/canary")), None,
         {"d/canary": b"x", "d": "opaque"}),
    Case("symlink-whiteout", lambda: tar(symlink(b"out", _AWAY), file(b"out/.wh.canary", b"")), None,
         {_AWAY.decode()[1:]: "dir", _AWAY.decode()[1:] + "/canary": "absent"}),
    Case("symlink-opaque", lambda: tar(symlink(b"out", _AWAY), file(b"out/.wh..wh..opq", b"")), None,
         {_AWAY.decode()[1:]: "opaque"}),
    Case("symlink-hardlink", lambda: tar(symlink(b"out", _AWAY), hardlink(b"h", b"out/canary")), "in no layer"),
    Case("symlink-hardlink-to", lambda: tar(symlink(b"out", _AWAY), file(b"f"), hardlink(b"out/new", b"f")), None,
         {_AWAY.decode()[1:] + "/new": b"x"}),
    Case("symlink-hardlinked", lambda: tar(symlink(b"s", _AWAY + b"/canary"), hardlink(b"h", b"s"), file(b"h")), None,
         {"h": b"x", "s": f"link:{OUTSIDE}/canary"}),
    Case("symlink-after-directory", lambda: tar(directory(b"a"), symlink(b"a", _AWAY), file(b"a/canary")), None,
         {_AWAY.decode()[1:] + "/canary": b"x", "a": f"link:{OUTSIDE}"}),
    Case("symlink-swap", lambda: tar(directory(b"a"), file(b"a/1"), symlink(b"a", _AWAY), directory(b"a"),
                                     file(b"a/canary")), None, {"a/canary": b"x", "a/1": "absent"}),
    Case("symlink-swap-below", lambda: tar(directory(b"a/b/c"), file(b"a/b/c/1"), symlink(b"a/b", _AWAY),
                                           file(b"a/b/c/canary")), None, {_AWAY.decode()[1:] + "/c/canary": b"x"}),
    Case("symlink-device", lambda: tar(symlink(b"n", _AWAY + b"/new"), node(b"n", b"3", 1, 3)), None),
    Case("symlink-fifo", lambda: tar(symlink(b"n", _AWAY + b"/new"), header(b"n", b"6")), None),
    Case("symlink-mode", lambda: tar(symlink(b"d", _AWAY), header(b"d", b"2", link=_AWAY, mode=b"0000000")), None,
         {"d": f"link:{OUTSIDE}"}),
    Case("symlink-loop", lambda: tar(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")), "symbolic links"),
    Case("symlink-self", lambda: tar(symlink(b"a", b"a/a/a"), file(b"a/x")), "symbolic links"),
    Case("symlink-long-way", lambda: tar(symlink(b"l", b"/".join([b"d" * 90])), pax((b"linkpath", b"/" + b"/".join(
        [b"e" * 200] * 19))), header(b"m", b"2"), pax((b"path", b"m/" + b"/".join([b"f" * 200] * 19))), file(b"x")),
         "path of"),
    Case("symlink-empty", lambda: tar(symlink(b"a", b"")), "without a target"),
    Case("symlink-proc", lambda: tar(symlink(b"p", b"/proc/self/root" + _AWAY), file(b"p/canary")), None,
         {"proc/self/root" + _AWAY.decode() + "/canary": b"x"}),
    # ---- the root
    Case("root-symlink", lambda: tar(symlink(b"/.", _AWAY), file(b"canary")), "root"),
    Case("root-symlink-slash", lambda: tar(symlink(b"/", _AWAY), file(b"canary")), "root"),
    Case("root-file", lambda: tar(file(b"./")), "root"),
    Case("root-hardlink", lambda: tar(hardlink(b".", b"x")), "root"),
    Case("root-device", lambda: tar(node(b".", b"3", 1, 3)), "root"),
    Case("root-linked", lambda: tar(hardlink(b"r", b"/")), "directory"),
    Case("no-name", lambda: tar(file(b"")), "without a name"),
    # ---- whiteouts
    Case("whiteout-nothing", lambda: tar(file(b".wh.", b"")), "whiteout"),
    Case("whiteout-dot", lambda: tar(file(b".wh..", b"")), "whiteout"),
    Case("whiteout-dotdot", lambda: tar(file(b".wh...", b"")), "whiteout"),
    Case("whiteout-dotdot-deep", lambda: tar(file(b"a/.wh...", b"")), "whiteout"),
    Case("whiteout-parent", lambda: tar(file(b".wh.d/f")), "below a whiteout"),
    Case("whiteout-aufs", lambda: tar(file(b".wh..wh.plnk/1.2"), file(b".wh..wh.aufs"), file(b"f")), None,
         {"f": b"x", ".wh..wh.plnk": "absent", ".wh..wh.aufs": "absent"}),
    Case("whiteout-kept", lambda: tar(file(b"f"), file(b".wh.f", b"")), None, {"f": b"x"}),
    Case("whiteout-twice", lambda: tar(file(b".wh.f", b""), file(b".wh.f", b"")), None, {"f": "absent"}),
    Case("whiteout-link", lambda: tar(file(b".wh.f", b""), hardlink(b"g", b"f")), "in no layer"),
    Case("whiteout-marker-linked", lambda: tar(file(b".wh.f", b""), hardlink(b"g", b".wh.f")), "in no layer"),
    # ---- what overlayfs would obey
    Case("device-0-0", lambda: tar(node(b"w", b"3", 0, 0)), "0:0"),
    Case("xattr-opaque", lambda: tar(pax((b"SCHILY.xattr.trusted.overlay.opaque", b"y")), directory(b"d")), None,
         {"d": "dir"}),
    Case("xattr-opaque-user", lambda: tar(pax((b"SCHILY.xattr.user.overlay.opaque", b"y")), directory(b"d")), None,
         {"d": "dir"}),
    Case("xattr-opaque-base64", lambda: tar(pax((b"LIBARCHIVE.xattr.trusted.overlay.opaque", base64.b64encode(b"y"))),
                                            directory(b"d")), None, {"d": "dir"}),
    Case("xattr-redirect", lambda: tar(pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/etc")), directory(b"d")),
         None, {"d": "dir"}),
    Case("xattr-metacopy", lambda: tar(pax((b"SCHILY.xattr.trusted.overlay.metacopy", b"")), file(b"f")), None,
         {"f": b"x"}),
    Case("xattr-whiteout", lambda: tar(pax((b"SCHILY.xattr.user.overlay.whiteout", b"y")), file(b"f", b"")), None,
         {"f": b""}),
    Case("xattr-quoted", lambda: tar(pax((b"LIBARCHIVE.xattr.trusted%2Eoverlay%2Eopaque", b"eQ")), directory(b"d")),
         None, {"d": "dir"}),
    Case("xattr-global", lambda: tar(pax((b"SCHILY.xattr.trusted.overlay.opaque", b"y"), kind=b"g"), directory(b"d")),
         None, {"d": "dir"}),
    Case("xattr-selinux", lambda: tar(pax((b"SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0\0")),
                                      file(b"f")), None, {"f": b"x"}),
    Case("xattr-ima", lambda: tar(pax((b"SCHILY.xattr.security.ima", b"\1" * 20)), file(b"f")), None, {"f": b"x"}),
    Case("xattr-symlink", lambda: tar(pax((b"SCHILY.xattr.user.a", b"b")), symlink(b"l", b"x")), None,
         {"l": "link:x"}),
    Case("xattr-device", lambda: tar(pax((b"SCHILY.xattr.user.a", b"b")), node(b"n", b"3", 1, 3)), None),
    Case("xattr-large", lambda: tar(pax((b"SCHILY.xattr.user.a", b"b" * 70000)), file(b"f")), "70000 bytes"),
    Case("xattr-long-name", lambda: tar(pax((b"SCHILY.xattr.user." + b"a" * 300, b"b")), file(b"f")), "1 to 255"),
    Case("xattr-no-name", lambda: tar(pax((b"SCHILY.xattr.", b"b")), file(b"f")), "1 to 255"),
    Case("xattr-not-base64", lambda: tar(pax((b"LIBARCHIVE.xattr.user.a", b"a")), file(b"f")), "base64"),
    Case("capability", lambda: tar(pax((b"SCHILY.xattr.security.capability", _CAPABILITY)), file(b"f", uid=b"0000005")),
         None, {"f": b"x"}),
    # ---- links
    Case("hardlink-self", lambda: tar(hardlink(b"a", b"a")), "itself"),
    Case("hardlink-self-dots", lambda: tar(file(b"d/a"), hardlink(b"./d//a", b"/d/./a")), "itself"),
    Case("hardlink-cycle", lambda: tar(hardlink(b"a", b"b"), hardlink(b"b", b"a")), "in no layer"),
    Case("hardlink-directory", lambda: tar(directory(b"d"), hardlink(b"h", b"d")), "directory"),
    Case("hardlink-missing", lambda: tar(hardlink(b"h", b"nowhere")), "in no layer"),
    Case("hardlink-empty", lambda: tar(hardlink(b"h", b"")), "without a target"),
    Case("hardlink-into-own-parent", lambda: tar(file(b"a/b"), hardlink(b"a", b"a/b")), "in no layer"),
    Case("hardlink-with-size", lambda: tar(file(b"f"), header(b"h", b"1", 4096, link=b"f")), None, {"h": b"x"}),
    Case("hardlink-later-symlink", lambda: tar(hardlink(b"h", b"l/canary"), symlink(b"l", _AWAY)), "in no layer"),
    # ---- the archive
    Case("checksum-bad", lambda: tar(header(b"f", checksum=b"000000\0 ")), "checksum"),
    Case("checksum-text", lambda: tar(header(b"f", checksum=b"notanum\0")), "octal"),
    Case("checksum-negative", lambda: tar(header(b"f", checksum=b"\xff" * 8)), "checksum"),
    Case("not-a-tar", lambda: b"#!/bin/sh\nexit 1\n" * 100, "octal"),
    _numbered("size-negative", b"\xff" * 12, "negative"),
    _numbered("size-negative-large", b"\xff" * 3 + b"\0" * 9, "63 bits"),
    _numbered("size-base256-overflow", b"\x80" + b"\xff" * 11, "63 bits"),
    _numbered("size-base256-huge", b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, "exceed the maximum size"),
    _numbered("size-minus", b"-0000000001", "octal"),
    _numbered("size-digits", b"00000000089", "octal"),
    _numbered("size-underscore", b"0000000_001", "octal"),
    _numbered("size-prefix", b"0o000000001", "octal"),
    Case("size-lies", lambda: header(b"f", b"0", 4096) + padded(b"x"), "truncated"),
    Case("size-lies-large", lambda: header(b"f", b"0", 1 << 28) + bytes(1 << 20), "truncated"),
    Case("size-pax-negative", lambda: tar(pax((b"size", b"-1")), file(b"f")), "size"),
    Case("size-pax-huge", lambda: tar(pax((b"size", b"9" * 30)), file(b"f")), "size"),
    Case("size-pax-lies", lambda: tar(pax((b"size", b"5000")), file(b"f")), "truncated"),
    Case("size-of-directory", lambda: tar(header(b"d", b"5", 512), file(b"d/f")), None, {"d/f": b"x"}),
    Case("uid-minus-one", lambda: tar(file(b"f", uid=b"\xff" * 8)), "owner"),
    Case("uid-32-bits", lambda: tar(pax((b"uid", b"4294967295")), file(b"f")), "owner"),
    Case("uid-overflow", lambda: tar(pax((b"uid", b"4294967296")), file(b"f")), "owner"),
    Case("mtime-overflow", lambda: tar(file(b"f", mtime=b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7)), "time"),
    Case("mtime-text", lambda: tar(pax((b"mtime", b"yesterday")), file(b"f")), "time"),
    Case("mtime-exponent", lambda: tar(pax((b"mtime", b"1e400")), file(b"f")), "time"),
    Case("truncated-header", lambda: header(b"f")[:300], "truncated"),
    Case("truncated-content", lambda: header(b"f", b"0", 2000) + bytes(1000), "truncated"),
    Case("truncated-padding", lambda: header(b"f", b"0", 3) + b"abc", "truncated"),
    Case("truncated-pax", lambda: header(b"p", b"x", 600) + bytes(512), "truncated"),
    Case("truncated-after-pax", lambda: pax((b"path", b"f")), "truncated"),
    Case("lone-zero-block", lambda: file(b"a") + bytes(512) + file(b"b") + END, "lone zero block"),
    Case("no-end", lambda: file(b"f"), None, {"f": b"x"}),
    Case("nothing", lambda: b"", None),
    Case("only-end", lambda: END, None),
    Case("trailing-junk", lambda: tar(file(b"f")) + b"junk" * 1000, None, {"f": b"x"}),
    Case("trailing-archive", lambda: tar(file(b"f")) + tar(file(b"g")), None, {"f": b"x", "g": "absent"}),
    Case("type-unknown", lambda: tar(header(b"f", b"Z")), "unknown type"),
    Case("type-multivolume", lambda: tar(header(b"f", b"M")), "unknown type"),
    Case("device-huge", lambda: tar(node(b"n", b"3", 0o7777777, 1)), "device"),
    Case("device-negative", lambda: tar(header(b"n", b"4", device=(b"\xff" * 8, b"\xff" * 8))), "device"),
    # ---- extended headers
    Case("pax-huge", lambda: tar(raw_pax(bytes(2 << 20)), file(b"f")), "extended header of"),
    Case("pax-lying-size", lambda: tar(header(b"p", b"x", 1 << 40), file(b"f")), "extended header of"),
    Case("pax-negative-size", lambda: tar(header(b"p", b"x", b"\xff" * 12), file(b"f")), "extended header of"),
    Case("pax-length-short", lambda: tar(raw_pax(b"5 path=f\n"), file(b"f")), "wrong length"),
    Case("pax-length-long", lambda: tar(raw_pax(b"500 path=f\n"), file(b"f")), "wrong length"),
    Case("pax-length-zero", lambda: tar(raw_pax(b"0 path=f\n"), file(b"f")), "wrong length"),
    Case("pax-length-negative", lambda: tar(raw_pax(b"-9 path=f\n"), file(b"f")), "wrong length"),
    Case("pax-length-text", lambda: tar(raw_pax(b"ten path=f\n"), file(b"f")), "wrong length"),
    Case("pax-length-absurd", lambda: tar(raw_pax(b"9" * 5000 + b" path=f\n"), file(b"f")), "wrong length"),
    Case("pax-no-equals", lambda: tar(raw_pax(b"9 pathf1\n"), file(b"f")), "key=value"),
    Case("pax-nul-in-path", lambda: tar(pax((b"path", b"a\0b")), file(b"f")), "NUL"),
    Case("pax-nul-in-link", lambda: tar(pax((b"linkpath", b"a\0b")), header(b"l", b"2")), "NUL"),
    Case("pax-global-path", lambda: tar(pax((b"path", b"etc/passwd"), kind=b"g"), file(b"f")), "global"),
    Case("pax-global-size", lambda: tar(pax((b"size", b"0"), kind=b"g"), file(b"f")), "global"),
    Case("pax-global-many", lambda: tar(*(pax((b"k%d" % number, b"v" * 60000), kind=b"g") for number in range(20))),
         "global"),
    Case("name-component-long", lambda: tar(pax((b"path", b"a/" + b"b" * 256)), file(b"f")), "component"),
    Case("name-long", lambda: tar(pax((b"path", b"/".join([b"a" * 100] * 50))), file(b"f")), "bytes; the maximum"),
    Case("name-gnu-huge", lambda: tar(gnu_long(b"a/" * 40000), file(b"f")), "bytes; the maximum"),
    Case("name-deep", lambda: tar(pax((b"path", _deep(1900) + b"/f")), file(b"x"), file(b"d", b"flat")), None,
         {"d": b"flat"}),
    Case("name-control", lambda: tar(file(b"a\x1b]0;owned\x07/..")), '".."'),
    Case("link-long", lambda: tar(pax((b"linkpath", b"a" * 5000)), header(b"l", b"2")), "the maximum is"),
    # ---- sparse
    Case("sparse-overlap", lambda: tar(_sparse_old([(0, 512), (256, 512)], 4096, bytes(1024))), "overlaps"),
    Case("sparse-outside", lambda: tar(_sparse_old([(8192, 512)], 4096, bytes(512))), "outside"),
    Case("sparse-lies", lambda: tar(_sparse_old([(0, 1024)], 4096, bytes(512))), "archive has"),
    Case("sparse-bomb", lambda: tar(pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"%d" % (1 << 60))),
                                    file(b"s")), "exceed the maximum size"),
    Case("sparse-bomb-old", lambda: tar(_sparse_old([(0, 512)], (1 << 33) - 1, bytes(512))),
         "exceed the maximum size"),
    Case("sparse-map-text", lambda: tar(pax((b"GNU.sparse.map", b"0,x"), (b"GNU.sparse.size", b"9")), file(b"s")),
         "GNU.sparse.map"),
    Case("sparse-map-odd", lambda: tar(pax((b"GNU.sparse.map", b"0,1,5"), (b"GNU.sparse.size", b"9")), file(b"s")),
         "no length"),
    Case("sparse-1.0-endless", lambda: tar(_sparse_1_0(b"100\n0\n1\n", b"9", b"")), "does not end"),
    Case("sparse-1.0-huge", lambda: tar(_sparse_1_0(b"9" * 19 + b"\n", b"9", b"")), "sparse"),
    Case("sparse-1.0-name", lambda: tar(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (
        b"GNU.sparse.name", b"../escape"), (b"GNU.sparse.realsize", b"0")), file(b"x", padded(b"0\n"))), '".."'),
    Case("sparse-version", lambda: tar(pax((b"GNU.sparse.major", b"7"), (b"GNU.sparse.minor", b"0")), file(b"s")),
         "unknown format"),
    # ---- compression
    Case("gzip-bomb", _gzip_bomb, "exceed the maximum size"),
    Case("zstd-bomb", _zstd_bomb, "bomb"),
    Case("zstd-window", _zstd_window, "zstd"),
    Case("gzip-truncated", lambda: gzip.compress(tar(file(b"f")))[:-9], "truncated gzip"),
    Case("gzip-cut", lambda: gzip.compress(tar(file(b"f", bytes(range(256)) * 4000)))[:2000], "truncated gzip"),
    Case("gzip-checksum", lambda: gzip.compress(tar(file(b"f")))[:-8] + bytes(8), "corrupt gzip"),
    Case("gzip-corrupt", lambda: gzip.compress(tar(file(b"f")))[:12] + b"\xff" * 40, "gzip"),
    Case("gzip-junk", lambda: gzip.compress(tar(file(b"f"))) + b"junk that is no member", "gzip"),
    Case("gzip-zeros", lambda: gzip.compress(tar(file(b"f"))) + bytes(3000), None, {"f": b"x"}),
    Case("gzip-members", lambda: gzip.compress(file(b"f")) + gzip.compress(b"") * 50 + gzip.compress(END), None,
         {"f": b"x"}),
    Case("gzip-in-gzip", lambda: gzip.compress(gzip.compress(tar(file(b"f")))), "truncated"),
    Case("zstd-truncated", lambda: _zstd_bomb()[:600], "truncated zstd"),
    Case("zstd-corrupt", lambda: b"\x28\xb5\x2f\xfd" + b"\xff" * 600, "zstd"),
    Case("zstd-skippable-lies", lambda: b"\x50\x2a\x4d\x18" + b"\xff" * 4 + bytes(600), "truncated zstd"),
    Case("zlib-raw", lambda: zlib.compress(tar(file(b"f"))), ""),
    Case("xz", lambda: b"\xfd7zXZ\x00" + bytes(600), "xz"),
    Case("bzip2", lambda: b"BZh91AY&SY" + bytes(600), "bzip2"),
    # ---- numbers of things
    Case("entries", lambda: gzip.compress(header(b"d", b"5") * 6000 + END, 9), "entries"),
    Case("directories", lambda: tar(*(pax((b"path", _deep(1900) + b"/f")) + file(b"x") + file(b"d")
                                      for _ in range(3))), "than the maximum of"),
    Case("headers", lambda: gzip.compress(pax((b"comment", b"x")) * 6000 + file(b"f") + END, 9), "entries"),
]
# The limits in the tests, low enough that small archives exceed them: bytes, entries.
LIMITS = (512 << 20, 5_000)
