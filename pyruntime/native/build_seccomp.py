"""Builds ``pyruntime.native._seccomp``: libseccomp, bound by cffi in API mode (the C compiler checks every signature).

Named in setup.py's ``cffi_modules``; ``python pyruntime/native/build_seccomp.py`` builds it in place. Needs libseccomp
2.5 and its header (Debian: libseccomp-dev).
"""

from __future__ import annotations

import os

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("""
    typedef void *scmp_filter_ctx;
    enum scmp_filter_attr { SCMP_FLTATR_CTL_OPTIMIZE, ... };
    enum scmp_compare {
        SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ, ...
    };
    struct scmp_arg_cmp { unsigned int arg; enum scmp_compare op; uint64_t datum_a; uint64_t datum_b; };
    struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; };

    #define SCMP_ACT_KILL_PROCESS ...
    #define SCMP_ACT_KILL_THREAD ...
    #define SCMP_ACT_TRAP ...
    #define SCMP_ACT_NOTIFY ...
    #define SCMP_ACT_LOG ...
    #define SCMP_ACT_ALLOW ...
    #define SCMP_ARCH_X86_64 ...
    #define SCMP_ARCH_X32 ...
    static const int NR_SCMP_ERROR;

    const struct scmp_version *seccomp_version(void);
    int seccomp_api_set(unsigned int level);
    scmp_filter_ctx seccomp_init(uint32_t def_action);
    void seccomp_release(scmp_filter_ctx ctx);
    uint32_t seccomp_arch_resolve_name(const char *arch_name);
    uint32_t seccomp_arch_native(void);
    int seccomp_arch_exist(const scmp_filter_ctx ctx, uint32_t arch_token);
    int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
    int seccomp_attr_set(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value);
    int seccomp_syscall_resolve_name(const char *name);
    int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
    int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt,
                               const struct scmp_arg_cmp *arg_array);
    int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
""")
# Two underscores in front would be mangled by Python inside a class.
SOURCE = """
    #include <seccomp.h>
    static const int NR_SCMP_ERROR = __NR_SCMP_ERROR;
"""
ffibuilder.set_source("pyruntime.native._seccomp", SOURCE, libraries=["seccomp"], extra_compile_args=[
    f"@{os.path.dirname(os.path.abspath(__file__))}/cflags", "-Wno-unused-parameter", "-Wno-sign-compare"])

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
