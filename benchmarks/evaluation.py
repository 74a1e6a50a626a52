"""Evaluating a file of logits beside scikit-learn and torchmetrics: time and peak memory.

    python benchmarks/evaluation.py [ROWS CLASSES]

Every way runs in a process of its own, on the same .npy files, and gives loss, accuracy, top-5 and
Brier score (lossgrad: all of its figures); "read" finds the largest logit. What is not installed is
left out.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def read(logits, labels):
    return [np.load(logits, mmap_mode="r").max()]


def lossgrad(logits, labels):
    import lossgrad

    found = lossgrad.evaluate(logits, labels)
    return [found.loss, found.accuracy, found.top_k(5), found.brier]


def sklearn(logits, labels):
    from scipy.special import softmax
    from sklearn import metrics

    x, y = np.load(logits), np.load(labels)
    p, classes = softmax(x, axis=1), np.arange(x.shape[1])
    return [
        metrics.log_loss(y, p, labels=classes),
        metrics.accuracy_score(y, x.argmax(1)),
        metrics.top_k_accuracy_score(y, x, k=5, labels=classes),
        metrics.brier_score_loss(y, p, labels=classes),
    ]


def torchmetrics(logits, labels):
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    x, y = torch.from_numpy(np.load(logits)), torch.from_numpy(np.load(labels))
    p = x.softmax(1)
    own = torch.nn.functional.one_hot(y, x.shape[1])
    options = {"num_classes": x.shape[1], "average": "micro"}
    return [
        torch.nn.functional.cross_entropy(x, y).item(),
        multiclass_accuracy(x, y, **options).item(),
        multiclass_accuracy(x, y, top_k=5, **options).item(),
        ((p - own) ** 2).sum(1).mean().item(),
    ]


WAYS = {way.__name__: way for way in (read, lossgrad, sklearn, torchmetrics)}


def write(folder, rows, classes):
    rng = np.random.default_rng(0)
    logits = np.lib.format.open_memmap(folder / "logits.npy", "w+", np.float32, (rows, classes))
    labels = rng.integers(0, classes, rows)
    for start in range(0, rows, 4096):
        part = labels[start : start + 4096]
        block = rng.standard_normal((len(part), classes), np.float32)
        block[np.arange(len(part)), part] += 4
        logits[start : start + 4096] = block
    np.save(folder / "labels.npy", labels)
    return logits.nbytes


def one(way, *files):
    """Time of the second of two runs (without imports), peak memory, figures."""
    WAYS[way](*files)
    start = time.perf_counter()
    figures = WAYS[way](*files)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's too
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(seconds, peak, *(f"{figure:.6f}" for figure in figures))


def main(rows=200_000, classes=1000):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write(folder, rows, classes)
        print(f"{rows} x {classes} float32, {size / 1e9:.2f} GB")
        for way in WAYS:
            command = [sys.executable, __file__, way, folder / "logits.npy", folder / "labels.npy"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{way:12} {done.stderr.strip().splitlines()[-1]}")
                continue
            seconds, peak, *figures = done.stdout.split()
            rate, figures = size / float(seconds) / 1e9, " ".join(figures)
            print(
                f"{way:12} {float(seconds):7.3f} s {rate:6.2f} GB/s {float(peak):6.0f} MB {figures}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        one(*sys.argv[1:])
    else:
        main(*map(int, sys.argv[1:]))
