"""A gate in words: lines for a terminal, Markdown for the summary of a CI job, JUnit's XML."""

from xml.etree import ElementTree

from journal import units
from journal.compare.gate import Checked, Gate
from journal.report.text import markdown, visible

NOT_IN_XML = {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}  # visible() leaves no other
HINDRANCES = {
    "flagged": "runs carry flags",
    "left_out": "runs do not count",
    "environment": "the surroundings differ",
    "missing": "a side lacks the metric",
    "alone": "the candidate lacks the cells",
}


def gate_sentences(gate: Gate) -> list[str]:
    """The verdict, then a sentence for each metric and for each hindrance."""
    a, b = gate.comparison.a.name, gate.comparison.b.name
    lines = [f"{gate.outcome}: {b} against the baseline {a}"]
    lines += [f"{each.outcome}: {_sentence(each)}" for each in gate.checked]
    for name, values in gate.hindrances.items():
        lines.append(f"inconclusive, because {HINDRANCES[name]}: {'; '.join(values)}")
    return lines


def gate_markdown(gate: Gate) -> str:
    """A heading with the verdict, a table of the metrics, and a list of what hindered it. Names
    are text in it, whatever stands in them."""
    a, b = markdown(gate.comparison.a.name), markdown(gate.comparison.b.name)
    lines = [
        f"## {gate.outcome}: {b} against {a}",
        "",
        "| metric | baseline | candidate | worse by (95%) | allowed | verdict |",
        "| :--- | ---: | ---: | ---: | ---: | :--- |",
    ]
    for each in gate.checked:
        cells = (each.metric.name, *_values(each), _worse(each), units.percent(each.limit))
        lines.append(f"| {' | '.join(cells)} | {each.outcome}{_more(each)} |")
    if gate.hindrances:
        lines.append("")
    for name, values in gate.hindrances.items():
        listed = "; ".join(map(markdown, values))
        lines.append(f"- Inconclusive, because {HINDRANCES[name]}: {listed}.")
    return "\n".join(lines) + "\n"


def gate_junit(gate: Gate) -> str:
    """A test suite with a case for each metric, and one for what hindered the verdict: `failure` is
    FAIL, `skipped` is INCONCLUSIVE."""
    suite = ElementTree.Element("testsuite", name="journal check")
    for each in gate.checked:
        case = ElementTree.SubElement(
            suite, "testcase", classname="journal.check", name=each.metric.name
        )
        if each.outcome != "PASS":
            kind = "failure" if each.outcome == "FAIL" else "skipped"
            ElementTree.SubElement(case, kind, message=_sentence(each))
    for name, values in gate.hindrances.items():
        case = ElementTree.SubElement(suite, "testcase", classname="journal.check", name=name)
        message = f"{HINDRANCES[name]}: {'; '.join(map(visible, values))}".translate(NOT_IN_XML)
        ElementTree.SubElement(case, "skipped", message=message)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(sum(1 for _ in suite.iter("failure"))))
    suite.set("skipped", str(sum(1 for _ in suite.iter("skipped"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _sentence(checked: Checked) -> str:
    a, b = _values(checked)
    text = f"{checked.metric.name} {a}, then {b}"
    if checked.worse.value is not None:
        text += f": worse by {_worse(checked)}, {units.percent(checked.limit)} allowed"
    return text + _more(checked)


def _values(checked: Checked) -> tuple[str, str]:
    a, b = (units.formatted(value, checked.metric.unit) for value in (checked.a, checked.b))
    return a, b


def _worse(checked: Checked) -> str:
    worse = checked.worse
    if worse.value is None:
        return units.ABSENT
    text = _signed(worse.value)
    if worse.low is None or worse.high is None:
        return f"{text} (no interval: one start of an engine)"
    return f"{text} ({_signed(worse.low)} to {_signed(worse.high)})"


def _signed(share: float) -> str:
    return f"{100 * share:.1f}%"


def _more(checked: Checked) -> str:
    if checked.more is None:
        return ""
    return f"; about {checked.more} more repeats of each side would decide"
