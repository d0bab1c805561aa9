"""Bad input: each call returns its status, says what is wrong, and writes nothing."""

import ctypes
import itertools

import numpy as np

import softlane
from softlane import BinaryCrossEntropy, CrossEntropy, Place, Softmax

ROWS, CLASSES, N = 4, 3, 12


class Arrays:
    """Everything that a call may get, with numbers in it. Nothing of it may change."""

    def __init__(self, element):
        fill = np.linspace(-2, 2, N).reshape(ROWS, CLASSES)
        make = lambda dtype: Place((ROWS, CLASSES), dtype, 1, fill)
        self.x, self.b, self.y = make(element.dtype), make(element.dtype), make(element.dtype)
        self.real = make(element.real)
        self.targets = Place((ROWS,), np.int64, 0, [0, 1, 2, -100])
        self.all = (self.x, self.b, self.y, self.real, self.targets)


def cases(element):
    """Name, status, what the message has to name, function, and its arguments."""
    width = element.dtype.itemsize
    a = Arrays(element)
    x, b, y, real, t = (place.pointer for place in a.all)
    shape, huge, late = (ROWS, CLASSES), (2**62, 8), x + width

    def case(name, status, word, function, *arguments):
        return name, status, word, function, arguments, a

    # NULL
    for function in ("exp", "sigmoid"):
        yield case("no x", softlane.NULL, "x is NULL", function, None, y, N)
        yield case("no y", softlane.NULL, "y is NULL", function, x, None, N)
        yield case("overlap", softlane.OVERLAP, "x and y overlap", function, x, late, N)
        yield case("size", softlane.SIZE, "address space", function, x, y, 2**63)
    for function in ("max", "sum"):
        yield case("no x", softlane.NULL, "x is NULL", function, None, N, real)
        yield case("no result", softlane.NULL, f"{function} is NULL", function, x, N, None)
        yield case("result among x", softlane.OVERLAP, "overlap", function, x, N, aligned(x, element))
    for function, more in ((name + suffix, more) for name in ("softmax", "log_softmax") for suffix, more in (("", ()), ("_with", (None,)))):
        yield case("no x", softlane.NULL, "x is NULL", function, None, y, *shape, *more)
        yield case("no y", softlane.NULL, "y is NULL", function, x, None, *shape, *more)
        yield case("overlap", softlane.OVERLAP, "x and y overlap", function, x, late, 1, CLASSES, *more)
        yield case("size", softlane.SIZE, "rows of", function, x, y, *huge, *more)
        yield case("alignment", softlane.ALIGNMENT, "multiple of", function, x + 1, y, *shape, *more)
        back = function.replace("softmax", "softmax_backward")
        yield case("no y", softlane.NULL, "y is NULL", back, None, b, y, *shape, *more)
        yield case("no dy", softlane.NULL, "dy is NULL", back, x, None, y, *shape, *more)
        yield case("no dx", softlane.NULL, "dx is NULL", back, x, b, None, *shape, *more)
        yield case("overlap", softlane.OVERLAP, "overlap", back, x, b, late, *shape, *more)
        yield case("size", softlane.SIZE, "rows of", back, x, b, y, *huge, *more)
    yield case("no x", softlane.NULL, "x is NULL", "logsumexp", None, real, *shape)
    yield case("no lse", softlane.NULL, "lse is NULL", "logsumexp", x, None, *shape)
    yield case("lse among x", softlane.OVERLAP, "overlap", "logsumexp", x, aligned(x, element), *shape)
    for function, targets, word in (
        ("cross_entropy", t, "targets"),
        ("cross_entropy_soft", b, "target_probs"),
        ("binary_cross_entropy", b, "targets"),
    ):
        yield case("no logits", softlane.NULL, "logits is NULL", function, None, targets, *shape, None, real, y)
        yield case("no targets", softlane.NULL, f"{word} is NULL", function, x, None, *shape, None, real, y)
        yield case("overlap", softlane.OVERLAP, "logits and grad overlap", function, x, targets, *shape, None, real, late)
        yield case("grad over targets", softlane.OVERLAP, "overlap", function, x, targets, *shape, None, real, targets)
        yield case("size", softlane.SIZE, "rows of", function, x, targets, *huge, None, real, y)
    for wrong in (CLASSES, -1, -2**63, 2**62):
        a.targets.array[2] = wrong
        for place in a.all:
            place.before = place.raw.copy()
        for outputs in ((real, y), (real, None), (None, y), (real, x)):
            yield case(f"target {wrong}", softlane.TARGET, str(wrong), "cross_entropy", x, t, *shape, None, *outputs)
    a.targets.array[2] = 2
    for place in a.all:
        place.before = place.raw.copy()


def aligned(pointer, element):
    """An address among the elements that is one of a result."""
    width = element.real.itemsize
    return -(-pointer // width) * width


# Nothing is that small as a float64.
ZERO_AS_FLOAT = 1e-320

NUMBERS = {
    "label_smoothing": (-0.1, 1.5, np.nan, np.inf),
    "z_loss": (-1.0, np.nan, np.inf),
    "logit_scale": (0.0, -1.0, np.nan, np.inf, ZERO_AS_FLOAT),
    "normaliser": (-1.0, np.nan, np.inf),
    "reduction": (-1, 3),
    "masked_rows": (-1, 2),
    "empty_mean": (-1, 2),
    "reserved": (1, -1),
}
WEIGHTS = ("class_weights", "pos_weights", "label_weights")


def option_cases(library, element):
    """Options that are out of their range, or do not fit. The message names them, and their value."""
    a = Arrays(element)
    x, b, y, real, t = (place.pointer for place in a.all)
    calls = [
        (CrossEntropy, "cross_entropy", (x, t, ROWS, CLASSES), (real, y)),
        (CrossEntropy, "cross_entropy_soft", (x, b, ROWS, CLASSES), (real, y)),
        (BinaryCrossEntropy, "binary_cross_entropy", (x, b, ROWS, CLASSES), (real, y)),
        (Softmax, "softmax_with", (x, y, ROWS, CLASSES), ()),
        (Softmax, "log_softmax_with", (x, y, ROWS, CLASSES), ()),
        (Softmax, "softmax_backward_with", (x, b, y, ROWS, CLASSES), ()),
        (Softmax, "log_softmax_backward_with", (x, b, y, ROWS, CLASSES), ()),
    ]
    for struct, function, before, after in calls:
        names = [name for name, _type in struct._fields_]

        def case(what, status, word, given, function=function, before=before, after=after, struct=struct):
            options = library.options(struct, element, {n: v for n, v in given.items() if n != "struct_size"})
            if "struct_size" in given:
                options.struct_size = given["struct_size"]
            return what, status, word, function, (*before, ctypes.addressof(options), *after), a, options

        for name in names:
            for value in NUMBERS.get(name, ()):
                if value == ZERO_AS_FLOAT and element.real == np.float64:
                    continue
                yield case(f"{name} {value}", softlane.OPTION, name, {name: value})
            if name in WEIGHTS:
                for value in (-1.0, np.nan, np.inf):
                    yield case(f"{name} {value}", softlane.OPTION, name, {name: np.array([1, value, 1])})
            if name in softlane.FLAGS:
                shape = {"ignore_mask": (ROWS, CLASSES), "bool_mask": (1, CLASSES)}[name]
                flags = np.ones(shape, np.uint8)
                flags[0, 1] = 2
                yield case(f"{name} of 2", softlane.OPTION, name, {name: flags})
        for wrong in (0, 7, 12, ctypes.sizeof(struct) + 8, 2**63):
            yield case(f"struct_size {wrong}", softlane.STRUCT_SIZE, "struct_size", {"struct_size": wrong})
        if struct is Softmax:
            for given in (
                {"mask": np.zeros((3, CLASSES))},
                {"bool_mask": np.ones((3, CLASSES))},
                {"causal_queries": 3},
                {"sinks": np.zeros(3), "sinks_rows_each": 1},
                {"sinks": np.zeros(2), "sinks_rows_each": 0},
            ):
                name = next(iter(given)).replace("_queries", "")
                yield case(f"{name} that does not come out even", softlane.OPTION, name, given)
        # An option among what is written.
        for name in (*WEIGHTS, "mask"):
            if name in names and element.dtype == element.real:
                rows = {"mask_rows": 1} if name == "mask" else {}
                yield case(f"{name} is the result", softlane.OVERLAP, name, {name: y, **rows})


def sizes_of_structs(library):
    """Those that the functions refuse which write default options, and no struct at all."""
    for struct in (CrossEntropy, BinaryCrossEntropy, Softmax):
        options = (ctypes.c_uint64 * 32)(*[7] * 32)
        init = getattr(library.lib, struct.init)
        for wrong in (0, 7, 12, ctypes.sizeof(struct) + 8):
            yield f"{struct.init}, struct_size {wrong}", init(options, wrong), softlane.STRUCT_SIZE, set(options) == {7}
        yield f"{struct.init}, NULL", init(None, ctypes.sizeof(struct)), softlane.NULL, True


def run(context):
    report, functions, element, _rng = context
    library = functions.library
    for where, got, status, untouched in sizes_of_structs(library):
        report.row("bad input", element).cases += 1
        if got != status or not untouched or not library.text("last_error"):
            report.fail("bad input", element, f"{where}: status {got}, not {status}; untouched: {untouched}")
    # As they come: later cases change what earlier ones point to.
    for what, status, word, function, arguments, arrays, *_kept in itertools.chain(cases(element), option_cases(library, element)):
        report.row("bad input", element).cases += 1
        check(report, library, functions, element, what, status, word, function, arguments, arrays)


def check(report, library, functions, element, what, status, word, function, arguments, arrays):
    where = f"{function}, {what}"
    got = functions.raw(function, *arguments)
    message = library.text("last_error")
    if got != status:
        report.fail("bad input", element, f"{where}: status {got} ({message}), not {status}")
    elif word not in message:
        report.fail("bad input", element, f"{where}: the message is {message!r}, without {word!r}")
    elif not library.lib.softlane_status_message(status):
        report.fail("bad input", element, f"{where}: no message of status {status}")
    for place in arrays.all:
        if (place.raw != place.before).any():
            report.fail("bad input", element, f"{where}: something was written")
            place.raw[...] = place.before
