"""Podman with pyruntime and with runc: the same arguments, exit statuses and output."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.clients.documented_configs import PYRUNTIME, block
from tests.clients.podman import OPTIONS, Podman

RUNTIMES = ["pyruntime", "runc"]
_POD = ["--network", "none", "--infra-image", "localhost/box", "--infra-command", "sleep 1000"]


@pytest.fixture(scope="module")
def podmans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Podman]]:
    """Podman by runtime."""
    for program in ("podman", "runc"):
        if not shutil.which(program):
            pytest.fail(f"{program} is not installed: run tools/install-deps test")
    path = tmp_path_factory.mktemp("podman")
    first = Podman(path, PYRUNTIME)
    first.load()
    yield {"pyruntime": first, "runc": Podman(path, str(shutil.which("runc")))}
    first.close()


# The arguments after `podman`, a list for each command; OPTIONS are added to each run and create. {n} is the
# container's name. The key of each entry is the name of the test.
SCRIPTS: dict[str, list[list[str]]] = {
    "run": [["run", "--rm", "box", "echo", "hello"]],
    "environment": [["run", "--rm", "--env", "ONE=1", "box", "sh", "-c", "echo $FROM $ONE $HOME $container"]],
    "exit status": [["run", "--rm", "box", "sh", "-c", "exit 7"]],
    "not found": [["run", "--rm", "box", "nosuch"]],
    "not executable": [["run", "--rm", "box", "/etc/passwd"]],
    "user": [["run", "--rm", "--user", "user", "box", "id"]],
    "user by number": [["run", "--rm", "--user", "5:6", "--group-add", "7", "box", "id"]],
    "workdir": [["run", "--rm", "--workdir", "/home/user", "box", "sh", "-c", "pwd"]],
    "read-only": [["run", "--rm", "--read-only", "box", "sh", "-c", "touch /x; touch /tmp/x && echo tmp"]],
    "memory": [["run", "--rm", "--memory", "64m", "box", "sh", "-c",
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"]],
    "pids": [["run", "--rm", "--pids-limit", "30", "box", "sh", "-c",
              "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"]],
    "capabilities": [["run", "--rm", "--cap-drop", "all", "--cap-add", "chown", "box", "sh", "-c",
                      "head -n 60 /proc/self/status | while read a b; do case $a in Cap*) echo $a $b;; esac; done"]],
    "default capabilities": [["run", "--rm", "box", "sh", "-c",
                              "while read a b; do case $a in Cap*|NoNew*|Seccomp:) echo $a $b;; esac; done"
                              " < /proc/self/status"]],
    "privileged": [["run", "--rm", "--privileged", "box", "sh", "-c",
                    "while read a b; do case $a in Cap*|NoNew*|Seccomp:) echo $a $b;; esac; done < /proc/self/status"]],
    "no new privileges": [["run", "--rm", "--security-opt", "no-new-privileges", "box", "sh", "-c",
                           "while read a b; do case $a in NoNew*) echo $a $b;; esac; done < /proc/self/status"]],
    "hostname": [["run", "--rm", "--hostname", "box1", "box", "sh", "-c",
                  "cat /etc/hostname /proc/sys/kernel/hostname"]],
    "sysctl": [["run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", "box", "cat", "/proc/sys/net/ipv4/ip_forward"]],
    "tmpfs": [["run", "--rm", "--tmpfs", "/data:size=1m,mode=700", "box", "sh", "-c", "mount | while read a b c d; do"
               " [ $c = /data ] && echo $a $d; done"]],
    "volume": [["run", "--rm", "-v", "{n}:/data", "box", "sh", "-c", "echo 1 > /data/file; cat /data/file"],
               ["run", "--rm", "-v", "{n}:/data:ro", "box", "sh", "-c", "cat /data/file; touch /data/x"],
               ["volume", "rm", "{n}"]],
    "host pid": [["run", "--rm", "--pid", "host", "box", "sh", "-c", "[ $$ -gt 1 ] && echo other"]],
    "shared memory": [["run", "--rm", "--shm-size", "1m", "box", "sh", "-c", "mount | while read a b c d e f; do"
                       " [ $c = /dev/shm ] && echo $f; done"]],
    "device": [["run", "--rm", "--device", "/dev/full:/dev/mine:r", "box", "sh", "-c",
                "head -c 3 /dev/mine | wc -c; echo x > /dev/mine"]],
    "devices denied": [["run", "--rm", "--cap-add", "mknod", "box", "sh", "-c", "ls /dev"]],
    "terminal": [["run", "--rm", "-t", "box", "sh", "-c", "stty -a < /dev/tty > /dev/null && echo a terminal"]],
    "init": [["run", "--rm", "--init", "box", "sh", "-c", "[ $$ -gt 1 ] && echo a child"]],
    "mounts": [["run", "--rm", "box", "sh", "-c", "mount | while read a b c d e f; do case $c in"
                " /proc|/sys|/dev|/dev/*) echo $c $e $f;; esac; done"]],
    "a life": [["create", "--name", "{n}", "box", "sleep", "100"], ["start", "{n}"],
               ["inspect", "--format", "{{.State.Status}}", "{n}"], ["kill", "{n}"], ["wait", "{n}"],
               ["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "{n}"], ["rm", "{n}"]],
    "logs": [["run", "-d", "--name", "{n}", "box", "sh", "-c", "echo out; echo err >&2"], ["wait", "{n}"],
             ["logs", "{n}"], ["rm", "{n}"]],
    "stop": [["run", "-d", "--name", "{n}", "box", "sh", "-c",
              "trap 'echo told; exit 3' TERM; while :; do sleep 0.1; done"],
             ["stop", "{n}"], ["logs", "{n}"], ["inspect", "--format", "{{.State.ExitCode}}", "{n}"], ["rm", "{n}"]],
    "restart": [["run", "-d", "--name", "{n}", "box", "sleep", "100"], ["restart", "-t", "0", "{n}"],
                ["inspect", "--format", "{{.State.Status}}", "{n}"], ["rm", "-f", "-t", "0", "{n}"]],
    "top": [["run", "-d", "--name", "{n}", "box", "sleep", "100"], ["top", "{n}", "pid", "args"],
            ["rm", "-f", "-t", "0", "{n}"]],
    "update": [["run", "-d", "--name", "{n}", "--memory", "64m", "box", "sleep", "100"],
               ["update", "--memory", "32m", "--cpus", "0.5", "{n}"],
               ["exec", "{n}", "sh", "-c", "cd /sys/fs/cgroup;"
                " cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max 2>/dev/null"],
               ["rm", "-f", "-t", "0", "{n}"]],
    "pod": [["pod", "create", "--name", "{n}", *_POD],
            ["container", "run", "-d", "--pod", "{n}", "--name", "{n}-1", "box", "sleep", "100"],
            ["container", "run", "--rm", "--pod", "{n}", "box", "sh", "-c",
             "cat /proc/sys/kernel/hostname; ls /proc/sys/net/ipv4/conf"],
            ["container", "run", "--rm", "--pod", "{n}", "--pid", "container:{n}-1", "box", "sh", "-c",
             "ps | while read a b c d; do [ $a = 1 ] && echo $c $d; done"],
            ["pod", "ps", "--format", "{{.Status}} {{.NumberOfContainers}}"],
            ["pod", "pause", "{n}"], ["pod", "ps", "--format", "{{.Status}}"],
            ["pod", "unpause", "{n}"], ["pod", "ps", "--format", "{{.Status}}"],
            ["pod", "stop", "-t", "0", "{n}"], ["pod", "ps", "--format", "{{.Status}}"],
            ["pod", "start", "{n}"], ["pod", "ps", "--format", "{{.Status}}"],
            ["pod", "rm", "-f", "-t", "0", "{n}"], ["pod", "ps"]],
    "exec": [["run", "-d", "--name", "{n}", "--user", "user", "box", "sleep", "100"],
             ["exec", "{n}", "id"], ["exec", "--user", "0:0", "{n}", "id"],
             ["exec", "--env", "TWO=2", "--workdir", "/home", "{n}", "sh", "-c", "echo $FROM $TWO; pwd; exit 9"],
             ["exec", "{n}", "nosuch"], ["exec", "{n}", "/etc/passwd"],
             ["exec", "--privileged", "{n}", "sh", "-c",
              "while read a b; do case $a in CapBnd*) echo $a $b;; esac; done < /proc/self/status"],
             ["exec", "-t", "{n}", "sh", "-c", "stty -a < /dev/tty > /dev/null && echo a terminal"],
             ["exec", "-d", "{n}", "touch", "/tmp/detached"],
             ["exec", "{n}", "sh", "-c", "sleep 1; ls /tmp"],
             ["rm", "-f", "-t", "0", "{n}"]],
    "pause": [["run", "-d", "--name", "{n}", "box", "sleep", "100"], ["pause", "{n}"],
              ["inspect", "--format", "{{.State.Status}}", "{n}"], ["exec", "{n}", "true"], ["unpause", "{n}"],
              ["inspect", "--format", "{{.State.Status}}", "{n}"], ["exec", "{n}", "true"],
              ["rm", "-f", "-t", "0", "{n}"]],
    "health": [["run", "-d", "--name", "{n}", "--health-cmd", "test -e /healthy", "--health-interval", "disable", "box",
                "sleep", "100"], ["healthcheck", "run", "{n}"], ["exec", "{n}", "touch", "/healthy"],
               ["healthcheck", "run", "{n}"], ["rm", "-f", "-t", "0", "{n}"]],
    "shared namespaces": [["run", "-d", "--name", "{n}", "box", "sleep", "100"],
                          ["run", "--rm", "--pid", "container:{n}", "--ipc", "container:{n}", "box", "sh", "-c",
                           "ps | while read a b c d; do [ $a = 1 ] && echo $c $d; done"],
                          ["rm", "-f", "-t", "0", "{n}"]],
    "copy": [["create", "--name", "{n}", "box", "true"], ["cp", "{n}:/etc/passwd", "-"], ["rm", "{n}"]],
    "out of memory": [["run", "--name", "{n}", "--memory", "16m", "--memory-swap", "16m", "--tmpfs", "/big:size=200m",
                       "box", "sh", "-c", "head -c 100000000 /dev/zero > /big/file"],
                      ["inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "{n}"], ["rm", "{n}"]],
    "commit": [["run", "--name", "{n}", "box", "touch", "/made"], ["commit", "-q", "{n}", "localhost/{n}"],
               ["run", "--rm", "localhost/{n}", "ls", "/made"], ["rm", "{n}"], ["rmi", "-f", "localhost/{n}"]],
    "a wrong mount": [["run", "--rm", "-v", "/nonexistent-place:/data", "box", "true"]],
    "seccomp off": [["run", "--rm", "--security-opt", "seccomp=unconfined", "box", "sh", "-c",
                     "while read a b; do case $a in Seccomp:) echo $a $b;; esac; done < /proc/self/status"]],
}
_TIME = re.compile(r" \w{3} +\d+ \d\d:\d\d ")
_CHANGING = [(re.compile(r"\b[0-9a-f]{64}\b"), "ID"), (re.compile(r"sha256:\w+"), "DIGEST"),
             (re.compile(r"\b(pyruntime|runc)\b"), "RUNTIME")]


def played(podman: Podman, script: list[list[str]], name: str) -> list[tuple[int, str]]:
    """Exit status and output of each command, without parts that change from run to run."""
    found = []
    for words in script:
        words = [word.replace("{n}", name) for word in words]
        if words[0] in ("run", "create"):
            words = [words[0], *OPTIONS, *words[1:]]
        done = podman(*words)
        shown = done.stdout
        for pattern, word in _CHANGING:
            shown = pattern.sub(word, shown)
        found.append((done.returncode, shown.replace(name, "NAME")))
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_as_runc(podmans: dict[str, Podman], script: str) -> None:
    number = list(SCRIPTS).index(script)
    ours = played(podmans["pyruntime"], SCRIPTS[script], f"ours{number}")
    theirs = played(podmans["runc"], SCRIPTS[script], f"runc{number}")
    assert ours == theirs


def test_subordinate_users_from_podman(podmans: dict[str, Podman]) -> None:
    words = ["run", "--rm", *OPTIONS, "--userns", "auto", "box", "sh", "-c",
             "while read a b c; do echo $a $b $c; done < /proc/self/uid_map; id; echo x > /x && ls -ln /x /home"]
    ours, theirs = (podmans[name].with_subordinates(*words) for name in RUNTIMES)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.startswith("0 200000 1024\n"), ours.stdout
    assert _TIME.sub("", ours.stdout) == _TIME.sub("", theirs.stdout)


def test_the_client_uses_pyruntime(podmans: dict[str, Podman]) -> None:
    podmans["pyruntime"].ok("run", "-d", *OPTIONS, "--name", "which", "box", "sleep", "100")
    assert podmans["pyruntime"].ok("inspect", "--format", "{{.OCIRuntime}}", "which").strip() == PYRUNTIME
    podmans["pyruntime"].ok("rm", "-f", "-t", "0", "which")


def test_the_documented_configuration(podmans: dict[str, Podman]) -> None:
    """containers.conf of docs/clients.md: no option names the runtime, and its errors are read from its log."""
    configured = Podman(podmans["pyruntime"].path, "", block("toml", "[engine]"))
    configured.ok("run", "-d", *OPTIONS, "--name", "configured", "box", "sleep", "100")
    assert configured.ok("inspect", "--format", "{{.OCIRuntime}}", "configured").strip() == "pyruntime"
    configured.ok("rm", "-f", "-t", "0", "configured")
    missing = configured("run", "--rm", *OPTIONS, "box", "nosuch")
    assert missing.returncode == 127
    assert 'exec: "nosuch": executable file not found in $PATH' in missing.stderr
