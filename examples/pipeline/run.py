"""Training in Cython with the loss and its gradient from lossgrad, without the GIL.

python examples/pipeline/run.py

Compiles pipeline.pyx beside it (lossgrad alone has to be installed for that) and trains on the
digits that come with lossgrad.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import lossgrad
from lossgrad.sample import load_digits

HERE = Path(__file__).parent
BATCH, EPOCHS, RATE = 50, 40, 0.5
SETUP = """
from Cython.Build import cythonize
from setuptools import setup
setup(ext_modules=cythonize("pipeline.pyx", language_level=3))
"""


def build(folder):
    """The module, compiled in a folder."""
    (folder / "pipeline.pyx").write_text((HERE / "pipeline.pyx").read_text())
    (folder / "setup.py").write_text(SETUP)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, check=True)
    sys.path.insert(0, str(folder))
    import pipeline

    return pipeline


def main(folder):
    pipeline = build(folder)
    images, labels = load_digits()
    X = np.c_[images / 16.0, np.ones(len(images))]
    y = labels.astype(np.int64)
    W = np.zeros((X.shape[1], 10))
    logits, losses = np.empty((BATCH, 10)), np.empty(BATCH)
    for k in range(EPOCHS):
        loss = pipeline.epoch(X[:1200], y[:1200], W, logits, losses, RATE)
        if k % 10 == 9:
            print(f"epoch {k + 1}: loss {loss:.4f} on the way")
    result = lossgrad.evaluate(X[1200:] @ W, y[1200:])
    print(f"accuracy {result.accuracy:.3f} on {result.rows} images it has not seen")
    assert result.accuracy > 0.85


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
