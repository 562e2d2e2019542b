"""config-linux.md#devices, #default-devices, #default-filesystems; runtime-linux.md#dev-symbolic-links."""

from __future__ import annotations

import os
import stat

from conformance.lib.bundle import Config, mount, use_user_namespace
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

DEVICES = "config-linux.md#devices"
DEFAULTS = "config-linux.md#default-devices"
FILESYSTEMS = "config-linux.md#default-filesystems"
LINKS = "runtime-linux.md#dev-symbolic-links"
_STAT = "stat -c '%F %t:%T %a %u:%g'"


def _device(kind: str, path: str, major: int | None = None, minor: int | None = None, **more: int) -> Config:
    numbers = {} if major is None else {"major": major, "minor": minor}
    return {"type": kind, "path": path} | numbers | more


def _seen(t: Trial, device: Config) -> str:
    config = t.config(f"{_STAT} {device['path']}")
    config["linux"]["devices"] = [device]
    return t.output(config)


@requirement(DEVICES, 'type "c": a character device with its numbers')
def character(t: Trial) -> None:
    seen = _seen(t, _device("c", "/dev/conf", 10, 229, fileMode=0o660, uid=0, gid=0))
    t.equal(seen, "character special file a:e5 660 0:0", "the device")


@requirement(DEVICES, 'type "u": an unbuffered character device is a character device')
def unbuffered(t: Trial) -> None:
    seen = _seen(t, _device("u", "/dev/conf", 10, 229, fileMode=0o660, uid=0, gid=0))
    t.equal(seen, "character special file a:e5 660 0:0", "the device")


@requirement(DEVICES, 'type "b": a block device with its numbers')
def block(t: Trial) -> None:
    seen = _seen(t, _device("b", "/dev/conf", 8, 300, fileMode=0o640, uid=0, gid=0))
    t.equal(seen, "block special file 8:12c 640 0:0", "the device")


@requirement(DEVICES, 'type "p": a FIFO, which needs no numbers')
def fifo(t: Trial) -> None:
    t.check(_seen(t, _device("p", "/dev/conf", fileMode=0o622)).startswith("fifo "), "/dev/conf is not a FIFO")


@requirement(DEVICES, 'type "p": numbers that are given are ignored')
def fifo_with_numbers(t: Trial) -> None:
    t.check(_seen(t, _device("p", "/dev/conf", 8, 666)).startswith("fifo "), "/dev/conf is not a FIFO")


@requirement(DEVICES, "fileMode is the mode, regardless of the umask")
def file_mode(t: Trial) -> None:
    os.umask(0o077)
    seen = _seen(t, _device("c", "/dev/conf", 1, 3, fileMode=0o666))
    t.equal(seen.split()[4], "666", "mode")


@requirement(DEVICES, "uid and gid are the owner")
def owner(t: Trial) -> None:
    seen = _seen(t, _device("c", "/dev/conf", 1, 3, fileMode=0o666, uid=7, gid=8))
    t.equal(seen.split()[5], "7:8", "owner")


@requirement(DEVICES, "the path may lie outside /dev")
def outside_dev(t: Trial) -> None:
    t.check(_seen(t, _device("c", "/opt/here/conf", 1, 3)).startswith("character"), "no device at /opt/here/conf")


@requirement(DEVICES, "missing parent directories of the path are created")
def nested(t: Trial) -> None:
    t.check(_seen(t, _device("c", "/dev/a/b/conf", 1, 3)).startswith("character"), "no device at /dev/a/b/conf")


@requirement(DEVICES, "the device works: a device with the numbers of /dev/zero returns zeros if the cgroup allows it")
def works(t: Trial) -> None:
    config = t.config("head -c 4 /dev/conf | od -An -tx1")
    config["linux"]["devices"] = [_device("c", "/dev/conf", 1, 5, fileMode=0o666)]
    config["linux"]["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
    )
    t.equal(t.output(config).split(), ["00"] * 4, "data read")


@requirement(DEVICES, "a file at the path that is not the device generates an error")
def file_in_the_way(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["devices"] = [_device("c", "/opt/conf", 1, 3)]
    container = t.container(config)
    (container.rootfs / "opt").mkdir()
    (container.rootfs / "opt/conf").write_text("in the way")
    t.fail(container.create(), "create with a plain file at the device's path")
    t.equal((container.rootfs / "opt/conf").read_text(), "in the way", "the plain file")


@requirement(DEVICES, "a device with other numbers at the path generates an error")
def other_device_in_the_way(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["devices"] = [_device("c", "/opt/conf", 1, 3)]
    container = t.container(config)
    (container.rootfs / "opt").mkdir()
    os.mknod(container.rootfs / "opt/conf", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    t.fail(container.create(), "create with another device at the device's path")


@requirement(DEVICES, "an existing matching device at the path is not an error")
def same_device_there(t: Trial) -> None:
    config = t.config(f"{_STAT} /opt/conf")
    config["linux"]["devices"] = [_device("c", "/opt/conf", 1, 3, fileMode=0o666)]
    container = t.container(config)
    (container.rootfs / "opt").mkdir()
    os.mknod(container.rootfs / "opt/conf", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    t.succeed(container.create(), "create")


def _bad(name: str, why: str, device: Config) -> None:
    @requirement(DEVICES, f"{why} generates an error", name=f"bad_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["linux"]["devices"] = [device]
        t.refused(config, why)


_bad("type", "an unknown type", _device("x", "/dev/conf", 1, 3))
_bad("no_path", "a device without a path", {"type": "c", "major": 1, "minor": 3})
_bad("no_type", "a device without a type", {"path": "/dev/conf", "major": 1, "minor": 3})


@requirement(DEVICES, "devices are available in a user namespace too")
def in_user_namespace(t: Trial) -> None:
    config = t.config(f"{_STAT} /dev/conf")
    config["linux"]["devices"] = [_device("c", "/dev/conf", 1, 7, fileMode=0o666)]
    use_user_namespace(config)
    t.equal(t.output(config).split()[:4], ["character", "special", "file", "1:7"], "the device")


def _default(path: str, numbers: str) -> None:
    @requirement(DEFAULTS, f"{path} exists", name=f"default{path.replace('/', '_')}")
    def case(t: Trial) -> None:
        seen = t.output(f"stat -L -c '%F %t:%T %a' {path}")
        t.equal(seen, f"character special file {numbers} 666", path)


for _path, _numbers in {
    "/dev/null": "1:3",
    "/dev/zero": "1:5",
    "/dev/full": "1:7",
    "/dev/random": "1:8",
    "/dev/urandom": "1:9",
    "/dev/tty": "5:0",
    "/dev/ptmx": "5:2",
}.items():
    _default(_path, _numbers)


@requirement(DEFAULTS, "the default devices can be used although the allowed list denies everything")
def defaults_work(t: Trial) -> None:
    script = (
        "echo x > /dev/null && head -c 2 /dev/zero | wc -c && head -c 2 /dev/urandom | wc -c && "
        "(echo x > /dev/full) 2>/dev/null || echo full"
    )
    t.equal(t.output(script).split(), ["2", "2", "full"], "output")


@requirement(DEFAULTS, "the default devices exist in a user namespace, too")
def defaults_in_user_namespace(t: Trial) -> None:
    config = t.config(
        "for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; echo > /dev/null"
    )
    use_user_namespace(config)
    t.equal(t.output(config).split(), ["null", "zero", "full", "random", "urandom", "tty"], "devices")


@requirement(DEFAULTS, "/dev/ptmx is the container's own: a symlink to pts/ptmx or a bind mount of it")
def ptmx(t: Trial) -> None:
    t.equal(t.output("stat -L -c %d:%i /dev/ptmx /dev/pts/ptmx | sort -u | wc -l"), "1", "different files")


@requirement(
    DEFAULTS, "default devices do not appear if the configuration bind-mounts the host's /dev", level="MUST NOT"
)
def bound_dev_is_left_alone(t: Trial) -> None:
    own = t.path / "dev"
    own.mkdir()
    config = t.sleeper()
    config["mounts"] = [entry for entry in config["mounts"] if not entry["destination"].startswith("/dev")]
    config["mounts"].append({"destination": "/dev", "type": "none", "source": str(own), "options": ["bind", "ro"]})
    container = t.container(config)
    container.create()
    t.equal(sorted(entry.name for entry in own.iterdir()), [], "files in the bound directory")


def _link(path: str, target: str) -> None:
    @requirement(LINKS, f"{path} is a symlink to {target}", name=f"link{path.replace('/', '_')}")
    def case(t: Trial) -> None:
        t.equal(t.output(f"readlink {path}"), target, path)


for _path, _target in {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}.items():
    _link(_path, _target)


@requirement(LINKS, "/dev/stdout and /dev/stderr can be written")
def links_work(t: Trial) -> None:
    container = t.run("echo out > /dev/stdout; echo err > /dev/stderr")
    t.equal((container.stdout, container.stderr), ("out\n", "err\n"), "streams")


def _filesystem(target: str, kind: str, options: list[str]) -> None:
    @requirement(FILESYSTEMS, f"{target} can be a {kind}", level="SHOULD", name=f"filesystem{target.replace('/', '_')}")
    def case(t: Trial) -> None:
        config = t.config(f"awk '$5==\"{target}\"' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f1")
        others = [entry for entry in config["mounts"] if entry["destination"] != target]
        config["mounts"] = [*others, mount(target, kind, kind, *options)]
        t.equal(t.output(config), kind, f"type of {target}")


_filesystem("/proc", "proc", ["nosuid", "noexec", "nodev"])
_filesystem("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"])
_filesystem("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"])
_filesystem("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])
_filesystem("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"])


@requirement(DEVICES, "a default device that is also listed has the listed mode and owner")
def default_device_listed(t: Trial) -> None:
    seen = _seen(t, _device("c", "/dev/full", 1, 7, fileMode=0o600, uid=3, gid=4))
    t.equal(seen, "character special file 1:7 600 3:4", "/dev/full")


@requirement(DEFAULTS, "/dev/console does not exist without a terminal", level="SHOULD NOT")
def no_console(t: Trial) -> None:
    t.equal(t.output("test -e /dev/console || echo none"), "none", "output")


@requirement(DEVICES, "devices are created on the mounts at their path: a tmpfs")
def on_a_mount(t: Trial) -> None:
    config = t.config(f"{_STAT} /opt/mounted/conf; grep -c /opt/mounted /proc/self/mountinfo")
    config["mounts"].append(mount("/opt/mounted", "tmpfs", "tmpfs"))
    config["linux"]["devices"] = [_device("c", "/opt/mounted/conf", 1, 3, fileMode=0o666)]
    t.check(t.output(config).startswith("character special file 1:3"), "no device on the mount")
