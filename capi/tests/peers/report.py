"""Errors in units in the last place (ULP), what they may be, and the table of the worst of them."""

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

# What references are computed in: 64 bits of mantissa on x86, 113 where it is a quadruple.
Wide = np.longdouble


def wide(x):
    """The same numbers."""
    x = np.asarray(x)
    return x if x.dtype == Wide else x.astype(np.float64).astype(Wide)


def power(exponent):
    return np.ldexp(Wide(1), exponent)


def ulp(dtype, x):
    """The spacing of a type's numbers around x; that of the last binade beyond its range."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.abs(wide(x)))
    exponent = np.clip(exponent - 1, info.minexp, info.maxexp - 1)
    return power(exponent - info.nmant)


def distance(got, value):
    """How far results are from values: 0 for NaN of NaN, infinite if only one is that or a value is an infinity that was not found.
    Infinity stands for the first number beyond the range where the value is finite."""
    beyond = power(ml_dtypes.finfo(got.dtype).maxexp)
    got, value = np.broadcast_arrays(wide(got), wide(value))
    with np.errstate(invalid="ignore"):
        apart = np.abs(got - value)
        overflown = np.maximum(beyond - value * np.sign(got), 0)
    apart = np.where(np.isinf(got) & np.isfinite(value), overflown, apart)
    apart = np.where(got == value, 0, apart)
    both, either = np.isnan(got) & np.isnan(value), np.isnan(got) | np.isnan(value)
    return np.where(both, 0, np.where(either | (np.isinf(value) & (got != value)), np.inf, apart))


@dataclass
class Want:
    """What results are to be."""

    # By the formula, in Wide.
    value: np.ndarray
    # How many ULP of `of`, in the type that the library computes in, they may be off before they are rounded to that of the result.
    bound: object
    # What errors count in ULP of: the result, unless the documentation names something else.
    of: object = None
    # What they may be off besides.
    extra: object = 0
    # The same by float64 functions of others, and how large the terms are that those add, times the number of roundings.
    doubles: dict = field(default_factory=dict)
    terms: object = None

    def __post_init__(self):
        if self.of is None:
            self.of = self.value


@dataclass
class Row:
    """Of the table."""

    cases: int = 0
    results: int = 0
    worst: float = 0.0
    bound: float = 0.0
    share: float = 0.0
    peers: dict = field(default_factory=dict)
    failures: int = 0


class Report:
    PEERS = ("PyTorch", "ONNX Runtime")

    def __init__(self):
        self.rows, self.failures, self.differences, self.missing = {}, [], [], set()
        # Results whose reference is the formula, since float64 is not good enough, and all that have a reference in float64.
        self.replaced = self.compared = 0

    def row(self, operation, element):
        return self.rows.setdefault((operation, element.name), Row())

    def fail(self, operation, element, text):
        self.row(operation, element).failures += 1
        self.failures.append(f"{operation}, {element.name}: {text}")

    def exact(self, operation, element, where, got, value):
        """Nothing but these numbers will do."""
        row = self.row(operation, element)
        if np.shape(value) not in ((), got.shape):
            self.fail(operation, element, f"{where}: results of shape {got.shape}, not {np.shape(value)}")
            return
        got, value = np.broadcast_arrays(got, value)
        row.cases, row.results = row.cases + 1, row.results + got.size
        if got.dtype.kind not in "iu":
            got, value = wide(got), wide(value)
        off = ~((got == value) | ((got != got) & (value != value)))
        if off.any():
            self.fail(operation, element, f"{where}: {got[off][:8]} is not {value[off][:8]}")

    def check(self, operation, element, where, got, want, peers=()):
        """Compares results, and those of peers, which are pairs of a name and an array."""
        row = self.row(operation, element)
        row.cases, row.results = row.cases + 1, row.results + got.size
        if got.shape != np.shape(want.value):
            self.fail(operation, element, f"{where}: results of shape {got.shape}, not {np.shape(want.value)}")
            return
        if got.size == 0:
            return
        value = self.reference(operation, element, where, want)
        unit = ulp(element.real, want.of)
        allowed = want.bound * unit + want.extra
        if got.dtype != element.real:
            allowed = allowed + ulp(got.dtype, value) / 2
        apart = distance(got, value)
        counted = ulp(got.dtype, want.of)
        errors = np.asarray(apart / counted, np.float64)
        shares = np.asarray(apart / allowed, np.float64)
        at = np.unravel_index(np.argmax(shares), shares.shape)
        row.share = max(row.share, shares[at])
        largest = np.unravel_index(np.argmax(errors), errors.shape)
        if errors[largest] >= row.worst:
            row.worst, row.bound = errors[largest], float(np.broadcast_to(allowed / counted, errors.shape)[largest])
        if not (shares <= 1).all():
            found, exact = wide(got)[at], np.broadcast_to(value, got.shape)[at]
            text = f"{where}: [{', '.join(map(str, at))}] is {found:.9e}, not {exact:.12e}"
            self.fail(operation, element, f"{text}: {errors[at]:.3f} ULP, {shares[at]:.3f} of what it may be")
        for name, result in peers:
            error = float(np.max(distance(result, value) / ulp(result.dtype, want.of)))
            row.peers[name] = max(row.peers.get(name, 0.0), error)

    def reference(self, operation, element, where, want):
        """What the first float64 function says, where it is good to 1/128 ULP of the type that the library computes in, and the formula elsewhere. All have
        to agree as far as float64 is good."""
        value = wide(want.value)
        if not want.doubles:
            return value
        # Results that vanish in float64 are no less exact for what follows.
        slack = want.terms * power(-53) + power(-1022)
        for name, result in want.doubles.items():
            off = distance(np.asarray(result), value)
            if not (off <= slack).all():
                at = np.unravel_index(np.argmax(off / slack), off.shape)
                text = f"{where}: {name} has {np.asarray(result)[at]:.17e} at {at}, and the formula {value[at]:.17e}"
                self.fail(operation, element, text + f" (float64 is good to {np.broadcast_to(slack, off.shape)[at]:.1e})")
        good = slack <= ulp(element.real, want.of) / 128
        good = np.broadcast_to(good, value.shape)
        self.compared, self.replaced = self.compared + value.size, self.replaced + int((~good).sum())
        first = next(iter(want.doubles.values()))
        return np.where(good, wide(first), value)

    def difference(self, what, ours, theirs):
        """A documented difference: what softlane gives, as the caller has checked, and what another library does."""
        line = (what, str(ours), str(theirs))
        if line not in self.differences:
            self.differences.append(line)

    def print(self):
        head = ("operation", "type", "cases", "results", "softlane", "bound", *self.PEERS)
        lines = [head]
        operations = list(dict.fromkeys(operation for operation, _ in self.rows))
        for (operation, element), row in sorted(self.rows.items(), key=lambda item: operations.index(item[0][0])):
            peers = [figure(row.peers.get(name)) for name in self.PEERS]
            numbers = [figure(row.worst), figure(row.bound)] if row.bound else ["", "exact"]
            lines.append((operation, element, str(row.cases), str(row.results), *numbers, *peers))
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for line in lines:
            left = [text.ljust(width) for text, width in zip(line[:2], widths)]
            print("  ".join(left + [text.rjust(width) for text, width in zip(line[2:], widths[2:])]))


def figure(x):
    """A number to read in a column."""
    if x is None:
        return ""
    return f"{x:.4f}" if x < 10 else f"{x:.0f}" if x < 1e4 else f"{x:.1e}"
