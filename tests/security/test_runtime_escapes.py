"""Attacks by containers on runtimes: the published escapes of runc and crun."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import NATIVE
from tests.containers import PATIENCE, Bundle, Runtime
from tests.security.conftest import Outside
from tests.security.test_copy import swapped

ROUNDS = 25
MOUNTS = "cut -d' ' -f5 /proc/self/mountinfo"


def rootfs_of(bundle: Bundle) -> Path:
    return Path(bundle.config["root"]["path"])


def replace(place: Path, target: str) -> None:
    """Replace a file or an empty directory by a symbolic link."""
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    else:
        place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def without_dev(bundle: Bundle) -> None:
    """Use the image's own /dev, so that its files are found."""
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"]
                               if not mount["destination"].startswith("/dev") or mount["destination"] == "/dev/pts"]
    (rootfs_of(bundle) / "dev/pts").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("how", ["create", "exec"])
def test_cve_2019_5736_the_program_of_the_runtime(runtime: Runtime, own_bundle: Bundle, how: str) -> None:
    """A program `#!/proc/self/exe` makes the runtime execute itself in the container, where it can be overwritten."""
    evil = rootfs_of(own_bundle) / "bin/evil"
    evil.write_text("#!/proc/self/exe\n")
    evil.chmod(0o755)
    before = (NATIVE / "stub").read_bytes()
    capture = ("for round in $(seq 300); do for exe in /proc/[0-9]*/exe; do"
               " case $(readlink $exe) in *busybox|'') ;; *) (exec 3<>$exe) && echo written to $exe;; esac;"
               " done; done 2>/dev/null; echo looked")
    own_bundle.shell(capture)
    if how == "create":
        own_bundle.save(process__args=["/bin/evil"])
        assert runtime("run", "--bundle", own_bundle, "c1").returncode != 0
    else:
        said = own_bundle.path / "said"
        with said.open("wb") as out:
            subprocess.run([COMMAND, "--root", runtime.root, "run", "--detach", "--bundle", own_bundle.path, "c1"],
                           stdin=subprocess.DEVNULL, stdout=out, check=True, timeout=PATIENCE)
        while runtime.state("c1")["status"] == "running":
            runtime("exec", "c1", "/bin/evil")
        assert said.read_text() == "looked\n"
    assert (NATIVE / "stub").read_bytes() == before


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_cve_2019_16884_2023_27561_2023_28642_kernel_filesystems_behind_a_link(
        runtime: Runtime, own_bundle: Bundle, name: str) -> None:
    """With /proc behind a link, labels, masks and read-only paths do not apply to it."""
    rootfs = rootfs_of(own_bundle)
    (rootfs / "volume").mkdir()
    replace(rootfs / name, "/volume")
    own_bundle.shell(MOUNTS)
    done = runtime("run", "--bundle", own_bundle, "c1")
    assert done.returncode != 0 and "must be" in done.stderr and "ordinary directory" in done.stderr, done


def test_cve_2019_19921_2023_27561_a_race_with_a_link(runtime: Runtime, own_bundle: Bundle) -> None:
    """Two containers share a volume that contains /proc: one replaces it while the other is created."""
    rootfs = rootfs_of(own_bundle)
    (rootfs / "elsewhere").mkdir()
    (rootfs / "link").symlink_to("/elsewhere")
    (rootfs / "proc").mkdir(exist_ok=True)
    own_bundle.shell("grep -q . /proc/kcore && echo kcore is open;"
                     " echo 1 2>/dev/null >/proc/sys/vm/panic_on_oom && echo sysctls are open; true")
    made = 0
    with swapped(rootfs, "proc", "link") as count:
        for number in range(ROUNDS):
            done = runtime("run", "--bundle", own_bundle, f"c{number}")
            made += done.returncode == 0
            assert "open" not in done.stdout, done.stdout
    assert count[0] > ROUNDS and made < ROUNDS


def test_cve_2021_30465_a_mount_point_that_becomes_a_link(runtime: Runtime, own_bundle: Bundle, outside: Outside,
                                                          tmp_path: Path) -> None:
    """The mount point is in a volume in which another container replaces a directory by a link to the host."""
    volume = tmp_path / "volume"
    (volume / "place/empty").mkdir(parents=True)
    (volume / "link").symlink_to(outside.path)
    marker = tmp_path / "marker"
    marker.mkdir()
    (marker / "marked").touch()
    own_bundle.add_mount("/volume", "bind", str(volume), "rbind")
    own_bundle.add_mount("/volume/place/empty", "bind", str(marker), "rbind")
    own_bundle.save(process__args=["true"])
    with swapped(volume, "place", "link") as count:
        for number in range(ROUNDS):
            runtime("run", "--bundle", own_bundle, f"c{number}")
            assert str(outside.path) not in Path("/proc/self/mountinfo").read_text()
    assert count[0] > ROUNDS and not list(outside.path.rglob("marked"))


def test_cve_2024_45310_nothing_is_created_on_the_host(runtime: Runtime, own_bundle: Bundle, outside: Outside,
                                                    tmp_path: Path) -> None:
    """The same race on missing mount points: runc created empty files and directories on the host."""
    volume = tmp_path / "volume"
    (volume / "place").mkdir(parents=True)
    (volume / "link").symlink_to(outside.path)
    own_bundle.add_mount("/volume", "bind", str(volume), "rbind")
    own_bundle.save(process__args=["true"])
    mounts = list(own_bundle.config["mounts"])
    with swapped(volume, "place", "link") as count:
        for number in range(ROUNDS):
            own_bundle.config["mounts"] = [*mounts]
            own_bundle.add_mount(f"/volume/place/made-{number}/deep", "tmpfs", "tmpfs")
            own_bundle.add_mount(f"/volume/place/file-{number}", "bind", "/etc/hostname", "bind")
            own_bundle.save()
            runtime("run", "--bundle", own_bundle, f"c{number}")
    assert count[0] > ROUNDS   # and the fixture sees whether the host's directory is as it was


@pytest.mark.parametrize("kind", ["symbolic link", "relative link", "dots"])
def test_cve_2019_18837_mount_points_that_lead_out(runtime: Runtime, own_bundle: Bundle, outside: Outside, kind: str
                                                   ) -> None:
    """crun 0.10.4 followed an image's links from the host's root."""
    rootfs = rootfs_of(own_bundle)
    place = {"symbolic link": str(outside.path), "relative link": "../" * 30 + str(outside.path)[1:],
             "dots": "/" + "../" * 30 + str(outside.path)[1:]}[kind]
    if kind == "dots":
        destination = place + "/empty"
    else:
        (rootfs / "out").symlink_to(place)
        destination = "/out/empty"
    own_bundle.add_mount(destination, "tmpfs", "tmpfs")
    own_bundle.shell(MOUNTS)
    done = runtime("run", "--bundle", own_bundle, "c1")
    assert done.returncode != 0 or f"{outside.path}/empty" in done.stdout.splitlines(), "it lies outside"


@pytest.mark.parametrize("inheritable", [[], ["CAP_KILL"]], ids=["none", "some"])
def test_cve_2022_29162_2022_24769_2022_27650_inheritable_capabilities(runtime: Runtime, bundle: Bundle,
                                                                       inheritable: list[str]) -> None:
    """Inheritable capabilities are regained through files with inheritable file capabilities: none are set by
    default."""
    sets = bundle.config["process"]["capabilities"]
    sets["inheritable"] = inheritable
    bundle.save(process__args=["sleep", "1000"])
    runtime.ok("run", "--detach", "--bundle", bundle, "c1")
    for flags in ([], ["--cap", "CAP_NET_RAW"]):
        shown = runtime.ok("exec", *flags, "c1", "grep", "CapInh", "/proc/self/status").split()[1]
        assert int(shown, 16) == (1 << 5 if inheritable else 0)


def test_cve_2023_25809_cgroups_of_the_host_without_root(runtime: Runtime, own_bundle: Bundle) -> None:
    """Without a cgroup namespace, /sys/fs/cgroup of a rootless container was the user's own on the host, writable."""
    own_bundle.without_root()
    linux = own_bundle.config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "cgroup"]
    own_bundle.shell("for place in $(find /sys/fs/cgroup -type d 2>/dev/null | head -n 50);"
                     " do mkdir $place/escaped 2>/dev/null && echo made in $place; done; true")
    apart = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run([*apart, COMMAND, "--root", runtime.root, "--cgroup-manager=disabled", "run", "--bundle",
                           own_bundle.path, "c1"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("number", range(3, 24))
def test_cve_2024_21626_a_working_directory_in_a_descriptor(runtime: Runtime, bundle: Bundle, number: int) -> None:
    """A directory of the host that is open during the set-up, as the container's working directory."""
    bundle.shell("cd ..; ls -di . / | sort -u | wc -l; pwd", process__cwd=f"/proc/self/fd/{number}")
    done = runtime("run", "--bundle", bundle, "c1")
    assert done.returncode != 0 or done.stdout == "1\n/\n", done.stdout
    assert done.returncode == 0 or "process.cwd" in done.stderr


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/etc/passwd"])
def test_cve_2025_31133_a_mask_from_the_image(runtime: Runtime, own_bundle: Bundle, target: str) -> None:
    """Masked files are covered by /dev/null; if the image's /dev/null was a link, its target was mounted instead."""
    without_dev(own_bundle)
    replace(rootfs_of(own_bundle) / "dev/null", target)
    own_bundle.config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]
    own_bundle.shell("for path in /proc/keys /proc/timer_list; do test -s $path && echo $path shows something;"
                     " stat -c %t:%T $path; done")
    done = runtime("run", "--bundle", own_bundle, "c1")
    assert done.returncode != 0 or done.stdout == "1:3\n1:3\n", done.stdout


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/attr/current"])
def test_cve_2025_52565_a_console_from_the_image(runtime: Runtime, own_bundle: Bundle, target: str) -> None:
    """The terminal is mounted on /dev/console: a link there made the runtime mount over, or open, files of /proc."""
    without_dev(own_bundle)
    replace(rootfs_of(own_bundle) / "dev/console", target)
    own_bundle.config["linux"]["maskedPaths"] = own_bundle.config["linux"]["readonlyPaths"] = []
    own_bundle.shell(MOUNTS, process__terminal=True)
    done = runtime("run", "--bundle", own_bundle, "c1")
    assert done.returncode == 1 and "/dev/console must be an ordinary file" in done.stderr, done


@pytest.mark.parametrize("how", ["tmpfs", "files", "link"])
def test_cve_2025_52881_redirected_writes_to_proc(runtime: Runtime, own_bundle: Bundle, how: str) -> None:
    """A sysctl or a label that is written to a fake procfs is lost, or redirected."""
    rootfs = rootfs_of(own_bundle)
    own_bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    fake = rootfs / "fake/sys/net/ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_default_ttl").write_text("not written\n")
    if how == "tmpfs":
        own_bundle.add_mount("/proc", "bind", str(rootfs / "fake"), "rbind")
    elif how == "link":
        own_bundle.add_mount("/proc/sys/net/ipv4/ip_default_ttl", "bind", str(fake / "ip_default_ttl"), "bind")
    own_bundle.shell("cat /proc/sys/net/ipv4/ip_default_ttl")
    done = runtime("run", "--bundle", own_bundle, "c1")
    assert (fake / "ip_default_ttl").read_text() == "not written\n"
    assert done.returncode != 0 or how != "files" or done.stdout == "77\n", done.stdout


@pytest.mark.parametrize("name", [
    "kernel.core_pattern", "kernel/core_pattern", "net/../kernel.core_pattern",
    "net.ipv4.ip_forward=1+kernel.core_pattern", "kernel.shm_rmid_forced\nkernel.core_pattern"])
def test_cve_2022_0811_sysctls_of_the_host(runtime: Runtime, bundle: Bundle, name: str) -> None:
    """A name that sets another sysctl outside any namespace: |/program of a container as the host's core_pattern."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    bundle.config["linux"]["sysctl"] = {name: "|/tmp/evil"}
    bundle.save(process__args=["true"])
    done = runtime("run", "--bundle", bundle, "c1")
    assert done.returncode != 0 and "linux.sysctl" in done.stderr
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cve_2020_15257_no_socket_without_a_file(runtime: Runtime, own_bundle: Bundle) -> None:
    """Abstract sockets belong to the network namespace: a container with the host's network reached containerd's
    shim."""
    linux = own_bundle.config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    own_bundle.config["mounts"] = [mount for mount in own_bundle.config["mounts"] if mount["destination"] != "/sys"]
    own_bundle.shell("grep -a @.*pyruntime /proc/net/unix; grep -a @.*pocker /proc/net/unix; true")
    assert runtime.ok("run", "--bundle", own_bundle, "c1") == ""


def test_cve_2016_3697_a_user_whose_name_is_a_number(runtime: Runtime, own_bundle: Bundle) -> None:
    """The runtime accepts only numbers, and the image's /etc/passwd has no effect on them."""
    (rootfs_of(own_bundle) / "etc").mkdir(exist_ok=True)
    (rootfs_of(own_bundle) / "etc/passwd").write_text("1000:x:0:0:root:/root:/bin/sh\n")
    own_bundle.shell("id -u", process__user={"uid": 1000, "gid": 1000})
    assert runtime.ok("run", "--bundle", own_bundle, "c1") == "1000\n"
