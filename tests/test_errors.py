"""What is wrong with an argument is said in one wording, by every backend."""

import inspect
import math

import numpy as np
import pytest

import lossgrad

NAN = math.nan
X, Y = np.zeros((3, 10)), np.zeros(3, np.int64)
MASKED = np.ma.masked_array([0.0], [True])
ERRORS = [
    (
        IndexError,
        r"label 12 in row 1 is outside \[0, 10\) and is not ignore_index \(-100\)",
        lambda lg: lg.cross_entropy(X, [0, 12, -1]),
    ),
    (
        IndexError,
        r"label -1 in row \(1, 0\) is outside \[0, 10\)",
        lambda lg: lg.cross_entropy(np.zeros((2, 2, 10)), [[0, 1], [-1, 2]]),
    ),
    (IndexError, "label 10 is outside", lambda lg: lg.cross_entropy(np.zeros(10), 10)),
    (
        IndexError,
        "label 18446744073709551615 in row 0",
        lambda lg: lg.cross_entropy(X[:1], np.array([2**64 - 1], np.uint64)),
    ),
    (
        IndexError,
        "label 9223372036854775808 in row 1 .* ignore_index .9223372036854775807.",
        lambda lg: lg.cross_entropy(X, np.uint64([0, 2**63, 2**63 - 1]), ignore_index=2**63 - 1),
    ),
    (
        IndexError,
        "label 18446744073709551516 in row 2",  # -100 in 64 bits
        lambda lg: lg.cross_entropy(X, np.array([0, 1, 2**64 - 100], np.uint64)),
    ),
    (
        ValueError,
        r"logits of shape \(2, 3, 3\) with targets of shape \(2, 3\) may have their classes along "
        r"axis=1 or axis=2: say which",
        lambda lg: lg.cross_entropy(np.zeros((2, 3, 3)), np.zeros((2, 3), np.int64)),
    ),
    (
        ValueError,
        r"log_probs of shape \(2, 5, 3, 3\) .* axis=2 or axis=3",
        lambda lg: lg.nll_loss_value_and_grad(
            np.zeros((2, 5, 3, 3)), np.zeros((2, 5, 3), np.int64)
        ),
    ),
    (IndexError, "label -100 in row 0", lambda lg: lg.cross_entropy(X, Y - 100, ignore_index=3)),
    (
        ValueError,
        r"targets of shape \(10,\) fit axis=0",
        lambda lg: lg.cross_entropy(X, np.zeros(10, int)),
    ),
    (
        ValueError,
        r"targets have shape \(4,\), but logits of shape \(3, 10\) .* need \(3,\)$",
        lambda lg: lg.cross_entropy(X, np.zeros(4, int)),
    ),
    (ValueError, "for probabilities", lambda lg: lg.cross_entropy(X, X.astype(int))),
    (ValueError, "need the logits' shape", lambda lg: lg.cross_entropy(X, np.zeros((3, 9)))),
    (ValueError, "for labels", lambda lg: lg.cross_entropy(X, X, ignore_index=0)),
    (TypeError, "use integers", lambda lg: lg.cross_entropy(X, Y.astype(float))),
    (TypeError, "targets have dtype bool", lambda lg: lg.cross_entropy(X, Y.astype(bool))),
    (TypeError, "logits has dtype complex128", lambda lg: lg.cross_entropy(X.astype(complex), Y)),
    (TypeError, "x has dtype object", lambda lg: lg.softmax(X.astype(object))),
    (TypeError, "x has dtype <U1", lambda lg: lg.sigmoid(["a"])),
    (TypeError, "mask would be lost", lambda lg: lg.softmax(MASKED)),
    (TypeError, "mask would be lost", lambda lg: lg.cross_entropy(X, np.ma.masked_array(Y, True))),
    (
        ValueError,
        'must be "none", "mean" or "sum"',
        lambda lg: lg.cross_entropy(X, Y, reduction="avg"),
    ),
    (
        ValueError,
        r"label_smoothing must be in \[0, 1\], got 1.5",
        lambda lg: lg.cross_entropy(X, Y, label_smoothing=1.5),
    ),
    (ValueError, "label_smoothing", lambda lg: lg.cross_entropy(X, Y, label_smoothing=NAN)),
    (
        ValueError,
        r"weight has shape \(9,\), but there are 10 classes",
        lambda lg: lg.cross_entropy(X, Y, np.ones(9)),
    ),
    (
        TypeError,
        "weight has dtype complex128",
        lambda lg: lg.cross_entropy(X, Y, np.ones(10, complex)),
    ),
    (TypeError, "integer", lambda lg: lg.cross_entropy(X, Y, ignore_index=1.5)),
    (ValueError, "64 bits", lambda lg: lg.cross_entropy(X, Y, ignore_index=2**64)),
    (ValueError, "out of bounds", lambda lg: lg.softmax(X, axis=2)),
    (ValueError, "out of bounds", lambda lg: lg.softmax(1.0, axis=1)),
    (ValueError, "names an axis twice", lambda lg: lg.softmax(X, axis=(1, -1))),
    (ValueError, "no classes along axis=None", lambda lg: lg.logsumexp(X[:0], axis=None)),
    (ValueError, 'out needs reduction="none"', lambda lg: lg.cross_entropy(X, Y, out=np.empty(3))),
    (ValueError, "out has shape", lambda lg: lg.softmax(X, out=np.empty(3))),
    (TypeError, "out has dtype float32", lambda lg: lg.softmax(X, out=X.astype(np.float32))),
    (TypeError, "out must be a NumPy array", lambda lg: lg.softmax(X, out=[1])),
    (ValueError, "read-only", lambda lg: lg.softmax(X, out=np.broadcast_to(0.0, X.shape))),
    (ValueError, "pass a number", lambda lg: lg.cross_entropy_backward(np.ones(3), X, Y)),
    (
        ValueError,
        "but the loss has shape",
        lambda lg: lg.cross_entropy_backward(1.0, X, Y, reduction="none"),
    ),
    (
        ValueError,
        r"grad has shape \(3,\), but x has shape",
        lambda lg: lg.softmax_backward(np.ones(3), X),
    ),
    (
        TypeError,
        "lse has dtype float32",
        lambda lg: lg.cross_entropy(X, Y, lse=np.empty(3, np.float32)),
    ),
    (ValueError, "lse has shape", lambda lg: lg.cross_entropy(X, Y, lse=np.empty(4))),
    (ValueError, "lse has shape", lambda lg: lg.cross_entropy_backward(1, X, Y, lse=np.empty(4))),
    (ValueError, "targets has shape", lambda lg: lg.binary_cross_entropy_with_logits(X, Y)),
    (
        ValueError,
        "does not broadcast to the logits' shape",
        lambda lg: lg.binary_cross_entropy_with_logits(X, X, weight=np.ones((2, 3, 10))),
    ),
    (
        ValueError,
        "pos_weight of shape",
        lambda lg: lg.binary_cross_entropy_with_logits(X, X, pos_weight=np.ones(3)),
    ),
]


@pytest.mark.parametrize(("error", "message", "call"), ERRORS)
def test_errors(lg, error, message, call):
    with pytest.raises(error, match=message):
        call(lg)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin", "logsumexp", "l2_norm"])
@pytest.mark.parametrize(
    ("keyword", "message"), [("dim", "'dim': it is axis here"), ("axes", "'axes'$")]
)
def test_a_name_of_pytorch(lg, name, keyword, message):
    """It says what the argument is called here; the signature shows only what there is."""
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected .* {message}"):
        getattr(lg, name)(X, **{keyword: 0})
    assert "unknown" not in inspect.signature(getattr(lg, name)).parameters


def test_a_name_of_pytorch_beside_others():
    with pytest.raises(TypeError, match="'keepdim': it is keepdims here"):
        lossgrad.logsumexp(X, 1, keepdim=True)
