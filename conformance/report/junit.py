"""A run as JUnit XML: a suite per program, a test case per subtest, an error for a program that stopped early."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from conformance.outcome import Program, Run, Verdict

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: Run) -> str:
    root = xml.Element("testsuites", name=f"conformance of {_clean(run.version or run.runtime)}")
    for program in run.programs:
        root.append(_suite(program))
    xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _suite(program: Program) -> xml.Element:
    suite = xml.Element(
        "testsuite",
        name=program.name,
        tests=str(len(program.subtests) + bool(program.stopped) + bool(program.note)),
        failures=str(program.count(Verdict.NOT_OK)),
        errors=str(int(bool(program.stopped))),
        skipped=str(program.count(Verdict.SKIP) + program.count(Verdict.TODO) + bool(program.note)),
        time=f"{program.seconds:.3f}",
    )
    for number, subtest in enumerate(program.subtests, 1):
        case = xml.SubElement(suite, "testcase", classname=program.name, name=_clean(f"{number} {subtest.text}"))
        if subtest.verdict is Verdict.NOT_OK:
            xml.SubElement(case, "failure", message=_clean(subtest.text)).text = _clean(subtest.detail)
        elif subtest.verdict in (Verdict.SKIP, Verdict.TODO):
            xml.SubElement(case, "skipped", message=_clean(subtest.text))
    if program.note:
        case = xml.SubElement(suite, "testcase", classname=program.name, name="runs to its end")
        xml.SubElement(case, "skipped", message=_clean(program.note))
    if program.stopped:
        case = xml.SubElement(suite, "testcase", classname=program.name, name="runs to its end")
        xml.SubElement(case, "error", message=_clean(program.stopped)).text = _clean(program.stderr)
    return suite


def _clean(text: str) -> str:
    """XML 1.0 has no way to write most control characters."""
    return _NOT_XML.sub("?", text)
