"""What the site shows of the package, made from the package: the parts of README that are computed
from records, and for each family of functions a page with formula, bound, edges and a plot."""

import inspect
import re
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

import lossgrad
from benchmarks import readme, results
from benchmarks.__main__ import BASELINE
from lossgrad import (
    activations,
    distributions,
    focal_losses,
    losses,
    norms,
    regression,
    row_losses,
    softmax_family,
)
from lossgrad.registry import DOMAINS, OPS

FOLDER = Path(__file__).parent / "generated"
FAMILIES = {
    activations: "Activations",
    softmax_family: "Softmax and its relatives",
    row_losses: "Losses of rows",
    losses: "Losses of elements",
    focal_losses: "Focal losses",
    regression: "Losses of regression",
    distributions: "Distributions",
    norms: "Norms",
}
STYLE = {"svg.hashsalt": "lossgrad", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}
# Where a first input of each domain is drawn, and what other inputs are.
DRAWN = {"probabilities": (0.0, 1.0), "log-probabilities": (-4.0, 0.0), "distribution": (0.0, 1.5)}
BESIDE = {"slopes": 0.25, "probabilities": 0.5, "binary targets": 1.0, "real": 0.0}
BESIDE |= {"distribution": [0.5], "labels": 0, "binary labels": 1, "amounts": 2.0}
FAR = 8.0  # beyond which nothing is drawn
EDGES = (-np.inf, -1e4, -1e-300, -0.0, 0.0, 1e-300, 1.0, 1e4, np.inf, np.nan)


# ---- one function of one number ----


def rows_of(op, x):
    """The first input: numbers as they are, or each as the first of a row's numbers."""
    if op.kind in ("softmax", "loss_rows"):
        return np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=-1)
    if op.kind == "norm":
        return np.stack([x, np.ones_like(x)], axis=-1)
    return x[:, None] if op.kind == "distribution" else x


def arguments(op, x):
    """All inputs, and options that leave a result for each x."""
    first = rows_of(op, x)
    rows = first.shape[:1] if op.kind == "loss_rows" else first.shape
    more = [np.full(rows, BESIDE[d]) if d != "slopes" else BESIDE[d] for d in op.inputs[1:]]
    options = {"reduction": "none"} if "reduction" in op.parameters else {}
    return [first, *more], options | ({"axis": -1} if op.kind == "norm" else {})


def firsts(result, x):
    """A number for each x: of a row, the first."""
    array = np.asarray(result[0] if isinstance(result, tuple) else result)
    return array.reshape(len(x), -1)[:, 0]


def value(op, x):
    """The function."""
    inputs, options = arguments(op, x)
    return firsts(getattr(lossgrad, op.name)(*inputs, **options), x)


def derivative(op, x):
    """Its derivative by x."""
    inputs, options = arguments(op, x)
    result = np.asarray(getattr(lossgrad, op.name)(*inputs, **options))
    gradient = np.zeros_like(result)
    gradient.reshape(len(x), -1)[:, 0] = 1.0
    return firsts(getattr(lossgrad, f"{op.name}_backward")(gradient, *inputs, **options), x)


def described(op):
    """What x is beside the function's other numbers."""
    if op.kind in ("softmax", "loss_rows"):
        label = ", label 0" if op.kind == "loss_rows" else ""
        return f"the first of a row (x, 0, 0){label}"
    if op.kind == "norm":
        return "the first of a row (x, 1)"
    beside = [f"{d} {np.ravel(BESIDE[d])[0]:g}" for d in op.inputs[1:]]
    return ", ".join(["x", *beside]) + (", one term" if op.kind == "distribution" else "")


# ---- a page for a family ----


def draw(op, path):
    """Function and derivative."""
    low, high = DRAWN.get(op.inputs[0], (-5.0, 5.0))
    x = np.linspace(low, high, 401)
    lines = {op.name: value(op, x)}
    if op.gradient:
        lines["its derivative by x"] = derivative(op, x)
    with plt.rc_context(STYLE):
        figure, panel = plt.subplots(figsize=(5.4, 2.9), layout="constrained")
        for style, (name, y) in zip(("-", "--"), lines.items(), strict=False):
            panel.plot(x, np.where(abs(y) < FAR, y, np.nan), style, label=name)
        panel.set_xlabel(described(op))
        panel.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def at(function, op, x):
    """What a table shows of one call."""
    try:
        return f"`{function(op, np.array([x]))[0]:g}`"
    except ValueError:
        return "ValueError"


def edges(op):
    """A table of what it gives at the ends of the range and around 0, in float64."""
    shown = [value, derivative] if op.gradient else [value]
    head = ["x", f"`{op.name}`", "its derivative by x"][: 1 + len(shown)]
    return readme.table(head, [[f"`{x:g}`", *(at(f, op, x) for f in shown)] for x in EDGES])


def section(op):
    """All that there is to say of an operation, from its docstring and its row of the registry."""
    text = inspect.getdoc(getattr(lossgrad, op.name))
    summary = text.partition("\n\n")[0]
    formulas = re.findall(r"^\.\. math:: (.*(?:\n {3}.*)*)", text, re.M)
    functions = ", ".join(f"{{py:func}}`lossgrad.{name}`" for name in op.functions)
    lines = [f"## {op.name}\n", "```{eval-rst}", *summary.splitlines(), "```\n"]
    lines += [f"```{{math}}\n{formula}\n```\n" for formula in formulas[:1]]
    facts = {
        "formula": f"`{op.formula}`",
        "gradient, for an incoming g": op.gradient and f"`{op.gradient}`",
        "diagonal of the Hessian": op.hessian and f"`{op.hessian}`",
        "largest error in ULP: value, derivatives": readme.bound(op),
        "inputs": "; ".join(f"{domain} ({DOMAINS[domain]})" for domain in op.inputs),
        "the same elsewhere": ", ".join(f"`{peer}`" for peer in op.peers),
    }
    rows = [[name, fact] for name, fact in facts.items() if fact]
    lines.append(readme.table(["functions", functions], rows))
    lines.append(f"![{op.name} and its derivative, of {described(op)}]({op.name}.svg)\n")
    return "\n".join([*lines, f"Of {described(op)}:\n", edges(op)])


def families():
    """A page for each, and the plots on it."""
    for module, title in FAMILIES.items():
        ops = [op for op in OPS if op.name in module.__all__]
        for op in ops:
            draw(op, FOLDER / f"{op.name}.svg")
        page = "\n".join([f"# {title}\n", *map(section, ops)])
        yield module.__name__.rpartition(".")[2], page


# ---- all of it ----


def write():
    """Everything, into docs/generated."""
    FOLDER.mkdir(exist_ok=True)
    pages = readme.generated(results.shown(BASELINE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pages |= dict(families())
    for name, text in pages.items():
        (FOLDER / f"{name}.md").write_text(text)
