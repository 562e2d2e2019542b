"""Features that containerd uses and other bundles rarely have: streams on /dev/null, joined user namespaces."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime, end


def test_streams_on_the_hosts_null_can_be_written(runtime: Runtime, bundle: Bundle) -> None:
    """containerd opens /dev/null read-only and uses it for all three streams of a container without input and
    output."""
    bundle.shell("echo out && echo err >&2")
    with open(os.devnull, "rb") as null:
        done = subprocess.run([COMMAND, "--root", runtime.root, "run", "--bundle", bundle.path, "c1"], stdin=null,
                              stdout=null, stderr=null, check=False, timeout=PATIENCE)
    assert done.returncode == 0


def test_one_stream_on_null_does_not_affect_the_others(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("cat; echo out; echo err >&2")
    done = runtime("run", "--bundle", bundle.path, "c1")   # its standard input is /dev/null
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_streams_are_kept_if_dev_null_is_another_file(runtime: Runtime, own_bundle: Bundle) -> None:
    """The container must not write to a file that an image has put at this path."""
    own_bundle.config["mounts"] = [mount for mount in own_bundle.config["mounts"] if mount["destination"] != "/dev"
                                   and not mount["destination"].startswith("/dev/")]
    place = Path(own_bundle.config["root"]["path"], "dev/null")
    place.parent.mkdir(exist_ok=True)
    place.write_text("kept\n")
    own_bundle.shell("echo overwritten")
    with open(os.devnull, "r+b") as null:
        done = subprocess.run([COMMAND, "--root", runtime.root, "run", "--bundle", own_bundle.path, "c1"], stdin=null,
                              stdout=null, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, place.read_text()) == (0, "kept\n"), done.stderr


def test_sources_that_only_root_can_reach_with_a_joined_user_namespace(runtime: Runtime, bundle: Bundle,
                                                                     tmp_path: Path) -> None:
    """Kubernetes pods: the caller creates the user namespace, and the files are below a directory of mode 0700."""
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "file").write_text("here\n")
    holder = subprocess.Popen(["unshare", "--user", "sh", "-c", "echo made; exec sleep 100"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"made\n"
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text("0 100000 65536")
        bundle.config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{holder.pid}/ns/user"})
        bundle.add_mount("/dev/data", "bind", str(hidden / "file"), "bind", "ro")
        bundle.shell("cat /dev/data; cat /proc/self/uid_map")
        shown = runtime.ok("run", "--bundle", bundle.path, "c1").split()
    finally:
        end(holder)
        if holder.stdout is not None:
            holder.stdout.close()
    assert shown == ["here", "0", "100000", "65536"]


@pytest.mark.parametrize("flags", [(), ("--no-pivot",)])
def test_a_root_filesystem_that_only_root_can_reach(runtime: Runtime, own_bundle: Bundle, tmp_path: Path,
                                                    flags: tuple[str, ...]) -> None:
    """Pods of the shim's own: containerd keeps their bundles below a directory of mode 0700."""
    own_bundle.in_user_namespace()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "rootfs").mkdir()
    subprocess.run(["mount", "--bind", own_bundle.config["root"]["path"], hidden / "rootfs"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", hidden / "rootfs/home"], check=True)   # a mount beneath it, too
    (hidden / "rootfs/home/file").write_text("here\n")
    try:
        own_bundle.config["root"]["path"] = str(hidden / "rootfs")
        own_bundle.shell("cat /home/file; ls -d /..; grep -c hidden /proc/self/mountinfo")
        done = runtime("run", *flags, "--bundle", own_bundle.path, "c1")
    finally:
        subprocess.run(["umount", "-R", hidden / "rootfs"], check=True)
    assert (done.stdout.split(), done.stderr) == (["here", "/..", "0"], "")


def test_a_program_that_is_a_directory(runtime: Runtime, bundle: Bundle) -> None:
    """Docker 20.10 and Podman match "permission denied" for exit status 126."""
    bundle.save(process__args=["/bin"])
    done = runtime("run", "--bundle", bundle.path, "c1")
    assert 'exec: "/bin": is a directory: permission denied' in done.stderr
