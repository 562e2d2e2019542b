"""Restricted hosts: private mount and pid namespaces in which something is missing or forbidden, and what is run there.

Nothing of the machine is changed: every setting is one of the namespaces, and ends with them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundles.build import busybox_rootfs
from pyruntime.runtime.config.template import template
from tests.commands import BIN, COMMAND
from tests.containers import REACHABLE

USER = 23456
PATIENCE = 300
ID = "restricted"
RESTRICT = f"{sys.executable} /mnt/hidden/restrict.py"

# What is common to all hosts, as root: the test's directory at /mnt, the interpreter and the package where every user
# reaches them, and own /run, /tmp and /etc files.
BEGIN = REACHABLE + """
set -e
mount -t proc proc /proc
mount --bind "$room" /mnt
hidden=/mnt/hidden
reachable "$base" "$top"
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /run/user/$uid; chown $uid /run/user/$uid; chmod 700 /run/user/$uid
mount --bind /mnt/passwd /etc/passwd
for name in subuid subgid; do test -e /etc/$name || touch /etc/$name; mount --bind /mnt/subid /etc/$name; done
mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200
cd /mnt
"""
# Each command, with its output, messages and exit status, and the mounts and processes around it.
EACH = """
set +e
mounts() { cut -d' ' -f5 /proc/self/mountinfo | sort; }
for number in $numbers; do
    mounts >$number.before 2>/dev/null
    $enter sh /mnt/$number.sh >$number.out 2>$number.err </dev/null
    echo $? >$number.status
    mounts >$number.after 2>/dev/null
    for process in /proc/[0-9]*; do tr '\\0' ' ' <$process/cmdline; echo; done >$number.processes 2>/dev/null
    find /run /tmp /mnt/home /mnt/pocker -xdev -mindepth 1 >$number.files 2>/dev/null
done
exit 0
"""
# user.max_user_namespaces is counted for each user namespace: it is set in a new one, which maps every ID to itself.
IN_USER_NAMESPACE = """
unshare --user --mount --keep-caps sh -c 'until test -e /mnt/mapped; do sleep 0.02; done; . /mnt/inside.sh' & pid=$!
until test "$(readlink /proc/$pid/ns/user)" != "$(readlink /proc/self/ns/user)"; do sleep 0.02; done
for kind in uid gid; do echo "0 0 4294967295" >/proc/$pid/${kind}_map; done
touch /mnt/mapped
wait $pid
"""
SANDBOX = """
import sys
from pyruntime import Sandbox, errors
try:
    with Sandbox("/mnt/rootfs") as box:
        print(box.run(["sh", "-c", "echo fine"], text=True).stdout, end="")
except errors.PyruntimeError as error:
    sys.exit(f"error: {error}")
"""
COMMANDS = {
    "run": f"$limit pyruntime run -b bundle {ID}",
    "life": f"""
set -e
$limit pyruntime create -b waiting {ID} </dev/null >out.life 2>err.life || {{ cat err.life >&2; exit 1; }}
$limit pyruntime start {ID}
$limit pyruntime exec {ID} echo fine
$limit pyruntime kill {ID} KILL
$limit pyruntime delete -f {ID}
""",
    "pocker": "$limit pocker run --rm --network none box echo fine",
    "detached": "$limit pocker run -d --name one --network none box sleep 1000 >/dev/null && pocker exec one echo fine"
                " && pocker rm -f one >/dev/null",
    "network": "$limit pocker run --rm box echo fine",
    "build": "$limit pocker build --no-cache --network none -q -t app /mnt/context >/dev/null"
             " && pocker rmi app >/dev/null && echo fine",
    "unpack": "$limit pyimage unpack box unpacked >/dev/null && test -e unpacked/rootfs/bin/sh"
              " && pyimage umount -r unpacked && echo fine",
    "sandbox": '"$python" -c "$sandbox"',
    "no-pivot": f"pyruntime run --no-pivot -b bundle {ID}",
}
USUAL = ("run", "life", "pocker", "build", "unpack", "sandbox")
FEW = ("run", "pocker", "unpack")   # for what concerns all programs in the same way
# The only process that may remain: pocker's name server, as long as there are networks.
_OURS = re.compile(r"pyruntime-init|pocker-monitor|sleep 1000|/pyruntime |pocker-proxy")
_OF_A_CONTAINER = re.compile(rf"/{ID}$|/sandbox-[^/]*$|/[0-9a-f]{{64}}$|/unpacked$|\.new$")


@dataclass(frozen=True)
class Host:
    """A restricted host.

    ``setup``      what root does after BEGIN, as a shell script
    ``root``, ``user``   the commands that fail, with the words of their errors: a command that is not named works.
                   None: not tried
    ``commands``   those that are tried
    ``wrap``       words before each command: a program that restricts it
    ``limit``      the same, before each program of ours only
    ``namespace``  whether everything happens in a user namespace that maps every ID to itself
    """

    name: str
    setup: str = ""
    root: Mapping[str, str] | None = field(default_factory=dict)
    user: Mapping[str, str] | None = field(default_factory=dict)
    commands: tuple[str, ...] = USUAL
    wrap: str = ""
    limit: str = ""
    namespace: bool = False


def every(words: str, *commands: str) -> dict[str, str]:
    """All of these commands (all usual ones, if none is named) fail with these words."""
    return dict.fromkeys(commands or USUAL, words)


class Room:
    """The directory that hosts have at /mnt: a root filesystem, an image in the stores of both users, and bundles."""

    def __init__(self, path: Path) -> None:
        self.path = path
        busybox_rootfs(path / "rootfs")
        for name in ("hidden", "context", "root", "home", "pocker"):
            (path / name).mkdir()
        shutil.copy(Path(__file__).with_name("restrict.py"), path / "hidden/restrict.py")
        (path / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
                                     f"ordinary:x:{USER}:{USER}::/mnt/home:/bin/sh\n")
        (path / "subid").write_text(f"{USER}:300000:65536\n")
        (path / "context/Dockerfile").write_text("FROM box\nRUN echo fine >/made\nCOPY Dockerfile /kept\n")
        subprocess.run(["tar", "-C", path / "rootfs", "-cf", path / "box.tar", "."], check=True)
        for place, uid in (("root", 0), ("home", USER)):
            self._bundles(path / place, uid)
        path.chmod(0o755)
        for user in (True, False):
            done = self.run(Host("the image"), ["pyimage import --cmd sh /mnt/box.tar box"], user=user)[0]
            assert done.status == 0, done

    @staticmethod
    def _bundles(place: Path, uid: int) -> None:
        for name, args in (("bundle", ["echo", "fine"]), ("waiting", ["sleep", "1000"])):
            config = template(rootless=uid != 0, uid=uid, gid=uid, unified=False)
            config["process"].update(terminal=False, rlimits=[], args=args)
            config["root"]["path"] = "/mnt/rootfs"
            (place / name).mkdir()
            (place / name / "config.json").write_text(json.dumps(config))
        subprocess.run(["chown", "-R", f"{uid}:{uid}", place], check=True)

    def run(self, host: Host, scripts: list[str], *, user: bool) -> list[Done]:
        """Run the scripts one after the other on the host; what each of them has said and left."""
        variables = {"PYRUNTIME_STORE": "/mnt/store", "POCKER_ROOT": "/mnt/pocker", "HOME": "/root"}
        home = "/mnt/home" if user else "/mnt/root"
        if user:
            variables = {"HOME": home, "XDG_RUNTIME_DIR": f"/run/user/{USER}"}
        variables |= {"room": str(self.path), "base": sys.base_prefix, "top": str(COMMAND.parents[2]), "uid": str(USER),
                      "python": str(BIN / "python"), "sandbox": SANDBOX, "limit": host.limit, "LC_ALL": "C.UTF-8",
                      "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                      "numbers": " ".join(map(str, range(len(scripts)))),
                      "drop": f"setpriv --reuid {USER} --regid {USER} --clear-groups" if user else "env"}
        for number, script in enumerate(scripts):
            (self.path / f"{number}.sh").write_text(f"cd {home}\n{script}\n")
            for old in self.path.glob(f"{number}.[a-r]*"):
                old.unlink()
        (self.path / "mapped").unlink(missing_ok=True)
        body = f"{host.setup}\nenter=\"{host.wrap} $drop\"\n{EACH}"
        if host.namespace:
            (self.path / "inside.sh").write_text(f"hidden=/mnt/hidden; set -e; cd /mnt\n{body}")
            body = IN_USER_NAMESPACE
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        done = subprocess.run([*apart, "sh", "-c", BEGIN + body], env=variables, capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        found = [Done(self.path, number) for number in range(len(scripts))]
        for place in ("pocker", "home/.local/share/pocker", f"{home[5:]}/unpacked"):   # a fault is seen in one row only
            shutil.rmtree(self.path / place, ignore_errors=True)
        (self.path / "pocker").mkdir()
        return found


class Done:
    """A command that was run on a host: its ``status``, ``out`` and ``err``, and what is ``left``."""

    def __init__(self, path: Path, number: int) -> None:
        def read(kind: str) -> str:
            return (path / f"{number}.{kind}").read_text(errors="replace")
        self.status = int(read("status"))
        self.out, self.err = read("out"), read("err")
        self.left = sorted(set(read("after").split()) - set(read("before").split()))
        self.left += [line for line in read("processes").splitlines() if _OURS.search(line)]
        self.left += [line for line in read("files").splitlines()
                      if _OF_A_CONTAINER.search(line) and "/.seccomp/" not in line and "/pyruntime/" not in line[10:]]

    def __repr__(self) -> str:
        return f"status {self.status}, said {self.out + self.err!r}, left {self.left}"
