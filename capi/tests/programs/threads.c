/*
 * What becomes of threads: `threads fork` has a child compute after its parent has used threads, while the parent goes on; `threads
 * refused` asks for more than the system, which the caller has limited, can give. RAYON_NUM_THREADS is 3.
 */
#define _POSIX_C_SOURCE 200809L
#include <softlane.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the process is at, for who wonders where it hangs. */
static volatile int at_line;

static void hangs(int signal) {
    char text[] = "hangs after line 000\n";
    (void)signal;
    text[17] = (char)('0' + at_line / 100 % 10);
    text[18] = (char)('0' + at_line / 10 % 10);
    text[19] = (char)('0' + at_line % 10);
    _exit(write(2, text, sizeof text - 1) > 0 ? 14 : 15);
}

#define CHECK(condition) \
    do { \
        at_line = __LINE__; \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #condition, softlane_last_error()); \
            _exit(1); \
        } \
    } while (0)

enum { ROWS = 400, CLASSES = 1000, N = ROWS * CLASSES };

static float x[N], y[N], expected[N];

static void compute(void) {
    memset(y, 0, sizeof y);
    CHECK(softlane_softmax_f32(x, y, ROWS, CLASSES) == SOFTLANE_OK);
    CHECK(memcmp(y, expected, sizeof y) == 0);
}

/* Whether this process has so many threads, soon: a pool ends after its last call. Linux tells. */
static int has_threads(int expected_count) {
    int tries;
    for (tries = 0; tries < 1000; ++tries) {
        const struct timespec pause = {0, 10 * 1000 * 1000};
        int count = 0;
        DIR *tasks = opendir("/proc/self/task");
        const struct dirent *task;
        if (!tasks) {
            return 1;
        }
        while ((task = readdir(tasks))) {
            count += task->d_name[0] != '.';
        }
        closedir(tasks);
        if (count == expected_count) {
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* A child, and a child of that. Each dies if it takes too long. */
static void child(int depth) {
    int status, i;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, hangs);
        alarm(60);
        for (i = 0; i < 3; ++i) {
            compute();
        }
        /* The default is one thread here, where threads of the parent are gone. */
        CHECK(softlane_set_num_threads(0) == SOFTLANE_OK);
        compute();
        CHECK(has_threads(1));
        if (depth > 0) {
            child(depth - 1);
        }
        /* Threads of its own. */
        CHECK(softlane_set_num_threads(2) == SOFTLANE_OK);
        for (i = 0; i < 3; ++i) {
            compute();
        }
        CHECK(has_threads(3));
        if (depth > 0) {
            child(depth - 1);
        }
        _exit(0);
    }
    compute();
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    /* Those of the default, once begun, stay. */
    const int threads[] = {4, 4, 6, 7};
    int i, chosen;
    for (i = 0; i < N; ++i) {
        x[i] = (float)(i % 97) / 16.0f;
    }
    CHECK(argc == 2);
    CHECK(softlane_set_num_threads(1) == SOFTLANE_OK);
    CHECK(softlane_softmax_f32(x, expected, ROWS, CLASSES) == SOFTLANE_OK);
    CHECK(has_threads(1));
    if (strcmp(argv[1], "refused") == 0) {
        CHECK(softlane_set_num_threads(200) == SOFTLANE_ERROR_THREADS);
        CHECK(strncmp(softlane_last_error(), "200 threads: ", 13) == 0);
        compute();
    } else {
        for (chosen = 0; chosen <= 3; ++chosen) {
            CHECK(softlane_set_num_threads((size_t)chosen) == SOFTLANE_OK);
            compute();
            CHECK(has_threads(threads[chosen]));
            child(1);
        }
    }
    puts("passed");
    return 0;
}
