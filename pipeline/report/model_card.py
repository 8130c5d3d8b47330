"""The results as a section of a model card: Markdown below a `model-index` that the hub reads."""

from pathlib import Path
from typing import Any, Final

import yaml

from thumbline.evaluators import Metric

from .evaluation_facts import COMPARISON, HEADLINES, Headline
from .facts import ReportFacts
from .formatting import count, difference, interval, markdown, measure, words
from .inputs import ReportInputs

_TASK: Final = {"type": "text-generation", "name": "Preference alignment"}
_HUB: Final = "hub:"


def model_card(inputs: ReportInputs, facts: ReportFacts) -> str:
    """YAML between `---` lines and a section to put into a model card.

    Without a model whose results are known there is no `model-index`, and the section says why.
    """
    metadata = _metadata(inputs, facts)
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True) if metadata else ""
    return f"---\n{front}---\n\n{_section(inputs, facts)}"


def _metadata(inputs: ReportInputs, facts: ReportFacts) -> dict[str, Any]:
    metrics = [_index_metric(inputs, headline, row) for headline, row in _of_subject(facts)]
    if not metrics:
        return {}
    tags = ["preference-optimisation", "thumbline"]
    tags += [] if inputs.config is None else [inputs.config.train.method]
    result = {"task": dict(_TASK), "dataset": _dataset(inputs), "metrics": metrics}
    return {"tags": tags, "model-index": [{"name": _model_name(inputs, facts), "results": [result]}]}


def _of_subject(facts: ReportFacts) -> list[tuple[Headline, Metric]]:
    """The headline numbers of the model that the report is about, as far as they exist."""
    found = [(headline, facts.evaluation.headline(headline, facts.evaluation.subject)) for headline in HEADLINES]
    return [(headline, row) for headline, row in found if row is not None and row.value is not None]


def _model_name(inputs: ReportInputs, facts: ReportFacts) -> str:
    """A run's model is called after the run: `trained` names it only inside of one."""
    return inputs.run_name if inputs.config is not None else str(facts.evaluation.subject)


def _dataset(inputs: ReportInputs) -> dict[str, Any]:
    names = [source.name for source in inputs.sources] or ["held-out rows"]
    if inputs.config is not None:
        names = list(inputs.config.events.inputs)
    plain = [name.removeprefix(_HUB) if name.startswith(_HUB) else Path(name).name for name in names]
    found: dict[str, Any] = {"name": ", ".join(plain), "type": plain[0]}
    if inputs.config is not None:
        found["split"] = inputs.config.metrics.split
    if inputs.sources:
        found["args"] = {"digests": {Path(source.name).name: source.digest for source in inputs.sources}}
    return found


def _index_metric(inputs: ReportInputs, headline: Headline, row: Metric) -> dict[str, Any]:
    arguments: dict[str, Any] = {"n": row.n, "n_groups": row.n_groups, "unit": row.unit, "reward": inputs.reward}
    if row.ci_low is not None and row.ci_high is not None:
        arguments |= {"ci_low": row.ci_low, "ci_high": row.ci_high, "confidence": inputs.confidence}
    kind = headline.metric if headline.name in {"accuracy", "auc"} else f"{row.evaluator}_{headline.metric}"
    return {"type": kind, "name": headline.title, "value": row.value, "args": arguments}


def _section(inputs: ReportInputs, facts: ReportFacts) -> str:
    parts = ["## Evaluation on held-out preferences", markdown(facts.verdict.sentence)]
    parts += [markdown(facts.verdict.basis)] if facts.verdict.basis else []
    parts += [
        f"- {markdown(one.title)}: {markdown(one.sentence)}" for one in facts.verdict.statements if not one.decides
    ]
    parts += [f"- **{markdown(flag.title)}.** {markdown(flag.text)}" for flag in facts.verdict.flags]
    rows = facts.evaluation.main_numbers()
    if rows:
        parts.append(_table(inputs, rows))
    compared = [row for row in facts.evaluation.rows() if row.evaluator == COMPARISON and row.ci_low is not None]
    parts += [_compared(row) for row in compared if row.slice is None]
    beta = "" if inputs.beta is None else f" with beta {inputs.beta:g}"
    made = f"Rewards: {words(inputs.reward)}{beta}. Intervals resample whole prompt groups."
    parts.append(f"{made} Made by thumbline {inputs.versions.get('thumbline', '')}".rstrip() + ".")
    if inputs.command:
        parts.append(f"```\n{facts.lineage.commands[0]}\n```")
    return "\n\n".join(parts) + "\n"


def _table(inputs: ReportInputs, rows: tuple[Metric, ...]) -> str:
    lines = [f"| Metric | Model | Value | {100 * inputs.confidence:g}% interval | Rows | Prompt groups |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for row in rows:
        cells = (
            markdown(f"{words(row.evaluator)}: {words(row.metric)}"),
            markdown(row.model),
            measure(row.value, row.unit),
            interval(row.ci_low, row.ci_high, row.unit),
            count(row.n),
            count(row.n_groups),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _compared(row: Metric) -> str:
    ends = difference(row.ci_low, row.ci_high, row.unit)
    return f"{markdown(row.model)} against {markdown(str(row.compared_with))}, {words(row.metric)}: {ends}."
