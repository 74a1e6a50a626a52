"""What other libraries take for the same: ``python -m benchmarks run --peers``.

Each runs on one core, on arrays of its own type that share the memory of ours, and its result is
compared with ours before it is timed. Gradients come the way its users get them.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from lossgrad.registry import OPS, Op

from .cases import ROWS, SIZES, Case, parameters

Step = Callable[[], Any]
# Where torch.compile, which takes seconds for each, is measured too.
COMPILED = {
    "sigmoid": [(1_000_000,)],
    "binary_cross_entropy_with_logits": [(1_000_000,)],
    "cross_entropy": [(65536, 10), (4096, 1000), (1024, 32000)],
}


def peers(op: Op) -> dict[str, str]:
    """library -> path of the function that does what `op` does."""
    paths = {path.split(".")[0]: path for path in op.peers}
    paths = {"jax" if library == "optax" else library: path for library, path in paths.items()}
    if op.name in COMPILED:
        paths["torch.compile"] = paths["torch"]
    if op.name in TEXTBOOK:
        paths["numpy"] = f"benchmarks.peers.TEXTBOOK.{op.name}"
    return paths


def cases() -> Iterator[Case]:
    for op in OPS:
        for library in peers(op):
            for shape in SIZES if "elementwise" in op.kind else ROWS:
                if library == "torch.compile" and shape not in COMPILED[op.name]:
                    continue
                for function in op.functions:
                    case = Case(op, function, "float32", shape, library=library)
                    if provides(case):
                        yield case


def provides(case: Case) -> bool:
    """SciPy and NumPy have no gradients; those of scikit-learn and of the textbook come with the
    value. Jacobians of a batch are a composition that every user writes otherwise. Only
    scikit-learn has Hessians, without the value, and takes those that are 0 to be 1."""
    if "jacobian" in case.op.name:
        return False
    if case.gives_hessian:
        without = case.function == f"{case.op.name}_grad_and_hess"
        return case.library == "sklearn" and without and case.op.hessian != "0"
    if case.library == "sklearn" or (case.library == "numpy" and case.op.name in TEXTBOOK):
        return not case.is_backward
    if case.library in ("scipy", "numpy"):
        return case.function == case.op.name
    return not (case.library == "torch.compile" and case.is_backward)


def resolve(path: str) -> Any:
    """The object at a dotted path."""
    parts = path.split(".")
    for k in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:k])
        if importlib.util.find_spec(parts[0]) is None:
            break
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(f"no {path}: pip install 'lossgrad[peers]'", name=parts[0])


# What makes a peer's function ours, besides the class axis.
OPTIONS = {"jax.nn.gelu": {"approximate": False}, "scipy.stats.entropy": {"axis": -1}}


def step(case: Case) -> Step:
    """A function that computes the case once, its inputs ready; ImportError if that cannot be."""
    path = peers(case.op)[case.library]
    return STEPS[case.library](case, path)


def torch_step(case: Case, path: str, compiled: bool = False) -> Step:
    import torch

    torch.set_num_threads(1)
    forward = partial(resolve(path), **({"dim": -1} if case.op.kind == "softmax" else {}))
    if compiled:
        forward = torch.compile(forward, dynamic=False)
    inputs = [torch.from_numpy(array) for array in case.inputs]
    if case.function == case.op.name:
        return partial(forward, *inputs)
    x = inputs[0].detach().requires_grad_()
    if case.is_backward:
        wanted = [x, inputs[1].requires_grad_()] if case.op.name == "prelu" else [x]
        result = forward(x, *inputs[1:])
        grad = torch.as_tensor(case.upstream, dtype=result.dtype)
        return lambda: torch.autograd.grad(result, wanted, grad, retain_graph=True)

    def value_and_grad() -> tuple[Any, Any]:
        loss = forward(x, *inputs[1:])
        return loss, torch.autograd.grad(loss, x)[0]

    return value_and_grad


def jax_step(case: Case, path: str) -> Step:
    import jax

    forms = OPTAX if case.published else FASTEST
    forward = forms[path]() if path in forms else partial(resolve(path), **OPTIONS.get(path, {}))
    inputs = [jax.numpy.asarray(array) for array in case.inputs]
    if case.op.kind == "softmax":
        forward = partial(forward, axis=-1)
    if case.function == case.op.name:
        run = jax.jit(forward)
    elif case.is_fused:
        run = jax.jit(jax.value_and_grad(forward))
    else:
        run = jax.jit(lambda g, x, *others: jax.vjp(lambda x: forward(x, *others), x)[1](g)[0])
        inputs = [jax.numpy.asarray(case.upstream, inputs[0].dtype), *inputs]
    return lambda: jax.block_until_ready(run(*inputs))


def optax_cross_entropy() -> Callable[..., Any]:
    """As optax writes it, with the mean: the fastest of four forms."""
    import jax
    import jax.numpy as jnp

    def cross_entropy(x: Any, y: Any) -> Any:
        label = jnp.take_along_axis(x, y[:, None], axis=-1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(x, axis=-1) - label)

    return cross_entropy


def optax_binary_cross_entropy() -> Callable[..., Any]:
    """As optax writes it: what its users get, and the accurate form."""
    import jax

    def binary_cross_entropy(x: Any, t: Any) -> Any:
        return -(t * jax.nn.log_sigmoid(x) + (1 - t) * jax.nn.log_sigmoid(-x)).mean()

    return binary_cross_entropy


def fast_binary_cross_entropy() -> Callable[..., Any]:
    """The form that JAX compiles best, four times as fast; its gradient is 0 at x = 20, t = 1."""
    import jax.numpy as jnp

    def binary_cross_entropy(x: Any, t: Any) -> Any:
        return jnp.mean(jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x))))

    return binary_cross_entropy


# optax is a thin layer over JAX, so its losses need no further package.
OPTAX = {
    "optax.softmax_cross_entropy_with_integer_labels": optax_cross_entropy,
    "optax.sigmoid_binary_cross_entropy": optax_binary_cross_entropy,
}
# Where speed is compared, JAX runs the fastest form; where accuracy is, the published one.
FASTEST = {**OPTAX, "optax.sigmoid_binary_cross_entropy": fast_binary_cross_entropy}


def scipy_step(case: Case, path: str) -> Step:
    options = {"axis": -1} if case.op.kind == "softmax" else OPTIONS.get(path, {})
    return partial(resolve(path), *case.inputs, **options)


def sklearn_step(case: Case, path: str) -> Step:
    """Its gradients are those of the sum; the division by the number of rows is given to it."""
    x, targets = case.inputs
    classes = {"n_classes": case.shape[-1]} if case.op.kind == "loss_rows" else {}
    loss = resolve(path.replace("sklearn._loss.", "sklearn._loss.loss."))(**classes)
    given = {"y_true": targets.astype(x.dtype), "raw_prediction": x}
    if case.function == case.op.name:
        return lambda: loss.loss(**given).mean()
    if case.gives_hessian:
        return lambda: loss.gradient_hessian(**given)

    def value_and_grad() -> tuple[Any, Any]:
        values, gradient = loss.loss_gradient(**given)
        return values.mean(), gradient

    return value_and_grad


def textbook_cross_entropy(x: np.ndarray, y: np.ndarray, gradient: bool = True) -> Any:
    rows = np.arange(len(x))
    shifted = x - x.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - shifted[rows, y]).mean()
    if not gradient:
        return loss
    p /= total
    p[rows, y] -= 1
    p /= len(x)
    return loss, p


def textbook_binary_cross_entropy(x: np.ndarray, t: np.ndarray, gradient: bool = True) -> Any:
    loss = (np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))).mean()
    return (loss, (1 / (1 + np.exp(-x)) - t) / x.size) if gradient else loss


TEXTBOOK = {
    "cross_entropy": textbook_cross_entropy,
    "binary_cross_entropy_with_logits": textbook_binary_cross_entropy,
}


def negated_log(p: np.ndarray) -> Any:
    return -np.log(p)


def numpy_step(case: Case, path: str) -> Step:
    if case.op.name in TEXTBOOK:
        return partial(TEXTBOOK[case.op.name], *case.inputs, gradient=case.is_fused)
    return partial(negated_log if path == "numpy.log" else resolve(path), *case.inputs)


STEPS: dict[str, Callable[[Case, str], Step]] = {
    "torch": torch_step,
    "torch.compile": partial(torch_step, compiled=True),
    "jax": jax_step,
    "sklearn": sklearn_step,
    "scipy": scipy_step,
    "numpy": numpy_step,
}


def agree(case: Case, results: Any) -> None:
    """The peer computed what we compute; scikit-learn's gradient is that of the sum."""
    ours, arguments = case.call()
    expected = ours(*arguments)
    if case.library == "torch" and case.is_backward and not isinstance(expected, tuple):
        (results,) = results
    several = isinstance(expected, tuple)
    pairs = zip(results, expected, strict=True) if several else [(results, expected)]
    for k, (got, want) in enumerate(pairs):
        got = np.asarray(got.detach() if hasattr(got, "detach") else got)
        if case.library == "sklearn" and (k == 1 or case.gives_hessian):
            got = got / case.inputs[1].size
        scale = np.abs(want).max() or 1.0
        np.testing.assert_allclose(got / scale, want / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", parameters(cases()))
def test_peer(measure, case):
    try:
        run = step(case)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed: pip install 'lossgrad[peers]'")
    if case.elements <= 1_000_000:  # the larger ones would take seconds to tell the same
        agree(case, run())
    measure(case, run)
