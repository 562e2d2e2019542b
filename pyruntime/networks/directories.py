"""The directories of pocker's containers and networks, which `pyimage build` uses too.

ROOT is POCKER_ROOT, /var/lib/pocker for root, $XDG_DATA_HOME/pocker for other users. RUN is POCKER_RUN, /run/pocker for
root, $XDG_RUNTIME_DIR/pocker for other users. If XDG_RUNTIME_DIR is not set (su, cron), RUN is /run/user/UID/pocker,
which a session of the same user uses too, or else a directory in /tmp that only this user may write. While containers
run that were started with the directory in /tmp, a session of the same user uses that one too.
"""

from __future__ import annotations

import os

from pyruntime.networks.site import Site
from pyruntime.system.directories import private
from pyruntime.system.events import note
from pyruntime.system.locks import Lock
from pyruntime.system.user_namespace import home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REMEDY = "name other directories with POCKER_ROOT and POCKER_RUN"


def open_site(root: str, run: str, adopt: Callable[[int], None]) -> Site:
    """The networks of these directories. Their events go to the journal in RUN, and an endpoint whose container has no
    directory is released; ``adopt`` as in Site."""
    def event(action: str, id: str, name: str) -> None:
        note(site, "network", action, id, {"name": name})

    site = Site(root, run, REMEDY, event=event, adopt=adopt,
                exists=lambda id: os.path.isdir(f"{root}/containers/{id}"))
    return site


def root_directory(root: str = "") -> str:
    """ROOT; ``root`` replaces the default."""
    return os.path.abspath(root or os.environ.get("POCKER_ROOT") or _default_root())


def run_directory(run: str = "") -> str:
    """RUN; ``run`` replaces the default. Raises PyruntimeError if another user owns the directory in /tmp."""
    return os.path.abspath(run or os.environ.get("POCKER_RUN") or _default_run())


def _default_root() -> str:
    if os.geteuid() == 0:
        return "/var/lib/pocker"
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):   # basedir-spec: a relative path must be ignored
        data = os.path.join(home(), ".local/share")
    return f"{data}/pocker"


def _default_run() -> str:
    if os.geteuid() == 0:
        return "/run/pocker"
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    usual, spare = f"/run/user/{os.geteuid()}", f"/tmp/pocker-{os.geteuid()}"
    if (run or os.access(usual, os.W_OK)) and not _in_use(spare):
        return f"{run or usual}/pocker"
    return private(spare, "name another directory with POCKER_RUN")


def _in_use(run: str) -> bool:
    """Whether containers or commands use this directory of this user. With another directory `ps` would show no running
    containers, and `rm` would leave their processes."""
    try:
        if os.lstat(run).st_uid != os.geteuid():
            return False   # another user has created it
        with Lock(f"{run}/namespace.users", wait=False):   # see pocker/containers/rootless.py
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
