"""What a caller in C does about shapes that are not dense rows: other axes by a transposition, strides row by row, nothing at all; and threads."""

import numpy as np
import torch
import torch.nn.functional as F

import exact
import inputs
from check_losses import REDUCTIONS, onnx_loss, reduce
from check_rows import of_probability
from exact import Rows
from peers import ONNX_TYPES, array, both, tensor
from report import Want
from softlane import MEAN, Place, bits, same_bits


def last(x):
    """(N, C, d1, d2) as rows of C."""
    moved = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(moved).reshape(-1, x.shape[1])


def back(rows, shape):
    moved = rows.reshape(shape[0], *shape[2:], shape[1])
    return np.moveaxis(moved, -1, 1)


def axes(context):
    """The results for axis 1 of (N, C, d1, d2)."""
    report, functions, element, rng = context
    for shape in ((4, 5, 3, 7), (2, 19, 1, 4), (3, 70, 2, 1), (1, 1, 2, 2)):
        x = rng.normal(0, 8, shape).astype(element.dtype)
        rows = Rows(last(x))
        size = rows.size[:, None]
        where = f"axis 1 of {shape}"
        for name, operator, value, bound, terms in (
            ("softmax", "Softmax", rows.p, of_probability(rows.p, element), rows.p * size),
            ("log_softmax", "LogSoftmax", rows.log_p, 1.6, size + np.abs(rows.log_p)),
        ):
            y = back(functions.forward(name, last(x)), shape)
            pairs, doubles = both(report, element, x, lambda t: getattr(torch, name)(t, 1), operator, axis=1)
            bound = back(np.broadcast_to(bound, value.shape), shape)
            want = Want(back(value, shape), bound, doubles=doubles, terms=back(terms, shape))
            report.check(name.replace("_", "-") + ", axis 1", element, where, y, want, pairs)
        losses_of_axis(context, x, where)


def losses_of_axis(context, x, where):
    report, functions, element, rng = context
    n, classes, *rest = x.shape
    for number, (reduction, code) in enumerate(REDUCTIONS.items()):
        ignore = (-100, 1)[number % 2] if classes > 2 else -100
        given = {"ignore_index": ignore}
        targets = rng.integers(0, classes, (n, *rest))
        targets[0, 0, 0] = ignore
        if number != 1:
            given["class_weights"] = rng.uniform(0.5, 3, classes).astype(element.real)
        losses = exact.cross_entropy(last(x), targets.reshape(-1), ignore, given.get("class_weights"))
        loss, grad = functions.loss("cross_entropy", last(x), targets.reshape(-1), {**given, "reduction": code})
        value, of, terms, factor, divisor = reduce(losses, given, reduction)
        leaf = tensor(x).requires_grad_()
        weight = tensor(given["class_weights"]) if "class_weights" in given else None
        theirs = F.cross_entropy(leaf, torch.from_numpy(targets), weight, ignore_index=ignore, reduction=reduction)
        theirs.sum().backward()
        doubles = {"PyTorch in float64": array(theirs).reshape(-1)}
        doubles["ONNX Runtime in double"] = onnx_loss(x.astype(np.float64), targets, given, reduction)
        peers = [("ONNX Runtime", onnx_loss(x, targets, given, reduction))] if x.dtype in ONNX_TYPES else []
        want = Want(value, 1.1, of=of, doubles=doubles, terms=terms)
        report.check("cross-entropy loss, axis 1", element, f"{where}, {reduction}", loss, want, peers)
        value = factor[:, None] * losses.grad
        shaped = lambda a: back(np.broadcast_to(a, value.shape), x.shape)
        want = Want(
            shaped(value),
            shaped(of_probability(value, element)),
            doubles={"PyTorch in float64": array(leaf.grad)},
            terms=shaped(factor[:, None] * losses.grad_terms),
        )
        report.check("cross-entropy gradient, axis 1", element, f"{where}, {reduction}", back(grad, x.shape), want)


def strides(context):
    """Rows that lie apart, one call for each: the bits of the batch, and what is between is left alone."""
    report, functions, element, rng = context
    for rows, classes, stride in ((9, 10, 13), (4, 64, 64), (3, 1000, 1001)):
        x = inputs.logits(rng, "spread 10", (rows, classes), element)
        wide, out = Place((rows, stride), element.dtype, 1, 7), Place((rows, stride), element.dtype, 3, 7)
        wide.array[:, :classes] = x
        step = stride * element.dtype.itemsize
        for name in ("softmax", "log_softmax"):
            for row in range(rows):
                functions.call(name, wide.pointer + row * step, out.pointer + row * step, 1, classes)
            title, where = "row by row", f"{name}, stride {stride}"
            report.exact(title, element, where, bits(out.array[:, :classes]), bits(functions.forward(name, x)))
            report.exact(title, element, where, out.array[:, classes:], 7)
            report.exact(title, element, where, np.array([out.is_guarded()], float), 1)


def nothing(context):
    """Batches without rows or classes: pointers may be NULL."""
    report, functions, element, _rng = context
    title = "no rows or classes"
    for rows, classes in ((0, 5), (5, 0), (0, 0)):
        x = np.zeros((rows, classes), element.dtype)
        for name in ("softmax", "log_softmax"):
            functions.call(name, None, None, rows, classes)
            functions.call(f"{name}_backward", None, None, None, rows, classes)
            report.exact(title, element, name, functions.forward(name, x), array(getattr(torch, name)(tensor(x), -1)))
        # As PyTorch's.
        report.exact(title, element, "logsumexp", functions.logsumexp(x), array(torch.logsumexp(tensor(x), -1)))
        ignored = np.full(rows, -100)
        for name, targets in (("cross_entropy", ignored), ("cross_entropy_soft", x), ("binary_cross_entropy", x)):
            for reduction, code in REDUCTIONS.items():
                loss, _grad = functions.loss(name, x, targets, {"reduction": code})
                if reduction == "none":
                    report.exact(title, element, name, loss, np.zeros(loss.shape))
                else:
                    report.exact(title, element, f"{name}, {reduction}", loss, np.nan if code == MEAN else 0.0)
    theirs = F.cross_entropy(torch.zeros(0, 5, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
    report.exact(title, element, "PyTorch's mean of no rows", array(theirs).reshape(-1), np.nan)
    functions.call("exp", None, None, 0)
    report.exact(title, element, "exp", functions.elementwise("exp", np.zeros(0, element.dtype)), np.zeros(0))


def threads(context):
    """The same bits on one thread and on two."""
    report, functions, element, rng = context
    library = functions.library
    for shape in inputs.LARGE:
        x = inputs.logits(rng, "normal", shape, element)
        targets = inputs.targets(rng, x)
        found = []
        for n in (1, 2, 0):
            library.checked(library.lib.softlane_set_num_threads(n))
            loss, grad = functions.loss("cross_entropy", x, targets)
            found.append((functions.forward("softmax", x), functions.logsumexp(x), loss, grad))
        for other in found[1:]:
            same = [float(same_bits(a, b)) for a, b in zip(found[0], other)]
            report.exact("bits on threads", element, f"{shape}", np.array(same), 1.0)


def run(context):
    axes(context)
    strides(context)
    nothing(context)
    threads(context)
