"""softlane on NumPy arrays, by ctypes and without a copy.

    python3 numpy_ctypes.py [path of the shared library]
"""

import ctypes
import sys

import numpy as np

softlane = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libsoftlane.so")
softlane.softlane_last_error.restype = ctypes.c_char_p
f32 = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
f32_out = np.ctypeslib.ndpointer(np.float32, flags=("C_CONTIGUOUS", "WRITEABLE"))
i64 = np.ctypeslib.ndpointer(np.int64, flags="C_CONTIGUOUS")
size_t = ctypes.c_size_t


class CrossEntropy(ctypes.Structure):
    """softlane_cross_entropy, of which more fields may follow: struct_size says where these end."""

    _fields_ = [
        ("struct_size", size_t),
        ("class_weights", ctypes.c_void_p),
        ("label_smoothing", ctypes.c_double),
        ("z_loss", ctypes.c_double),
        ("ignore_index", ctypes.c_int64),
        ("reduction", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


softlane.softlane_softmax_f32.argtypes = [f32, f32_out, size_t, size_t]
softlane.softlane_cross_entropy_f32.argtypes = [
    f32, i64, size_t, size_t, ctypes.POINTER(CrossEntropy), f32_out, f32_out,
]


def check(status):
    if status != 0:
        raise ValueError(softlane.softlane_last_error().decode())


def softmax(x):
    """The probabilities of each row."""
    x = np.ascontiguousarray(x, np.float32)
    y = np.empty_like(x)
    rows, classes = x.shape
    check(softlane.softlane_softmax_f32(x, y, rows, classes))
    return y


def cross_entropy(logits, targets, label_smoothing=0.0):
    """The mean loss, and its gradient with respect to the logits."""
    logits = np.ascontiguousarray(logits, np.float32)
    targets = np.ascontiguousarray(targets, np.int64)
    if targets.shape != logits.shape[:1]:
        raise ValueError("one target for each row")
    options = CrossEntropy(ctypes.sizeof(CrossEntropy), None, label_smoothing, 0.0, -100, 0, 0)
    loss, grad = np.empty(1, np.float32), np.empty_like(logits)
    rows, classes = logits.shape
    check(softlane.softlane_cross_entropy_f32(logits, targets, rows, classes, options, loss, grad))
    return loss[0], grad


if __name__ == "__main__":
    rng = np.random.default_rng(1)
    x = rng.normal(0, 10, (1000, 10)).astype(np.float32)
    wide = x.astype(np.float64)
    exact = np.exp(wide - wide.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    print("largest relative error of a probability:", np.max(np.abs(softmax(x) / exact - 1)))

    targets = rng.integers(0, 10, 1000)
    loss, grad = cross_entropy(x, targets, label_smoothing=0.1)
    soft = 0.9 * np.eye(10)[targets] + 0.01
    print("loss:", loss, "against", np.mean(-np.sum(soft * np.log(exact), 1)))
    print("largest error of a gradient:", np.max(np.abs(grad - (exact - soft) / 1000)))
    try:
        cross_entropy(x, np.full(1000, 10))
    except ValueError as error:
        print(error)
