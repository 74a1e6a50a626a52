"""Figures of saved logits beside scikit-learn, torchmetrics, torch and SciPy: time and peak memory.

    python benchmarks/evaluation.py [evaluate|compare|ranking [ROWS CLASSES]]

Every way runs in a process of its own, on the same .npy files. What is not installed is left out.

- evaluate: loss, accuracy, top-5 and Brier score (lossgrad: all of its figures); "read" finds the
  largest logit.
- compare: mean KL divergence of a second model and mean difference of the losses (lossgrad: all).
- ranking: area under the ROC curve and average precision, macro averages over labels (lossgrad:
  more, with bounds).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# ---- evaluate ----


def read(logits, _, labels):
    return [np.load(logits, mmap_mode="r").max()]


def lossgrad(logits, _, labels):
    import lossgrad

    found = lossgrad.evaluate(logits, labels)
    return [found.loss, found.accuracy, found.top_k(5), found.brier]


def sklearn(logits, _, labels):
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


def torchmetrics(logits, _, labels):
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


# ---- compare ----


def lossgrad_compare(logits, other, labels):
    import lossgrad

    found = lossgrad.compare(logits, other, labels)
    return [found.kl.value, found.loss_difference.value]


def scipy_compare(logits, other, labels):
    from scipy.special import log_softmax

    x, z = (log_softmax(np.load(path), axis=1) for path in (logits, other))
    y = np.load(labels)
    rows = np.arange(len(y))
    return [(np.exp(x) * (x - z)).sum(1).mean(), (x[rows, y] - z[rows, y]).mean()]


def torch_compare(logits, other, labels):
    import torch
    from torch.nn.functional import cross_entropy, kl_div, log_softmax

    x, z, y = (torch.from_numpy(np.load(path)) for path in (logits, other, labels))
    p, q = log_softmax(x, 1), log_softmax(z, 1)
    kl = kl_div(q, p, reduction="batchmean", log_target=True)
    return [kl.item(), (cross_entropy(z, y) - cross_entropy(x, y)).item()]


# ---- ranking ----


def lossgrad_ranking(logits, _, labels):
    import lossgrad

    x, y = np.load(logits, mmap_mode="r"), np.load(labels)
    options = {"task": "binary", "figures": ["ranking"]}
    found = lossgrad.evaluate(x, _one_hot(x, y), **options).figures["ranking"].macro
    return [found.auroc.value, found.average_precision.value]


def sklearn_ranking(logits, _, labels):
    from sklearn import metrics

    x, y = np.load(logits), np.load(labels)
    own = _one_hot(x, y)
    return [metrics.roc_auc_score(own, x), metrics.average_precision_score(own, x)]


def torchmetrics_ranking(logits, _, labels):
    import torch
    from torchmetrics.functional.classification import (
        multilabel_auroc,
        multilabel_average_precision,
    )

    x, y = np.load(logits), np.load(labels)
    own, x = torch.from_numpy(_one_hot(x, y)).long(), torch.from_numpy(x)
    of = x.shape[1]
    return [multilabel_auroc(x, own, of).item(), multilabel_average_precision(x, own, of).item()]


def _one_hot(x, y):
    return (y[:, np.newaxis] == np.arange(x.shape[1])).astype(np.int8)


TASKS = {  # ways, and rows and classes
    "evaluate": ([read, lossgrad, sklearn, torchmetrics], (200_000, 1000)),
    "compare": ([lossgrad_compare, scipy_compare, torch_compare], (8_000, 32_000)),
    "ranking": ([lossgrad_ranking, sklearn_ranking, torchmetrics_ranking], (1_000_000, 10)),
}
WAYS = {way.__name__: way for ways, _ in TASKS.values() for way in ways}


def write(folder, rows, classes):
    """Logits of a model, of the same rounded to eight bits, and labels."""
    rng = np.random.default_rng(0)
    files = [folder / f"{name}.npy" for name in ("logits", "other", "labels")]
    logits, other = (
        np.lib.format.open_memmap(path, "w+", np.float32, (rows, classes)) for path in files[:2]
    )
    labels = rng.integers(0, classes, rows)
    for start in range(0, rows, 4096):
        part = labels[start : start + 4096]
        block = rng.standard_normal((len(part), classes), np.float32)
        block[np.arange(len(part)), part] += 4
        logits[start : start + 4096] = block
        other[start : start + 4096] = np.rint(block * 16) / 16
    np.save(files[2], labels)
    return files, logits.nbytes


def one(way, *files):
    """Time of the second of two runs (without imports), peak memory, figures."""
    WAYS[way](*files)
    start = time.perf_counter()
    figures = WAYS[way](*files)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's too
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(seconds, peak, *(f"{figure:.9g}" for figure in figures))


def main(task="evaluate", *shape):
    ways, usual = TASKS[task]
    rows, classes = map(int, shape or usual)
    with tempfile.TemporaryDirectory() as name:
        files, size = write(Path(name), rows, classes)
        size *= 1 + (task == "compare")
        print(f"{task}, {rows} x {classes} float32, {size / 1e9:.2f} GB")
        for way in ways:
            command = [sys.executable, __file__, way.__name__, *files]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{way.__name__:20} {done.stderr.strip().splitlines()[-1]}")
                continue
            seconds, peak, *figures = done.stdout.split()
            rate, figures = size / float(seconds) / 1e9, " ".join(figures)
            print(
                f"{way.__name__:20} {float(seconds):7.3f} s {rate:6.2f} GB/s {float(peak):6.0f} MB "
                f"{figures}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        one(*sys.argv[1:])
    else:
        main(*sys.argv[1:])
