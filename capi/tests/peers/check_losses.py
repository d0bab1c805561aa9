"""Cross-entropy, with classes and with distributions: every reduction, and its options alone and together."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

import exact
import inputs
from check_rows import of_probability
from peers import ONNX_TYPES, array, attempt, onnx, tensor
from report import Want, power, ulp, wide
from softlane import MEAN, NONE, SUM

REDUCTIONS = {"mean": MEAN, "sum": SUM, "none": NONE}


def option_sets(rng, rows, classes, real, few):
    """Every combination, of the names in the header, or a few of them."""
    axes = itertools.product((False, True), (0.0, 0.1, 1.0), (0.0, 1e-4, 0.7), (1.0, 0.37), (False, True))
    for i, (weighted, smoothing, z_loss, scale, more) in enumerate(axes):
        if few and (i * 7 + rows) % 9 != 0 and i > 0:
            continue
        given = {}
        if weighted:
            given["class_weights"] = inputs.weights(rng, classes, real)
        if smoothing:
            given["label_smoothing"] = smoothing
        if z_loss:
            given["z_loss"] = z_loss
        if scale != 1:
            given["logit_scale"] = scale
        if more:
            given["upstream_grad"] = rng.uniform(-2, 2, rows).astype(real)
            if rng.random() < 0.5:
                given["normaliser"] = float(rng.uniform(0.5, 100))
        yield given


# What PyTorch's cross_entropy has.
SHARED = {"class_weights", "label_smoothing", "ignore_index"}


def torch_loss(x, targets, given, reduction, counts, divisor, dtype):
    """The loss and its gradient: by cross_entropy alone where it has all options, and otherwise of its losses of rows and what the documentation adds."""
    leaf = tensor(x, dtype).requires_grad_()
    z = leaf * given["logit_scale"] if "logit_scale" in given else leaf
    with_classes = targets.dtype == np.int64
    t = torch.from_numpy(targets) if with_classes else tensor(targets, dtype)
    options = {"label_smoothing": given.get("label_smoothing", 0.0)}
    if "class_weights" in given:
        options["weight"] = tensor(given["class_weights"], dtype)
    if with_classes:
        options["ignore_index"] = given.get("ignore_index", -100)
    if with_classes and set(given) <= SHARED:
        loss = F.cross_entropy(z, t, reduction=reduction, **options)
        loss.sum().backward()
        return array(loss).reshape(-1), array(leaf.grad)
    losses = F.cross_entropy(z, t, reduction="none", **options)
    if "z_loss" in given:
        losses = losses + given["z_loss"] * torch.logsumexp(z, -1) ** 2
    losses = torch.where(torch.from_numpy(counts), losses, 0)
    upstream = tensor(given["upstream_grad"], dtype) if "upstream_grad" in given else 1
    by = divisor if reduction == "mean" else 1.0
    ((losses * upstream).sum() / by).backward()
    loss = losses if reduction == "none" else losses.sum() / by
    return array(loss).reshape(-1), array(leaf.grad)


def onnx_loss(x, targets, given, reduction):
    """By ONNX Runtime's SoftmaxCrossEntropyLoss; targets as the rows of x, or (N, d1, ...) for x (N, C, d1, ...)."""
    inputs_ = [x, targets]
    if "class_weights" in given:
        inputs_.append(given["class_weights"].astype(x.dtype))
    ignore = given.get("ignore_index", -100)
    return np.reshape(onnx("SoftmaxCrossEntropyLoss", *inputs_, reduction=reduction, ignore_index=ignore), -1)


def reduce(losses, given, reduction):
    """What the losses of rows become: the loss, what its error counts by, the terms of float64, the factor of gradients, and the divisor."""
    divisor = wide(given["normaliser"]) if "normaliser" in given else losses.weight.sum()
    by = divisor if reduction == "mean" else wide(1)
    upstream = wide(given["upstream_grad"]) if "upstream_grad" in given else np.ones(len(losses.loss), np.longdouble)
    if reduction == "none":
        return losses.loss, losses.loss_of, losses.loss_terms, upstream, divisor
    with np.errstate(divide="ignore", invalid="ignore"):
        total = [np.array([part.sum() / by]) for part in (losses.loss, losses.loss_of, losses.loss_terms * len(upstream))]
        return *total, upstream / by, divisor


def case(context, name, where, x, targets, losses, given, loss_bound, grad_bound, grad_extra=0.0):
    """All reductions of a batch against the formula and the peers."""
    report, functions, element, _rng = context
    title = "cross-entropy" if name == "cross_entropy" else "cross-entropy, distributions"
    if set(given) & {"label_smoothing", "z_loss"}:
        title += ", smoothing or z-loss"
    for reduction, number in REDUCTIONS.items():
        here = f"{where}, {reduction}, {', '.join(given) or 'no options'}"
        loss, grad = functions.loss(name, x, targets, {**given, "reduction": number} if given or number else None)
        value, of, terms, factor, divisor = reduce(losses, given, reduction)
        if reduction == "mean" and divisor == 0:
            report.exact(f"{title}, loss", element, here, loss, np.nan)
            report.exact(f"{title}, gradient", element, here, grad, np.zeros(x.shape))
            continue
        factor = factor[:, None]
        by = losses.counts, float(divisor)
        doubles = torch_loss(x, targets, given, reduction, *by, torch.float64)
        pairs = ([], [])
        peer = title.replace("cross-entropy", "PyTorch, cross_entropy", 1) + f", {element.name}"
        if set(given) <= SHARED:
            found = attempt(report, peer, lambda: torch_loss(x, targets, given, reduction, *by, element.torch))
            pairs = tuple([("PyTorch", result)] for result in found) if found else pairs
        others = {"PyTorch in float64": doubles[0]}
        if name == "cross_entropy" and set(given) <= SHARED - {"label_smoothing"}:
            others["ONNX Runtime in double"] = onnx_loss(x.astype(np.float64), targets, given, reduction)
            if x.dtype in ONNX_TYPES:
                pairs[0].append(("ONNX Runtime", onnx_loss(x, targets, given, reduction)))
        want = Want(value, loss_bound, of=of, doubles=others, terms=terms)
        report.check(f"{title}, loss", element, here, loss, want, pairs[0])
        want = Want(
            factor * losses.grad,
            grad_bound(factor * losses.grad),
            of=np.abs(factor * losses.grad_of),
            extra=grad_extra * np.abs(factor),
            doubles={"PyTorch in float64": doubles[1]},
            terms=np.abs(factor) * losses.grad_terms,
        )
        report.check(f"{title}, gradient", element, here, grad, want, pairs[1])


def arguments(given):
    """The names of the formulas."""
    names = {"class_weights": "weights", "label_smoothing": "smoothing", "z_loss": "z_loss", "logit_scale": "scale"}
    return {names[name]: value for name, value in given.items() if name in names}


def batches(few_kinds):
    for i, shape in enumerate(inputs.SHAPES):
        kinds = inputs.KINDS[i % 2 :: 2] if few_kinds else inputs.KINDS
        for kind in kinds:
            yield shape, kind
    for shape, kind in zip(inputs.LARGE, ("normal", "spread 10")):
        yield shape, kind


def classes(context):
    report, functions, element, rng = context
    for number, (shape, kind) in enumerate(batches(False)):
        # All of them with one kind of each shape.
        few = number % (len(inputs.KINDS) + 1) != 0 or shape[0] * shape[1] > 10_000
        for given in option_sets(rng, *shape, element.real, few):
            x = inputs.logits(rng, kind, shape, element)
            ignore = int(rng.choice([-100, 0, shape[1] + 3]))
            if ignore != -100:
                given = {**given, "ignore_index": ignore}
            targets = inputs.targets(rng, x, ignore)
            losses = exact.cross_entropy(x, targets, ignore, **arguments(given))
            where = f"{shape[0]} x {shape[1]}, {kind}"
            if set(given) & {"label_smoothing", "z_loss"}:
                case(context, "cross_entropy", where, x, targets, losses, given, 1.8, lambda g: 3.8)
            else:
                more = 0.1 if "logit_scale" in given else 0.0
                bound = lambda g: of_probability(g, element, more)
                case(context, "cross_entropy", where, x, targets, losses, given, 1.1, bound)


def soft_bounds(given, x):
    """As documented: more with each option."""
    weighted, smooth, z, scaled = (
        name in given for name in ("class_weights", "label_smoothing", "z_loss", "logit_scale")
    )
    far = np.abs(x.astype(np.float64).max()) * given.get("logit_scale", 1.0) > 65_536
    loss = 1.1 + 1.0 * weighted + 1.0 * far + 0.7 * z
    grad = 3.2 + 1.0 * weighted + 1.0 * smooth + 1.0 * (weighted and smooth) + 0.6 * z + 0.1 * scaled
    return loss, grad


def distributions(context):
    report, functions, element, rng = context
    kinds = ("one-hot", "dense", "peaked", "sparse", "unnormalised")
    for number, (shape, kind) in enumerate(batches(True)):
        for given in option_sets(rng, *shape, element.real, True):
            number += 1
            of_targets = kinds[number % len(kinds)]
            x = inputs.logits(rng, kind, shape, element)
            targets = inputs.distributions(rng, of_targets, shape, element)
            losses = exact.soft_cross_entropy(x, targets, **arguments(given))
            loss, grad = soft_bounds(given, x)
            # Products of weights and targets are numbers of the type, which may be subnormal.
            extra = ulp(element.real, power(-2000)) if "class_weights" in given else 0
            where = f"{shape[0]} x {shape[1]}, {kind}, {of_targets}"
            case(context, "cross_entropy_soft", where, x, targets, losses, given, loss, lambda g: grad, extra)


def run(context):
    classes(context)
    distributions(context)
