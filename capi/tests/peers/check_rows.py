"""exp, sigmoid, max, sum; softmax, log-softmax, log-sum-exp and their backward passes, without options and with."""

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

import exact
import inputs
from exact import Rows
from peers import array, attempt, both, tensor
from report import Want, power, ulp, wide


def least_normal(element):
    return power(ml_dtypes.finfo(element.real).minexp)


def of_probability(p, element, more=0.0):
    """The bound of a probability, or a multiple of one: 2.9 ULP, 0.5 more where a product is rounded as a subnormal number."""
    return np.where(np.abs(p) < 16 * least_normal(element), 3.4, 2.9) + more


def elementwise(context):
    report, functions, element, rng = context
    largest = float(np.log(np.float64(ml_dtypes.finfo(element.dtype).max)))
    for n in (0, 1, 15, 16, 17, 300, 5000):
        for span in (1, 8, largest):
            x = rng.uniform(-1.3 * span, min(span, largest), n).astype(element.dtype)
            where = f"{n} elements to {span:.0f}"
            for name, operator, bound in (("exp", "Exp", 0.9), ("sigmoid", "Sigmoid", 1.5)):
                value = np.exp(wide(x)) if name == "exp" else exact.sigmoid(wide(x))
                pairs, doubles = both(report, element, x, getattr(torch, name), operator)
                if name == "sigmoid":
                    # Absolutely good to 2^-53 or so, and 0 below that.
                    del doubles["ONNX Runtime in double"]
                want = Want(value, bound, doubles=doubles, terms=8 * value)
                report.check(name, element, where, functions.elementwise(name, x), want, pairs)


def reduced(context):
    report, functions, element, rng = context
    real = element.real
    for n in (0, 1, 2, 15, 16, 17, 100, 4097, 130_001):
        for kind in ("normal", "far", "huge"):
            x = inputs.logits(rng, kind, (1, n), element)[0]
            where = f"{n} elements, {kind}"
            if n > 0:
                largest = array(tensor(x).max()).reshape(1)
                report.exact("max", element, where, functions.reduced("max", x), largest)
            total, magnitudes = wide(x).sum(), np.abs(wide(x)).sum()
            pairs, doubles = [], {}
            if n > 0:
                pairs, doubles = both(report, element, x, lambda t: t.sum().reshape(1), "ReduceSum", keepdims=1)
            want = Want(np.array([total]), 0.51, of=magnitudes, doubles=doubles, terms=magnitudes * (n + 8))
            report.check("sum", element, where, functions.reduced("sum", x).astype(real), want, pairs)
    report.exact("max", element, "nothing", functions.reduced("max", np.zeros(0, element.dtype)), -np.inf)


def softmax(context):
    report, functions, element, rng = context
    large = [(shape, kind) for shape in inputs.LARGE for kind in ("normal", "spread 10")]
    small = [(shape, kind) for shape in inputs.SHAPES for kind in (*inputs.KINDS, "masked")]
    for shape, kind in small + large:
        x = inputs.logits(rng, kind, shape, element)
        where = f"{shape[0]} x {shape[1]}, {kind}"
        rows = Rows(x)
        size = rows.size[:, None]

        y = functions.forward("softmax", x)
        pairs, doubles = both(report, element, x, lambda t: torch.softmax(t, -1), "Softmax", axis=-1)
        want = Want(rows.p, of_probability(rows.p, element), doubles=doubles, terms=rows.p * size)
        report.check("softmax", element, where, y, want, pairs)

        log_y = functions.forward("log_softmax", x)
        pairs, doubles = both(report, element, x, lambda t: torch.log_softmax(t, -1), "LogSoftmax", axis=-1)
        want = Want(rows.log_p, 1.6, doubles=doubles, terms=np.where(np.isinf(rows.log_p), 0, size + np.abs(rows.log_p)))
        report.check("log-softmax", element, where, log_y, want, pairs)

        lse = functions.logsumexp(x)
        pairs, doubles = both(report, element, x, lambda t: torch.logsumexp(t, -1), "ReduceLogSumExp", keepdims=0, axes=(-1,))
        want = Want(rows.lse, 0.8, of=np.maximum(np.abs(rows.lse), 1), doubles=doubles, terms=rows.size)
        report.check("logsumexp", element, where, lse, want, pairs)

        backward(context, where, y, log_y)


def backward(context, where, y, log_y):
    """Of the results of softmax and log-softmax, which are data here."""
    report, functions, element, rng = context
    dy = rng.standard_normal(y.shape).astype(element.dtype)
    for name, y in (("softmax", y), ("log_softmax", log_y)):
        if not np.isfinite(y.astype(np.float64)).all() and name == "softmax":
            continue
        function = getattr(torch.ops.aten, f"_{name}_backward_data")

        def torch_backward(dtype):
            return array(function(tensor(dy, dtype), tensor(y, dtype), -1, dtype))

        want = backward_want(name, element, y, dy)
        want.doubles = {"PyTorch in float64": torch_backward(torch.float64)}
        title = name.replace("_", "-") + " backward"
        found = attempt(report, f"PyTorch, {title}, {element.name}", lambda: torch_backward(element.torch))
        report.check(title, element, where, functions.backward(f"{name}_backward", y, dy), want, [("PyTorch", found)])


def backward_want(name, element, y, dy, scale=1.0, hidden=None, plain=True):
    """s y (dy - sum y dy) or s (dy - e^y sum dy), and what they may be off: of the functions, or of those that leave classes out or have a scale."""
    y, dy, s = wide(y), wide(dy), wide(scale)
    if hidden is not None:
        dy = np.where(hidden, 0, dy)
        y = np.where(hidden, 0 if name == "softmax" else -np.inf, y)
    tiny = least_normal(element)
    # Where terms of the sum cancel, it has an error of 2^-29 ULP of their magnitudes for every 16 classes.
    sixteens = -(-y.shape[1] // 16) * power(-29)
    if name == "softmax":
        terms = y * dy
        total, magnitudes = terms.sum(1, keepdims=True), np.abs(terms).sum(1, keepdims=True)
        value, of = s * (terms - y * total), s * np.maximum(np.abs(terms), np.abs(y * total))
        bound = np.where(of < 4 * tiny, 2.0, 1.5)
        if not power(-100) <= scale <= 1:
            # In wide numbers, rounded once.
            bound = 1.1
        elif scale != 1:
            bound = np.where(of < 16 * tiny, 3.5, 1.5)
        lost = s * y * magnitudes
        slack = s * y * (np.abs(dy) + magnitudes)
    else:
        p = np.exp(y)
        total, magnitudes = dy.sum(1, keepdims=True), np.abs(dy).sum(1, keepdims=True)
        value = s * (dy - p * total)
        of = s * np.maximum(np.maximum(np.abs(dy), np.abs(p * total)), np.where(p < tiny, tiny, 0) * np.abs(total))
        bound = np.where(p < tiny, 3.3, 2.8) if plain else np.where(p < tiny, 2.8, 2.3)
        lost = s * p * magnitudes
        slack = s * (np.abs(dy) + p * magnitudes * (1 + np.abs(np.where(np.isinf(y), 0, y))))
    if hidden is not None:
        value, of = np.where(hidden, 0, value), np.where(hidden, 0, of)
    return Want(value, bound, of=of, extra=sixteens * ulp(element.real, lost), terms=slack * (y.shape[1] + 16))


def attention_options(rng, rows, classes, real):
    """What is combined."""
    mask = rng.standard_normal((rows // 2, classes))
    mask[rng.random(mask.shape) < 0.2] = -np.inf
    mask[:, 0] = 0.5
    flags = rng.random((rows // 2, classes)) < 0.7
    flags[1] = False
    causal = {"causal_queries": rows // 2, "causal_offset": 0}
    last = {"causal_queries": rows // 2, "causal_offset": max(classes - rows // 2, 0)}
    sinks = {"sinks": rng.standard_normal(2).astype(real), "sinks_rows_each": rows // 4}
    return [
        {"logit_scale": 0.3},
        {"mask": mask.astype(real)},
        {"logit_scale": 0.3, "mask": mask.astype(real)},
        {"bool_mask": flags},
        {"bool_mask": flags, "masked_rows": 1},
        {"bool_mask": flags, **sinks},
        causal,
        last,
        {"logit_scale": 1.7, **causal},
        sinks,
        {"logit_scale": 0.3, "mask": mask.astype(real), "bool_mask": flags, **last, **sinks},
    ]


def attention(context):
    report, functions, element, rng = context
    for rows, classes in ((8, 1), (12, 5), (24, 16), (8, 33), (16, 130), (4, 1000)):
        for given in attention_options(rng, rows, classes, element.real):
            x = inputs.logits(rng, "spread 10", (rows, classes), element)
            attention_case(context, f"{rows} x {classes}, {', '.join(given)}", x, given)


def attention_case(context, where, x, given):
    report, functions, element, rng = context
    rows, classes = x.shape
    row = np.arange(rows)
    hidden = np.zeros(x.shape, bool)
    if "bool_mask" in given:
        hidden |= ~given["bool_mask"][row % len(given["bool_mask"])]
    if "causal_queries" in given:
        seen = row % given["causal_queries"] + given["causal_offset"]
        hidden |= np.arange(classes) > seen[:, None]
    scale = given.get("logit_scale", 1.0)
    if "mask" in given:
        z = wide(exact.masked(x, scale, given["mask"][row % len(given["mask"])], element.real))
        scale = float(element.real.type(scale))
    else:
        z = wide(scale) * wide(x)
    z = np.where(hidden, -np.inf, z)
    sink = given["sinks"][row // given["sinks_rows_each"] % len(given["sinks"])] if "sinks" in given else None
    dead = np.isinf(z).all(1) if sink is None else np.zeros(rows, bool)

    exact_rows = Rows(np.where(dead[:, None], 0, z), sink)
    of_dead = (0, -np.inf) if given.get("masked_rows") else (np.nan, np.nan)
    p, log_p = (np.where(dead[:, None], of, value) for of, value in zip(of_dead, (exact_rows.p, exact_rows.log_p)))
    size = exact_rows.size[:, None]
    results = {}
    for name, value, bound, terms in (
        ("softmax", p, of_probability(p, element, 0.1 if "logit_scale" in given else 0.0), p),
        ("log_softmax", log_p, 1.6, np.where(np.isfinite(log_p), 1 + np.abs(log_p), 0)),
    ):
        results[name] = functions.forward(name, x, given)
        want = Want(value, bound, doubles=composed(name, x, z, sink, dead, hidden, given), terms=np.nan_to_num(terms * size))
        title = name.replace("_", "-") + " with options"
        report.check(title, element, where, results[name], want)
        plain = "logit_scale" not in given and not ("bool_mask" in given or "causal_queries" in given)
        # Whatever the gradient is where a class takes no part.
        dy = rng.standard_normal(x.shape)
        poison = np.where(hidden, np.array([np.nan, np.inf, 100.0])[np.arange(x.size).reshape(x.shape) % 3], dy)
        want = backward_want(name, element, results[name], poison.astype(element.dtype), scale, hidden, plain)
        dx = functions.backward(f"{name}_backward", results[name], poison.astype(element.dtype), given)
        report.check(name.replace("_", "-") + " backward with options", element, where, dx, want)

        # The formula of the backward pass is that of PyTorch's autograd.
        alive = ~dead
        y = exact_rows.p if name == "softmax" else exact_rows.log_p
        want = backward_want(name, element, y[alive], dy[alive], scale, hidden[alive], plain)
        want.doubles = {"autograd in float64": autograd(name, x, z, sink, scale, hidden, dy)[alive]}
        want.terms = want.terms * size[alive]
        report.reference(name.replace("_", "-") + " backward with options", element, where, want)


def composed(name, x, z, sink, dead, hidden, given):
    """PyTorch's float64 results: of what is put together as the documentation says, and of scaled_dot_product_attention, if that has all options; its
    softmax is seen where keys and values are unit vectors."""
    function = getattr(torch, name)
    scores = tensor(z)
    if sink is not None:
        scores = torch.cat([scores, tensor(sink)[:, None]], 1)
    y = array(function(scores, -1)[:, : x.shape[1]]).copy()
    if given.get("masked_rows"):
        y[dead] = 0 if name == "softmax" else -np.inf
    doubles = {"PyTorch in float64": y}
    if name == "softmax" and "mask" not in given and sink is None and (given.get("masked_rows") or not dead.any()):
        units = torch.eye(x.shape[1], dtype=torch.float64)
        shown = torch.from_numpy(~hidden)
        scale = given.get("logit_scale", 1.0)
        doubles["scaled_dot_product_attention"] = array(
            F.scaled_dot_product_attention(tensor(x)[None], units[None], units[None], attn_mask=shown, scale=scale)[0]
        )
    return doubles


def autograd(name, x, z, sink, scale, hidden, dy):
    """The gradient with respect to x, where z is s x and something that does not depend on it."""
    leaf = tensor(x).requires_grad_()
    offset = tensor(z) - scale * tensor(x)
    scores = torch.where(torch.from_numpy(hidden), -torch.inf, scale * leaf + offset)
    if sink is not None:
        scores = torch.cat([scores, tensor(sink)[:, None]], 1)
    y = getattr(torch, name)(scores, -1)[:, : x.shape[1]]
    y = torch.where(torch.from_numpy(hidden), 0.0, y)
    y.backward(gradient=tensor(dy))
    return array(leaf.grad)


def run(context):
    elementwise(context)
    reduced(context)
    softmax(context)
    attention(context)
