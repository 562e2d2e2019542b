"""The causes and remedies of refusals, without the refusals: tests/hosts/ has those."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from errno import EACCES, EAGAIN, EINVAL, EMFILE, ENOSPC, EPERM

import pytest

from pyruntime.errors import HostError
from pyruntime.system import processes, restrictions, user_namespace


@pytest.fixture
def sysctls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the sysctls that the module sees, and the user outside of namespaces."""
    def put(uid: int, **values: str) -> None:
        monkeypatch.setattr(restrictions, "real_uid", lambda: uid)
        monkeypatch.setattr(restrictions, "_sysctl", lambda name: values.get(name.rpartition("/")[2], ""))
    return put


def test_the_sysctl_that_forbids_user_namespaces_is_named(sysctls: Callable[..., None]) -> None:
    sysctls(1000, apparmor_restrict_unprivileged_userns="1", unprivileged_userns_clone="0")
    assert "AppArmor" in restrictions.user_namespaces(EPERM) and "AppArmor" in restrictions.user_namespaces(EACCES)
    sysctls(1000, apparmor_restrict_unprivileged_userns="0", unprivileged_userns_clone="0")
    assert "kernel.unprivileged_userns_clone to 1" in restrictions.user_namespaces(EPERM)
    assert restrictions.apparmor(EPERM) == ""
    sysctls(0, apparmor_restrict_unprivileged_userns="1", unprivileged_userns_clone="0")   # neither concerns root
    assert "in a chroot" in restrictions.user_namespaces(EPERM)


@pytest.mark.parametrize(("most", "proposed"), [("0", "16384"), ("96365", "192730"), ("", "16384")])
def test_the_number_of_user_namespaces(sysctls: Callable[..., None], most: str, proposed: str) -> None:
    sysctls(1000, max_user_namespaces=most)
    text = restrictions.user_namespaces(ENOSPC)
    assert f"user.max_user_namespaces={most} allows" in text and f"(sysctl user.max_user_namespaces={proposed})" in text


def test_other_errors_have_no_explanation() -> None:
    for explain in (restrictions.user_namespaces, restrictions.apparmor, restrictions.limits):
        assert explain(EINVAL) == ""


def test_limits_are_named_with_their_value() -> None:
    assert "descriptors may be open: raise the limit (ulimit -n" in restrictions.limits(EMFILE)
    assert f"raise the limit of user {os.geteuid()} (ulimit -u, now " in restrictions.limits(EAGAIN)


def test_a_file_that_proc_lacks() -> None:
    assert restrictions.read_proc("/proc/sys/kernel/ostype") == "Linux"
    with pytest.raises(HostError, match=r'cannot read "/proc/sys/kernel/nosuch": (.*: )?No such file or directory'):
        restrictions.read_proc("/proc/sys/kernel/nosuch")


def test_no_process_is_not_a_hidden_one() -> None:
    assert processes.start_time(0) == processes.start_time(-1) == processes.start_time(1 << 22) == 0
    assert processes.start_time(os.getpid()) > 0


def test_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_namespace.home() == "/somewhere"
    monkeypatch.delenv("HOME")
    assert user_namespace.home() == pwd.getpwuid(user_namespace.real_uid()).pw_dir
    monkeypatch.setattr(user_namespace, "real_uid", lambda: 4_000_000)
    with pytest.raises(HostError, match="the home directory of user 4000000 is unknown: set HOME"):
        user_namespace.home()

