"""On dask: the bytes of a single process, also when a worker dies under way."""

import contextlib
import json
import os
import pickle
import signal
import sys
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lossgrad import (
    Evaluation,
    InputError,
    cli,
    conformal_sets,
    conformal_threshold,
    evaluate,
    fit_temperature,
    out_of_distribution,
)
from lossgrad.evaluation.histogram import PROBABILITIES
from lossgrad.evaluation.passes.conformal import ConformalThreshold, Sizes
from lossgrad.evaluation.passes.ood import Scores, Spread
from lossgrad.evaluation.passes.probe import Probe
from lossgrad.evaluation.passes.temperature import Scaled, Slopes

array = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    x = 3 * random.standard_normal((900, 12)).astype(np.float32)
    return x, random.integers(0, 12, 900), random.random(900)


def states(x, y, s=None, chunks=None, **options):
    """The bytes of a single process, and of dask."""
    axis = options.pop("axis", -1)
    found = []
    for lazy in (False, True):
        state = Evaluation(worst=4 if options.get("task") != "binary" else 0, **options)
        found.append(state)
        logits = array.from_array(x, chunks=chunks) if lazy else x
        evaluate(logits, y, sample_weight=s, axis=axis, state=state)
    return [state.to_bytes() for state in found]


@pytest.mark.parametrize("chunks", [(900, 12), (100, 12), (13, 5), (450, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_arrays_give_the_same_bytes(data, chunks, weighted):
    x, y, s = data
    with dask.config.set(scheduler="threads", num_workers=2):
        alone, spread = states(x, y, s if weighted else None, chunks)
    assert alone == spread


def test_several_passes(data):
    x, y, s = data
    lazy, labels = array.from_array(x, chunks=(300, 5)), array.from_array(y, chunks=450)
    with dask.config.set(scheduler="threads", num_workers=2):
        assert fit_temperature(lazy, labels, sample_weight=s) == fit_temperature(
            x, y, sample_weight=s
        )
        threshold = conformal_threshold(lazy, labels, method="aps")
        assert threshold == conformal_threshold(x, y, method="aps")
        sets = (conformal_sets(one, y, threshold=threshold).to_dict() for one in (lazy, x))
        assert len({str(one) for one in sets}) == 1
        found = out_of_distribution(lazy, x[:9]).to_dict()
    assert found == out_of_distribution(x, x[:9]).to_dict()


def test_states_of_single_passes_travel(data):
    """As from one process to another."""
    x, y, s = data
    block = {"logits": x, "targets": y, "sample_weight": s}
    threshold, spread = ConformalThreshold(0.5, "lac", 0.9, 9), partial(Spread, PROBABILITIES)
    for state, found in (
        (Probe(partial(Slopes, [0.5])), lambda one: one.part.result()),
        (Probe(partial(Sizes, threshold)), lambda one: one.part.result().to_dict()),
        (Scaled(0.5, bins=3), lambda one: one.result()),
        (Scores("probability", True, spread), lambda one: one.counter.ranked().positive.tolist()),
    ):
        share = state.share()
        share.add(block, strict=False, source="", number=int)
        again = pickle.loads(pickle.dumps(share.state()))
        empty = pickle.loads(pickle.dumps(again.empty()))
        assert type(empty) is type(state)
        empty.merge(again)
        assert empty.rows == 900
        assert found(empty) == found(share.state())


def test_axes_and_tasks(data):
    x, y, _ = data
    grid, labels = x.reshape(30, 30, 12).transpose(0, 2, 1), y.reshape(30, 30)
    with dask.config.set(scheduler="synchronous"):
        alone, spread = states(grid, labels, chunks=(7, 5, 11), axis=1)
        assert alone == spread
        alone, spread = states(x, x > 1, chunks=(100, 5), task="binary")
        assert alone == spread
        alone, spread = states(x[:, 0], x[:, 0] > 1, chunks=200, task="binary")
        assert alone == spread


def test_errors_name_the_row_of_the_whole(data):
    x, y, _ = data
    y[777] = 12
    logits = array.from_array(x, chunks=(100, 6))
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(InputError, match=r"targets: row 777: label 12 is outside \[0, 12\)"):
            evaluate(logits, array.from_array(y, chunks=50))
        with pytest.raises(InputError, match=r"shape \(900,\) where logits .* need"):
            evaluate(logits[:800], y)
        unknown = logits[logits[:, 0] > 0]
        with pytest.raises(InputError, match="compute_chunk_sizes"):
            evaluate(unknown, y)


@pytest.fixture(scope="module")
def cluster():
    settings = {
        "distributed.worker.daemon": True,
        "distributed.scheduler.allowed-failures": 5,
        "distributed.comm.timeouts.connect": "20s",
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        yield cluster


def slowly(block):
    """What takes long enough for a worker to be killed meanwhile."""
    time.sleep(0.05)
    return block


@pytest.mark.filterwarnings("ignore")  # of dask about the lost worker
def test_a_killed_worker_changes_nothing(data, cluster):
    x, y, _ = data
    alone = Evaluation()
    evaluate(x, y, state=alone)
    with distributed.Client(cluster) as client:
        logits = array.from_array(x, chunks=(15, 12)).map_blocks(slowly, dtype=np.float32)
        before = {info["pid"] for info in client.run(_pid).values()}
        victim = min(before)
        client.loop.call_later(0.5, os.kill, victim, signal.SIGKILL)
        spread = Evaluation()
        evaluate(logits, y, state=spread)
        client.wait_for_workers(2, timeout=30)
        after = {info["pid"] for info in client.run(_pid).values()}
    assert victim not in after  # it did die
    assert spread.to_bytes() == alone.to_bytes()


@pytest.mark.filterwarnings("ignore")
def test_progress_bars_on_a_cluster(data, cluster, tmp_path, capsys, monkeypatch):
    x, y, _ = data
    np.savez(tmp_path / "x.npz", logits=x, targets=y)
    bars = []

    class Bar(contextlib.AbstractContextManager):
        n, total, ncols = 0, None, 80

        def __init__(self, **_):
            bars.append(self)

        def __exit__(self, *_):
            pass

        def update(self, more):
            self.n += more

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = str(tmp_path / "x.npz")
    for command in (
        ["evaluate", path, "--quantiles", "--exact"],
        ["compare", path, path, "--other-key", "logits", "--exact"],
        ["calibrate", path],
        ["conformal", path],
        ["ood", path, path],
    ):
        bars.clear()
        assert cli.main([*command, "--dask", cluster.scheduler_address]) == 0
        assert len(bars) == 1 + ("--exact" in command)
        assert all((bar.n, bar.total) == (900, 900) for bar in bars)


def _pid():
    return {"pid": os.getpid()}


@pytest.mark.filterwarnings("ignore")
def test_a_lost_cluster_is_one_line(data, cluster, tmp_path, capsys, monkeypatch):
    x, y, _ = data
    np.savez(tmp_path / "x.npz", logits=x, targets=y)

    def lost(self, *_):
        raise distributed.client.FutureCancelledError("key", "connection lost", "More\nlines")

    monkeypatch.setattr(distributed.Future, "result", lost)
    address = cluster.scheduler_address
    assert cli.main(["evaluate", str(tmp_path / "x.npz"), "--dask", address]) == 2
    error = f"{address}: the cluster gave up: key cancelled for reason: connection lost."
    assert capsys.readouterr().err == f"lossgrad: error: {error}\n"


@pytest.mark.filterwarnings("ignore")
def test_files_on_a_cluster(data, cluster, tmp_path, capsys, monkeypatch):
    x, y = data[0][:, :4].copy(), data[1] % 4
    monkeypatch.setattr("lossgrad.evaluation.dask._PIECE_BYTES", 16 * 300)
    for number, rows in enumerate(np.split(np.arange(900), [250, 251])):
        np.save(tmp_path / f"x{number}.npy", x[rows])
        np.save(tmp_path / f"y{number}.npy", y[rows])
        np.save(tmp_path / f"g{number}.npy", y[rows] % 2)
    monkeypatch.chdir(tmp_path)  # which is not where the workers are
    files = ["x*.npy", "y*.npy"]
    one, many = str(tmp_path / "one"), str(tmp_path / "many")
    assert cli.main(["evaluate", *files, "--state", one]) == 0
    assert cli.main(["evaluate", *files, "--state", many, "--dask", cluster.scheduler_address]) == 0
    assert Path(one).read_bytes() == Path(many).read_bytes()
    capsys.readouterr()
    address = cluster.scheduler_address
    passes = {
        "calibrate": files,
        "conformal": [*files, "--on", *files],
        "ood": files[:1] * 2,
        "evaluate": [*files, "--ranking", "--selection", "--quantiles", "--exact"],
        "compare": [files[0], *files, "--exact", "--groups", "g*.npy"],
    }
    for command, given in passes.items():
        said = []
        for where in ([], ["--dask", address]):
            assert cli.main([command, *given, "--json", *where]) == 0
            found = json.loads(capsys.readouterr().out)
            said.append({name: one for name, one in found.items() if "second" not in name})
        assert said[0] == said[1]
    done = []
    how = {"figures": ["quantiles"], "groups": "g*.npy", "exact": True}
    found = evaluate(*files, dask=address, progress=lambda *n: done.append(n), **how)
    assert found == evaluate(*files, **how)
    assert {of for _, of in done} == {900}
    passes = np.split(done, np.flatnonzero(np.diff([rows for rows, _ in done]) < 0) + 1)
    assert len(passes) > 1
    for rows, _ in (one.T for one in passes):
        assert rows[-1] == 900
        assert sorted(np.diff(rows, prepend=0)) == [1, 49, 250, 300, 300]
    with pytest.raises(TypeError, match="a cluster that reads files; these are none"):
        evaluate(x, y, dask=address)
    y[800] = 99
    np.save(tmp_path / "y2.npy", y[251:])
    assert cli.main(["evaluate", *files, "--dask", cluster.scheduler_address]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("lossgrad: error: y2.npy: row 549: label 99 is outside")
    monkeypatch.setattr("lossgrad.evaluation.dask.__package__", "no_such_package")
    assert cli.main(["evaluate", *files, "--dask", cluster.scheduler_address]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"lossgrad: error: {cluster.scheduler_address}: its worker tcp://")
    assert error.endswith("cannot import lossgrad: No module named 'no_such_package'")
