"""critest, the validation suite of the CRI, against containerd with runc and with pyruntime: as many specs must pass.

    python -m tests.clients.critest CRITEST [--debian] [--handler NAME] [--focus REGEX]

CRITEST is the path of the program. No image is pulled: the images for the specs are built from busybox, under the names
that the suite uses.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bundles.images import Layout
from tests.clients import builds
from tests.clients.containerd import SOCKET, Containerd
from tests.clients.image import PAUSE, tree

REGISTRY = "registry.k8s.io/"
STAGING = "gcr.io/k8s-staging-cri-tools/"
# The specs require a web server with a page, a file with its process ID, and a line in its log.
_WEB = """echo ok >/index.html; mkdir -p /var/run; echo $$ >/var/run/nginx.pid; echo "Command line: 'httpd'";
exec nginx {port}"""
_SERVER = """#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	if (!strchr(argv[0], ':'))
		return execl("/bin/nginx", "nginx: master process", argv[argc - 1], (char *)0);
	if (!fork())
		return execl("/bin/busybox", "httpd", "-f", "-p", argv[1], "-h", "/", (char *)0);
	while (wait(0) > 0)
		;
	return 0;
}
"""
# busybox runs its own `ls` even if /bin/ls is masked, and lacks the other programs.
_DYNAMIC = {"sh": "/bin/dash", "pgrep": "/usr/bin/pgrep", "pidof": "/usr/bin/pidof", "ipcs": "/usr/bin/ipcs"}
_USERS = "".join(f"{name}:x:{number}:{number}::/:/bin/sh\n" for name, number in
                 (("daemon", 1), ("bin", 2), ("www-data", 33), ("operator", 37), ("nobody", 65534)))
_PRIVILEGES = """#include <stdio.h>
#include <unistd.h>
int main(void) { printf("Effective uid: %d\\n", (int)geteuid()); return 0; }
"""


def images(path: Path) -> Layout:
    """The images of the specs: a shell, two web servers, and a program that is set-user-ID."""
    path.mkdir()
    applets = tuple(subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
                    .stdout.split())
    root = tree(path / "tree", tuple(name for name in applets if name != "busybox"))
    for name, text in (("nnp", _PRIVILEGES), ("bin/nginx", _SERVER)):
        subprocess.run(["gcc", "-static", "-x", "c", "-o", str(root / name), "-"], input=text, text=True, check=True)
    (root / "nnp").chmod(0o4755)
    for name, program in _DYNAMIC.items():
        (root / "bin" / name).unlink(missing_ok=True)
        shutil.copy(program, root / "bin" / name)
        needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"/\S+", needed):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    with (root / "etc/passwd").open("a") as users:
        users.write(_USERS)
    made = Layout(path / "layout")
    layer = made.layer(root)
    environment = ["PATH=/bin"]
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\ndefault-user:x:1000:1000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n")
    grouped = made.layer(root)
    tests = f"{REGISTRY}e2e-test-images/"
    made.image(f"{tests}busybox:1.29-2", [layer], Cmd=["sh"], Env=environment)
    made.image(f"{tests}nginx:1.14-2", [layer], Cmd=["sh", "-c", _WEB.format(port=80)], Env=environment)
    made.image(f"{tests}httpd:2.4.39-4", [layer], Cmd=["sh", "-c", _WEB.format(port=80)], Env=environment)
    made.image(f"{tests}nonewprivs:1.3", [layer], Cmd=["/nnp"], Env=environment)
    made.image(f"{STAGING}hostnet-nginx-amd64:latest", [layer], Cmd=["sh", "-c", _WEB.format(port=12003)],
               Env=environment)
    made.image(f"{STAGING}test-image-predefined-group:latest", [grouped], Cmd=["sh"], Env=environment)
    made.image(f"{REGISTRY}pause:3.9", [layer], Entrypoint=PAUSE, Env=environment)
    return made


def judged(critest: str, name: str, programs: Path | None, focus: str) -> dict[str, str]:
    """The result of each spec by its name: passed, failed, skipped."""
    with tempfile.TemporaryDirectory(prefix="critest") as work:
        path = Path(work)
        path.chmod(0o755)
        daemon = Containerd(path, programs, name, ("k8s.io",))
        try:
            daemon.load(images(path / "wanted"), "")
            words = [critest, "--runtime-endpoint", f"unix://{SOCKET}", "--ginkgo.no-color", "--ginkgo.seed", "1",
                     "--ginkgo.json-report", str(path / "report.json"), "--ginkgo.focus", focus]
            log = Path(f"critest-{name}.log")
            with log.open("wb") as output:
                subprocess.run(daemon.room.words(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                               env=daemon.room.environment, check=False, cwd="/")
            report = json.loads((path / "report.json").read_text())
        finally:
            daemon.close()
    return {" ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]]): spec["State"]
            for suite in report for spec in suite["SpecReports"] if spec["LeafNodeType"] == "It"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.critest", description=__doc__.splitlines()[0])
    parser.add_argument("critest", help="the program")
    parser.add_argument("--debian", action="store_true", help="use Debian's containerd instead of the current version")
    parser.add_argument("--handler", default="pyruntime", choices=("pyruntime", "shim", "pods"),
                        help="what is compared with runc: pyruntime as a command (default), with its own shim, or with"
                             " pods that the shim makes")
    parser.add_argument("--focus", default="", help="only specs that match the regular expression")
    options = parser.parse_args()
    programs = None if options.debian else builds.containerd()
    verdicts = {name: judged(options.critest, name, programs, options.focus) for name in ("runc", options.handler)}
    for name, found in verdicts.items():
        states = list(found.values())
        print(f"{name}: " + ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))))
    worse = [spec for spec, state in verdicts["runc"].items()
             if state == "passed" and verdicts[options.handler].get(spec) != "passed"]
    for spec in worse:
        print(f"with runc only: {spec}")
    for spec, state in verdicts[options.handler].items():
        if state == "passed" != verdicts["runc"].get(spec):
            print(f"with {options.handler} only: {spec}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
