"""Two models on the same rows: every figure by its formula, any sharding, any container."""

import dataclasses
import json
import math
import pickle
import struct

import numpy as np
import pytest

import lossgrad
from lossgrad.cli import main
from lossgrad.evaluation import Comparison, FileError, Grouped, InputError
from lossgrad.evaluation.comparison.results import QUANTILES, sign_test
from lossgrad.evaluation.states import restore

ROWS, CLASSES = 500, 12


@pytest.fixture
def data(rng):
    base = rng.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
    other = (base + rng.normal(0, 0.3, base.shape)).astype(np.float32)
    labels = np.where(rng.random(ROWS) < 0.6, base.argmax(1), rng.integers(0, CLASSES, ROWS))
    labels[rng.random(ROWS) < 0.1] = -100
    return base, other, labels, rng.random(ROWS)


def log_softmax(x):
    x = x.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=1, keepdims=True)


def by_formula(base, other, labels, s):
    """What each row says, in float64: figures and weights of the rows that are kept."""
    kept = labels >= 0
    lp, lq, y, s = log_softmax(base)[kept], log_softmax(other)[kept], labels[kept], s[kept]
    p, q = np.exp(lp), np.exp(lq)
    m = np.log((p + q) / 2)
    rows = np.arange(len(y))
    first = [np.argsort(-x[kept], axis=1, kind="stable")[:, :5] for x in (base, other)]
    right = [x[kept].argmax(1) == y for x in (base, other)]
    figures = {
        "kl": (p * (lp - lq)).sum(1),
        "kl_reverse": (q * (lq - lp)).sum(1),
        "js": ((p * (lp - m)).sum(1) + (q * (lq - m)).sum(1)) / 2,
        "agreement": base[kept].argmax(1) == other[kept].argmax(1),
        "overlap": np.array([len({*a} & {*b}) / 5 for a, b in zip(*first, strict=True)]),
        "base_loss": -lp[rows, y],
        "other_loss": -lq[rows, y],
        "loss_difference": lp[rows, y] - lq[rows, y],
        "base_accuracy": right[0],
        "other_accuracy": right[1],
        "accuracy_difference": right[1] * 1.0 - right[0],
    }
    return figures, s, right


SPREAD = ("kl", "kl_reverse", "js", "base_loss", "other_loss", "loss_difference")


@pytest.mark.parametrize("weighted", [False, True])
def test_every_figure_is_that_of_its_formula(data, weighted):
    base, other, labels, weight = data
    s = weight if weighted else np.ones(ROWS)
    how = {"sample_weight": weight if weighted else None, "figures": ["quantiles"]}
    found = lossgrad.compare(base, other, labels, **how)
    figures, s, (first, second) = by_formula(base, other, labels, s)
    n = len(s)
    for name, values in figures.items():
        mean = (s * values).sum() / s.sum()
        error = np.sqrt(n / (n - 1) * (s**2 * (values - mean) ** 2).sum()) / s.sum()
        got = getattr(found, name)
        assert got.value == pytest.approx(mean, rel=3e-6, abs=1e-9), name
        assert got.error == pytest.approx(error, rel=3e-6), name
    cov = np.cov(figures["base_loss"], figures["other_loss"], aweights=s)
    assert found.correlation == pytest.approx(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), rel=1e-6)
    assert (found.rows, found.terms, found.ignored) == (ROWS, n, ROWS - n)
    assert found.weight == pytest.approx(s.sum(), rel=1e-14)
    counts = found.both_right, found.base_right, found.other_right, found.none_right
    want = first & second, first & ~second, second & ~first, ~first & ~second
    assert counts == tuple(map(np.count_nonzero, want))
    difference = figures["loss_difference"]
    assert (found.wins, found.losses) == ((difference < 0).sum(), (difference > 0).sum())
    ratio = found.perplexity_ratio
    assert ratio.value == pytest.approx(found.other_perplexity / found.base_perplexity, rel=1e-6)
    assert ratio.error == pytest.approx(ratio.value * found.loss_difference.error)
    if not weighted:
        for q in QUANTILES:
            for name in SPREAD:
                exact = np.quantile(figures[name], q, method="inverted_cdf")
                got = found.quantile(name, q)
                slack = 1e-5 * abs(exact)
                assert got.lower - slack <= exact <= got.upper + slack
                assert got.upper - got.lower <= 2**-10 * abs(exact) * (1 + 1e-5)


def test_without_targets_what_the_models_say_of_each_other(data):
    base, other, _, _ = data
    found = lossgrad.compare(base, other)
    labelled = lossgrad.compare(base, other, np.zeros(ROWS, int))
    for name in ("kl", "kl_reverse", "js", "agreement", "overlap", "terms"):
        assert getattr(found, name) == getattr(labelled, name)
    assert math.isnan(found.loss_difference.value)
    assert math.isnan(found.mcnemar)
    assert math.isnan(found.correlation)
    assert not found.labelled
    assert json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_model_with_itself(data, dtype):
    base, _, labels, _ = data
    found = lossgrad.compare(base.astype(dtype), base.astype(dtype), labels)
    for name in ("kl", "kl_reverse", "js", "loss_difference", "accuracy_difference"):
        assert getattr(found, name) == (0.0, 0.0)
    assert found.agreement.value == found.overlap.value == found.correlation == 1.0
    assert found.ties == found.terms
    assert found.quantile("kl", 1.0).lower == found.quantile("kl", 0.0).lower == 0.0


def test_swapping_the_models_swaps_the_figures(data):
    base, other, labels, _ = data
    one, two = lossgrad.compare(base, other, labels), lossgrad.compare(other, base, labels)
    assert one.base_loss == two.other_loss
    for found, swapped in ((one.kl, two.kl_reverse), (one.kl_reverse, two.kl), (one.js, two.js)):
        assert found == pytest.approx(swapped, rel=2**-20)  # each within 2**-21
    assert one.loss_difference.value == pytest.approx(-two.loss_difference.value, rel=1e-6)
    assert (one.wins, one.base_right, one.mcnemar) == (two.losses, two.other_right, two.mcnemar)


def test_small_divergences_are_not_lost(rng):
    """KL near 4e-7, where a mean of 16-bit log-probabilities is off by more than half."""
    base = rng.normal(0, 2, (400, 1000)).astype(np.float32)
    other = (base + rng.normal(0, 9e-4, base.shape)).astype(np.float32)
    lp, lq = log_softmax(base), log_softmax(other)
    d = lp - lq
    want = (np.exp(lp) * (np.expm1(-d) + d)).sum(1).mean()  # sum p expm1(-d) is 0
    got = lossgrad.compare(base, other).kl
    assert 3e-7 < want < 5e-7
    assert got.value == pytest.approx(want, rel=2e-5)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("figures", [[], ["clusters"]])
def test_states_merge_in_any_order_and_are_restored(data, rng, labelled, figures):
    base, other, labels, weight = data
    labels = labels if labelled else None
    columns = {"clusters": np.arange(ROWS) % 31} if figures else {}
    base[7], other[9, 3] = np.nan, np.inf

    def state(rows):
        found = Comparison(worst=4, figures=figures)
        some = {name: column[rows] for name, column in columns.items()}
        own = None if labels is None else labels[rows]
        found.update(base[rows], other[rows], own, weight[rows], first_row=rows[0], **some)
        return found

    whole = state(np.arange(ROWS))
    assert whole.result().undefined == sum(labels is None or labels[k] >= 0 for k in (7, 9))
    assert pickle.loads(pickle.dumps(whole)) == whole
    for _ in range(5):
        cuts = np.sort(rng.choice(np.arange(1, ROWS), 4, replace=False))
        parts = [restore(state(rows).to_bytes()) for rows in np.split(np.arange(ROWS), cuts)]
        total = Comparison(worst=4, figures=figures)
        for k in rng.permutation(len(parts)):
            total.merge(parts[k])
        assert total == whole
    assert restore(whole.to_bytes()).result() == whole.result()


def test_threads_blocks_and_groups(data):
    base, other, labels, _ = data
    which = np.arange(ROWS) * 7 % 5
    results = [
        lossgrad.compare(
            base, other, labels, groups=which, worst=3, num_threads=threads, block_bytes=size
        )
        for threads, size in ((1, None), (2, 1 << 10), (3, 1 << 12))
    ]
    assert results[0] == results[1] == results[2]
    alone = lossgrad.compare(base, other, labels, worst=3)
    assert dataclasses.replace(results[0], groups={}) == alone
    for key in range(5):
        own = Comparison(worst=3)
        own.update(base[which == key], other[which == key], labels[which == key])
        own.renumber(np.flatnonzero(which == key).tolist().__getitem__)
        assert results[0].groups[key] == own.result()


def test_clustered_errors_of_paired_differences(data):
    base, other, labels, _ = data
    clusters = np.arange(ROWS) // 7
    found = lossgrad.compare(base, other, labels, clusters=clusters)
    figures, s, _ = by_formula(base, other, labels, np.ones(ROWS))
    key = clusters[labels >= 0]
    got = found.figures["clusters"]
    for name in ("kl", "loss_difference", "accuracy_difference"):
        residuals = np.bincount(key, figures[name] - figures[name].mean())
        n = len(np.unique(key))
        want = np.sqrt(n / (n - 1) * (residuals**2).sum()) / len(s)
        assert getattr(got, f"{name}_error") == pytest.approx(want, rel=1e-5)


def test_the_sign_test_is_exact():
    assert math.isnan(sign_test(0, 0))
    for a, b in [(0, 5), (1, 5), (3, 3), (40, 60), (1000, 1100)]:
        n, k = a + b, min(a, b)
        want = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        assert sign_test(a, b) == pytest.approx(min(1.0, 2 * want), rel=1e-11)
        assert sign_test(a, b) == sign_test(b, a)
    assert sign_test(10**7, 10**7 + 2000) == pytest.approx(0.6549, rel=1e-3)


def test_the_rows_of_largest_divergence(data):
    base, other, labels, _ = data
    other[17] = -base[17]
    labels[17] = 3
    found = lossgrad.compare(base, other, labels, worst=2)
    first = found.worst[0]
    assert (first.row, first.label, first.base_predicted) == (17, 3, base[17].argmax())
    assert first.kl >= found.worst[1].kl
    assert first.base_loss == pytest.approx(-log_softmax(base)[17, 3], rel=1e-6)


@pytest.mark.parametrize("strict", [False, True])
def test_rows_without_probabilities(data, strict):
    base, other, labels, _ = data
    labels[:5] = 0, 0, 0, 0, -100
    base[0, 3], other[1], other[2, 5], base[4, 0] = np.nan, -np.inf, np.inf, np.nan
    base[3, 0] = other[3, 0] = -np.inf
    if not strict:
        found = lossgrad.compare(base, other, labels)
        assert found.undefined == 4
        assert found.terms == (labels >= 0).sum() - 4
        return
    texts = (
        (0, "logits", "the logit of class 3 is nan"),
        (1, "other", "every logit is -inf"),
        (2, "other", "the logit of class 5 is inf, the divergence is undefined"),
        (3, "targets", "the label's probability is 0 in both models"),
    )
    for row, source, problem in texts:
        pair = base.copy(), other.copy()
        for array in pair:
            array[:row] = 0.0  # what is wrong before it
        with pytest.raises(InputError, match=f"{source}: row {row}: {problem}"):
            lossgrad.compare(*pair, labels, strict=True)


def test_an_impossible_class_makes_the_divergence_infinite(data):
    base, other, labels, _ = data
    other[3, base[3].argmin()] = -np.inf
    labels[3] = base[3].argmax()
    found = lossgrad.compare(base, other, labels)
    assert found.kl == (math.inf, pytest.approx(math.nan, nan_ok=True))
    assert math.isfinite(found.js.value)
    assert found.to_dict()["kl"] == {"value": None, "error": None}


def test_what_is_wrong_is_said_with_its_place(data):
    base, other, labels, weight = data
    with pytest.raises(InputError, match=r"other: shape \(500, 11\) differs from the logits'"):
        lossgrad.compare(base, other[:, 1:])
    with pytest.raises(InputError, match=r"targets: shape \(499,\)"):
        lossgrad.compare(base, other, labels[1:])
    with pytest.raises(TypeError, match="targets: dtype bool where integer labels"):
        lossgrad.compare(base, other, labels > 1)
    labels[300] = CLASSES
    with pytest.raises(IndexError, match=r"targets: row 300: label 12 is outside \[0, 12\)"):
        lossgrad.compare(base, other, labels, num_threads=2, block_bytes=1 << 12)
    shaped = (x.reshape(50, 10, CLASSES) for x in (base, other))
    with pytest.raises(IndexError, match=r"targets: row \(30, 0\): label 12"):
        lossgrad.compare(*shaped, labels.reshape(50, 10))
    with pytest.raises(ValueError, match="comparisons of different top_k do not merge"):
        Comparison(top_k=1).merge(Comparison(top_k=2))
    with pytest.raises(ValueError, match="no figure 'ranking'; there are bits_per_byte, clusters"):
        Comparison(figures=["ranking"])
    state = Comparison()
    state.update(base, other)
    with pytest.raises(InputError, match="targets: given for some blocks and not for others"):
        state.update(base, other, np.zeros(ROWS, int))
    weight[3] = 1e300
    with pytest.raises(InputError, match=r"sample_weight: row 3: weight 1e\+300"):
        lossgrad.compare(base, other, sample_weight=weight)


@pytest.mark.parametrize("place", [22, 40, 200, -20])
def test_damaged_states(data, place):
    base, other, labels, _ = data
    state = Comparison(worst=3, figures=["clusters"])
    state.update(base, other, labels, clusters=np.arange(ROWS))
    bytes_ = bytearray(state.to_bytes())
    bytes_[place] ^= 1
    with pytest.raises(ValueError, match="comparison"):
        restore(bytes(bytes_))


# ---- files ----


def write_kld(path, log_probs, tokens, context):
    """As llama.cpp writes it: 16-bit log-probabilities of the second half of each chunk."""
    chunks, classes = len(tokens) // context, log_probs.shape[1]
    with path.open("wb") as file:
        file.write(b"_logits_" + struct.pack("<3I", context, classes, chunks))
        file.write(tokens.astype("<i4").tobytes())
        for row in log_probs.astype(np.float32):
            least = max(row.min(), row.max() - np.float32(16))
            scale = np.float32((row.max() - least) / 65535)
            stored = np.rint((row - least) / scale).clip(0).astype("<u2")
            head = np.array([scale, least], "<f4").tobytes()
            file.write(head + stored.tobytes() + b"\0\0" * (classes % 2))


@pytest.fixture(params=[9, 10])
def kld(request, tmp_path, rng):
    context, chunks, classes = 16, 5, request.param
    rows = (context - 1 - context // 2) * chunks
    log_probs = log_softmax(rng.normal(0, 2, (rows, classes)))
    tokens = rng.integers(0, classes, chunks * context)
    write_kld(tmp_path / "base.kld", log_probs, tokens, context)
    labels = tokens.reshape(chunks, context)[:, context // 2 + 1 :].ravel()
    return tmp_path / "base.kld", log_probs, labels


def test_log_probabilities_of_llama_cpp(kld, tmp_path, rng):
    path, log_probs, labels = kld
    other = (log_probs + rng.normal(0, 0.1, log_probs.shape)).astype(np.float32)
    np.save(tmp_path / "other.npy", other)
    found = lossgrad.compare(path, tmp_path / "other.npy")
    want = lossgrad.compare(log_probs, other, labels)
    assert found.labelled
    assert found.base_loss.value == pytest.approx(want.base_loss.value, abs=1e-3)
    assert found.kl.value == pytest.approx(want.kl.value, rel=1e-3)
    assert (found.rows, found.classes) == log_probs.shape
    assert found == lossgrad.compare(path, tmp_path / "other.npy", path, block_bytes=100)
    assert lossgrad.evaluate(path, path).loss == pytest.approx(want.base_loss.value, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: b"_logitz_" + data[8:], "is not a file of llama.cpp's: it starts with"),
        (lambda data: data[:-2], "bytes where 5 chunks of 16 tokens take"),
        (lambda data: data[:15], "has a damaged header: sizes"),
        (lambda data: data[:8] + b"\xff" * 12 + data[20:], "bytes where 4294967295 chunks"),
        (lambda data: data[:8] + b"\0" * 12 + data[20:], "has a damaged header"),
    ],
)
def test_damaged_files_of_llama_cpp(kld, change, problem):
    path, _, _ = kld
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FileError, match=problem):
        lossgrad.compare(path, path)


@pytest.fixture
def files(data, tmp_path):
    base, other, labels, weight = data
    arrays = {"base": base, "other": other.astype(np.float16), "labels": labels, "weight": weight}
    arrays |= {
        "groups": np.array(["a", "b"])[np.arange(ROWS) % 2],
        "clusters": np.arange(ROWS) // 9,
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "both.npz", logits=base, targets=labels, weight=weight)
    return tmp_path, arrays


def test_the_command(files, capsys):
    folder, arrays = files
    paths = [str(folder / f"{name}.npy") for name in ("base", "other", "labels")]
    assert main(["compare", *paths, "--json", "--clusters", str(folder / "clusters.npy")]) == 0
    found = json.loads(capsys.readouterr().out)
    want = lossgrad.compare(
        arrays["base"], arrays["other"], arrays["labels"], clusters=arrays["clusters"], worst=20
    ).to_dict()
    for row in want["worst"]:
        row["source"] = paths[0]
    assert {name: found[name] for name in want} == json.loads(json.dumps(want))
    assert main(["compare", *paths, "--sample-weight", str(folder / "weight.npy")]) == 0
    table = capsys.readouterr().out
    for name in ("KL", "JS", "same choice", "same top 5", "perplexity", "right", "speed"):
        assert f"\n{name}" in table
    assert main(["compare", *paths[:2]]) == 0
    assert "perplexity" not in capsys.readouterr().out


def test_columns_beside_the_targets(files):
    folder, arrays = files
    found = lossgrad.compare(folder / "both.npz", folder / "other.npy", sample_weight="weight")
    want = lossgrad.compare(
        arrays["base"], arrays["other"], arrays["labels"], sample_weight=arrays["weight"]
    )
    assert found == want
    with pytest.raises(FileError, match=r"domain: no such file of groups; and .*base.npy holds no"):
        lossgrad.compare(folder / "base.npy", folder / "other.npy", groups="domain")


def test_states_of_the_command(files, capsys):
    folder, arrays = files
    halves = [np.s_[: ROWS // 2], np.s_[ROWS // 2 :]]
    for k, half in enumerate(halves):
        for name in ("base", "other", "labels"):
            np.save(folder / f"{name}-{k}.npy", arrays[name][half])
        paths = [str(folder / f"{name}-{k}.npy") for name in ("base", "other", "labels")]
        assert main(["compare", *paths, "--state", str(folder / f"{k}.state")]) == 0
    states = [str(folder / f"{k}.state") for k in (1, 0)]
    assert main(["merge", *states, "--state", str(folder / "all.state")]) == 0
    merged = restore((folder / "all.state").read_bytes()).result()
    whole = lossgrad.compare(arrays["base"], arrays["other"], arrays["labels"])
    assert dataclasses.replace(merged, worst=()) == whole
    paths = [str(folder / f"{name}.npy") for name in ("base", "labels")]
    assert main(["evaluate", *paths, "--state", str(folder / "one.state")]) == 0
    capsys.readouterr()
    assert main(["merge", states[0], str(folder / "one.state")]) == 2
    assert "does not merge" in (error := capsys.readouterr().err)
    assert "one is a comparison, the other an evaluation" in error


def test_groups_of_the_command(files, capsys):
    folder, _ = files
    paths = [str(folder / f"{name}.npy") for name in ("base", "other", "labels")]
    state = str(folder / "g.state")
    columns = ["--groups", str(folder / "groups.npy"), "--state", state]
    assert main(["compare", *paths, *columns]) == 0
    table = capsys.readouterr().out
    lines = table[table.index("\ngroup") :].splitlines()[1:]
    assert lines[0].split()[:3] == ["group", "rows", "KL"]
    assert {line.split()[0] for line in lines[1:]} == {"a", "b"}
    assert isinstance(restore((folder / "g.state").read_bytes()), Grouped)


def test_wrong_use_of_the_command(files, capsys):
    folder, _ = files
    with pytest.raises(SystemExit):
        main(["compare", str(folder / "base.npy")])
    assert "give BASE, OTHER and perhaps TARGETS" in capsys.readouterr().err
    assert main(["compare", str(folder / "base.npy"), str(folder / "labels.npy")]) == 2
    assert "differs from the logits'" in capsys.readouterr().err


@pytest.mark.parametrize("weighted", [False, True])
def test_bits_per_byte(weighted, tmp_path, capsys):
    """Of each model what an evaluation of it alone finds."""
    random = np.random.default_rng(8)
    base, labels = random.standard_normal((90, 5)), random.integers(0, 5, 90)
    other, lengths = np.round(base), random.integers(0, 9, 90)
    how = {"bytes": lengths, "sample_weight": random.random(90) if weighted else None}
    found = lossgrad.compare(base, other, labels, **how).figures["bits_per_byte"]
    for logits, bits in (
        (base, found.base_bits_per_byte),
        (other, found.other_bits_per_byte),
    ):
        alone = lossgrad.evaluate(logits, labels, **how).figures["bits_per_byte"]
        assert bits == pytest.approx(alone.bits_per_byte, rel=1e-12)
        assert found.bytes == alone.bytes
    with pytest.raises(lossgrad.InputError, match="bits a byte are of losses"):
        lossgrad.compare(base, other, bytes=lengths)
    with pytest.raises(lossgrad.InputError, match="bytes: -1 is not a finite number"):
        lossgrad.compare(base, other, labels, bytes=lengths - 1 - lengths.min())
    parts = [lossgrad.Comparison(figures=["bits_per_byte"]) for _ in range(2)]
    for part, rows in zip(parts, (slice(0, 40), slice(40, 90)), strict=True):
        part.update(base[rows], other[rows], labels[rows], bytes=lengths[rows])
    parts[0].merge(lossgrad.Comparison.from_bytes(parts[1].to_bytes()))
    whole = lossgrad.compare(base, other, labels, bytes=lengths)
    assert parts[0].result().figures == whole.figures
    for name, array in zip("xzyb", (base, other, labels, lengths), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    files = [str(tmp_path / f"{name}.npy") for name in "xzyb"]
    assert main(["compare", *files[:3], "--bytes", files[3]]) == 0
    assert whole.figures["bits_per_byte"].lines()[0][1] in capsys.readouterr().out
