"""An evaluation on a cluster of dask, here of two processes: the bytes of a single one.

python examples/cluster.py

Each worker reads shards of its own and sends back totals, a few kilobytes; they merge exactly, so
that it does not matter which worker had what, or when.
"""

import tempfile
from pathlib import Path

import numpy as np
from distributed import LocalCluster

from lossgrad import cli

SHARDS, ROWS, CLASSES = 6, 2000, 50


def write(folder):
    """Predictions in shards: a model that is right about three times in four."""
    random = np.random.default_rng(0)
    for k in range(SHARDS):
        labels = random.integers(0, CLASSES, ROWS)
        logits = random.standard_normal((ROWS, CLASSES)).astype(np.float32)
        logits[np.arange(ROWS), labels] += 3.0
        np.save(folder / f"logits-{k}.npy", logits)
        np.save(folder / f"labels-{k}.npy", labels)
    return [str(folder / f"{name}-*.npy") for name in ("logits", "labels")]


def evaluated(files, state, *options):
    """The state that `lossgrad evaluate` leaves."""
    assert cli.main(["evaluate", *files, "--state", str(state), *options]) == 0
    return state.read_bytes()


def main(folder):
    files = write(folder)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        spread = evaluated(files, folder / "cluster", "--dask", cluster.scheduler_address)
    assert spread == evaluated(files, folder / "alone")
    print("the cluster's totals are those of one process, byte for byte")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
