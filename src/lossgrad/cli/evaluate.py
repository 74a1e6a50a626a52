"""`lossgrad evaluate`: its arguments, and from them to a printed result."""

import argparse
import time
from typing import Any

from lossgrad.cli.jobs import pair_job, sample_job, source_of
from lossgrad.cli.options import (
    add_columns,
    add_dask,
    add_figures,
    add_ignored,
    add_input,
    add_outputs,
    add_pair,
    add_reading,
    add_task,
    add_top_k,
    columns,
    figures_of,
    positive,
    probability,
    take_pair,
)
from lossgrad.cli.outputs import check_outputs, show
from lossgrad.cli.run import add_rows, progress_bar
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.figures import Speed
from lossgrad.evaluation.formats import holds_both
from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.passes.exact import EXACT, exactly
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.state import Evaluation

WORST = 20  # rows that a state remembers: the same for all, so that all can be merged
_EXAMPLES = """\
examples:
  lossgrad evaluate --sample digits
  lossgrad evaluate --sample digits --save /tmp/digits
  lossgrad evaluate logits.npy targets.npy
  lossgrad evaluate --task binary --json logits.npy targets.npy
  lossgrad evaluate 'logits-*.npy' 'targets-*.npy' --state all.state
  lossgrad evaluate predictions.safetensors --report report.html
  lossgrad merge one.state two.state --report report.html
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    evaluate = commands.add_parser(
        "evaluate",
        help="everything about saved predictions in one read",
        description="Loss, accuracy, calibration and more of the logits in one file against the\n"
        "targets in another, or in the same. Files are .npy, .npz, .safetensors, .zarr,\n"
        ".h5, .parquet, .arrow, .csv, .tsv or .pt, of any size: they are read once, in\n"
        "blocks. Quoted patterns ('logits-*.npy') name shards, which are matched in the\n"
        "order of the numbers in their names.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        take_pair(evaluate, arguments, rest)
        _check_usage(evaluate, arguments)
        _evaluate(arguments)

    evaluate.set_defaults(run=run)
    add = evaluate.add_argument
    add_pair(add)
    add("--sample", choices=["digits"], help="fit and evaluate a model of the embedded data")
    add("--save", metavar="DIR", help="with --sample: write its logits.npy and targets.npy")
    add_task(add)
    add_columns(add)
    add("--bins", type=positive, default=15, metavar="N", help="reliability bins (default: 15)")
    add(
        "--threshold",
        type=probability,
        default=0.5,
        metavar="P",
        help="binary: probability above which a label is predicted (default: 0.5)",
    )
    add_figures(add)
    add_ignored(add)
    add_input(add)
    add_reading(add)
    add_dask(add)
    add_top_k(add)
    add_outputs(add, "write the state here, for merge; an interrupted run goes on from it")


def _check_usage(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.sample:
        if arguments.logits is not None:
            parser.error("--sample takes no files")
        if arguments.task != "multiclass" or arguments.axis != -1:
            parser.error("--sample digits is multiclass, its classes on the last axis")
        if arguments.dask is not None:
            parser.error("--sample digits needs no cluster")
        if arguments.input != "logits":
            parser.error("--sample digits gives logits")
        if given := [use for use, column in columns(arguments).items() if column is not None]:
            parser.error(f"--sample digits has no {given[0]}")
    elif arguments.save is not None:
        parser.error("--save goes with --sample")
    elif arguments.logits is None:
        parser.error("give LOGITS and TARGETS, or try --sample digits")
    elif arguments.targets is None and not holds_both(arguments.logits):
        parser.error("TARGETS is missing")
    if arguments.exact and not any(getattr(arguments, name) for name in EXACT):
        parser.error(f"--exact goes with {' or '.join(f'--{name}' for name in EXACT)}")


def _evaluate(arguments: argparse.Namespace) -> None:
    """Run `lossgrad evaluate`."""
    state: Any = Evaluation(
        arguments.task,
        ignore_index=arguments.ignore_index,
        bins=arguments.bins,
        threshold=arguments.threshold,
        worst=WORST if arguments.task == "multiclass" else 0,
        figures=figures_of(arguments),
    )
    if arguments.groups is not None:
        state = Grouped(state)
    job = sample_job(arguments.save) if arguments.sample else pair_job(arguments)
    names = check_outputs(arguments, job.classes) or job.class_names
    job.name_classes(names)
    start = time.perf_counter()
    state, before = add_rows(job, state, arguments)
    result = state.result()
    if result.terms == 0:
        why = "no row has a loss" if result.undefined else "every label is ignored, no row is left"
        raise FileError(job.targets, why)
    if arguments.state is not None:
        checkpoint.save(arguments.state, state)
    if arguments.exact:
        with progress_bar() as progress:
            result = exactly(result, state, source_of(job, arguments, progress))
    done = job.rows - before
    speed = Speed(max(time.perf_counter() - start, 1e-9), done, job.bytes * done / max(job.rows, 1))
    show(arguments, result, speed, names, job.about, job.headline, job.footer)
