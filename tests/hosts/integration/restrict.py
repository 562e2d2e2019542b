"""``restrict.py RULE... -- PROGRAM...``: a system call filter, and then the program.

A rule is ``NAME=ERRNO``, or ``NAME=ERRNO/MASK/VALUE`` for calls whose first argument has VALUE in the bits of MASK.
Unlike a container's filter it leaves set-user-ID programs their privileges: it imitates refusals of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

ALLOW, REFUSE = 0x7FFF0000, 0x00050000   # seccomp.h: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
NO_NEW_PRIVS, MASKED_EQUAL = 3, 7        # SCMP_FLTATR_CTL_NNP, SCMP_CMP_MASKED_EQ


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def load(rules: list[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
    library.seccomp_attr_set(context, NO_NEW_PRIVS, ctypes.c_uint32(0))
    for rule in rules:
        name, _, rest = rule.partition("=")
        refusal, *values = rest.split("/")
        call = library.seccomp_syscall_resolve_name(name.encode())
        action = ctypes.c_uint32(REFUSE | getattr(errno, refusal))
        compared = (Comparison * 1)(*[Comparison(0, MASKED_EQUAL, *(int(value, 0) for value in values))][:bool(values)])
        result = library.seccomp_rule_add_array(context, action, call, len(values) // 2, compared)
        assert result == 0, (rule, result)
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    end = sys.argv.index("--")
    load(sys.argv[1:end])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
