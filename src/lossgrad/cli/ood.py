"""`lossgrad ood`: rows inside and outside a distribution, told apart by their logits."""

import argparse
from typing import Any, get_args

from lossgrad.cli.options import (
    add_dask,
    add_exact,
    add_input,
    add_json,
    add_reading,
    add_report,
    reading,
)
from lossgrad.cli.outputs import check_report, write_report
from lossgrad.cli.run import progress_bar
from lossgrad.cli.tables import json_text, say, table
from lossgrad.evaluation.passes.ood import Score, out_of_distribution
from lossgrad.evaluation.problems import FileError


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    ood = commands.add_parser(
        "ood",
        help="how well logits tell data from elsewhere",
        description="How well a score of their logits tells rows outside a distribution (data that "
        "the model is not for) from those inside. Files as for evaluate, without targets.",
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        if rest:
            ood.error(f"unrecognized arguments: {' '.join(rest)}")
        _ood(arguments)

    ood.set_defaults(run=run)
    add = ood.add_argument
    add("inside", metavar="INSIDE", help="logits of rows inside: (rows, classes)")
    add("outside", metavar="OUTSIDE", help="logits of rows outside")
    add("--logits-key", metavar="NAME", help="array or column in both (default: logits)")
    add("--score", choices=get_args(Score), default="energy", help="(default: energy)")
    add_exact(add)
    add_input(add)
    add_reading(add)
    add_dask(add)
    add_report(add)
    add_json(add)


def _ood(arguments: argparse.Namespace) -> None:
    """Run `lossgrad ood`."""
    check_report(arguments)
    files = arguments.inside, arguments.outside
    with progress_bar() as progress:
        found = out_of_distribution(
            *files,
            score=arguments.score,
            exact=arguments.exact,
            progress=progress,
            **reading(arguments),
        )
    for path, rows in zip(files, (found.inside, found.outside), strict=True):
        if not rows:
            raise FileError(path, "no row has a score")
    about: dict[str, object] = {"logits": arguments.inside, "outside_logits": arguments.outside}
    write_report(arguments, found, about)
    if arguments.json:
        say(json_text(found.to_dict(), about, None))
        return
    say(table(found.lines()))
