"""Binary cross-entropy with logits: every reduction, and its options alone and together."""

import itertools

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

import exact
import inputs
from check_losses import REDUCTIONS
from peers import array, attempt, tensor
from report import Want, power, wide


def option_sets(rng, rows, labels, real):
    for has, smoothing in itertools.product(range(16), (0.0, 0.1, 1.0)):
        given = {}
        if has & 1:
            given["pos_weights"] = inputs.weights(rng, labels, real)
        if has & 2:
            given["label_weights"] = inputs.weights(rng, labels, real)
        if has & 4:
            given["ignore_mask"] = rng.random((rows, labels)) < 0.2
        if has & 8:
            given["normaliser"] = float(rng.uniform(0.5, 100))
        if smoothing:
            given["label_smoothing"] = smoothing
        yield given


SHARED = {"pos_weights", "label_weights"}


def torch_loss(x, targets, given, reduction, losses, divisor, dtype):
    leaf = tensor(x, dtype).requires_grad_()
    t = tensor(targets, dtype)
    smoothing = given.get("label_smoothing", 0.0)
    if smoothing:
        t = (1 - smoothing) * t + smoothing / 2
    options = {}
    for name, theirs in (("pos_weights", "pos_weight"), ("label_weights", "weight")):
        if name in given:
            options[theirs] = tensor(given[name], dtype)
    if set(given) <= SHARED | {"label_smoothing"}:
        loss = F.binary_cross_entropy_with_logits(leaf, t, reduction=reduction, **options)
        loss.sum().backward()
    else:
        each = F.binary_cross_entropy_with_logits(leaf, t, reduction="none", **options)
        each = torch.where(torch.from_numpy(losses.counts), each, 0)
        by = divisor if reduction == "mean" else 1.0
        (each.sum() / by).backward()
        loss = each if reduction == "none" else each.sum() / by
    return array(loss).reshape(-1), array(leaf.grad)


def bounds(given, targets):
    """Of a loss, of a reduced one, whose terms are rounded before they are added, and of gradients."""
    if set(given) & {"pos_weights", "label_weights", "label_smoothing"}:
        return 8.1, 8.1 + 0.5, 6.3, "weights or smoothing"
    if np.isin(targets.astype(np.float64), (0, 1)).all():
        return 1.5, 1.5 + 0.5, 1.5, "labels 0 and 1"
    return 2.6, 2.6 + 0.5, 3.0, "soft labels"


def run(context):
    report, functions, element, rng = context
    tiny = power(ml_dtypes.finfo(element.real).minexp)
    for shape in inputs.SHAPES + inputs.LARGE[1:2]:
        sets = [({}, True), ({}, False), *((given, False) for given in option_sets(rng, *shape, element.real))]
        for number, (given, hard) in enumerate(sets):
            if shape[0] * shape[1] > 10_000 and number % 12 > 1:
                continue
            x = inputs.logits(rng, ("normal", "spread 10", "spread 40", "huge")[number % 4], shape, element)
            targets = rng.random(shape)
            if number % 4 < 2 if given else hard:
                targets = np.rint(targets)
            targets = targets.astype(element.dtype)
            case(context, f"{shape[0]} x {shape[1]}", x, targets, given, tiny)


def case(context, where, x, targets, given, tiny):
    report, functions, element, _rng = context
    names = {"pos_weights": "pos_weights", "label_weights": "label_weights", "ignore_mask": "ignored", "label_smoothing": "smoothing"}
    losses = exact.binary_cross_entropy(x, targets, least=tiny, **{names[n]: v for n, v in given.items() if n in names})
    each_bound, reduced_bound, grad_bound, kind = bounds(given, targets)
    title = f"binary cross-entropy, {kind}"
    divisor = wide(given["normaliser"]) if "normaliser" in given else losses.weight.sum()
    for reduction, number in REDUCTIONS.items():
        here = f"{where}, {reduction}, {', '.join(given) or 'no options'}"
        loss, grad = functions.loss("binary_cross_entropy", x, targets, {**given, "reduction": number})
        by = divisor if reduction == "mean" else wide(1)
        if by == 0:
            report.exact(f"{title}, loss", element, here, loss, np.nan)
            report.exact(f"{title}, gradient", element, here, grad, np.zeros(x.shape))
            continue
        doubles = torch_loss(x, targets, given, reduction, losses, float(divisor), torch.float64)
        found = None
        if set(given) <= SHARED:
            peer = f"PyTorch, binary_cross_entropy_with_logits, {element.name}"
            found = attempt(report, peer, lambda: torch_loss(x, targets, given, reduction, losses, 1.0, element.torch))
        pairs = [[("PyTorch", result)] for result in found] if found else [[], []]
        value, of, terms, bound = losses.loss, losses.loss_of, losses.loss_terms, each_bound
        if reduction != "none":
            value, of, terms = (np.array([part.sum() / by]) for part in (value, of, terms * x.size))
            bound = reduced_bound
        want = Want(value.reshape(-1), bound, of=of.reshape(-1), doubles={"PyTorch in float64": doubles[0]}, terms=terms.reshape(-1))
        report.check(f"{title}, loss", element, here, loss, want, pairs[0])
        # Of the mean, a factor is multiplied and rounded: documented with that of soft labels, in ULP of the larger term.
        of, bound = losses.grad_of / by, grad_bound
        if bound == 1.5 and reduction == "mean":
            bound = 3.0
        want = Want(losses.grad / by, bound, of=of, doubles={"PyTorch in float64": doubles[1]}, terms=losses.grad_terms / by)
        report.check(f"{title}, gradient", element, here, grad, want, pairs[1])
