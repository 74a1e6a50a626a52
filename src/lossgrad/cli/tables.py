"""What the command prints of a result."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossgrad.evaluation.problems import FileError, visible
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import read_whole

_CLASS_ROWS = 20


@dataclass(frozen=True)
class Speed:
    """Of the rows that this run has read."""

    seconds: float
    rows: int
    bytes: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def gigabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e9


def json_text(
    result: Result,
    about: dict[str, object],
    speed: Speed | None,
    top_k: Sequence[int],
    names: Sequence[str] | None,
) -> str:
    """One JSON object. JSON has no nan and no inf: null stands for both."""
    figures = {**about, **result.to_dict(top_k=top_k, class_names=names)}
    if speed is not None:
        figures |= {
            "seconds": speed.seconds,
            "rows_per_second": speed.rows_per_second,
            "gigabytes_per_second": speed.gigabytes_per_second,
        }
    return json.dumps(figures, allow_nan=False)


def table(result: Result, speed: Speed | None, top_k: Sequence[int]) -> str:
    """The figures, one a line."""
    return "\n".join(f"{name:<12}{text}" for name, text in figures(result, speed, top_k))


def figures(result: Result, speed: Speed | None, top_k: Sequence[int]) -> list[tuple[str, str]]:
    """Names and texts of the figures."""
    multiclass = result.task == "multiclass"
    error = "" if math.isnan(result.loss_error) else f" \N{PLUS-MINUS SIGN} {result.loss_error:.2g}"
    lines = [
        ("rows", f"{result.rows}" + (f"  ({result.ignored} ignored)" if result.ignored else "")),
        ("classes" if multiclass else "labels", f"{result.classes}"),
        ("loss", f"{result.loss:.6g}{error} nats  ({result.loss_bits:.6g} bits)"),
    ]
    if multiclass:
        lines.append(("perplexity", f"{result.perplexity:.6g}"))
    lines.append(
        ("accuracy", f"{100 * result.accuracy:.2f} %  ({result.correct} of {result.terms})")
    )
    if multiclass:
        lines += [(f"top {k}", f"{100 * result.top_k(k):.2f} %") for k in top_k]
    macro, weighted = result.macro.f1, result.weighted.f1
    lines += [
        ("F1", f"{macro:.4f} macro, {weighted:.4f} weighted"),
        ("Brier", f"{result.brier:.6g}"),
        ("calibration", f"{result.ece:.4f} expected, {result.mce:.4f} maximum error"),
        ("entropy", f"{result.entropy:.6g} nats"),
    ]
    if result.infinite:
        lines.append(("infinite", f"{result.infinite} of {result.terms} losses"))
    if result.undefined:
        lines.append(
            ("undefined", f"{result.undefined} losses are nan, left out (--strict names the first)")
        )
    if speed is not None:
        rate = f"{si(speed.rows_per_second)} rows/s"
        lines.append(("speed", f"{rate}  ({speed.gigabytes_per_second:.3g} GB/s)"))
    return lines


def class_table(result: Result, names: Sequence[str]) -> str:
    """The classes of least F1, by name."""
    order = worst_classes(result)[:_CLASS_ROWS]
    shown = {c: visible(names[c]) for c in order}
    width = min(30, max([5, *map(len, shown.values())]))
    lines = [f"{'class':<{width}}{'rows':>11}{'loss':>10}{'precision':>11}{'recall':>9}{'F1':>9}"]
    precision, recall, f1 = result.precision, result.recall, result.f1
    for c in order:
        lines.append(
            f"{shown[c][:width]:<{width}}{result.support[c]:>11.6g}{result.class_loss[c]:>10.4g}"
            f"{precision[c]:>11.4f}{recall[c]:>9.4f}{f1[c]:>9.4f}"
        )
    if (rest := int(np.count_nonzero(result.support)) - len(order)) > 0:
        lines.append(f"and {rest} more, of higher F1")
    return "\n".join(lines)


def worst_classes(result: Result) -> list[int]:
    """The classes that have rows, from the lowest F1 on."""
    order = np.lexsort((np.arange(result.classes), result.f1))
    return [int(c) for c in order if result.support[c] > 0]


def si(value: float) -> str:
    """Three digits with k, M or G."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def say(text: str) -> None:
    """Print; what the terminal's encoding lacks, or should not be sent (in a name), is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(visible(text, but="\n").encode(encoding, "backslashreplace").decode(encoding))


def read_names(path: str, classes: int) -> list[str]:
    """Class names, one a line."""
    try:
        names = read_whole(path).decode("utf-8").splitlines()
    except ValueError as error:
        raise FileError(path, f"cannot be read: {error}") from None
    if len(names) != classes:
        raise FileError(path, f"has {len(names)} names (lines) for {classes} classes")
    return names
