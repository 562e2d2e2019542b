"""The escapes of proc_pid_mountinfo(5)."""

from __future__ import annotations


def unescape(text: str) -> str:
    r"""Undo the kernel's escapes in mountinfo: ``\040`` blank, ``\011`` tab, ``\012`` newline, ``\134`` backslash."""
    if "\\" not in text:
        return text
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else "\\" + part for part in rest)
