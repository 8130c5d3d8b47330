"""Conditions as a JUnit XML file, which CI systems show as tests."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..storage.files import free_place, write_text
from .gate import Condition


def junit_xml(name: str, conditions: Sequence[Condition]) -> str:
    """One test case a condition; one that does not hold is a failure with its numbers."""
    failed = sum(not condition.holds for condition in conditions)
    counts = {"tests": str(len(conditions)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"thumbline: {_legal(name)}", **counts})
    for condition in conditions:
        attributes = {"classname": "thumbline.evaluate", "name": _legal(condition.name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if condition.holds:
            ElementTree.SubElement(case, "system-out").text = _legal(condition.detail)
        else:
            message = {"message": _legal(condition.detail), "type": "ConditionFailed"}
            ElementTree.SubElement(case, "failure", message)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)


def write_junit(path: Path, name: str, conditions: Sequence[Condition]) -> None:
    """Write the conditions to `path`."""
    write_text(free_place(path), junit_xml(name, conditions))
