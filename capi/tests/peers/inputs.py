"""Batches of rows, of every kind that asks something else of a kernel. All are numbers of the element type."""

import numpy as np

KINDS = ["normal", "spread 10", "spread 40", "far", "confident", "ties", "huge", "tiny"]

# Around the widths of blocks and chunks.
SHAPES = [(1, 1), (6, 1), (70, 2), (33, 3), (120, 10), (16, 16), (21, 17), (9, 64), (7, 65), (5, 257), (3, 1000), (2, 4100)]
# Above 120 000 elements, which threads share.
LARGE = [(125, 1000), (20_000, 7), (1, 128_256)]


def fewer():
    """For a run that only has to notice gross errors."""
    KINDS[:] = ["normal", "confident"]
    SHAPES[:] = [(70, 2), (21, 17), (5, 257)]
    LARGE[:] = [(300, 7)]


def logits(rng, kind, shape, element):
    x = rng.standard_normal(shape)
    match kind:
        case "spread 10":
            x *= 10
        case "spread 40":
            x *= 40
        case "far":
            x = 1000 + 3 * x
        case "confident":
            x[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] += rng.uniform(5, 60, shape[0])
        case "ties":
            x = np.rint(x)
        case "huge":
            # As far as the reference, of 64 bits, is good to an eighth of an ULP of float64.
            x *= 5000 if element.real == np.float32 else 50
        case "tiny":
            x *= 1e-4
        case "masked":
            x *= 3
            hidden = rng.random(shape) < 0.3
            hidden[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = False
            x[hidden] = -np.inf
    return x.astype(element.dtype)


def targets(rng, x, ignore=None):
    """Classes that are not masked, of which some are ignored, and in the first row the most likely."""
    rows = len(x)
    chosen = np.where(np.isfinite(x.astype(np.float64)), rng.random(x.shape), -1).argmax(1)
    if ignore is not None and rows > 1:
        chosen[rng.random(rows) < 0.15] = ignore
    return chosen.astype(np.int64)


def distributions(rng, kind, shape, element):
    """Targets of rows, a few of which have none."""
    rows, classes = shape
    t = rng.random(shape)
    match kind:
        case "one-hot":
            t = np.eye(classes)[rng.integers(0, classes, rows)]
        case "peaked":
            t = np.exp(8 * rng.standard_normal(shape))
        case "sparse":
            t[rng.random(shape) < 0.6] = 0
    if kind != "unnormalised":
        t /= np.maximum(t.sum(1, keepdims=True), 1e-3)
    t[rng.random(rows) < 0.1] = 0
    return t.astype(element.dtype)


def weights(rng, n, real):
    """Some of them 0."""
    w = rng.uniform(0.1, 4, n)
    w[rng.random(n) < 0.1] = 0
    return w.astype(real)
