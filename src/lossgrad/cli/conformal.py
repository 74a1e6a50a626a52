"""`lossgrad conformal`: a threshold from some rows, the sets of others."""

import argparse
from typing import Any

from lossgrad.cli.jobs import pair_job
from lossgrad.cli.options import (
    add_class_names,
    add_dask,
    add_ignored,
    add_input,
    add_json,
    add_pair,
    add_reading,
    add_report,
    probability,
    reading,
    take_pair,
)
from lossgrad.cli.outputs import check_report, class_names, write_report
from lossgrad.cli.run import progress_bar
from lossgrad.cli.tables import json_text, say, table
from lossgrad.evaluation.passes.conformal import conformal_sets, conformal_threshold
from lossgrad.evaluation.problems import FileError


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    conformal = commands.add_parser(
        "conformal",
        help="sets of classes that have the label as often as is asked for",
        description="Find the threshold of conformal sets from LOGITS and TARGETS, which the model "
        "was not fitted on, and with --on evaluate the sets of other rows.",
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        take_pair(conformal, arguments, rest)
        if arguments.logits is None:
            conformal.error("give LOGITS and TARGETS")
        if len(arguments.on) > 2:
            conformal.error("--on takes LOGITS and TARGETS; put patterns in quotes")
        if arguments.report is not None and not arguments.on:
            conformal.error("--report is of the sets of other rows: it goes with --on")
        _conformal(arguments)

    conformal.set_defaults(run=run)
    add = conformal.add_argument
    add_pair(add)
    add("--on", nargs="+", default=[], metavar="FILE", help="logits and targets of other rows")
    add(
        "--coverage",
        type=probability,
        default=0.9,
        metavar="P",
        help="how often a set is to have the label (default: 0.9)",
    )
    add(
        "--method",
        choices=["lac", "aps"],
        default="lac",
        help="lac: least ambiguous; aps: adaptive, of more equal coverage (default: lac)",
    )
    add_ignored(add)
    add_input(add)
    add_reading(add)
    add_dask(add)
    add_class_names(add)
    add_report(add)
    add_json(add)


def _conformal(arguments: argparse.Namespace) -> None:
    """Run `lossgrad conformal`."""
    check_report(arguments)
    job = pair_job(arguments)
    names = class_names(arguments, job.classes) or job.class_names
    how, sets = {**reading(arguments), "class_names": names}, None
    with progress_bar() as progress:
        found = conformal_threshold(
            arguments.logits,
            arguments.targets,
            coverage=arguments.coverage,
            method=arguments.method,
            progress=progress,
            **how,
        )
        if not found.rows:
            raise FileError(arguments.logits, "no row has a loss")
        if arguments.on:
            sets = conformal_sets(*arguments.on, threshold=found, progress=progress, **how)
    if sets is not None:
        on = zip(("logits", "targets"), arguments.on, strict=False)
        shown = {**dict(on), "threshold from": arguments.logits}
        write_report(arguments, sets, shown, class_names=names)
    if arguments.json:
        figures = found.to_dict() if sets is None else {**found.to_dict(), "sets": sets.to_dict()}
        say(json_text(figures, job.about, None))
        return
    say(table([*found.lines(), *(sets.lines() if sets is not None else [])]))
