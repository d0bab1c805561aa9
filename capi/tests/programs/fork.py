"""Workers of multiprocessing, forked from a process that has used threads. Arguments: the library, and how many threads."""

import array
import ctypes
import multiprocessing
import sys

ROWS, CLASSES = 400, 1000
softlane = ctypes.CDLL(sys.argv[1])
softlane.softlane_softmax_f32.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
softlane.softlane_set_num_threads.argtypes = [ctypes.c_size_t]


def softmax(seed):
    x = array.array("f", ((i * 31 + seed) % 97 / 16 for i in range(ROWS * CLASSES)))
    y = array.array("f", bytes(4 * ROWS * CLASSES))
    status = softlane.softlane_softmax_f32(x.buffer_info()[0], y.buffer_info()[0], ROWS, CLASSES)
    assert status == 0, status
    return y.tobytes()


def main():
    assert softlane.softlane_set_num_threads(int(sys.argv[2])) == 0
    expected = [softmax(seed) for seed in range(8)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        # The parent works at the same time.
        results = pool.map_async(softmax, range(8))
        assert softmax(3) == expected[3]
        assert results.get(timeout=100) == expected
    print("passed")


main()
