"""`lossgrad calibrate`: the temperature of least loss."""

import argparse
import math
from typing import Any

from lossgrad.cli.jobs import pair_job
from lossgrad.cli.options import (
    add_class_names,
    add_columns,
    add_dask,
    add_ignored,
    add_input,
    add_json,
    add_pair,
    add_reading,
    add_report,
    add_task,
    positive,
    reading,
    take_pair,
)
from lossgrad.cli.outputs import check_report, class_names, write_report
from lossgrad.cli.run import progress_bar
from lossgrad.cli.tables import json_text, say, table
from lossgrad.evaluation.passes.temperature import Temperature, fit_temperature
from lossgrad.evaluation.problems import FileError

_FIGURES = {"loss": "loss", "ece": "calibration", "brier": "Brier"}


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    calibrate = commands.add_parser(
        "calibrate",
        help="the temperature of least loss, and what it changes",
        description="Find the temperature T for which logits / T have the least mean loss, in a "
        "few passes over the files, and the figures before and after. Files as for evaluate.",
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        take_pair(calibrate, arguments, rest)
        if arguments.logits is None:
            calibrate.error("give LOGITS and TARGETS")
        _calibrate(arguments)

    calibrate.set_defaults(run=run)
    add = calibrate.add_argument
    add_pair(add)
    add_task(add)
    add_columns(add, "--groups", "--clusters", "--bytes")
    add("--bins", type=positive, default=15, metavar="N", help="reliability bins (default: 15)")
    add_ignored(add)
    add_input(add)
    add_reading(add)
    add_dask(add)
    add_class_names(add)
    add_report(add)
    add_json(add)


def _calibrate(arguments: argparse.Namespace) -> None:
    """Run `lossgrad calibrate`."""
    check_report(arguments)
    job = pair_job(arguments)
    names = class_names(arguments, job.classes)
    with progress_bar() as progress:
        found = fit_temperature(
            arguments.logits,
            arguments.targets,
            task=arguments.task,
            bins=arguments.bins,
            class_names=names,
            progress=progress,
            **reading(arguments),
        )
    if math.isnan(found.temperature):
        raise FileError(arguments.logits, found.reason)
    write_report(arguments, found, job.about)
    if arguments.json:
        say(json_text(found.to_dict(), job.about, None))
        return
    say("\n".join(filter(None, [table(_lines(found)), found.reason])))


def _lines(found: Temperature) -> list[tuple[str, str]]:
    changes = [
        (
            name,
            f"{getattr(found.before, figure):.6g} before, {getattr(found.after, figure):.6g} after",
        )
        for figure, name in _FIGURES.items()
    ]
    passes = f"{found.temperature:.12g}  ({found.passes} passes over {found.before.rows} rows)"
    return [("temperature", passes), *changes]
