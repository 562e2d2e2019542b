"""The command line: select runtimes, programs and reports."""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from conformance import official, own
from conformance.lib.host import host
from conformance.lib.requirement import Case, all_cases
from conformance.outcome import Program, Run, Verdict
from conformance.report import compare, junit, store, taps, text
from conformance.sandbox import RuntimeCommand

_DESCRIPTION = """\
Test OCI runtimes with the official validation programs, and with our own cases for other requirements.

    python -m conformance --runtime runc
    python -m conformance --runtime pyruntime --against crun --official
    python -m conformance --runtime pyruntime --only 'config_mounts.*' --own --junit out.xml
"""
_EPILOG = """\
exit status: 0 all ok (with --against: nowhere worse), 1 some not ok, 2 cannot run
requires root; the official programs are built with the Go toolchain unless --suite-dir is given
"""
Job = Callable[[RuntimeCommand], Program]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m conformance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = p.add_argument_group("what to test")
    which.add_argument("--runtime", metavar="CMD", help='command of the runtime, as "runc" or "runc --root /run/x"')
    which.add_argument("--against", metavar="CMD", help="a second runtime to compare with")
    which.add_argument("--oci-version", default="", metavar="V", help="rewrite ociVersion for --runtime (old runtimes)")
    which.add_argument("--against-oci-version", default="", metavar="V", help="the same for --against")
    suite = p.add_argument_group("by what")
    suite.add_argument("--official", action="store_true", help="only the official programs")
    suite.add_argument("--own", action="store_true", help="only our own cases")
    suite.add_argument("--only", action="append", default=[], metavar="GLOB", help="only programs with matching names")
    suite.add_argument("--skip", action="append", default=[], metavar="GLOB", help="skip programs with matching names")
    suite.add_argument("--suite-dir", type=Path, metavar="DIR", help="built official programs (default: the cache)")
    suite.add_argument("--list", action="store_true", help="print names and sections without running anything")
    suite.add_argument("--install", action="store_true", help="build the official programs and print their directory")
    how = p.add_argument_group("how")
    how.add_argument("--scale", type=float, default=1.0, metavar="F", help="multiply all time limits (slow hosts)")
    how.add_argument(
        "--unmount", action="append", default=[], metavar="PATH", help="unmount PATH in the programs' mount namespaces"
    )
    report = p.add_argument_group("reports")
    report.add_argument("--format", choices=("text", "tap", "junit"), default="text", help="format of standard output")
    report.add_argument("--verbose", action="store_true", help="print every subtest, not only failed subtests")
    report.add_argument("--quiet", action="store_true", help="do not print progress on stderr")
    for kind in ("text", "tap", "junit", "json"):
        report.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write {kind} of --runtime to FILE")
    report.add_argument("--read", nargs="+", type=Path, metavar="JSON", help="print one or two saved runs")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except (official.SuiteError, FileNotFoundError, PermissionError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.read:
        return _report(options, [store.load(path.read_text()) for path in options.read[:2]])
    if options.install:
        print(official.install())
        return 0
    jobs = _jobs(options)
    if options.list:
        for name, (section, _) in jobs.items():
            print(f"{name:60} {section}")
        return 0
    if not options.runtime:
        raise FileNotFoundError("no runtime: give --runtime CMD")
    if os.geteuid():
        raise PermissionError("must run as root")
    wanted = [(options.runtime, options.oci_version)]
    if options.against:
        wanted.append((options.against, options.against_oci_version))
    return _report(options, [_judge(options, RuntimeCommand.parse(*which), jobs) for which in wanted])


def _jobs(options: argparse.Namespace) -> dict[str, tuple[str, Job]]:
    """The selected programs by name, each with its section and a function that runs it."""
    unmount = tuple(options.unmount)
    both = options.official == options.own
    jobs: dict[str, tuple[str, Job]] = {}
    if options.official or both:
        folder = options.suite_dir.absolute() if options.suite_dir else official.install()
        for name in official.programs(folder):
            timeout = official.TIMEOUT * options.scale
            run = partial(_official, folder, name, timeout=timeout, unmount=unmount)
            jobs[name] = ("official", run)
    if options.own or both:
        for case in all_cases():
            jobs[case.name] = (case.section, partial(_own, case, scale=options.scale, unmount=unmount))
    return {name: job for name, job in jobs.items() if _selected(name, options)}


def _official(folder: Path, name: str, runtime: RuntimeCommand, *, timeout: float, unmount: tuple[str, ...]) -> Program:
    return official.run(folder, name, runtime, timeout=timeout, unmount=unmount)


def _own(case: Case, runtime: RuntimeCommand, *, scale: float, unmount: tuple[str, ...]) -> Program:
    return own.run(case, runtime, scale=scale, unmount=unmount)


def _selected(name: str, options: argparse.Namespace) -> bool:
    def among(globs: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, glob) for glob in globs)

    return (not options.only or among(options.only)) and not among(options.skip)


def _judge(options: argparse.Namespace, runtime: RuntimeCommand, jobs: dict[str, tuple[str, Job]]) -> Run:
    run = Run(" ".join(runtime.words), runtime.version(), host().describe())
    width = max(map(len, jobs), default=0)
    for name, (_, job) in jobs.items():
        program = job(runtime)
        run.programs.append(program)
        if not options.quiet:
            mark = "stopped" if program.stopped else program.verdict.value
            print(
                f"{mark:8}{name:{width}} {text.counts(program)} {program.seconds:6.1f} s", file=sys.stderr, flush=True
            )
    return run


def _report(options: argparse.Namespace, runs: list[Run]) -> int:
    first = runs[0]
    renderings: dict[str, Callable[[Run], str]] = {
        "text": partial(text.render, verbose=options.verbose),
        "tap": taps.render,
        "junit": junit.render,
        "json": store.render,
    }
    for kind, render in renderings.items():
        if target := getattr(options, kind):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(render(first))
    if len(runs) == 1:
        print(renderings[options.format](first))
        return 0 if all(program.verdict is not Verdict.NOT_OK for program in first.programs) else 1
    print(compare.render(*runs))
    return 1 if compare.worse(*runs) else 0
