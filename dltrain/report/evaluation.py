"""How good a trained model is on a split: the figures, each class, what is taken for what, and how sure it may be."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from dltrain.console import number
from dltrain.errors import CheckpointError
from dltrain.report import evaluation_charts as charts
from dltrain.report.figures import rounded
from dltrain.report.limited import limited
from dltrain.report.markup import Html, facts, heading, paragraph, table
from dltrain.report.page import Block, Chart, Grid, Section
from dltrain.report.subject import Subject
from dltrain.run_folder import read_json

_MOST_CLASSES = 50
_MOST_CONFUSIONS = 15


def section(subject: Subject) -> Section | None:
    """Returns the evaluation of the trained model or, where that is not to be had, the one in the run's folder."""
    found, told = _evaluation(subject)
    if found is None:
        return None
    target = subject.targets[0] if len(subject.targets) == 1 else ""
    blocks: list[Block] = [paragraph(told), *_warning(found), *_of_target(found, "evaluation", target)]
    targets = found.get("targets")
    for place, (head, own) in enumerate(targets.items() if isinstance(targets, dict) else ()):
        blocks += [heading(f"Target {head}"), *_of_target(own, f"evaluation-{place}", head)]
    return Section("Evaluation", blocks)


def _warning(found: dict[str, Any]) -> Iterator[Block]:
    if rounded(found.get("figures", {}).get("loss", 0.0)) is None:
        yield paragraph(
            "The model gives outputs that are no number (NaN) or infinite: only the loss tells, the other figures do "
            "not.",
            "notice",
        )


def _evaluation(subject: Subject) -> tuple[dict[str, Any] | None, str]:
    """Returns what is known by the keys of ``evaluation.json``, and of which samples and weights that is."""
    saved = _saved(subject)
    if subject.parts is None:
        if saved is None:
            return None, ""
        weights = f"checkpoint {saved.get('checkpoint', 'not known')}"
        other = saved.get("overrides")
        of = f" of other data ({shlex.join(map(str, other))})" if isinstance(other, list) and other else ""
        count = saved.get("samples")
        samples = "1 sample" if count == 1 else f"{count} samples"
        return saved, f"As evaluation.json has it: {samples} of {saved.get('split')}{of}, {weights}."
    from dltrain import evaluation
    from dltrain.coefficients import coefficients_of, of_logarithms

    looking, split = subject.looking, subject.split
    parts = limited(subject.parts, split, looking.most)
    found = evaluation.of(parts, split, resamples=looking.resamples, seed=parts.config.seed)
    coefficients = coefficients_of(parts.model, parts.data, parts.loss)
    if coefficients is not None:
        found |= {"coefficients": coefficients, **of_logarithms(parts.loss)}
    if saved is not None and saved.get("split") == split and _agree(saved.get("figures"), found["figures"]):
        found = _completed(found, saved)
    count, whole = found["samples"], len(subject.parts.data.splits[split])
    of = f"{count:,} sample{'' if count == 1 else 's'}" if count == whole else f"{count:,} of the {whole:,} samples"
    more = "" if count == whole else f" dltrain report {subject.folder.path} looks at all."
    same = (
        " These are the training samples."
        if split == "validation" and subject.parts.data.evaluates_training_data
        else ""
    )
    return found, f"{of} of {split}, {subject.weights}.{same}{more}"


def _saved(subject: Subject) -> dict[str, Any] | None:
    if not subject.folder.evaluation.is_file():
        return None
    try:
        return read_json(subject.folder.evaluation)
    except CheckpointError:
        return None


def _completed(found: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """Returns what was found with what ``evaluation.json`` has besides of the same samples and weights."""
    keys = ["baselines", "confidence", "intervals"]
    if found.get("confidence", saved.get("confidence")) != saved.get("confidence"):
        keys.remove("baselines")  # whose intervals are of another level
    more: dict[str, Any] = {key: saved[key] for key in keys if key in saved and key not in found}
    targets = {
        head: _completed(own, saved.get("targets", {}).get(head, {})) for head, own in found.get("targets", {}).items()
    }
    return {**found, **more, **({"targets": targets} if targets else {})}


def _agree(saved: Any, found: dict[str, float]) -> bool:
    return isinstance(saved, dict) and all(rounded(saved.get(name)) == rounded(value) for name, value in found.items())


def _of_target(found: dict[str, Any], name: str, target: str) -> Iterator[Block]:
    yield _figures(found)
    baselines = found.get("baselines")
    if baselines:
        yield from _baselines(found, baselines)
    confusion, classes = found.get("confusion"), found.get("classes")
    if confusion:
        yield from _confusion(confusion, f"{name}-confusion")
    if classes:
        yield from _classes(classes)
    yield from _curves(found, classes or [], name)
    if found.get("residuals"):
        yield from _residuals(found["residuals"], f"{name}-residuals", target)
    coefficients = found.get("coefficients")
    if coefficients:
        what = "the logarithm of each prediction" if found.get("coefficients_of") == "logarithm" else "each output"
        yield heading(f"What {what} adds for one more of a feature")
        outputs = list(coefficients)
        rows = [[key, *(_text(coefficients[o].get(key)) for o in outputs)] for key in coefficients[outputs[0]]]
        yield table(["feature", *outputs], rows, numbers=range(1, len(outputs) + 1))


def _figures(found: dict[str, Any]) -> Html:
    figures, intervals = found.get("figures", {}), found.get("intervals", {})
    if not intervals:
        return table(["metric", "value"], ([name, _said(value)] for name, value in figures.items()), numbers=(1,))
    share = f"{100 * found.get('confidence', 0.95):.4g}% interval"
    rows = ([name, _said(value), _ends(intervals.get(name))] for name, value in figures.items())
    return table(["metric", "value", share], rows, numbers=(1, 2))


def _text(value: Any) -> str:
    return "" if rounded(value) is None else number(value)


def _said(value: Any) -> str:
    """Returns a figure that there must be; those that a class need not have stay empty."""
    return _text(value) or "not a number"


def _ends(interval: Any) -> str:
    return f"{_text(interval[0])} to {_text(interval[1])}" if interval else ""


def _baselines(found: dict[str, Any], baselines: Sequence[dict[str, Any]]) -> Iterator[Block]:
    """Yields the figures of simple guesses, and how far the model is from them."""
    yield heading("Beside simple guesses")
    names = list(found.get("figures", {}))
    shown = [name for name in names if any(name in one.get("figures", {}) for one in baselines)]
    rows: list[list[object]] = [["this model", *(_text(found["figures"][name]) for name in shown)]]
    for one in baselines:
        rows.append([one.get("name"), *(_text(one.get("figures", {}).get(name)) for name in shown)])
        told = [one.get("difference", {}).get(name) for name in shown]
        if any(told):
            rows.append(["the model is larger by", *(f"{_text(d[0])} ({_ends(d[1:])})" if d else "" for d in told)])
    yield table(["", *shown], rows, numbers=range(1, len(shown) + 1))


def _confusion(confusion: dict[str, Any], name: str) -> Iterator[Block]:
    classes, counts = [str(one) for one in confusion["classes"]], confusion["rows_true_columns_predicted"]
    yield heading("What is taken for what")
    chart = charts.confusion(name, classes, counts)
    if chart is not None:
        yield chart
    found = [(count, i, j) for i, row in enumerate(counts) for j, count in enumerate(row) if count and i != j]
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    if not found:
        yield paragraph("No sample is taken for another class than its own.")
        return
    rows = [[classes[i], classes[j], f"{n:,}", f"{n / sum(counts[i]):.1%}"] for n, i, j in found[:_MOST_CONFUSIONS]]
    more = f", the {len(rows)} largest of {len(found):,}" if len(found) > len(rows) else ""
    titles = ["true class", "taken for", "samples", "of the true class"]
    yield table(titles, rows, numbers=(2, 3), caption=f"Confusions{more}")


def _classes(classes: Sequence[dict[str, Any]]) -> Iterator[Block]:
    yield heading("Each class by itself")
    titles = {"precision": "precision", "recall": "recall", "f1": "F1", "auroc": "AUROC"}
    titles["average_precision"] = "average precision"
    names = [name for name in titles if any(name in one for one in classes)]
    shown = list(classes)
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda one: (not one.get("support"), rounded(one.get("f1")) or 0.0))[:_MOST_CLASSES]
        yield paragraph(f"The {len(shown)} of {len(classes):,} classes with the lowest F1.", "small")
    rows = [[one.get("name"), *(_text(one.get(n)) for n in names), f"{one.get('support', 0):,}"] for one in shown]
    header = ["class", *(titles[name] for name in names), "samples"]
    yield table(header, rows, numbers=range(1, len(header)))


def _curves(found: dict[str, Any], classes: Sequence[dict[str, Any]], name: str) -> Iterator[Block]:
    """Yields the calibration and the curves over thresholds."""
    drawn: list[Chart] = []
    calibration, curves = found.get("calibration"), found.get("curves") or {}
    if calibration:
        chart = charts.calibration(f"{name}-calibration", calibration)
        drawn += [] if chart is None else [chart]
    for key, area, draw in (
        ("roc", "auroc", charts.roc),
        ("precision_recall", "average_precision", charts.precision_recall),
    ):
        if curves.get(key):
            areas = {str(one.get("name")): one.get(area) for one in classes}
            drawn.append(draw(f"{name}-{key.replace('_', '-')}", curves[key], areas))
    if drawn:
        yield heading("How sure it is, and how well it ranks")
        yield Grid(drawn)
    if calibration:
        yield facts(
            (title, _text(calibration.get(key)))
            for key, title in (
                ("expected_error", "expected calibration error"),
                ("maximum_error", "largest calibration error"),
                ("brier", "Brier score"),
            )
        )


def _residuals(residuals: dict[str, Any], name: str, target: str) -> Iterator[Block]:
    yield heading("Predicted and true")
    yield Grid(charts.residuals(name, residuals, target))
    pairs = [("mean of predicted less true", _text(residuals.get("mean"))), ("deviation", _text(residuals.get("std")))]
    quantiles = residuals.get("quantiles", {})
    pairs += [(f"{float(share):.0%} are below", _text(value)) for share, value in quantiles.items()]
    yield facts(pairs)
