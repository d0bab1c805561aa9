"""softlane's documented formulas in more than 53 bits, by forms that lose nothing, and what errors count by."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from report import Wide, wide


def share(factor, term):
    """A factor of 0 leaves nothing, of an infinite term neither."""
    with np.errstate(invalid="ignore"):
        return np.where((factor == 0) & ~np.isnan(term), 0, factor * term)


class Rows:
    """Softmax and what belongs to it, of rows with a finite logit, or a sink: a logit more in each row, which gets no result."""

    def __init__(self, z, sink=None, scale=1):
        z, scale = wide(z), Wide(scale)
        if sink is not None:
            z = np.concatenate([z, wide(sink)[:, None]], 1)
        top, place = z.max(1, keepdims=True), (np.arange(len(z)), z.argmax(1))
        # Before the factor, since this loses no bits.
        d = scale * (z - top)
        z, top = scale * z, scale * top
        weights = np.exp(d)
        rest = weights.copy()
        rest[place] = 0
        others = rest.sum(1, keepdims=True)
        self.total = 1 + others
        self.log = np.log1p(others)
        self.lse = (top + self.log)[:, 0]
        self.p, self.log_p = weights / self.total, d - self.log
        # 1 - p
        self.complement = (self.total - weights) / self.total
        self.complement[place] = (others / self.total)[:, 0]
        self.place = place
        finite = np.where(np.isfinite(z), np.abs(z), 0)
        # What float64 has to subtract, and how many terms it adds.
        self.size = finite.max(1) + np.abs(self.lse) + z.shape[1] + 64
        if sink is not None:
            self.p, self.log_p = self.p[:, :-1], self.log_p[:, :-1]


def masked(x, scale, mask, real):
    """scale x + mask, each rounded once to a type: what softlane adds a mask to."""
    scale = Fraction(float(real.type(scale)))
    finite = np.isfinite(mask)
    z = np.full(x.shape, -np.inf)
    for at in zip(*np.nonzero(finite)):
        z[at] = float(scale * Fraction(float(x[at])) + Fraction(float(mask[at])))
    return z.astype(real)


@dataclass
class Losses:
    """Losses of rows (or elements) and their gradients; what errors of both count by; how large the terms are that float64 adds."""

    loss: np.ndarray
    loss_of: np.ndarray
    grad: np.ndarray
    grad_of: np.ndarray
    loss_terms: np.ndarray
    grad_terms: np.ndarray
    counts: np.ndarray
    # What each counts in the mean.
    weight: np.ndarray


def cross_entropy(x, targets, ignore=-100, weights=None, smoothing=0.0, z_loss=0.0, scale=1.0):
    """With a class for each row."""
    x = wide(x)
    n, classes = x.shape
    counts = targets != ignore
    at = (np.arange(n), np.where(counts, targets, 0))
    w = np.ones(classes, Wide) if weights is None else wide(weights)
    e, c, s = Wide(smoothing), Wide(z_loss), Wide(scale)
    rows = Rows(x, scale=s)
    hard, soft = (1 - e) * w[at[1]], e / classes * w
    spread = soft.sum()
    mass = hard + spread
    certain, smooth = share(hard, -rows.log_p[at]), share(soft, -rows.log_p).sum(1)
    far = np.maximum(np.abs(rows.lse), 1)
    loss = certain + smooth + c * rows.lse**2
    largest = np.maximum(np.maximum(certain, np.maximum(smooth, spread)), c * far * far)
    own = hard[:, None] * rows.p
    own[at] = -hard * rows.complement[at]
    grad = s * (own + (spread + 2 * c * rows.lse)[:, None] * rows.p - soft)
    shares = np.broadcast_to(soft, x.shape).copy()
    shares[at] += hard
    operands = s * np.maximum((mass + 2 * c * far)[:, None] * rows.p, shares)
    mixes = smoothing != 0 or z_loss != 0
    return finish(Losses(
        loss=loss,
        loss_of=np.maximum(loss, largest) if mixes else loss,
        grad=grad,
        grad_of=operands if mixes else grad,
        loss_terms=mass * rows.size + c * rows.size * rows.size,
        grad_terms=operands,
        counts=counts,
        weight=w[at[1]],
    ), rows, x)


def soft_cross_entropy(x, targets, weights=None, smoothing=0.0, z_loss=0.0, scale=1.0):
    """With a distribution for each row."""
    x, t = wide(x), wide(targets)
    classes = x.shape[1]
    counts = (t != 0).any(1)
    w = np.ones(classes, Wide) if weights is None else wide(weights)
    e, c, s = Wide(smoothing), Wide(z_loss), Wide(scale)
    rows = Rows(x, scale=s)
    q = w * ((1 - e) * t + e / classes)
    mass = q.sum(1)
    far = np.maximum(np.abs(rows.lse), 1)
    loss = share(q, -rows.log_p).sum(1)
    largest = np.maximum(loss, c * far * far)
    loss = loss + c * rows.lse**2
    difference = mass[:, None] * rows.p - q
    rest = q.copy()
    rest[rows.place] = 0
    difference[rows.place] = rest.sum(1) * rows.p[rows.place] - q[rows.place] * rows.complement[rows.place]
    grad = s * (difference + (2 * c * rows.lse)[:, None] * rows.p)
    operands = s * np.maximum((mass + 2 * c * far)[:, None] * rows.p, q)
    return finish(Losses(
        loss=loss,
        loss_of=np.maximum(loss, largest),
        grad=grad,
        grad_of=operands,
        loss_terms=mass * rows.size + c * rows.size * rows.size,
        grad_terms=operands,
        counts=counts,
        weight=(w * t).sum(1),
    ), rows, x)


def finish(losses, rows, x):
    """Rows that do not count are 0, and float64 loses more the larger logits are."""
    for name in ("loss", "loss_of", "weight"):
        setattr(losses, name, np.where(losses.counts, getattr(losses, name), 0))
    for name in ("grad", "grad_of"):
        setattr(losses, name, np.where(losses.counts[:, None], getattr(losses, name), 0))
    losses.grad_terms = losses.grad_terms * rows.size[:, None] * 4
    losses.loss_terms = losses.loss_terms * 4 * np.ones(len(x))
    return losses


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def binary_cross_entropy(x, targets, pos_weights=None, label_weights=None, ignored=None, smoothing=0.0, least=0.0):
    """Of each element. `least` is what a number counts as, at least, before it is weighted."""
    x, t = wide(x), wide(targets)
    q = Wide(1) if pos_weights is None else wide(pos_weights)
    w = Wide(1) if label_weights is None else wide(label_weights)
    e = Wide(smoothing)
    t = (1 - e) * t + e / 2
    loss = w * (share(q * t, softplus(-x)) + share(1 - t, softplus(x)))
    no, yes = (1 - t) * sigmoid(x), q * t * sigmoid(-x)
    grad, grad_of = w * (no - yes), w * np.maximum(no, yes)
    weighted = pos_weights is not None or label_weights is not None or smoothing != 0
    least = least * w * np.maximum(q, 1) * np.ones(x.shape) if weighted else Wide(0)
    counts = np.ones(x.shape, bool) if ignored is None else ~ignored
    ones = np.ones(x.shape, Wide)
    clear = lambda a: np.where(counts, a, 0)
    return Losses(
        loss=clear(loss),
        loss_of=clear(np.maximum(loss, least)),
        grad=clear(grad),
        grad_of=clear(np.maximum(grad_of, least)),
        loss_terms=w * (1 + q) * (np.abs(x) + 1) * 16 * ones,
        grad_terms=w * (1 + q) * 16 * ones,
        counts=counts,
        weight=clear(ones),
    )
