"""Whether the comparison notices errors: results that are off, special values that are wrong, and options that are forgotten."""

import ml_dtypes
import numpy as np

import inputs
from softlane import bits

OFF = 12


class Mutation:
    """Nothing."""

    # Rows of the table in which it has to be noticed.
    needed = frozenset()

    def options(self, given):
        return given

    def result(self, name, array):
        return array


class Off(Mutation):
    """Every result that is a number other than 0 is off by some ULP, away from 0."""

    name = f"every result off by {OFF} ULP"
    # Where results are only infinities, NaN and 0, or compared with each other.
    spared = {"special rows", "special values", "means of nothing", "masked rows", "no rows or classes", "bits on threads",
              "bad input"}

    def result(self, name, array):
        numbers = np.isfinite(array.astype(np.float64)) & (array != 0)
        moved = array.copy()
        bits(moved)[numbers] += OFF
        return moved


class Special(Mutation):
    """0 for NaN, and the largest number for infinities."""

    name = "0 for NaN, the largest number for infinities"
    needed = {"special rows", "special values", "means of nothing", "masked rows", "no rows or classes", "documented differences"}

    def result(self, name, array):
        wide = array.astype(np.float64)
        largest = float(ml_dtypes.finfo(array.dtype).max)
        return np.where(np.isnan(wide), 0, np.clip(wide, -largest, largest)).astype(array.dtype)


class Swapped(Mutation):
    """The mean for the sum, and the other way round."""

    name = "the mean for the sum"
    needed = {"cross-entropy, loss", "cross-entropy, gradient", "cross-entropy, distributions, loss", "cross-entropy, distributions, gradient",
              "binary cross-entropy, labels 0 and 1, loss", "binary cross-entropy, labels 0 and 1, gradient"}

    def options(self, given):
        swapped = {0: 1, 1: 0}
        return {name: swapped.get(value, value) if name == "reduction" else value for name, value in given.items()}


class Forgotten(Mutation):
    """An option is not passed on."""

    NAMES = ("class_weights", "label_smoothing", "z_loss", "ignore_index", "logit_scale", "normaliser", "upstream_grad", "masked_rows",
             "empty_mean", "reduction", "pos_weights", "label_weights", "ignore_mask", "mask", "bool_mask", "causal_queries", "causal_offset",
             "sinks")

    def __init__(self, option):
        self.option, self.name = option, f"{option} is forgotten"

    def options(self, given):
        return {name: value for name, value in given.items() if name != self.option}


class Accepted(Mutation):
    """Bad options are not passed on, so that nothing is refused."""

    name = "bad options are good ones"
    needed = {"bad input"}

    def options(self, given):
        return {}


def run(compare, elements, parts):
    """Prints what was noticed, and returns what was not. `compare` takes element types, parts and a mutation."""
    inputs.fewer()
    unnoticed = []
    broken = [Mutation(), Off(), Special(), Accepted(), Swapped(), *(Forgotten(option) for option in Forgotten.NAMES)]
    # Bad options have to be refused: forgotten ones are not, which says nothing of results.
    errors = [part for part in parts if part.__name__ == "check_errors"]
    others = [part for part in parts if part not in errors]
    for mutation in broken:
        few = isinstance(mutation, (Forgotten, Swapped))
        these = others if few else errors if isinstance(mutation, Accepted) else parts
        report = compare(elements[:1] if few else elements, these, mutation)
        rows = {key: row.failures for key, row in report.rows.items() if key[0] != "calls"}
        if type(mutation) is Mutation:
            unnoticed += [f"without any error: {failure}" for failure in report.failures]
            continue
        if isinstance(mutation, Off):
            needed = {key for key in rows if key[0] not in mutation.spared}
        else:
            needed = {key for key in rows if key[0] in mutation.needed}
        missed = [f"{mutation.name}: {operation}, {element}" for operation, element in sorted(needed) if rows[operation, element] == 0]
        if not report.failures:
            missed.append(mutation.name)
        unnoticed += missed
        noticed = sum(count > 0 for count in rows.values())
        print(f"{mutation.name}: {len(report.failures)} failures, in {noticed} of {len(rows)} rows of the table", flush=True)
    return unnoticed
