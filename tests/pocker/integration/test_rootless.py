"""``pocker`` for a user without privileges: one user namespace for all containers of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.integration.test_pyimage_rootless import IDS, run

TMP = "mount -t tmpfs -o mode=1777 tmpfs /tmp; "   # a /tmp of the test's own
# Before a script's own lines: however it ends, no container and no process that keeps the namespaces is left.
ENDS = """
let_go() {
    holder=
    read holder <"$XDG_RUNTIME_DIR/pocker/namespace" || :   # no newline
    holder=${holder#[}
    kill "${holder%%,*}" 2>/dev/null || :   # it may have ended with the last container
}
finish() {
    containers=$(pocker ps -aq) && test -z "$containers" || pocker rm -f $containers >/dev/null
    let_go || :
}
trap finish EXIT
"""


@pytest.mark.parametrize("ids", [IDS, ""], ids=["ids", "one id"])
def test_a_containers_life(tmp_path: Path, ids: str) -> None:
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker run --rm --network none plain:1 sh -c 'id -u; echo written >/file; cat /file'
pocker run -d --name one --network none plain:1 sh -c 'echo hello; sleep 1000' >/dev/null
pocker ps --format '{{.Names}} {{.State}}'
pocker exec one sh -c 'echo again'
pocker top one -o pid,comm | sed -n 's/^ *[1-9][0-9]* //p'
pocker logs one
pocker stop -t 0 one
pocker start one
pocker kill one
pocker ps -a --format '{{.Names}} {{.Status}}' | cut -c1-16
""", ids)
    assert done.stdout.split("\n") == ["0", "written", "one running", "again", "sleep", "hello", "one", "one", "one",
                                       "one Exited (137)", ""]


def test_commands_find_one_anothers_containers(tmp_path: Path) -> None:
    """Each command joins the same namespaces; when the process that keeps them has ended, new ones are created."""
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker create --name kept --network none plain:1 sh -c 'echo x >>/count; wc -l </count' >/dev/null
pocker start -a kept
let_go
pocker start -a kept
""")
    assert done.stdout.split() == ["1", "2"]


def test_files_and_numbers(tmp_path: Path) -> None:
    done = run(tmp_path, ENDS + """
pyimage load -q -i layout >/dev/null
pocker run -d --name one --network none --health-cmd 'test -e /well' --health-interval 100ms plain:1 sleep 1000 >id
mkdir tree && echo text >tree/file && ln -s file tree/link
pocker cp -q tree one:/in
pocker exec one sh -c 'cat /in/link; touch /well; chown 7:8 /in/file'
while ! pocker ps | grep -q '(healthy)'; do :; done
pocker stop -t 0 one
pocker diff one
pocker cp -q one:/in out && cat out/link && stat -c %u out/file   # the user that root is outside
pocker cp -q out/file one:/again
pocker cp -a one:/in - | tar -tvf - | grep -e 'in/file$' | cut -c 1-14
pocker export one | tar -tf - | grep -c -e ^again -e in/file
pocker commit one mine:1 >/dev/null
pocker run --rm --network none mine:1 ls -ln /in/file /again | awk '{ print $3 ":" $4 " " $9 }'
pocker events --stream=false --filter event=health_status --format '{{.Action}}'
""")
    assert done.stdout.split("\n") == [
        "text", "one", "A /in", "A /in/file", "A /in/link", "A /well", "text", "65534", "-rw-r--r-- 7/8", "2",
        "0:0 /again", "7:8 /in/file", "health_status: healthy", ""], (done.stdout, done.stderr)


def test_the_namespaces_end_with_the_last_container(tmp_path: Path) -> None:
    """They end with the last command too. A container's monitor keeps them alive, also across a restart."""
    done = run(tmp_path, ENDS + """
keeper() { read holder <"$XDG_RUNTIME_DIR/pocker/namespace"; holder=${holder#[}; echo "${holder%%,*}"; }
gone() { while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' /proc/$1/status; do sleep 0.05; done; echo gone; }
pyimage load -q -i layout >/dev/null
pocker ps -q
gone "$(keeper || :)"
pocker run -d --name one --network none --restart always plain:1 sh -c 'sleep 0.2' >/dev/null
pocker run -d --name two --network none plain:1 sh -c 'ls -l /proc/self/fd | grep -c namespace; sleep 1000' >/dev/null
kept=$(keeper || :)
while test "$(pocker inspect -f '{{.RestartCount}}' one)" -lt 2; do :; done
pocker rm -f one
test "$(keeper || :)" = "$kept" && kill -0 "$kept" && echo kept
pocker exec two sh -c 'ls -l /proc/1/fd /proc/self/fd | grep -c namespace.users || :'
pocker logs two
pocker stop -t 0 two
gone "$kept"
pocker start two && pocker exec two echo again
pocker rm -f two
gone "$(keeper || :)"
""")
    assert done.stdout.split() == ["gone", "one", "kept", "0", "0", "two", "gone", "two", "again", "two", "gone"]


@pytest.mark.parametrize("there", [True, False], ids=["a session's", "no directory"])
def test_without_a_session(tmp_path: Path, there: bool) -> None:
    """As su, cron and CI call it: without XDG_RUNTIME_DIR."""
    done = run(tmp_path, """
pyimage load -q -i layout >/dev/null
unset XDG_RUNTIME_DIR
pocker run -d --name one --network none plain:1 sleep 1000 >/dev/null
pocker ps --format '{{.Names}} {{.State}}'
ls -d /run/user/65534/pocker /tmp/pocker-65534 2>/dev/null || :
pocker rm -f one
""", root=TMP + ("" if there else "rmdir /run/user/65534"))
    place = "/run/user/65534/pocker" if there else "/tmp/pocker-65534"
    assert done.stdout.split("\n") == ["one running", place, "one", ""]


def test_a_later_session_finds_the_containers(tmp_path: Path) -> None:
    """cron starts a container, and its user logs in: the container must not be taken for a stopped one."""
    done = run(tmp_path, """
pyimage load -q -i layout >/dev/null
session=$PWD/session
mkdir -m 700 "$session"
unset XDG_RUNTIME_DIR
pocker run -d --name one --network none plain:1 sleep 1000 >/dev/null
export XDG_RUNTIME_DIR=$session
pocker ps --format '{{.Names}} {{.State}}'
pocker rm -f one
until flock -n /tmp/pocker-65534/namespace.users true; do sleep 0.1; done
pocker ps -q
ls -d $session/pocker | sed "s|$session|session|"
""", root=TMP + "rmdir /run/user/65534")
    assert done.stdout.split("\n") == ["one running", "one", "session/pocker", ""]


def test_commands_without_directories_work_without_them(tmp_path: Path) -> None:
    """A command that does need one reports that; `run` exits with 125."""
    done = run(tmp_path, """
unset XDG_RUNTIME_DIR
set +e
for words in version "version --format json" "completion bash" --help "run --help" --version; do
    pocker $words >/dev/null || echo "$words"
done
pocker ps; echo $?
pocker run --rm plain:1 true; echo $?
""" + "exit 0", root=TMP + "rmdir /run/user/65534; mkdir -m 755 /tmp/pocker-65534")
    assert done.stdout.split("\n") == ["1", "125", ""]
    assert done.stderr.count('"/tmp/pocker-65534" is not a directory that only you may write') == 2


def test_operations_that_need_root_fail_at_once(tmp_path: Path) -> None:
    done = run(tmp_path, """
pyimage load -q -i layout >/dev/null
set +e
pocker network create back; echo $?
pocker network ls -q | wc -l
for flags in "-m 64m" "--cpus 1" "--pids-limit 10"; do pocker run --rm --network none $flags plain:1 true; echo $?; done
PYRUNTIME_STORE=/usr/nosuch pocker images; echo $?
pocker ps -aq
""" + "exit 0")
    assert done.stdout.split("\n") == ["1", "1", "125", "125", "125", "1", ""]
    said = done.stderr.splitlines()
    assert said[0].startswith('error: network "back": networks between containers need root')
    assert done.stderr.count("limits without root need a delegated cgroup") == 3
    assert "user 65534 cannot write it" in done.stderr
