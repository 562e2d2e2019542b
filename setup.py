"""What setup.cfg cannot say: the commit is written down, the programs in C are compiled by the Makefile's own rules, the
bindings by cffi."""

import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py


PROGRAMS = ("stub", "monitor", "proxy", "init")
COMMANDS = ("pyruntime", "pyimage", "pocker", "containerd-shim-pyruntime-v2")


class BuildWithStub(build_py):
    """Build the static stub before the package's files are collected."""

    def run(self) -> None:
        subprocess.run(["make", "-s", "PACKAGES=", *(f"pyruntime/native/{name}/{name}" for name in PROGRAMS),
                        *(f"build/front/{name}" for name in COMMANDS)], check=True)
        super().run()


subprocess.run(["tools/commit"], check=True)   # for the source archive too, which has no repository

setup(
    cmdclass={"build_py": BuildWithStub},
    cffi_modules=["pyruntime/native/build_seccomp.py:ffibuilder", "pyruntime/native/build_kernel.py:ffibuilder"],
)
