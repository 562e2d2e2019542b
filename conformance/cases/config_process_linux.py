"""config.md#linux-process and #user: capabilities, privileges, scores, schedulers, priorities, identity."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conformance import kernel
from conformance.lib.bundle import Config, sets, use_user_namespace
from conformance.lib.host import granted_capabilities
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

LINUX = "config.md#linux-process"
USER = "config.md#posix-platform-user"
_CHOWN, _KILL, _NET_RAW = 0, 5, 13
_CAP_SYS_NICE = 23
_FIELDS = {
    "effective": "CapEff",
    "bounding": "CapBnd",
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "ambient": "CapAmb",
}


def _numbers(field: str) -> set[int]:
    bits = int(field, 16)
    return {number for number in range(64) if bits >> number & 1}


def _capability_set(kind: str) -> None:
    @requirement(LINUX, f"capabilities.{kind} are exactly the {kind} capabilities of the process", name=f"caps_{kind}")
    def case(t: Trial) -> None:
        names = {"effective": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN", "CAP_KILL"]}
        full = {key: names.get(key, ["CAP_CHOWN", "CAP_KILL"]) for key in _FIELDS}
        full["bounding"] = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]
        full["ambient"] = ["CAP_KILL"]
        config = t.sleeper()
        config["process"]["capabilities"] = full
        # Not root: the kernel recomputes the effective and permitted sets of uid 0 at execve. See capabilities(7):
        # without file capabilities, the permitted and effective sets of other users become the ambient set.
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        expected = {
            "bounding": {_CHOWN, _KILL, _NET_RAW},
            "inheritable": {_CHOWN, _KILL},
            "ambient": {_KILL},
            "permitted": {_KILL},
            "effective": {_KILL},
        }
        t.equal(_numbers(t.start(config).status_field(_FIELDS[kind])), expected[kind], f"{kind} capabilities")


for _kind in _FIELDS:
    _capability_set(_kind)


@requirement(LINUX, "uid 0 has the permitted and effective capabilities of the bounding set")
def caps_root(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["capabilities"] = sets("CAP_CHOWN", "CAP_KILL")
    container = t.start(config)
    for field in ("CapPrm", "CapEff", "CapBnd"):
        t.equal(_numbers(container.status_field(field)), {_CHOWN, _KILL}, field)


@requirement(LINUX, "empty capability sets leave uid 0 without any capability")
def caps_none(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["capabilities"] = sets()
    container = t.start(config)
    for field in _FIELDS.values():
        t.equal(_numbers(container.status_field(field)), set(), field)


@requirement(LINUX, "a capability that does not exist is logged as a warning, not an error", level="SHOULD NOT")
def caps_unknown(t: Trial) -> None:
    config = t.config("echo ran")
    for names in config["process"]["capabilities"].values():
        names.append("CAP_CONFORMANCE")
    container = t.run(config)
    t.equal(container.stdout, "ran\n", "output")
    t.check("CAP_CONFORMANCE" in container.said_by_create, f"no warning names it: {container.said_by_create!r}")


@requirement(LINUX, "a capability that cannot be granted is logged as a warning, not an error", level="SHOULD NOT")
def caps_not_granted(t: Trial) -> None:
    missing = {24: "CAP_SYS_RESOURCE", 16: "CAP_SYS_MODULE", 25: "CAP_SYS_TIME"}
    lacking = [name for number, name in missing.items() if number not in granted_capabilities()]
    t.skip_unless(lacking, "the host grants every capability that the case uses")
    config = t.config("echo ran")
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind] += lacking
    t.equal(t.run(config).stdout, "ran\n", "output")


def _no_new_privileges(value: bool) -> None:
    @requirement(LINUX, f"noNewPrivileges {str(value).lower()}", name=f"no_new_privileges_{str(value).lower()}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["process"]["noNewPrivileges"] = value
        t.equal(t.start(config).status_field("NoNewPrivs"), str(int(value)), "no_new_privs of the process")


_no_new_privileges(True)
_no_new_privileges(False)


@requirement(LINUX, "oomScoreAdj is the oom_score_adj of the process")
def oom_score_adj(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["oomScoreAdj"] = 321
    t.equal(t.start(config).proc("oom_score_adj").read_text().strip(), "321", "oom_score_adj")


@requirement(LINUX, "without oomScoreAdj the value of the runtime's caller is kept", level="MUST NOT")
def oom_score_adj_unset(t: Trial) -> None:
    Path("/proc/self/oom_score_adj").write_text("123")
    t.equal(t.start(t.sleeper()).proc("oom_score_adj").read_text().strip(), "123", "oom_score_adj")


def _scheduler(policy: str, number: int) -> None:
    @requirement(LINUX, f"scheduler.policy {policy}", name=f"scheduler_{policy.lower()}")
    def case(t: Trial) -> None:
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        config["process"]["scheduler"] = {"policy": policy}
        t.equal(os.sched_getscheduler(t.start(config).pid), number, "scheduling policy")


_scheduler("SCHED_OTHER", os.SCHED_OTHER)
_scheduler("SCHED_BATCH", os.SCHED_BATCH)
_scheduler("SCHED_IDLE", os.SCHED_IDLE)


def _realtime(policy: str, number: int) -> None:
    @requirement(LINUX, f"scheduler {policy} with a priority", name=f"scheduler_{policy.lower()}_priority")
    def case(t: Trial) -> None:
        t.need_capabilities([_CAP_SYS_NICE], "real-time scheduling")
        _need_realtime(t)
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        config["process"]["scheduler"] = {"policy": policy, "priority": 7}
        for kind in ("bounding", "effective", "permitted", "inheritable"):
            config["process"]["capabilities"][kind].append("CAP_SYS_NICE")
        pid = t.start(config).pid
        t.equal((os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority), (number, 7), "policy, priority")


def _need_realtime(t: Trial) -> None:
    """With CONFIG_RT_GROUP_SCHED a new cgroup has no real-time budget: the kernel then refuses every caller."""
    if (Path("/sys/fs/cgroup/cpu") / "cpu.rt_runtime_us").exists():
        t.skip("the kernel's cpu controller has real-time group scheduling: new cgroups get no real-time budget")


_realtime("SCHED_FIFO", os.SCHED_FIFO)
_realtime("SCHED_RR", os.SCHED_RR)


@requirement(LINUX, "scheduler.nice is the nice value of the process")
def scheduler_nice(t: Trial) -> None:
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    config["process"]["scheduler"] = {"policy": "SCHED_OTHER", "nice": 5}
    t.equal(os.getpriority(os.PRIO_PROCESS, t.start(config).pid), 5, "nice value")


@requirement(LINUX, "scheduler.nice that is not set is 0")
def scheduler_nice_default(t: Trial) -> None:
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    config["process"]["scheduler"] = {"policy": "SCHED_BATCH"}
    os.nice(3)
    t.equal(os.getpriority(os.PRIO_PROCESS, t.start(config).pid), 0, "nice value")


@requirement(LINUX, "scheduler.flags: SCHED_FLAG_RESET_ON_FORK")
def scheduler_reset_on_fork(t: Trial) -> None:
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    expected = os.SCHED_BATCH | os.SCHED_RESET_ON_FORK
    t.equal(os.sched_getscheduler(t.start(config).pid), expected, "policy with flags")


@requirement(LINUX, "scheduler SCHED_DEADLINE with runtime, deadline and period")
def scheduler_deadline(t: Trial) -> None:
    t.need_capabilities([_CAP_SYS_NICE], "deadline scheduling")
    config = t.sleeper() | {"ociVersion": "1.1.0"}
    times = {"runtime": 10**7, "deadline": 3 * 10**7, "period": 3 * 10**7}
    config["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", **times}
    t.equal(os.sched_getscheduler(t.start(config).pid), 6, "scheduling policy")


def _bad_scheduler(name: str, why: str, value: Config) -> None:
    @requirement(LINUX, f"scheduler: {why} generates an error", name=f"scheduler_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        config["process"]["scheduler"] = value
        t.refused_by_start(config, why)


_bad_scheduler("unknown_policy", "an unknown policy", {"policy": "SCHED_SOMEHOW"})
_bad_scheduler("unknown_flag", "an unknown flag", {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE_SUCH"]})


def _io_priority(kind: str, number: int) -> None:
    @requirement(LINUX, f"ioPriority {kind}", name=f"io_priority_{kind.rpartition('_')[2].lower()}")
    def case(t: Trial) -> None:
        t.skip_unless(kernel.SYS_IOPRIO_GET, "the number of ioprio_get(2) is not known here")
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        config["process"]["ioPriority"] = {"class": kind, "priority": 4}
        t.equal(kernel.ioprio_get(t.start(config).pid), (number, 4), "I/O priority (class, level)")


_io_priority("IOPRIO_CLASS_RT", 1)
_io_priority("IOPRIO_CLASS_BE", 2)
_io_priority("IOPRIO_CLASS_IDLE", 3)


@requirement(LINUX, "ioPriority is inherited by every process of the container")
def io_priority_of_children(t: Trial) -> None:
    t.skip_unless(kernel.SYS_IOPRIO_GET, "the number of ioprio_get(2) is not known here")
    config = t.config("sleep 1000 & echo started; wait") | {"ociVersion": "1.1.0"}
    config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    container = t.start(config)
    t.eventually(lambda: container.stdout == "started\n", "the child")
    me = str(container.pid)
    children = [e for e in os.listdir("/proc") if e.isdigit() and _parent(e) == me]
    t.equal([kernel.ioprio_get(int(child)) for child in children], [(2, 6)], "I/O priority of the child")


def _parent(entry: str) -> str:
    try:
        return Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _bad_io_priority(name: str, why: str, value: Config) -> None:
    @requirement(LINUX, f"ioPriority: {why} generates an error", name=f"io_priority_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper() | {"ociVersion": "1.1.0"}
        config["process"]["ioPriority"] = value
        t.refused_by_start(config, why)


_bad_io_priority("unknown_class", "an unknown class", {"class": "IOPRIO_CLASS_SLOW", "priority": 0})
_bad_io_priority("priority_8", "a priority above 7", {"class": "IOPRIO_CLASS_BE", "priority": 8})
_bad_io_priority("priority_negative", "a negative priority", {"class": "IOPRIO_CLASS_BE", "priority": -1})


@requirement(LINUX, "execCPUAffinity does not apply to the container's init process", level="MUST NOT")
def exec_cpu_affinity(t: Trial) -> None:
    ours = os.sched_getaffinity(0)
    t.skip_unless(len(ours) > 1, "the host has only one CPU")
    config = t.sleeper() | {"ociVersion": "1.2.1"}
    config["process"]["execCPUAffinity"] = {"initial": "0", "final": "0"}
    t.equal(os.sched_getaffinity(t.start(config).pid), ours, "CPU affinity of the init process")


# -- user --------------------------------------------------------------------------------------------------------------


@requirement(USER, "uid and gid are those of the process: real, effective, saved and filesystem")
def user_ids(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["user"] = {"uid": 1234, "gid": 5678}
    container = t.start(config)
    t.equal(container.status_field("Uid"), "1234 1234 1234 1234", "user ids")
    t.equal(container.status_field("Gid"), "5678 5678 5678 5678", "group ids")


@requirement(USER, "additionalGids are the supplementary groups, and no others")
def additional_gids(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["user"] = {"uid": 1234, "gid": 5678, "additionalGids": [10, 20, 3000]}
    t.equal(set(t.start(config).status_field("Groups").split()) - {"5678"}, {"10", "20", "3000"}, "groups")


@requirement(
    USER, "without additionalGids the caller's supplementary groups do not reach the process", level="MUST NOT"
)
def no_additional_gids(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["user"] = {"uid": 1234, "gid": 5678}
    os.setgroups([4242])
    t.check("4242" not in t.start(config).status_field("Groups").split(), "a group of the caller reaches the process")


@requirement(USER, "IDs without an entry in the container's /etc/passwd are valid")
def user_without_entry(t: Trial) -> None:
    config = t.config("id -u; id -g")
    config["process"]["user"] = {"uid": 4000000000, "gid": 4000000001}
    t.equal(t.output(config).split(), ["4000000000", "4000000001"], "ids")


@requirement(USER, "umask is the umask of the process")
def umask(t: Trial) -> None:
    config = t.config("umask")
    config["process"]["user"]["umask"] = 0o027
    t.equal(t.output(config), "0027", "umask")


@requirement(USER, "umask 0 is a valid value")
def umask_zero(t: Trial) -> None:
    config = t.config("umask")
    config["process"]["user"]["umask"] = 0
    t.equal(t.output(config), "0000", "umask")


@requirement(USER, "without umask the caller's is not changed", level="SHOULD NOT")
def umask_unset(t: Trial) -> None:
    os.umask(0o031)
    t.equal(t.output("umask"), "0031", "umask")


@requirement(USER, "uid and gid are those of the container's user namespace")
def user_in_namespace(t: Trial) -> None:
    config = t.sleeper()
    use_user_namespace(config)
    config["process"]["user"] = {"uid": 5, "gid": 6}
    container = t.start(config)
    t.equal(container.status_field("Uid").split()[0], "100005", "user id seen from the host")
    t.equal(container.status_field("Gid").split()[0], "100006", "group id seen from the host")


@requirement(USER, "an id that the user namespace does not map generates an error")
def user_not_mapped(t: Trial) -> None:
    config = t.sleeper()
    use_user_namespace(config, size=10)
    config["process"]["user"] = {"uid": 50, "gid": 0}
    t.refused_by_start(config, "a uid that is not mapped")


@requirement(LINUX, "apparmorProfile: the process runs under the profile")
def apparmor_profile(t: Trial) -> None:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    t.skip_unless(enabled.exists() and enabled.read_text().startswith("Y"), "AppArmor is not enabled in the kernel")
    parser = t.need_tool("apparmor_parser")
    profile = t.path / "profile"
    profile.write_text(
        "profile conformance-test flags=(attach_disconnected) { file, capability, network, mount, signal, }\n"
    )
    done = subprocess.run([parser, "-r", "-K", str(profile)], capture_output=True, text=True, check=False)
    t.skip_unless(done.returncode == 0, f"apparmor_parser cannot load a profile: {done.stderr.strip()}")
    try:
        config = t.sleeper()
        config["process"]["apparmorProfile"] = "conformance-test"
        seen = t.start(config).proc("attr", "current").read_text().split()[0]
        t.equal(seen, "conformance-test", "AppArmor profile of the process")
    finally:
        subprocess.run([parser, "-R", str(profile)], capture_output=True, check=False)


@requirement(LINUX, "an apparmorProfile that is not loaded generates an error")
def apparmor_unknown(t: Trial) -> None:
    config = t.sleeper()
    config["process"]["apparmorProfile"] = "conformance-no-such-profile"
    t.refused_by_start(config, "an AppArmor profile that is not loaded")


@requirement(USER, "an additional group that the user namespace does not map generates an error")
def additional_gid_not_mapped(t: Trial) -> None:
    config = t.sleeper()
    use_user_namespace(config, size=10)
    config["process"]["user"]["additionalGids"] = [50]
    t.refused_by_start(config, "an additional group that is not mapped")


def _bad_oom_score(value: int) -> None:
    name = f"oom_score_adj_{'minus_' if value < 0 else ''}{abs(value)}"

    @requirement(LINUX, f"oomScoreAdj {value} is out of range: an error", name=name)
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["process"]["oomScoreAdj"] = value
        t.refused_by_start(config, f"oomScoreAdj {value}")


_bad_oom_score(1001)
_bad_oom_score(-1001)


@requirement(LINUX, "oomScoreAdj 0 is a value: it is set regardless of the caller's")
def oom_score_adj_zero(t: Trial) -> None:
    Path("/proc/self/oom_score_adj").write_text("123")
    config = t.sleeper()
    config["process"]["oomScoreAdj"] = 0
    t.equal(t.start(config).proc("oom_score_adj").read_text().strip(), "0", "oom_score_adj")


@requirement(LINUX, "without capabilities in the configuration nothing is refused", level="SHOULD NOT")
def caps_absent(t: Trial) -> None:
    config = t.config("echo ran")
    del config["process"]["capabilities"]
    t.equal(t.output(config), "ran", "output")
