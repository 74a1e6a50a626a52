"""`lossgrad compare`: two models on the same rows."""

import argparse
import time
from typing import Any

from lossgrad.cli.evaluate import WORST
from lossgrad.cli.jobs import Job, file_job, source_of
from lossgrad.cli.options import (
    add_columns,
    add_dask,
    add_exact,
    add_ignored,
    add_input,
    add_outputs,
    add_reading,
    columns,
    more_files,
    of_columns,
    whole,
)
from lossgrad.cli.outputs import check_outputs, show
from lossgrad.cli.run import add_rows, progress_bar
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.comparison import Comparison
from lossgrad.evaluation.comparison.exact import exactly
from lossgrad.evaluation.figures import Speed
from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.reading import Reading

_EXAMPLES = """\
examples:
  lossgrad compare full.npy quantised.npy labels.npy
  lossgrad compare base.kld quantised.safetensors --report report.html
  lossgrad compare 'full-*.npy' 'quantised-*.npy' --json
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    compare = commands.add_parser(
        "compare",
        help="two models on the same rows: divergences, who is right, with errors",
        description="What a second model (OTHER: quantised, pruned, newer) says of the same rows\n"
        "as a first (BASE): divergences, agreement and, with TARGETS, the paired difference of\n"
        "loss and accuracy. Files as for evaluate; BASE may be a .kld file of llama.cpp's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        given = (arguments.base, arguments.other, arguments.targets)
        files = [*filter(None, given), *more_files(compare, rest)]
        if not 2 <= len(files) <= 3:
            compare.error("give BASE, OTHER and perhaps TARGETS; put patterns in quotes")
        arguments.base, arguments.other, arguments.targets = (*files, None)[:3]
        _compare(arguments)

    compare.set_defaults(run=run)
    add = compare.add_argument
    add("base", metavar="BASE", help="logits of the first model: (rows, classes)")
    add("other", nargs="?", metavar="OTHER", help="logits of the second, of the same rows")
    add("targets", nargs="?", metavar="TARGETS", help="integer labels: (rows,)")
    for name in ("base", "other", "targets"):
        add(f"--{name}-key", metavar="NAME", help=f"array or column in {name.upper()}")
    add_columns(add)
    add_ignored(add)
    add_input(add)
    add_reading(add)
    add_dask(add)
    add("--top-k", type=whole, default=5, metavar="K", help="first choices compared (default: 5)")
    add(
        "--quantiles",
        action="store_true",
        help="quantiles of the reverse KL, JS and both losses, too",
    )
    add_exact(add)
    add_outputs(add, "write the state here, for merge; an interrupted run goes on from it")


def _file_job(arguments: argparse.Namespace) -> Job:
    files = {
        "logits": arguments.base,
        "other": arguments.other,
        "targets": arguments.targets,
        **columns(arguments),
    }
    keys = {"logits": arguments.base_key, "other": arguments.other_key}
    keys["targets"] = arguments.targets_key
    reading = Reading(input=arguments.input)
    return file_job(files, keys, "multiclass", arguments.axis, reading)


def _compare(arguments: argparse.Namespace) -> None:
    state: Any = Comparison(
        ignore_index=arguments.ignore_index,
        top_k=arguments.top_k,
        worst=WORST,
        figures=[*of_columns(arguments), *["quantiles"] * arguments.quantiles],
    )
    if arguments.groups is not None:
        state = Grouped(state)
    job = _file_job(arguments)
    names = check_outputs(arguments, job.classes) or job.class_names
    job.name_classes(names)
    start = time.perf_counter()
    state, before = add_rows(job, state, arguments)
    result = state.result()
    if result.terms == 0:
        raise FileError(job.targets, "every row is ignored or undefined, none is left")
    if arguments.state is not None:
        checkpoint.save(arguments.state, state)
    if arguments.exact:
        with progress_bar() as progress:
            result = exactly(result, state, source_of(job, arguments, progress))
    done = job.rows - before
    speed = Speed(max(time.perf_counter() - start, 1e-9), done, job.bytes * done / max(job.rows, 1))
    about = {"base" if use == "logits" else use: said for use, said in job.about.items()}
    show(arguments, result, speed, names, about)
