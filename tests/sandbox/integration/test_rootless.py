"""Sandboxes of an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from bundles.images import Layout
from pyruntime import ImageStore
from pyruntime.runtime.cgroups.host import discover
from tests.commands import COMMAND
from tests.containers import PATIENCE
from tests.images.integration.registries import serve
from tests.runtime.integration.test_rootless import AS_USER, USER

BEGIN = "import json, os, sys, threading\nfrom pyruntime import *\nfrom pyruntime import errors\nfound = {}\n"


@pytest.fixture
def home() -> Iterator[Path]:
    """The user's directory, with a root filesystem; not below pytest's, which only root may enter from time to time."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-rootless-") as name:
        home = Path(name)
        busybox_rootfs(home / "rootfs")
        (home / "run").mkdir()
        home.chmod(0o755)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
        yield home


SUBORDINATE = {"passwd": f"root:x:0:0::/root:/bin/sh\nordinary:x:{USER}:{USER}::/:/bin/sh\n",
               "subuid": "ordinary:300000:65536\n", "subgid": "ordinary:300000:65536\n"}


def user(home: Path, script: str, etc: Mapping[str, str] = MappingProxyType({}), before: str = "") -> dict[str, Any]:
    """What an ordinary user's program finds; afterwards nothing of its sandboxes is left. ``etc``: other files there;
    ``before``: what root's shell, which becomes the program, executes before. All users may open /dev/net/tun, as on
    most hosts."""
    code = f"{BEGIN}{script}\nprint(json.dumps(found))"
    covers = "mount -t tmpfs tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200; "
    for name, text in etc.items():
        (home / name).write_text(text)
        covers += f"touch /etc/{name}; mount --bind {home}/{name} /etc/{name}; "
    done = subprocess.run(["unshare", "--mount", "sh", "-c", before + covers + AS_USER, home, sys.base_prefix,
                           COMMAND.parents[2], COMMAND.parent / "python", "-c", code], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    place = home / "run/pyruntime-sandbox"
    assert list(place.glob("files/*")) == list(place.glob("state/sandbox-*")) == []
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_host_as_a_sandbox(home: Path) -> None:
    found = user(home, """
with Sandbox.host() as box:
    sh = lambda script, **options: box.run(["sh", "-c", script], text=True, **options)
    found["id"] = sh("id -u; pwd; ls /sys/class/net; grep -h -e CapEff -e Seccomp: /proc/self/status").stdout
    found["writes"] = sh("touch /usr/x 2>&1; for d in /work /tmp /dev/shm; do echo x >$d/file && echo ok; done").stdout
    found["host"] = sh(f"ls {os.getcwd()} /root 2>&1").returncode
    box.write("/work/job.py", "print(open('/work/file').read())")
    found["job"] = box.run(["python3", "job.py"], text=True).stdout
    found["read"] = box.read("/work/file").decode()
    found["timeout"] = sh("(setsid sleep 300 &); trap '' TERM; sleep 301", timeout=0.3).reason
    found["left"] = "sleep 30" in sh("ps ax").stdout
    found["disk"] = sh("dd if=/dev/zero of=/work/big bs=1M count=400").stderr
    with box.popen(["sh", "-c", "tty; read x; echo $x"], terminal=True, text=True) as process:
        first = process.stdout.readline()
        process.stdin.write("typed\\n")
        found["terminal"] = first + process.stdout.read()
    found["stream"] = [text for _, text in box.stream(["echo", "x"], text=True)]
    found["unenforced"] = box.unenforced
    threads = [threading.Thread(target=box.write, args=(f"/work/new/{n}", "x")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found["written"] = box.run(["ls", "new"], text=True).stdout.split()
    os.mkdir("sub")
    os.chdir("sub")
with Sandbox("../rootfs") as box:
    found["relative"] = box.run(["sh", "-c", "echo *"], cwd="/", text=True).stdout.split()[0]
from pyruntime.sandbox.helper import helper
helper()._process.kill()
helper()._process.wait()
with Sandbox.host() as box:
    found["again"] = box.run(["echo", "again"], text=True).stdout
""")
    assert found["id"].split() == ["0", "/work", "lo", "CapEff:", "0" * 16, "Seccomp:", "2"]
    assert found["written"] == list("01234567")
    assert (found["relative"], found["again"]) == ("bin", "again\n")
    assert found["writes"].count("ok") == 3 and found["writes"].count("Read-only") >= 1
    assert found["host"] and (found["job"], found["read"]) == ("x\n\n", "x\n")
    assert (found["timeout"], found["left"]) == ("timeout", False)
    assert "No space left" in found["disk"]
    assert found["terminal"].splitlines() == ["/dev/pts/0", "typed", "typed"]
    assert found["stream"] == ["x\n"] and found["unenforced"] == ["memory", "swap", "cpus", "pids"]


def test_a_directory(home: Path) -> None:
    found = user(home, f"""
with Sandbox({str(home / 'rootfs')!r}, mounts=[HostMount({str(home)!r}, "/data")], env={{"A": "1"}}) as box:
    found["out"] = box.run(["sh", "-c", "ls /data; echo $A; rm /bin/sh; touch /data/x"], text=True).stdout
with Pool(Template({str(home / 'rootfs')!r}), 2) as pool:
    found["pool"] = [pool.run(["echo", str(number)], text=True).stdout for number in range(4)]
""")
    assert found == {"out": "hidden\nrootfs\nrun\n1\n", "pool": ["0\n", "1\n", "2\n", "3\n"]}
    names = {path.name for path in (home / "rootfs").iterdir()}
    assert "sh" in os.listdir(home / "rootfs/bin") and not names & {".pyruntime-init", "work", "data"}


def test_an_image(home: Path) -> None:
    layout = Layout(home / "layout")
    tree = home / "tree"
    shutil.copytree(home / "rootfs", tree, symlinks=True)
    (tree / "secret").write_text("x")
    (tree / "secret").chmod(0o600)
    subprocess.run(["chown", "-R", "0:0", tree], check=True)
    layout.image("it", [layout.layer(tree)], Env=["A=from the image"], WorkingDir="/etc", Cmd=["sh"])
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home / "layout"], check=True)
    found = user(home, f"""
import subprocess, time
store = {str(home / 'run/store')!r}
pyimage = lambda *words: subprocess.run([{str(COMMAND.parent / 'pyimage')!r}, "--root", store, *words], text=True,
                                        stdout=subprocess.PIPE, check=True).stdout
pyimage("copy", "-q", "oci:" + {str(home / 'layout')!r} + ":it", "it")
images = ImageStore(store)
found["runs"] = []
for number in range(2):
    with Sandbox("it", store=images) as box:
        done = box.run(["sh", "-c", "pwd; echo $A; cat /secret; rm /bin/sh; id -u"], text=True)
        found["runs"].append(done.stdout.splitlines())
found["verify"] = pyimage("verify")
try:
    Sandbox("localhost:1/none", store=images)
except errors.PyruntimeError as error:
    found["missing"] = str(error)
""")
    assert found["runs"] == [["/etc", "from the image", "x0"]] * 2
    assert found["verify"] == "" and "localhost:1" in found["missing"]


def test_a_pull(home: Path, tmp_path: Path) -> None:
    """The files of other users in the image are there: the helper extracts the layers."""
    (home / "rootfs/theirs").write_text("theirs")
    subprocess.run(["chown", "-R", "0:0", home / "rootfs"], check=True)
    os.chown(home / "rootfs/theirs", 1000, 50)
    layout = Layout(tmp_path / "layout")
    layout.image("it", [layout.layer(home / "rootfs")], Cmd=["sh"])
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry") as registry:
        ImageStore(tmp_path / "store").copy(f"oci:{layout.path}:it", f"docker://{registry.host}/it:1")
        found = user(home, f"""
with Sandbox("{registry.host}/it:1", store=ImageStore({str(home / 'run/store')!r})) as box:
    found["out"] = box.run(["sh", "-c", "stat -c '%u %g' /theirs /bin"], text=True).stdout
""", SUBORDINATE)
    assert found == {"out": "1000 50\n0 0\n"}


def test_what_needs_root_is_told(home: Path) -> None:
    found = user(home, """
def told(call):
    try:
        call()
    except errors.HostError as error:
        return str(error)
found["limits"] = told(lambda: Sandbox.host(require_limits=True))
found["network"] = told(lambda: Sandbox.host(network="back"))
""")
    assert "limits cannot be enforced" in found["limits"]
    assert 'network "back": networks of `pocker network` need root: give "default"' in found["network"]


def test_no_user_namespaces(home: Path) -> None:
    """The remedy is told, and the next attempt is another one."""
    found = user(home, """
import subprocess
code = ("from pyruntime import Sandbox, errors\\ntry: Sandbox.host()\\n"
        "except errors.HostError as error: print(error)")
# In a user namespace whose limit of user namespaces is 0.
done = subprocess.run(["unshare", "--user", "--map-user=" + str(os.getuid()), "--keep-caps", "sh", "-c",
                       "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all"
                       ' "$@"', "sh", sys.executable, "-c", code], capture_output=True, text=True)
found["told"] = done.stdout + done.stderr
""")
    assert "cannot create a user namespace: user.max_user_namespaces=0 allows no more" in found["told"]


def test_everything_is_writable(home: Path) -> None:
    found = user(home, f"""
images = ImageStore({str(home / 'run/store')!r})
with Sandbox({str(home / 'rootfs')!r}, writable=True, user=0) as box:
    box.run(["sh", "-c", "echo new >/etc/passwd; rm /bin/ls; mkdir /new; echo x >/new/file; rm -r /home; mkdir /home;"
             " echo w >/work/mine; echo t >/tmp/temporary"], check=True)
    found["disk"] = box.run(["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=400"], text=True).stderr
    box.run(["rm", "/big"], check=True)
    found["diff"] = [list(change) for change in box.diff()]
    with box.fork() as other, other.fork() as third:
        other.write("/work/mine", "other")
        done = third.run(["sh", "-c", "cat /etc/passwd /new/file /work/mine /tmp/temporary; ls /home /bin/ls"],
                         text=True)
        found["fork"], found["same"] = done.stdout, third.diff() == box.diff()
    found["id"] = box.commit("made", store=images)
with Sandbox("made", store=images, cwd="/") as box:
    done = box.run(["sh", "-c", "cat etc/passwd new/file; ls home bin/ls; id -u"], text=True)
    found["image"] = done.stdout
found["kept"] = images.find("made").id
""")
    assert "No space left" in found["disk"]
    assert ["D", "/bin/ls"] in found["diff"] and ["A", "/new/file"] in found["diff"]
    assert ["A", "/work/mine"] in found["diff"] and ["D", "/home/user"] in found["diff"]
    assert (found["fork"], found["same"]) == ("new\nx\nw\nt\n/home:\n", True)
    assert found["image"] == "new\nx\nhome:\n0\n" and found["kept"] == found["id"]
    assert (home / "rootfs/bin/ls").is_symlink() and not (home / "rootfs/new").exists()


def test_templates(home: Path) -> None:
    found = user(home, f"""
with Template({str(home / 'rootfs')!r}, files={{"/work/data": "content"}},
              setup=[["sh", "-c", "echo set >/etc/up"]]) as it:
    with Pool(it, 2) as pool:
        found["runs"] = [pool.run(["sh", "-c", "cat data /etc/up; rm data"], text=True).stdout for _ in range(4)]
    with it.sandbox() as box, box.fork() as other:
        found["fork"] = other.run(["cat", "data", "/etc/up"], text=True).stdout
with Template(files={{"/work/module.py": "value = 42"}}, interpreter="python3") as it, it.sandbox() as box:
    found["python"] = box.python("import module; print(module.value)", text=True).stdout
try:
    Template({str(home / 'rootfs')!r}, setup=[["sh", "-c", "exit 3"]])
except errors.RunFailed as error:
    found["failed"] = str(error)
""")
    assert found == {"runs": ["contentset\n"] * 4, "fork": "contentset\n", "python": "42\n",
                     "failed": '"sh": exit status 3'}


def test_subordinate_ids(home: Path) -> None:
    """Programs are another user than this program, who cannot read its files."""
    layout = Layout(home / "layout")
    tree = home / "tree"
    shutil.copytree(home / "rootfs", tree, symlinks=True)
    (tree / "theirs").write_text("theirs")
    (tree / "theirs").chmod(0o600)
    subprocess.run(["chown", "-R", "0:0", tree], check=True)
    os.chown(tree / "theirs", 65534, 65534)
    layout.image("it", [layout.layer(tree)], Cmd=["sh"])
    (home / "private").write_text("private")
    (home / "private").chmod(0o600)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home / "layout", home / "private"], check=True)
    found = user(home, f"""
images = ImageStore({str(home / 'run/store')!r})
import subprocess
subprocess.run([{str(COMMAND.parent / 'pyimage')!r}, "--root", {str(home / 'run/store')!r}, "copy", "-q",
                "oci:" + {str(home / 'layout')!r} + ":it", "it"], check=True, stdout=subprocess.DEVNULL)
with Sandbox("it", store=images, mounts=[HostMount({str(home / 'private')!r}, "/private")]) as box:
    done = box.run(["sh", "-c", "id -u; id -G; cat /theirs; cat /private; echo w >/work/file; echo x >/dev/stdout"],
                   text=True)
    found["out"] = done.stdout
    found["host"] = os.stat(f"/proc/{{box._container.entrance.pid}}").st_uid
    box.write("/work/made/file", "content", mode=0o600)
    found["files"] = box.run(["sh", "-c", "stat -c %u /work/made /work/made/file; cat /work/made/file"],
                             text=True).stdout
    found["read"] = box.read("/work/file").decode()
    found["timeout"] = box.run(["sh", "-c", "(setsid sleep 300 &); trap '' TERM; sleep 301"], timeout=0.3).reason
    found["left"] = "sleep 30" in box.run(["ps"], text=True).stdout
    with box.popen(["sh", "-c", "tty; read x; echo $x"], terminal=True, text=True) as process:
        process.stdin.write("typed\\n")
        found["terminal"] = process.stdout.read()
    with box.popen(["sleep", "300"]) as process:
        process.terminate()
        found["signal"] = process.wait(10)
    with box.fork() as other:
        found["fork"] = other.run(["sh", "-c", "cat /work/made/file; stat -c %u /work/made/file"], text=True).stdout
with Sandbox.host(user=(1000, 50)) as box:
    found["user"] = box.run(["sh", "-c", "id -u; id -g"], text=True).stdout
""", SUBORDINATE)
    assert found["out"] == "65534\n65534\ntheirsx\n"
    assert found["files"] == "65534\n65534\ncontent" and found["read"] == "w\n"
    assert (found["timeout"], found["left"], found["signal"]) == ("timeout", False, -15)
    assert "/dev/pts/0" in found["terminal"].splitlines() and "typed" in found["terminal"]
    assert (found["fork"], found["user"]) == ("content65534\n", "1000\n50\n")


def test_a_user_without_an_id(home: Path) -> None:
    """Not this program's user, whom the mounts belong to."""
    found = user(home, """
try:
    Sandbox.host(user=(1000, 70000))
except errors.UsageError as error:
    found["told"] = str(error)
""", SUBORDINATE)
    assert "group 70000" in found["told"] and "/etc/subgid" in found["told"]


ASK = """
from pyruntime.sandbox import helper as helpers
from pyruntime.sandbox.helper import helper
def told(call):
    try:
        return call()
    except errors.PyruntimeError as error:
        return type(error).__name__ + ": " + str(error)
"""


@pytest.mark.parametrize("etc", [{}, SUBORDINATE], ids=["one ID", "subordinate IDs"])
def test_templates_outlive_the_helper(home: Path, etc: Mapping[str, str]) -> None:
    """In a child (fork), and after the helper was killed: another helper enters the same user namespace."""
    found = user(home, ASK + """
def used(it):
    with it.sandbox() as box, box.fork() as other:
        return other.run(["cat", "file"], text=True).stdout
with Template(files={"/work/file": "content"}) as it, it.sandbox() as living:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, told(lambda: used(it)).encode())
        sys.exit()
    os.close(theirs)
    found["child"] = os.read(ours, 4096).decode()
    os.waitpid(child, 0)
    found["parent"] = used(it)
    for _ in range(2):
        helper()._process.kill()
        helper()._process.wait()
        found["again"] = told(lambda: used(it))
    living.write("/work/file", "other")
    with living.fork() as other:
        found["living"] = other.read("/work/file").decode()
""", etc)
    assert found == {"child": "content", "parent": "content", "again": "content", "living": "other"}


def test_no_more_processes(home: Path) -> None:
    """A program in a sandbox may have used up what this user may have: the helper remains."""
    found = user(home, ASK + """
import resource
with Sandbox.host() as box:
    one = helper()
    before = resource.prlimit(one._process.pid, resource.RLIMIT_NPROC)
    resource.prlimit(one._process.pid, resource.RLIMIT_NPROC, (0, before[1]))
    found["refused"] = [told(lambda: box.write("/work/file", "x" * (4 << 20))) for _ in range(3)]
    resource.prlimit(one._process.pid, resource.RLIMIT_NPROC, before)
    box.write("/work/file", "content")
    found["read"] = box.read("/work/file").decode()
    found["same"] = one is helper()
""")
    assert len(found["refused"]) == 3
    assert all("HostError: cannot start a process for a sandbox" in told for told in found["refused"])
    assert (found["read"], found["same"]) == ("content", True)


def test_calls_that_are_cut(home: Path) -> None:
    """A killed process of the helper is an error of ours, and leaves no descriptor; so is a helper that cannot start.
    """
    found = user(home, ASK + """
import signal
found["start"] = []
ours = helpers.own_program
helpers.own_program = lambda script: ["/nowhere"]
found["start"] = told(Sandbox.host)
helpers.own_program = ours
receive = helpers.receive
def kill_after(sock):
    got = receive(sock)
    pid = helper()._process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in file.read().split():
            os.kill(int(child), signal.SIGKILL)
    return got
with Sandbox.host() as box:
    box.write("/work/file", b"x" * (16 << 20))
    before = sorted(os.listdir("/proc/self/fd"))
    helpers.receive = kill_after   # the answer does not fit into a socket: its process is still there
    found["cut"] = told(lambda: box.read("/work/file"))
    helpers.receive = receive
    found["left"] = len(os.listdir("/proc/self/fd")) - len(before)
    found["size"] = len(box.read("/work/file"))
""")
    assert found["start"].startswith("HostError: cannot start the helper") and "/nowhere" in found["start"]
    assert found["cut"] == "PyruntimeError: the helper of sandboxes without root was killed"
    assert (found["left"], found["size"]) == (0, 16 << 20)


def test_a_child_does_not_delay_an_answer(home: Path) -> None:
    """A thread forks while another one asks the helper; the child lives on."""
    found = user(home, ASK + """
ours, theirs = os.pipe()
children = []
def fork():
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.read(ours, 1)   # until the parent closes its end
        os._exit(0)
    children.append(child)
thread = threading.Thread(target=fork)
send = helpers.socket.send_fds
def send_fds(*args):
    if thread.ident is None:
        thread.start()
        thread.join(1)   # if it can fork now, it does
    return send(*args)
with Sandbox.host() as box:
    helpers.socket.send_fds = send_fds
    asked = threading.Thread(target=box.write, args=("/work/file", "content"))
    asked.start()
    asked.join(10)
    found["waits"] = asked.is_alive()
    os.close(theirs)
    thread.join()
    os.waitpid(children[0], 0)
""")
    assert found == {"waits": False}


def test_the_end_does_not_wait_for_copies(home: Path) -> None:
    """As a child has them that did not come from Python."""
    user(home, """
from pyruntime.sandbox.helper import helper
with Sandbox.host():
    copy = os.dup(helper()._control.fileno())
""")


def test_a_default_timeout_of_sockets(home: Path) -> None:
    found = user(home, """
import socket
socket.setdefaulttimeout(0.2)
with Sandbox.host() as box:
    found["out"] = box.run(["sh", "-c", "sleep 1; echo out"], text=True).stdout
""")
    assert found == {"out": "out\n"}


ALL = {"memory", "pids", "cpu", "cpuacct", "freezer", "devices"}
MODERN = discover().layout == "v2"


@contextmanager
def delegated(controllers: set[str]) -> Iterator[str]:
    """Cgroups of an ordinary user with these controllers, below the test's own (v1) or at the top (v2); yields the
    shell's words to enter them. Afterwards, they have to be empty."""
    host = discover()
    name = f"pyruntime-delegated-{os.getpid()}"
    made: list[Path] = []
    entered: list[Path] = []
    try:
        if MODERN and host.unified:
            top = Path(host.unified.mountpoint)
            made.append(top / name)
            made[0].mkdir()
            for path in (top, top / name):
                (path / "cgroup.subtree_control").write_text(" ".join(
                    f"+{one}" for one in sorted(controllers & set(host.unified.controllers))))
            entered = [top / name / "program"]   # no cgroup with processes has controllers for its children
        else:
            entered = [Path(hierarchy.mountpoint + hierarchy.own.rstrip("/"), name) for hierarchy in host.all()
                       if controllers & set(hierarchy.key.split(","))]
        for path in entered:
            path.mkdir()
            made.append(path)
        for path in made:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)
        yield "".join(f"echo $$ >{path}/cgroup.procs; " for path in entered)
    finally:
        for path in reversed(made):
            path.rmdir()   # fails if a sandbox has left a cgroup


@pytest.mark.parametrize("etc", [{}, SUBORDINATE], ids=["one ID", "subordinate IDs"])
def test_delegated_cgroups(home: Path, etc: Mapping[str, str]) -> None:
    """All limits are enforced, runs have cgroups of their own, and nothing is left."""
    with delegated(ALL) as enter:
        found = user(home, """
with Sandbox.host(limits=Limits(memory="64m", pids=20, cpus=0.5), require_limits=True) as box:
    found["unenforced"] = box.unenforced
    bomb = box.run(["python3", "-c", "x = bytearray(1 << 30)"])
    found["bomb"] = bomb.reason, bomb.oom_killed, bomb.usage.memory > 30 << 20, bomb.usage.cpu > 0
    code = "import os, signal; [os.fork() or signal.pause() for _ in range(100)]"
    forks = box.run(["python3", "-c", code], text=True)
    found["forks"] = forks.reason, "Resource temporarily unavailable" in forks.stderr
    with box.popen(["sleep", "600"]) as process:   # another run is beside it
        found["beside"] = box.run(["sh", "-c", "(setsid sleep 601 &); trap '' TERM; sleep 602"], timeout=0.3).reason
        found["runs"] = process.poll()
        found["left"] = "sleep 60" in box.run(["sh", "-c", "ps ax | grep -v 'sleep 600' | grep -v grep"],
                                              text=True).stdout
with Sandbox.host() as box, box.fork() as other:   # which stands still meanwhile
    found["fork"] = other.run(["echo", "x"], text=True).stdout
with Template(interpreter="python3") as it, Pool(it, 2) as pool:
    found["pool"] = pool.python("print(1)", text=True).stdout
""", etc, enter)
    assert found == {"unenforced": [], "bomb": ["oom", True, True, True], "forks": ["exited", True],
                     "beside": "timeout", "runs": None, "left": False, "fork": "x\n", "pool": "1\n"}


@pytest.mark.parametrize(("controllers", "missing", "beside"), [
    ({"memory", "freezer"}, ["pids"], True), ({"pids", "freezer"}, ["memory", "swap"], True),
    ({"memory", "pids"}, [], MODERN), ({"freezer"}, ["memory", "swap", "pids"], True)],
    ids=["no pids", "no memory", "no freezer", "nothing else"])
def test_some_delegated_cgroups(home: Path, controllers: set[str], missing: list[str], *, beside: bool) -> None:
    """What is there is used, and what is not is told, by name."""
    with delegated(controllers) as enter:
        found = user(home, ASK + """
found["told"] = told(lambda: Sandbox.host(require_limits=True).close())
with Sandbox.host(limits=Limits(memory="64m", pids=20)) as box:
    found["unenforced"] = box.unenforced
    found["bomb"] = box.run(["python3", "-c", "x = bytearray(1 << 30)"]).returncode
    with box.popen(["sleep", "600"]):
        try:
            found["beside"] = box.popen(["true"]).wait() == 0
        except errors.StateError as error:
            found["beside"] = "one at a time" not in str(error)
    found["timeout"] = box.run(["sh", "-c", "(setsid sleep 601 &); trap '' TERM; sleep 602"], timeout=0.3).reason
    found["left"] = "sleep 60" in box.run(["ps", "ax"], text=True).stdout
""", before=enter)
    assert found["unenforced"] == missing and found["bomb"] == (0 if "memory" in missing else -9)
    assert (found["beside"], found["timeout"], found["left"]) == (beside, "timeout", False)
    words = {"pids": "linux.resources.pids", "memory": "linux.resources.memory"}
    assert not missing or ("limits cannot be enforced" in found["told"] and words[missing[0]] in found["told"]), found
    assert missing or found["told"] is None


def test_devices(home: Path) -> None:
    found = user(home, """
with Sandbox.host(devices=["/dev/net/tun"]) as box:
    found["open"] = box.run(["sh", "-c", "exec 3<>/dev/net/tun; echo open"], text=True).stdout
""")
    assert found == {"open": "open\n"}


@pytest.mark.skipif(not shutil.which("pasta") and not shutil.which("slirp4netns"),
                    reason="neither pasta nor slirp4netns is installed")
def test_a_network(home: Path) -> None:
    found = user(home, """
with Sandbox.host(network="default") as box:
    found["interfaces"] = box.run(["ls", "/sys/class/net"], text=True).stdout.split()
    found["servers"] = box.run(["grep", "-c", "^nameserver", "/etc/resolv.conf"], text=True).stdout
""")
    assert found["interfaces"] == ["eth0", "lo"] and int(found["servers"]) >= 1
    assert not [line for line in subprocess.run(["ps", "-u", str(USER), "-o", "args="], capture_output=True, text=True,
                                                check=False).stdout.splitlines() if "pasta" in line or "slirp" in line]


def test_a_killed_program_leaves_nothing_for_long(home: Path) -> None:
    user(home, """
import signal
child = os.fork()
if child == 0:
    box = Sandbox.host()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
child = os.fork()
if child == 0:
    from pyruntime.sandbox import container
    container.configuration = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)   # before it has a state
    Sandbox.host()
os.waitpid(child, 0)
found["left"] = os.listdir(os.environ["XDG_RUNTIME_DIR"] + "/pyruntime-sandbox/files")
assert len(found["left"]) == 1   # of the second; it has removed what the first had left
with Sandbox.host() as box:
    box.run(["true"])
""")
