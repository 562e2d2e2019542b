"""Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

Spec: config.md#posix-platform-hooks; their state is on standard input, the working directory is the bundle.
"""

from __future__ import annotations

import os

from pyruntime.errors import HookError
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run_hook(where: str, *, path: str, args: list[str], env: dict[str, str] | None, timeout: int,
             state: dict[str, Any]) -> None:
    """Run a hook and wait for it; ``timeout`` in seconds, 0 for none. Raises HookError."""
    import signal  # lazy: only with hooks (15 ms)
    import subprocess

    name = where.replace("hooks.", "").replace("[", " hook #").replace("]", "")
    # Files, not pipes: with pipes, the runtime would wait for the output of a daemon that a hook leaves behind.
    given, output = os.memfd_create("state"), os.memfd_create("output")
    try:
        os.write(given, encode(state).encode())
        os.lseek(given, 0, os.SEEK_SET)
        try:
            child = subprocess.Popen(args, executable=path, env=env, cwd=state["bundle"], stdin=given, stdout=output,
                                     stderr=output, process_group=0)
        except OSError as error:
            raise HookError(f'config.json: {where}: error running {name}: exec "{path}": {error.strerror}',
                            where) from None
        try:
            status = child.wait(timeout or None)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise HookError(f"config.json: {where}: error running {name}: hook ran past specified timeout of"
                            f" {timeout}.0s", where) from None
        if status:
            said = os.pread(output, 4096, 0).decode("utf-8", "replace").strip()
            how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            raise HookError(f'config.json: {where}: error running {name}: "{path}": {how}'
                            + (f", output: {said}" if said else ""), where)
    finally:
        os.close(given)
        os.close(output)


def run_all(kind: str, hooks: list[dict[str, Any]], state: dict[str, Any]) -> list[HookError]:
    """Run all hooks of one kind in order; return the errors of those that failed."""
    failures = []
    for index, hook in enumerate(hooks):
        try:
            run_hook(f"hooks.{kind}[{index}]", path=hook["path"], args=hook.get("args") or [hook["path"]],
                     env=environment(hook.get("env")), timeout=hook.get("timeout") or 0, state=state)
        except HookError as error:
            failures.append(error)
    return failures


def environment(entries: list[str] | None) -> dict[str, str] | None:
    """The environment of a hook; defaults to the runtime's."""
    if entries is None:
        return None
    return dict(entry.partition("=")[::2] for entry in entries)
