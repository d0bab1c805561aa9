"""The C library by ctypes: element types, options, and calls in every form, of which the outputs lie between guard bytes."""

import ctypes
import os
import re
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch


@dataclass(frozen=True)
class Element:
    """An element type: how functions of it end, what it is in NumPy and in PyTorch, and the type of losses and weights."""

    name: str
    dtype: np.dtype
    torch: torch.dtype
    real: np.dtype


# A type of the library joins with a line.
ELEMENTS = [
    Element("f32", np.dtype(np.float32), torch.float32, np.dtype(np.float32)),
    Element("f64", np.dtype(np.float64), torch.float64, np.dtype(np.float64)),
    Element("f16", np.dtype(np.float16), torch.float16, np.dtype(np.float32)),
    Element("bf16", np.dtype(ml_dtypes.bfloat16), torch.bfloat16, np.dtype(np.float32)),
]

OK, NULL, ALIGNMENT, SIZE, OVERLAP, OPTION, STRUCT_SIZE, TARGET = range(8)
MEAN, SUM, NONE = range(3)
NAN, ZERO = range(2)

# The arguments of functions of an element type: pointers and numbers.
SIGNATURES = {
    "exp": "ppn",
    "sigmoid": "ppn",
    "max": "pnp",
    "sum": "pnp",
    "softmax": "ppnn",
    "log_softmax": "ppnn",
    "logsumexp": "ppnn",
    "softmax_backward": "pppnn",
    "log_softmax_backward": "pppnn",
    "softmax_with": "ppnnp",
    "log_softmax_with": "ppnnp",
    "softmax_backward_with": "pppnnp",
    "log_softmax_backward_with": "pppnnp",
    "cross_entropy": "ppnnppp",
    "cross_entropy_soft": "ppnnppp",
    "binary_cross_entropy": "ppnnppp",
}
TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_size_t}

i32, i64, f64, pointer, size = ctypes.c_int32, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p, ctypes.c_size_t


class CrossEntropy(ctypes.Structure):
    _fields_ = [("struct_size", size), ("class_weights", pointer), ("label_smoothing", f64), ("z_loss", f64),
                ("ignore_index", i64), ("reduction", i32), ("reserved", i32), ("logit_scale", f64), ("normaliser", f64),
                ("upstream_grad", pointer), ("masked_rows", i32), ("empty_mean", i32)]
    init = "softlane_cross_entropy_init"


class BinaryCrossEntropy(ctypes.Structure):
    _fields_ = [("struct_size", size), ("pos_weights", pointer), ("label_weights", pointer), ("ignore_mask", pointer),
                ("label_smoothing", f64), ("normaliser", f64), ("reduction", i32), ("empty_mean", i32)]
    init = "softlane_binary_cross_entropy_init"


class Softmax(ctypes.Structure):
    _fields_ = [("struct_size", size), ("logit_scale", f64), ("mask", pointer), ("mask_rows", size),
                ("bool_mask", pointer), ("bool_mask_rows", size), ("causal_queries", size), ("causal_offset", size),
                ("sinks", pointer), ("sinks_len", size), ("sinks_rows_each", size), ("masked_rows", i32),
                ("reserved", i32)]
    init = "softlane_softmax_options_init"


HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/softlane.h")


def functions_of_the_header():
    """Those of an element type, as name and type."""
    with open(HEADER, encoding="utf-8") as file:
        found = re.findall(r"^softlane_status softlane_(\w+)_(b?f\d+)\(", file.read(), re.MULTILINE)
    return set(found)


FLAGS = ("ignore_mask", "bool_mask")
LENGTHS = {"mask": "mask_rows", "bool_mask": "bool_mask_rows", "sinks": "sinks_len"}


class Refused(Exception):
    """A call returned another status than SOFTLANE_OK."""

    def __init__(self, status, message):
        super().__init__(f"status {status}: {message}")
        self.status, self.message = status, message


class Place:
    """An array in memory that begins `skip` elements after a multiple of 64 bytes, and has guard bytes on both sides."""

    GUARD, BYTE = 64, 0xA5

    def __init__(self, shape, dtype, skip=0, fill=None):
        dtype = np.dtype(dtype)
        n = int(np.prod(shape)) * dtype.itemsize
        self.raw = np.full(3 * self.GUARD + skip * dtype.itemsize + n, self.BYTE, np.uint8)
        self.start = -self.raw.ctypes.data % 64 + self.GUARD + skip * dtype.itemsize
        self.end = self.start + n
        self.array = self.raw[self.start : self.end].view(dtype).reshape(shape)
        if fill is not None:
            self.array[...] = fill
        self.before = self.raw.copy()

    @property
    def pointer(self):
        return self.raw.ctypes.data + self.start

    def is_guarded(self):
        """Whether nothing was written outside."""
        outside = np.r_[self.raw[: self.start], self.raw[self.end :]]
        return (outside == self.BYTE).all()

    def is_unchanged(self):
        return np.array_equal(self.raw, self.before)


def bits(x):
    """The bits of an array, to compare."""
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")


def same_bits(a, b):
    return a.shape == b.shape and np.array_equal(bits(a), bits(b))


class Library:
    """The library. `mutation`, if there is one, is what compare.py --selftest breaks on purpose."""

    def __init__(self, path, mutation=None):
        self.lib = ctypes.CDLL(os.path.abspath(path))
        self.mutation = mutation
        # Functions that were called, as name and type.
        self.called = set()
        for name in ("version", "backend", "last_error"):
            getattr(self.lib, f"softlane_{name}").restype = ctypes.c_char_p
        self.lib.softlane_status_message.restype = ctypes.c_char_p
        self.lib.softlane_set_num_threads.argtypes = [size]
        for struct in (CrossEntropy, BinaryCrossEntropy, Softmax):
            getattr(self.lib, struct.init).argtypes = [pointer, size]
        for element in ELEMENTS:
            for name, signature in SIGNATURES.items():
                function = getattr(self.lib, f"softlane_{name}_{element.name}")
                function.argtypes = [TYPES[letter] for letter in signature]

    def text(self, name, *arguments):
        value = getattr(self.lib, f"softlane_{name}")(*arguments)
        return value.decode() if value is not None else None

    def checked(self, status):
        if status != OK:
            raise Refused(status, self.text("last_error"))

    def options(self, struct, element, given):
        """Options, of which NumPy arrays stay alive as long. Lengths of arrays are told by their shapes."""
        options = struct()
        self.checked(getattr(self.lib, struct.init)(ctypes.addressof(options), ctypes.sizeof(struct)))
        options.arrays = []
        if self.mutation:
            given = self.mutation.options(given)
        for name, value in given.items():
            if isinstance(value, np.ndarray):
                value = np.ascontiguousarray(value, np.uint8 if name in FLAGS else element.real)
                options.arrays.append(value)
                if name in LENGTHS:
                    setattr(options, LENGTHS[name], len(value))
                value = value.ctypes.data
            setattr(options, name, value)
        return options


class Functions:
    """The functions of one element type. Each result is that of all the forms that the call has, which agree in every bit. `fail` is told of calls that are
    refused, that write where they may not, and of forms that differ."""

    def __init__(self, library, element, fail):
        self.library, self.element, self.fail = library, element, fail
        self.skip = 0

    def raw(self, name, *arguments):
        """The status of a call."""
        self.library.called.add((name, self.element.name))
        return getattr(self.library.lib, f"softlane_{name}_{self.element.name}")(*arguments)

    def call(self, name, *arguments):
        status = self.raw(name, *arguments)
        if status != OK:
            self.fail(f"{name} returns {status}: {self.library.text('last_error')}")

    def unchanged(self, **places):
        for name, place in places.items():
            if not place.is_unchanged():
                self.fail(f"{name} was written, and is only read")

    def place(self, shape, dtype=None, fill=None):
        """Each at another place relative to a vector."""
        self.skip = (self.skip + 5) % 17
        return Place(shape, dtype or self.element.dtype, self.skip, fill)

    def source(self, x, dtype=None):
        return self.place(x.shape, dtype, x)

    def result(self, name, array):
        mutation = self.library.mutation
        return mutation.result(name, array) if mutation else array

    def agree(self, name, places, arrays):
        for place in places:
            if not place.is_guarded():
                self.fail(f"{name} writes outside of its arrays")
        for form, array in arrays[1:]:
            if not same_bits(arrays[0][1], array):
                self.fail(f"{name}: {form} has other bits than {arrays[0][0]}")
        return self.result(name, arrays[0][1])

    def elementwise(self, name, x):
        """exp and sigmoid."""
        a, y, over = self.source(x), self.place(x.shape), self.source(x)
        self.call(name, a.pointer, y.pointer, x.size)
        self.call(name, over.pointer, over.pointer, x.size)
        self.unchanged(x=a)
        return self.agree(name, [y, over], [("y", y.array), ("y over x", over.array)])

    def reduced(self, name, x):
        """max and sum."""
        a, y = self.source(x), self.place((1,), self.element.real)
        self.call(name, a.pointer, x.size, y.pointer)
        self.unchanged(x=a)
        return self.agree(name, [y], [("result", y.array)])

    def logsumexp(self, x):
        rows, classes = x.shape
        a, y = self.source(x), self.place((rows,), self.element.real)
        self.call("logsumexp", a.pointer, y.pointer, rows, classes)
        self.unchanged(x=a)
        return self.agree("logsumexp", [y], [("lse", y.array)])

    def options(self, struct, given):
        return self.library.options(struct, self.element, given)

    def with_options(self, name, given):
        """The name of the function, and what it gets besides."""
        if given is None:
            return name, [], None
        options = self.options(Softmax, given)
        return name + "_with", [ctypes.addressof(options)], options

    def forward(self, name, x, given=None):
        """softmax and log_softmax, with options or without."""
        rows, classes = x.shape
        function, more, _kept = self.with_options(name, given)
        a, y, over = self.source(x), self.place(x.shape), self.source(x)
        self.call(function, a.pointer, y.pointer, rows, classes, *more)
        self.call(function, over.pointer, over.pointer, rows, classes, *more)
        self.unchanged(x=a)
        return self.agree(function, [y, over], [("y", y.array), ("y over x", over.array)])

    def backward(self, name, y, dy, given=None):
        """softmax_backward and log_softmax_backward, with options or without."""
        rows, classes = y.shape
        function, more, _kept = self.with_options(name, given)
        a, b, dx = self.source(y), self.source(dy), self.place(y.shape)
        over_y, over_dy = self.source(y), self.source(dy)
        self.call(function, a.pointer, b.pointer, dx.pointer, rows, classes, *more)
        self.call(function, a.pointer, over_dy.pointer, over_dy.pointer, rows, classes, *more)
        self.call(function, over_y.pointer, b.pointer, over_y.pointer, rows, classes, *more)
        self.unchanged(y=a)
        self.unchanged(dy=b)
        arrays = [("dx", dx.array), ("dx over dy", over_dy.array), ("dx over y", over_y.array)]
        return self.agree(function, [dx, over_y, over_dy], arrays)

    def loss(self, name, x, targets, given=None):
        """The loss and the gradient: together, each alone, and with the gradient over the logits."""
        rows, columns = x.shape
        binary = name == "binary_cross_entropy"
        options = None if given is None else self.options(BinaryCrossEntropy if binary else CrossEntropy, given)
        address = None if options is None else ctypes.addressof(options)
        each = options is not None and options.reduction == NONE
        count = (x.size if binary else rows) if each else 1
        t = self.source(targets, np.int64 if name == "cross_entropy" else None)
        a, over, grad, grad_alone = self.source(x), self.source(x), self.place(x.shape), self.place(x.shape)
        losses = [self.place((count,), self.element.real) for _ in range(3)]
        arguments = (t.pointer, rows, columns, address)
        self.call(name, a.pointer, *arguments, losses[0].pointer, grad.pointer)
        self.call(name, a.pointer, *arguments, losses[1].pointer, None)
        self.call(name, a.pointer, *arguments, None, grad_alone.pointer)
        self.unchanged(logits=a)
        self.call(name, over.pointer, *arguments, losses[2].pointer, over.pointer)
        self.unchanged(targets=t)
        forms = ("with the gradient", "loss alone", "with the gradient over the logits")
        loss = self.agree(name, losses, list(zip(forms, (place.array for place in losses))))
        forms = [("gradient", grad.array), ("gradient alone", grad_alone.array), ("gradient over the logits", over.array)]
        return loss, self.agree(name, [grad, grad_alone, over], forms)
