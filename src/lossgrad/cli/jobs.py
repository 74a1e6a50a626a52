"""What `lossgrad evaluate` has to do: read files, or fit the sample."""

import argparse
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossgrad import sample
from lossgrad.cli.options import columns
from lossgrad.evaluation.feed import Source
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard
from lossgrad.evaluation.shards import FileShards, find_shards


@dataclass(frozen=True)
class Job:
    """What to evaluate, what to call it, and what to say about it."""

    shards: Iterable[Shard]
    rows: int
    classes: int
    bytes: float
    targets: str  # the name of the (first) targets, where there are any
    about: dict[str, object]
    headline: str = ""
    footer: str = ""

    @property
    def class_names(self) -> list[str] | None:
        """What a table calls its classes."""
        found = self.shards.reading.class_names if isinstance(self.shards, FileShards) else None
        return None if found is None else [*found]

    def name_classes(self, names: Sequence[str] | None) -> None:
        """Say what classes are called where labels are names."""
        if isinstance(self.shards, FileShards):
            self.shards.reading = replace(self.shards.reading, class_names=names)


def file_job(
    files: dict[str, Any],
    keys: dict[str, str | None],
    task: Task,
    axis: int,
    reading: Reading = LOGITS,
) -> Job:
    """What is in files, named by what they are for, as `find_shards` has them."""
    shards = find_shards(files, keys)
    shards.reading = reading
    rows = shards.check_shapes(task, axis)
    about: dict[str, object] = {use: name for use, name in files.items() if name is not None}
    if reading.input != "logits":
        about["input"] = reading.input
    first = shards.files[0]
    if "targets" in first:
        about.setdefault("targets", about["logits"])
    if len(shards) > 1:
        about["shards"] = len(shards)
    named = first.get("targets", first["logits"])
    return Job(shards, rows, shards.classes, shards.bytes, named, about)


def pair_job(arguments: argparse.Namespace) -> Job:
    """What is in the files of a command that takes logits and targets."""
    files = {"logits": arguments.logits, "targets": arguments.targets, **columns(arguments)}
    keys = {"logits": arguments.logits_key, "targets": arguments.targets_key}
    task: Task = getattr(arguments, "task", "multiclass")
    return file_job(files, keys, task, arguments.axis, Reading(input=arguments.input))


def source_of(job: Job, arguments: argparse.Namespace, progress: Any = None) -> Source:
    """The rows of a job, to be read in passes."""
    return Source(
        job.shards,
        job.rows,
        axis=arguments.axis,
        strict=arguments.strict,
        num_threads=arguments.threads,
        progress=progress,
        dask=arguments.dask,
    )


def sample_job(directory: str | None) -> Job:
    start = time.perf_counter()
    found = sample.digits()
    seconds = time.perf_counter() - start
    about: dict[str, object] = {
        "sample": "digits",
        "training_rows": found.training_rows,
        "training_loss": found.training_loss,
        "training_calls": found.calls,
        "training_seconds": seconds,
    }
    headline = (
        f"Handwritten digits (UCI): softmax regression fitted on {found.training_rows} images\n"
        f"in {seconds:.2f} s ({found.calls} losses and gradients, training loss "
        f"{found.training_loss:.6f}),\n"
        f"evaluated on the {len(found.targets)} held out.\n"
    )
    footer = ""
    if directory is not None:
        paths = [str(path) for path in sample.save(found, directory)]
        about["saved"] = paths
        footer = f"\nSaved. The same from files:\n  lossgrad evaluate {shlex.join(paths)}"
    arrays = {"logits": found.logits, "targets": found.targets}
    shard = Shard(arrays, source="digits", first_row=0)
    rows, classes = found.logits.shape
    size = found.logits.nbytes + found.targets.nbytes
    return Job([shard], rows, classes, size, "digits targets", about, headline, footer)
