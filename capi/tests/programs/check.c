/*
 * Calls every function of the header, as C and as C++, and exits with the number of the line that fails. With an argument, checks that
 * SOFTLANE_BACKEND, which the caller has set to what is no backend, makes every call fail.
 */
#include <softlane.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #condition, softlane_last_error()); \
            exit(1); \
        } \
    } while (0)
#define OK(call) CHECK((call) == SOFTLANE_OK)

/* What a library that was built without threads says. */
#ifdef WITHOUT_THREADS
#define SEVERAL_THREADS SOFTLANE_ERROR_THREADS
#else
#define SEVERAL_THREADS SOFTLANE_OK
#endif

enum { ROWS = 3, CLASSES = 4, N = ROWS * CLASSES, LARGE = 130 * 1000 };

static const float LN_2 = 0.693147181f;

static int near(float a, float b) {
    return fabsf(a - b) <= 1e-6f;
}

static void slices(void) {
    const float x[3] = {0.0f, -200.0f, 0.0f};
    float y[3] = {9, 9, 9};
    float result = 9;
    OK(softlane_exp_f32(x, y, 3));
    CHECK(y[0] == 1.0f && y[1] == 0.0f && y[2] == 1.0f);
    OK(softlane_sigmoid_f32(x, y, 3));
    CHECK(y[0] == 0.5f && y[1] >= 0.0f && y[1] < 1e-37f && y[2] == 0.5f);
    OK(softlane_max_f32(x, 3, &result));
    CHECK(result == 0.0f);
    OK(softlane_sum_f32(x, 3, &result));
    CHECK(result == -200.0f);
    OK(softlane_exp_f32(NULL, NULL, 0));
}

static void rows(void) {
    float x[N], y[N], dy[N], dx[N], lse[ROWS], p[N];
    const float sinks[1] = {0.0f};
    softlane_softmax_options options = softlane_softmax_options_default();
    int i;
    for (i = 0; i < N; ++i) {
        x[i] = 0.0f;
        dy[i] = i % CLASSES == 0 ? 1.0f : 0.0f;
    }
    OK(softlane_softmax_f32(x, y, ROWS, CLASSES));
    CHECK(y[0] == 0.25f && y[N - 1] == 0.25f);
    OK(softlane_softmax_backward_f32(y, dy, dx, ROWS, CLASSES));
    CHECK(near(dx[0], 0.1875f) && near(dx[1], -0.0625f));
    OK(softlane_log_softmax_f32(x, y, ROWS, CLASSES));
    CHECK(near(y[0], -2 * LN_2));
    OK(softlane_log_softmax_backward_f32(y, dy, dx, ROWS, CLASSES));
    CHECK(near(dx[0], 0.75f) && near(dx[1], -0.25f));
    OK(softlane_logsumexp_f32(x, lse, ROWS, CLASSES));
    CHECK(near(lse[ROWS - 1], 2 * LN_2));

    options.causal_queries = ROWS;
    options.sinks = sinks;
    options.sinks_len = 1;
    options.sinks_rows_each = ROWS;
    OK(softlane_softmax_with_f32(x, p, ROWS, CLASSES, &options));
    CHECK(p[0] == 0.5f && p[1] == 0.0f && near(p[CLASSES], 1.0f / 3));
    OK(softlane_log_softmax_with_f32(x, y, ROWS, CLASSES, &options));
    CHECK(near(y[0], -LN_2) && isinf(y[1]));
    OK(softlane_softmax_backward_with_f32(p, dy, dx, ROWS, CLASSES, &options));
    CHECK(near(dx[0], 0.25f) && dx[1] == 0.0f);
    OK(softlane_log_softmax_backward_with_f32(y, dy, dx, ROWS, CLASSES, &options));
    CHECK(near(dx[0], 0.5f) && dx[1] == 0.0f);

    /* In place, and in the place of a little of it. */
    OK(softlane_softmax_f32(x, x, ROWS, CLASSES));
    CHECK(x[0] == 0.25f);
    CHECK(softlane_softmax_f32(x, x + 1, 1, CLASSES) == SOFTLANE_ERROR_OVERLAP);
    CHECK(strcmp(softlane_last_error(), "x and y overlap") == 0);
    CHECK(softlane_softmax_f32(NULL, y, 1, 1) == SOFTLANE_ERROR_NULL);
    CHECK(softlane_softmax_f32(x, y, (size_t)-1, 2) == SOFTLANE_ERROR_SIZE);
}

/* As a program that was compiled when the structs had fewer fields: what lies behind them is its own. */
static void grown(void) {
    size_t old[7], i;
    for (i = 0; i < 7; i++)
        old[i] = 7;
    OK(softlane_cross_entropy_init((softlane_cross_entropy *)(void *)old, 6 * sizeof *old));
    CHECK(old[0] == 6 * sizeof *old && old[1] == 0 && old[6] == 7);
    OK(softlane_binary_cross_entropy_init((softlane_binary_cross_entropy *)(void *)old, sizeof *old));
    CHECK(old[0] == sizeof *old && old[6] == 7);
    OK(softlane_softmax_options_init((softlane_softmax_options *)(void *)old, 2 * sizeof *old));
    CHECK(old[0] == 2 * sizeof *old && old[6] == 7);
    CHECK(softlane_softmax_options_init((softlane_softmax_options *)(void *)old, 7) == SOFTLANE_ERROR_STRUCT_SIZE);
    CHECK(softlane_softmax_options_init(NULL, 8) == SOFTLANE_ERROR_NULL);
    CHECK(old[0] == 2 * sizeof *old);
}

static void losses(void) {
    const float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    const float half[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    const int64_t targets[2] = {1, -100};
    const int64_t wrong[2] = {1, 2};
    const float weights[2] = {1.0f, 3.0f};
    float loss[4], grad[4];
    softlane_cross_entropy options = softlane_cross_entropy_default();
    softlane_binary_cross_entropy binary = softlane_binary_cross_entropy_default();
    CHECK(options.struct_size == sizeof options && options.ignore_index == -100);
    grown();
    OK(softlane_cross_entropy_f32(x, targets, 2, 2, NULL, loss, grad));
    CHECK(near(loss[0], LN_2) && near(grad[0], 0.5f) && near(grad[1], -0.5f) && grad[2] == 0.0f);
    options.class_weights = weights;
    options.reduction = SOFTLANE_NONE;
    OK(softlane_cross_entropy_f32(x, targets, 2, 2, &options, loss, NULL));
    CHECK(near(loss[0], 3 * LN_2) && loss[1] == 0.0f);
    CHECK(softlane_cross_entropy_f32(x, wrong, 2, 2, NULL, loss, grad) == SOFTLANE_ERROR_TARGET);
    CHECK(near(loss[0], 3 * LN_2));
    OK(softlane_cross_entropy_soft_f32(x, half, 2, 2, NULL, loss, grad));
    CHECK(near(loss[0], LN_2) && near(grad[3], 0.0f));
    OK(softlane_binary_cross_entropy_f32(x, half, 2, 2, NULL, loss, grad));
    CHECK(near(loss[0], LN_2) && near(grad[3], 0.0f));
    binary.pos_weights = weights;
    binary.reduction = SOFTLANE_NONE;
    OK(softlane_binary_cross_entropy_f32(x, half, 2, 2, &binary, loss, NULL));
    CHECK(near(loss[0], LN_2) && near(loss[1], 2 * LN_2));
    options.struct_size = 0;
    CHECK(softlane_cross_entropy_f32(x, targets, 2, 2, &options, loss, grad) == SOFTLANE_ERROR_STRUCT_SIZE);
    options = softlane_cross_entropy_default();
    options.label_smoothing = 2;
    CHECK(softlane_cross_entropy_f32(x, targets, 2, 2, &options, loss, grad) == SOFTLANE_ERROR_OPTION);
}

/* double, and 16-bit floats as their bits; what is known of rows, and weights, are of the type of losses. */
static void other_types(void) {
    const double x[4] = {0, 0, 30, 0}, weights[2] = {1, 3};
    const uint16_t zeros[4] = {0, 0, 0, 0};
    const float float_weights[2] = {1, 3};
    const int64_t targets[2] = {1, 0};
    double y[4] = {9, 9, 9, 9}, losses[2] = {9, 9};
    float float_loss = 9;
    uint16_t grad[4] = {9, 9, 9, 9};
    softlane_cross_entropy options = softlane_cross_entropy_default();
    options.class_weights = weights;
    options.reduction = SOFTLANE_NONE;
    OK(softlane_softmax_f64(x, y, 2, 2));
    CHECK(y[0] == 0.5 && y[1] == 0.5 && fabs(y[3] / 9.357622968839299e-14 - 1) < 1e-15);
    OK(softlane_cross_entropy_f64(x, targets, 2, 2, &options, losses, y));
    CHECK(fabs(losses[0] / 3 - 0.6931471805599453) < 1e-15 && fabs(losses[1] / 9.357622968839737e-14 - 1) < 1e-15);
    CHECK(y[0] == 1.5 && y[1] == -1.5 && y[2] < -9e-14 && y[3] > 9e-14);
    CHECK(softlane_softmax_f64(NULL, y, 1, 1) == SOFTLANE_ERROR_NULL);

    options.class_weights = float_weights;
    options.reduction = SOFTLANE_MEAN;
    OK(softlane_softmax_f16(zeros, grad, 2, 2));
    CHECK(grad[0] == 0x3800 && grad[3] == 0x3800);
    OK(softlane_cross_entropy_f16(zeros, targets, 2, 2, &options, &float_loss, grad));
    CHECK(near(float_loss, LN_2) && grad[0] == 0x3600 && grad[1] == 0xb600);
    OK(softlane_softmax_bf16(zeros, grad, 2, 2));
    CHECK(grad[0] == 0x3f00 && grad[3] == 0x3f00);
    OK(softlane_cross_entropy_bf16(zeros, targets, 2, 2, &options, &float_loss, grad));
    CHECK(near(float_loss, LN_2) && grad[0] == 0x3ec0 && grad[1] == 0xbec0);
}

static void threads(void) {
    size_t n;
    float *x = (float *)malloc(LARGE * sizeof *x);
    float *y = (float *)malloc(LARGE * sizeof *y);
    float *z = (float *)malloc(LARGE * sizeof *z);
    CHECK(x && y && z);
    for (n = 0; n < LARGE; ++n) {
        x[n] = (float)(n % 97) / 16.0f;
    }
    OK(softlane_set_num_threads(1));
    OK(softlane_softmax_f32(x, y, LARGE / 1000, 1000));
    for (n = 0; n < 5; ++n) {
        const size_t count = n == 4 ? 0 : n;
        CHECK(softlane_set_num_threads(count) == (count > 1 ? SEVERAL_THREADS : SOFTLANE_OK));
        memset(z, 0, LARGE * sizeof *z);
        OK(softlane_softmax_f32(x, z, LARGE / 1000, 1000));
        CHECK(memcmp(y, z, LARGE * sizeof *y) == 0);
    }
    free(x);
    free(y);
    free(z);
}

static void no_backend(void) {
    float x[2] = {1, 2};
    CHECK(softlane_backend() == NULL);
    CHECK(strstr(softlane_last_error(), "SOFTLANE_BACKEND: backend \"nonsense\" is not supported here; supported: scalar, portable"));
    CHECK(softlane_softmax_f32(x, x, 1, 2) == SOFTLANE_ERROR_BACKEND && x[0] == 1 && x[1] == 2);
    CHECK(softlane_sum_f32(x, 2, x + 1) == SOFTLANE_ERROR_OVERLAP);
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        no_backend();
        return 0;
    }
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", SOFTLANE_VERSION_MAJOR, SOFTLANE_VERSION_MINOR, SOFTLANE_VERSION_PATCH);
    CHECK(strcmp(softlane_version(), version) == 0 && softlane_backend() != NULL);
    CHECK(strcmp(softlane_status_message(SOFTLANE_OK), "success") == 0);
    CHECK(strcmp(softlane_last_error(), "") == 0);
    slices();
    rows();
    losses();
    other_types();
    threads();
    printf("%s\n", softlane_backend());
    return 0;
}
