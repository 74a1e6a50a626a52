"""What `lossgrad evaluate` has to do: read files, or fit the sample."""

import argparse
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lossgrad import sample
from lossgrad.evaluation.reading import Reading
from lossgrad.evaluation.shard import Shard
from lossgrad.evaluation.shards import FileShards, find_shards

COLUMNS = ("logits", "targets", "sample_weight", "groups", "clusters", "bytes")


@dataclass(frozen=True)
class Job:
    """What to evaluate, what to call it, and what to say about it."""

    shards: Iterable[Shard]
    rows: int
    classes: int
    bytes: float
    targets: str  # the name of the (first) targets
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


def file_job(arguments: argparse.Namespace) -> Job:
    named = vars(arguments)
    shards = find_shards(
        {use: named[use] for use in COLUMNS},
        {"logits": arguments.logits_key, "targets": arguments.targets_key},
    )
    shards.reading = Reading(input=arguments.input)
    rows = shards.check_shapes(arguments.task, arguments.axis)
    about: dict[str, object] = {
        "logits": arguments.logits,
        "targets": arguments.targets or arguments.logits,
    }
    if len(shards) > 1:
        about["shards"] = len(shards)
    if arguments.input != "logits":
        about["input"] = arguments.input
    about |= {use: named[use] for use in COLUMNS[2:] if named[use] is not None}
    return Job(shards, rows, shards.classes, shards.bytes, shards.files[0]["targets"], about)


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
