"""Rows with infinities and NaN, rows that are masked or ignored throughout, and where softlane differs from PyTorch as its documentation says."""

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

from peers import array, onnx, tensor
from softlane import MEAN, NONE, SUM, ZERO, bits

INF, NAN = np.inf, np.nan
ROWS = [
    [1, -INF, 2],
    [-INF, -INF, -INF],
    [INF, 1, 2],
    [INF, INF, 1],
    [INF, -INF, 0],
    [NAN, 1, 2],
    [1, NAN, -INF],
    [NAN, INF, -INF],
    [0, 0, 0],
    [-0.0, 0, -1],
]
ALONE = [[-INF], [INF], [NAN], [3]]


def kinds(x):
    """What matters of results here: which are NaN, infinities or 0, and the sign of others."""
    x = np.asarray(x).astype(np.float64)
    return np.where(np.isnan(x), NAN, np.where(np.isinf(x), x, np.sign(x)))


def as_torch(report, element, title, where, got, theirs):
    """Results of the same kind as PyTorch's in float64."""
    theirs = kinds(array(theirs))
    report.exact(title, element, where, kinds(got), theirs.reshape(got.shape) if theirs.size == 1 else theirs)
    # NaN has the same bits everywhere.
    nan = got[np.isnan(got.astype(np.float64))]
    canonical = {2: (0x7E00, 0x7FC0), 4: (0x7FC00000,), 8: (0x7FF8000000000000,)}[got.dtype.itemsize]
    quiet = canonical[-1] if got.dtype == ml_dtypes.bfloat16 else canonical[0]
    report.exact(title, element, f"{where}: bits of NaN", bits(nan), np.full(nan.shape, quiet))


def rows(context):
    report, functions, element, _rng = context
    # Alone and among others, in a block of rows.
    for batch in ([np.array([row]) for row in ROWS] + [np.array([row]) for row in ALONE] + [np.array(ROWS * 7), np.array(ALONE * 9)]):
        x = batch.astype(element.dtype)
        t = tensor(x)
        for name in ("softmax", "log_softmax"):
            as_torch(report, element, "special rows", name, functions.forward(name, x), getattr(torch, name)(t, -1))
        as_torch(report, element, "special rows", "logsumexp", functions.logsumexp(x), torch.logsumexp(t, -1))
        for name in ("exp", "sigmoid"):
            got = functions.elementwise(name, x.reshape(-1)).reshape(x.shape)
            as_torch(report, element, "special values", name, got, getattr(torch, name)(t))
        for row in x:
            as_torch(report, element, "special values", "max", functions.reduced("max", row), tensor(row).max())
            as_torch(report, element, "special values", "sum", functions.reduced("sum", row), tensor(row).sum())
        for target in range(x.shape[1]):
            targets = np.full(len(x), target)
            for reduction, code in (("none", NONE), ("sum", SUM), ("mean", MEAN)):
                loss, grad = functions.loss("cross_entropy", x, targets, {"reduction": code})
                leaf = tensor(x).requires_grad_()
                theirs = F.cross_entropy(leaf, torch.from_numpy(targets), reduction=reduction)
                theirs.sum().backward()
                as_torch(report, element, "special rows", f"cross-entropy, {reduction}", loss, theirs)
                as_torch(report, element, "special rows", f"cross-entropy gradient, {reduction}", grad, leaf.grad)


def both(context, what, got, documented, theirs):
    """A documented difference: softlane has to give what is documented, and what PyTorch gives is told."""
    report, _functions, element, _rng = context
    got, theirs = np.asarray(got), np.asarray(theirs)
    report.exact("documented differences", element, what, got, documented)
    told = lambda x: " ".join(f"{float(v):.6g}" for v in np.ravel(x))
    if np.array_equal(kinds(got), kinds(theirs), equal_nan=True) and np.allclose(
        got.astype(np.float64), theirs.astype(np.float64), equal_nan=True, rtol=1e-2
    ):
        report.difference(what + " (no difference any more)", told(got), told(theirs))
    else:
        report.difference(what, told(got), told(theirs))


def torch_gradient(function, x):
    leaf = tensor(x).requires_grad_()
    loss = function(leaf)
    loss.sum().backward()
    return array(loss), array(leaf.grad)


def differences(context):
    report, functions, element, _rng = context
    make = lambda x: np.array(x).astype(element.dtype)

    # Means with distributions are those with classes: the divisor is the sum of w_k t_k. PyTorch's is the number of rows.
    x, classes, w = make([[0, 0], [0, 0]]), np.array([0, 1]), np.array([3, 1], element.real)
    one_hot = make(np.eye(2)[classes])
    hard, _ = functions.loss("cross_entropy", x, classes, {"class_weights": w})
    soft, _ = functions.loss("cross_entropy_soft", x, one_hot, {"class_weights": w})
    theirs = F.cross_entropy(tensor(x), tensor(one_hot), tensor(w))
    both(context, "mean with distributions and class weights 3, 1", soft, hard, [theirs.item()])

    # Rows without target mass count for nothing; PyTorch smooths them, and counts them.
    t = make([[1, 0], [0, 0]])
    given = {"label_smoothing": 0.5, "reduction": NONE}
    loss, grad = functions.loss("cross_entropy_soft", x, t, given)
    theirs = F.cross_entropy(tensor(x), tensor(t), label_smoothing=0.5, reduction="none")
    both(context, "smoothed loss of a row without target mass", loss[1:], 0, theirs[1:].numpy())
    report.exact("documented differences", element, "its gradient", grad[1], np.zeros(2))
    loss, _ = functions.loss("cross_entropy_soft", x, t)
    log_2 = np.array([np.log(2)], element.real)
    both(context, "mean of a row with distribution 1, 0 and one without target mass", loss, log_2, [F.cross_entropy(tensor(x), tensor(t)).item()])

    # A target of 0 has no part of a logit of -inf, nor a weight of 0 of an infinite loss.
    masked = make([[0, -INF]])
    loss, grad = functions.loss("cross_entropy_soft", masked, make([[1, 0]]))
    theirs = torch_gradient(lambda z: F.cross_entropy(z, tensor([[1, 0]])), masked)
    both(context, "loss of target 0 at a logit of -inf", loss, 0, theirs[0])
    report.exact("documented differences", element, "its gradient", grad, np.zeros((1, 2)))
    zero = np.array([1, 0], element.real)
    loss, _ = functions.loss("cross_entropy", masked, np.array([1]), {"class_weights": zero, "reduction": SUM})
    theirs = F.cross_entropy(tensor(masked), torch.tensor([1]), tensor(zero), reduction="sum")
    both(context, "weight 0 of an infinite loss", loss, 0, theirs.item())

    # Ignored rows have gradient 0 whatever they hold.
    x = make([[NAN, 1], [0, 0]])
    loss, grad = functions.loss("cross_entropy", x, np.array([-100, 0]))
    theirs = torch_gradient(lambda z: F.cross_entropy(z, torch.tensor([-100, 0])), x)
    both(context, "gradient of an ignored row with NaN", grad[0], np.zeros(2), theirs[1][0])
    report.exact("documented differences", element, "the loss of the other", loss, log_2)
    report.exact("documented differences", element, "which PyTorch has too", theirs[0].reshape(-1), np.log(2) * np.ones(1))

    # Means of nothing: NaN as in PyTorch, or 0.
    ignored = np.array([-100, -100])
    x = make([[1, 2], [3, 4]])
    loss, grad = functions.loss("cross_entropy", x, ignored)
    theirs = torch_gradient(lambda z: F.cross_entropy(z, torch.from_numpy(ignored)), x)
    report.exact("means of nothing", element, "as PyTorch", loss, theirs[0].reshape(-1))
    double = onnx("SoftmaxCrossEntropyLoss", x.astype(np.float64), ignored, reduction="mean", ignore_index=-100)
    report.exact("means of nothing", element, "as ONNX Runtime", loss, np.reshape(double, 1))
    report.exact("means of nothing", element, "gradient, as PyTorch's", grad, theirs[1])
    report.exact("means of nothing", element, "gradient", grad, np.zeros((2, 2)))
    loss, grad = functions.loss("cross_entropy", x, ignored, {"empty_mean": ZERO})
    report.exact("means of nothing", element, "empty_mean", loss, 0)
    for code in (SUM, NONE):
        loss, grad = functions.loss("cross_entropy", x, ignored, {"reduction": code})
        report.exact("means of nothing", element, "sum and none", loss, np.zeros(loss.shape))
        report.exact("means of nothing", element, "sum and none", grad, np.zeros((2, 2)))
    loss, _ = functions.loss("binary_cross_entropy", x, x, {"ignore_mask": np.ones((2, 2), bool)})
    report.exact("means of nothing", element, "binary", loss, NAN)
    loss, _ = functions.loss("binary_cross_entropy", x, x, {"ignore_mask": np.ones((2, 2), bool), "empty_mean": ZERO})
    report.exact("means of nothing", element, "binary, empty_mean", loss, 0)

    # Rows that are masked throughout.
    nothing = make([[-INF, -INF]])
    loss, grad = functions.loss("cross_entropy", nothing, np.array([0]), {"masked_rows": ZERO})
    report.exact("masked rows", element, "loss", loss, INF)
    report.exact("masked rows", element, "gradient", grad, np.array([[-1, 0]]))
    report.exact("masked rows", element, "softmax", functions.forward("softmax", nothing, {"masked_rows": ZERO}), np.zeros((1, 2)))
    both_masked = F.scaled_dot_product_attention(*[torch.eye(2, dtype=torch.float64)[None]] * 3, attn_mask=torch.zeros(2, 2, dtype=torch.bool))
    both(context, "softmax of a masked row, and scaled_dot_product_attention", functions.forward("softmax", nothing)[0], NAN, both_masked[0, 0].numpy())

    # Where y is 0, the gradient is 0.
    y, dy = make([[1, 0]]), make([[0, INF]])
    theirs = torch.ops.aten._softmax_backward_data(tensor(dy), tensor(y), -1, torch.float64)
    both(context, "softmax backward with an infinite gradient where y is 0", functions.backward("softmax_backward", y, dy), np.zeros((1, 2)), theirs)

    # Binary cross-entropy at infinite logits is the limit.
    x, t = make([[INF, -INF, INF, -INF]]), make([[1, 0, 0, 1]])
    loss, grad = functions.loss("binary_cross_entropy", x, t, {"reduction": NONE})
    theirs = torch_gradient(lambda z: F.binary_cross_entropy_with_logits(z, tensor(t), reduction="none"), x)
    both(context, "binary loss at inf, -inf (right), inf, -inf (wrong)", loss, np.array([0, 0, INF, INF]), theirs[0][0])
    report.exact("documented differences", element, "its gradient, as PyTorch's", grad, theirs[1])
    report.exact("documented differences", element, "its gradient", grad, np.array([[0, 0, 1, -1]]))


def run(context):
    rows(context)
    differences(context)
