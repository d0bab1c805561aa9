/*
 * softlane: softmax and cross-entropy of rows of floats, accurate to the last bits and at the speed of the vector units.
 *
 * Every function that computes returns a softlane_status, SOFTLANE_OK (0) or what was wrong; softlane_last_error() says it in words. Unless
 * it is SOFTLANE_OK (or SOFTLANE_ERROR_INTERNAL), no output has been written. Nothing is thrown or unwound into the caller.
 *
 * Arrays are dense and row-major: rows * classes elements, one row after the other, in memory of the caller, aligned as C aligns their type.
 * Arrays of no elements may be NULL. An output that a call is said to write over an input ("y may be x") has exactly its address; any other overlap of an output
 * is SOFTLANE_ERROR_OVERLAP. What outputs hold before does not matter.
 *
 * Logits, masks and distributions are data, and follow the rules of IEEE 754. A row's results have the same bits whatever the number of threads, the batch that it
 * is in and the instruction set, if that fuses multiply-add. Errors are stated in units in the last place (ULP) of the exact result. Rows of 16-bit floats are
 * computed as rows of float of the same numbers, and what replaces elements is rounded once more: to within 0.501 ULP of 16-bit floats, where an error is counted in ULP of the result.
 *
 * All functions may be called from several threads at once. The floating-point environment must be the default one (no -ffast-math).
 *
 * Made by cbindgen from the sources: do not edit.
 */

#ifndef SOFTLANE_H
#define SOFTLANE_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header, as in 0.1.0: MAJOR.MINOR.PATCH. softlane_version() tells that of the library.
 */
#define SOFTLANE_VERSION_MAJOR 0

/**
 * Before 1.0, another one may break callers.
 */
#define SOFTLANE_VERSION_MINOR 1

/**
 * The last number.
 */
#define SOFTLANE_VERSION_PATCH 0

/**
 * The mean of the losses.
 */
#define SOFTLANE_MEAN 0

/**
 * Their sum.
 */
#define SOFTLANE_SUM 1

/**
 * Each loss by itself.
 */
#define SOFTLANE_NONE 2

/**
 * What a fully masked row, or a mean of nothing, is: NaN, as in PyTorch.
 */
#define SOFTLANE_NAN 0

/**
 * 0 (log-probabilities -inf).
 */
#define SOFTLANE_ZERO 1

/**
 * What a call returns: SOFTLANE_OK, or what was wrong. Then no output has been written, and
 * softlane_last_error() says more.
 */
typedef int32_t softlane_status;

/**
 * Options of the cross-entropy functions. Begin with softlane_cross_entropy_default() and change what is to differ. The formulas say what each
 * letter does.
 */
typedef struct softlane_cross_entropy {
    /**
     * sizeof(softlane_cross_entropy). An earlier version of the struct is smaller: what it lacks has its default.
     */
    size_t struct_size;
    /**
     * w: as many numbers as there are classes, of the type of losses; finite, and not negative. NULL: all 1.
     */
    const void *class_weights;
    /**
     * e: the share of the target that is spread over all classes, from 0 to 1. Default 0.
     */
    double label_smoothing;
    /**
     * c: the weight of the square of the log-sum-exp, finite, and not negative. Default 0.
     */
    double z_loss;
    /**
     * Rows with this target have loss 0 and gradient 0, whatever they hold, and do not count in the mean. Default -100.
     */
    int64_t ignore_index;
    /**
     * SOFTLANE_MEAN (default), SOFTLANE_SUM or SOFTLANE_NONE.
     */
    int32_t reduction;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * s: what every logit is multiplied by, exactly; the inverse of a temperature. Above 0. Default 1.
     */
    double logit_scale;
    /**
     * The divisor of the mean, above 0, in place of the sum of the weights of the targets. Default 0: that sum.
     */
    double normaliser;
    /**
     * What the gradient of each row is multiplied by besides: as many numbers as there are rows, of the type of losses. NULL: all 1.
     */
    const void *upstream_grad;
    /**
     * What a row of -inf alone gives: SOFTLANE_NAN (default), or SOFTLANE_ZERO: loss +inf, gradient -1 at the target and 0
     * elsewhere.
     */
    int32_t masked_rows;
    /**
     * What the mean is when its divisor is 0: SOFTLANE_NAN (default) or SOFTLANE_ZERO. The gradient is 0 either way.
     */
    int32_t empty_mean;
} softlane_cross_entropy;

/**
 * Options of the binary cross-entropy functions. Begin with softlane_binary_cross_entropy_default().
 */
typedef struct softlane_binary_cross_entropy {
    /**
     * sizeof(softlane_binary_cross_entropy). An earlier version of the struct is smaller: what it lacks has its default.
     */
    size_t struct_size;
    /**
     * q: what the loss of a yes is multiplied by, a number for each label of a row, of the type of losses; finite, and not negative. NULL: all 1.
     */
    const void *pos_weights;
    /**
     * w: what the loss is multiplied by, as pos_weights. NULL: all 1.
     */
    const void *label_weights;
    /**
     * Elements, rows * labels of them, that are 1 here have loss 0 and gradient 0, whatever they hold, and do not count in the mean. The others are 0. NULL:
     * all 0.
     */
    const uint8_t *ignore_mask;
    /**
     * e: the share of a label that is spread over yes and no, from 0 to 1. Default 0.
     */
    double label_smoothing;
    /**
     * The divisor of the mean, above 0, in place of the number of elements that count. Default 0: that number.
     */
    double normaliser;
    /**
     * SOFTLANE_MEAN (default), SOFTLANE_SUM or SOFTLANE_NONE.
     */
    int32_t reduction;
    /**
     * What the mean is when nothing counts: SOFTLANE_NAN (default) or SOFTLANE_ZERO.
     */
    int32_t empty_mean;
} softlane_binary_cross_entropy;

/**
 * Options of softmax and log-softmax: those of attention. Begin with softlane_softmax_options_default().
 */
typedef struct softlane_softmax_options {
    /**
     * sizeof(softlane_softmax_options). An earlier version of the struct is smaller: what it lacks has its default.
     */
    size_t struct_size;
    /**
     * s: what every logit is multiplied by. Above 0. Default 1.
     */
    double logit_scale;
    /**
     * m: what is added to the logits then, mask_rows * classes numbers of the type of losses, such as -inf for a class that takes no part. NULL: nothing.
     */
    const void *mask;
    /**
     * Row r of the batch has row r modulo mask_rows of mask; they come out even in the batch.
     */
    size_t mask_rows;
    /**
     * Whether a class takes part, 1 or 0, bool_mask_rows * classes of them. NULL: all do.
     */
    const uint8_t *bool_mask;
    /**
     * As mask_rows.
     */
    size_t bool_mask_rows;
    /**
     * Of every so many rows, row i sees the classes 0 to i + causal_offset; the others take no part. Default 0: every row sees all.
     */
    size_t causal_queries;
    /**
     * 0 is is_causal of PyTorch; classes - causal_queries lets the last query see the last class. Default 0.
     */
    size_t causal_offset;
    /**
     * b: logits of a class that is in no row but takes its share of the probability, sinks_len numbers of the type of losses. NULL: none.
     */
    const void *sinks;
    /**
     * How many there are.
     */
    size_t sinks_len;
    /**
     * Each is for so many rows, one after the other; after the last, the first comes again.
     */
    size_t sinks_rows_each;
    /**
     * What a row is in which no class takes part and which has no sink: SOFTLANE_NAN (default) or SOFTLANE_ZERO.
     */
    int32_t masked_rows;
    /**
     * 0.
     */
    int32_t reserved;
} softlane_softmax_options;

/**
 * Success.
 */
#define SOFTLANE_OK 0

/**
 * A pointer is NULL that may not be.
 */
#define SOFTLANE_ERROR_NULL 1

/**
 * A pointer is no multiple of the alignment of what it points to.
 */
#define SOFTLANE_ERROR_ALIGNMENT 2

/**
 * There are more elements than an address space has.
 */
#define SOFTLANE_ERROR_SIZE 3

/**
 * An output and another array overlap, and are not one and the same where that is allowed.
 */
#define SOFTLANE_ERROR_OVERLAP 4

/**
 * An option is out of its range, or does not fit the batch.
 */
#define SOFTLANE_ERROR_OPTION 5

/**
 * The struct_size of options is none that this version knows.
 */
#define SOFTLANE_ERROR_STRUCT_SIZE 6

/**
 * A target is neither a class nor the ignored index.
 */
#define SOFTLANE_ERROR_TARGET 7

/**
 * The environment variable SOFTLANE_BACKEND names no backend that is supported here.
 */
#define SOFTLANE_ERROR_BACKEND 8

/**
 * The system refuses threads.
 */
#define SOFTLANE_ERROR_THREADS 9

/**
 * The system refuses memory.
 */
#define SOFTLANE_ERROR_MEMORY 10

/**
 * A defect of this library. Outputs may have been written.
 */
#define SOFTLANE_ERROR_INTERNAL 11

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of this library, as "0.1.0".
 */
const char *softlane_version(void);

/**
 * What a status means, in a few words. Any number may be asked for.
 */
const char *softlane_status_message(softlane_status status);

/**
 * What was wrong with the last call of this thread that failed, with names and numbers; "" if none has. The text is overwritten by the next call of
 * this thread that fails.
 */
const char *softlane_last_error(void);

/**
 * The name of the instruction set that all calls use: "avx512", "avx2", "portable" or "scalar". It is the fastest of the processor, or
 * what the environment variable SOFTLANE_BACKEND named when first asked; NULL if that names none that is supported
 * here, which softlane_last_error() then lists.
 */
const char *softlane_backend(void);

/**
 * On how many threads large batches and long rows are worked on; small ones (less than 120 000 elements) never leave the thread of the caller. Results have the
 * same bits whatever the number.
 *
 * 1: on the thread of the caller. More: on a pool of so many threads, which is made here, at once; the one before ends. 0, as at
 * the beginning: on the thread of the caller and a pool of as many threads as there are processors (or as the
 * environment variable RAYON_NUM_THREADS says), which the first large batch starts and nothing ends.
 *
 * It holds for all threads of the process, for calls that begin afterwards.
 *
 * After a fork, the threads of the parent are gone in the child. If there may have been any, the child works on the thread of the
 * caller, as if 1 (0 is the same there), until it asks for more than one, which makes new threads. Calls of other threads may be under way when
 * a thread forks, but the first call of a process, its first large one, and this function should have returned.
 *
 * SOFTLANE_ERROR_THREADS if the system refuses, or the library was built without threads; nothing is changed then.
 */
softlane_status softlane_set_num_threads(size_t n);

/**
 * Makes *options the default ones: the mean; no weights, no smoothing; targets of -100 are ignored. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
 * softlane_cross_entropy_default() is that, with the size that this header knows.
 */
softlane_status softlane_cross_entropy_init(struct softlane_cross_entropy *options,
                                            size_t struct_size);

/**
 * Makes *options the default ones: the mean; no weights, no smoothing, nothing ignored. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
 * softlane_binary_cross_entropy_default() is that, with the size that this header knows.
 */
softlane_status softlane_binary_cross_entropy_init(struct softlane_binary_cross_entropy *options,
                                                   size_t struct_size);

/**
 * Makes *options the default ones: no scale, no masks, no sinks. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
 * softlane_softmax_options_default() is that, with the size that this header knows.
 */
softlane_status softlane_softmax_options_init(struct softlane_softmax_options *options,
                                              size_t struct_size);

/**
 * y[i] = exp(x[i]), of n elements, within 0.9 ULP, subnormal results included. -inf gives 0, +inf gives +inf, NaN gives NaN. y may be x.
 */
softlane_status softlane_exp_f32(const float *x,
                                 float *y,
                                 size_t n);

/**
 * y[i] = 1 / (1 + exp(-x[i])), of n elements, within 1.5 ULP, subnormal results included. -inf gives 0, +inf gives 1, NaN gives NaN. y may be x.
 */
softlane_status softlane_sigmoid_f32(const float *x,
                                     float *y,
                                     size_t n);

/**
 * *max is the largest of n elements: NaN if there is one, -inf for no elements; +0 is above -0.
 */
softlane_status softlane_max_f32(const float *x, size_t n, float *max);

/**
 * *sum is the sum of n elements, rounded once, 0 for none. Infinities and NaN flow through; partial sums do not overflow.
 */
softlane_status softlane_sum_f32(const float *x,
                                 size_t n,
                                 float *sum);

/**
 * The probabilities of each row: y[i] = exp(x[i]) / sum_j exp(x[j]), within 2.9 ULP of the exact ones whatever the row (below 2^-122 within 0.5
 * more; backends without fused multiply-add have other bounds). y may be x.
 *
 * -inf has probability exactly 0. A row with +inf or NaN is NaN throughout, and so is one of -inf alone; its neighbours are not touched by it.
 *
 * torch.softmax(x, -1).
 */
softlane_status softlane_softmax_f32(const float *x,
                                     float *y,
                                     size_t rows,
                                     size_t classes);

/**
 * The log-probabilities of each row: y[i] = x[i] - ln sum_j exp(x[j]), within 1.6 ULP, near 0 too. y may be x. -inf gives -inf; otherwise special
 * rows are as in softlane_softmax_f32.
 *
 * torch.log_softmax(x, -1).
 */
softlane_status softlane_log_softmax_f32(const float *x,
                                         float *y,
                                         size_t rows,
                                         size_t classes);

/**
 * The log-sum-exp of each row: lse[r] = ln sum_j exp(x[j]), one number for each of the rows, within 0.8 ULP of max(|lse|, 1). A row with NaN gives
 * NaN, one with +inf gives +inf, and one of -inf alone, or of no classes, gives -inf.
 *
 * torch.logsumexp(x, -1).
 */
softlane_status softlane_logsumexp_f32(const float *x,
                                       float *lse,
                                       size_t rows,
                                       size_t classes);

/**
 * The gradient with respect to logits, from the probabilities y that softlane_softmax_f32 gave and the gradient dy with respect to them: dx[i] =
 * y[i] (dy[i] - sum_j y[j] dy[j]), within 1.5 ULP of the larger term (2 below 2^-124). Where y is 0, dx is 0; NaN makes its row NaN.
 *
 * dx may be dy, or y, of which a copy is made then.
 */
softlane_status softlane_softmax_backward_f32(const float *y,
                                              const float *dy,
                                              float *dx,
                                              size_t rows,
                                              size_t classes);

/**
 * The gradient with respect to logits, from the log-probabilities y that softlane_log_softmax_f32 gave and the gradient dy with respect to them: dx[i]
 * = dy[i] - exp(y[i]) sum_j dy[j], within 2.8 ULP of the larger term (3.3 where exp(y[i]) is subnormal, and counts as the least normal number).
 *
 * dx may be dy, or y, of which a copy is made then.
 */
softlane_status softlane_log_softmax_backward_f32(const float *y,
                                                  const float *dy,
                                                  float *dx,
                                                  size_t rows,
                                                  size_t classes);

/**
 * softlane_softmax_f32 with options, of which NULL are the default ones:
 *
 *   z[i] = s x[i] + m[i], or -inf where class i takes no part
 *   y[i] = exp(z[i]) / (exp(b) + sum_j exp(z[j]))
 *
 * A class takes part if every mask says so. One that does not by bool_mask or causal_queries is not looked at, and has probability exactly 0.
 *
 * The softmax of torch.nn.functional.scaled_dot_product_attention.
 */
softlane_status softlane_softmax_with_f32(const float *x,
                                          float *y,
                                          size_t rows,
                                          size_t classes,
                                          const struct softlane_softmax_options *options);

/**
 * softlane_log_softmax_f32 with options, of which NULL are the default ones: y[i] = z[i] - ln(exp(b) + sum_j exp(z[j])), with z as in
 * softlane_softmax_with_f32.
 */
softlane_status softlane_log_softmax_with_f32(const float *x,
                                              float *y,
                                              size_t rows,
                                              size_t classes,
                                              const struct softlane_softmax_options *options);

/**
 * softlane_softmax_backward_f32 with the options that softlane_softmax_with_f32 had: dx[i] = s y[i] (dy[i] - sum_j y[j] dy[j]), and 0 where class i
 * takes no part, whatever dy holds there.
 */
softlane_status softlane_softmax_backward_with_f32(const float *y,
                                                   const float *dy,
                                                   float *dx,
                                                   size_t rows,
                                                   size_t classes,
                                                   const struct softlane_softmax_options *options);

/**
 * softlane_log_softmax_backward_f32 with the options that softlane_log_softmax_with_f32 had: dx[i] = s (dy[i] - exp(y[i]) sum_j dy[j]), the sum over
 * the classes that take part, and 0 where class i takes no part, whatever dy holds there.
 */
softlane_status softlane_log_softmax_backward_with_f32(const float *y,
                                                       const float *dy,
                                                       float *dx,
                                                       size_t rows,
                                                       size_t classes,
                                                       const struct softlane_softmax_options *options);

/**
 * Softmax cross-entropy with a class t = targets[r], from 0 on, for each row r, and its gradient with respect to the logits. With the default options (NULL),
 * the mean over the rows of L = -ln p[t], and p[k] - [k = t], divided by the number of rows. With all:
 *
 *   z = s x     lse = ln sum_k exp(z[k])     p[k] = exp(z[k] - lse)     K classes
 *   L = (1 - e) w[t] (lse - z[t]) + e / K sum_k w[k] (lse - z[k]) + c lse^2
 *   dL/dx[k] = s ((M + 2 c lse) p[k] - e / K w[k] - (1 - e) w[t] [k = t])     M = (1 - e) w[t] + e / K sum_k w[k]
 *
 * loss gets 1 number, or one for each row if reduction is SOFTLANE_NONE (grad is then that of each row's own loss); grad gets rows * classes elements, and may be
 * logits. Either may be NULL, and is not computed then. The mean divides by the sum of the w[t] of the rows that are not ignored.
 *
 * Without e and c, each row's loss is within 1.1 ULP and each gradient within 2.9 (3.4 below 2^-122; 0.1 more with s), however sure the row
 * is: a loss is not 0 before its true value is.
 *
 * A row with +inf or NaN has loss and gradient NaN; a target of -inf has loss +inf and gradient -1; a row of -inf alone is NaN (masked_rows); a mean of
 * no rows is NaN (empty_mean). SOFTLANE_ERROR_TARGET if a target is neither a class nor ignored.
 *
 * torch.nn.functional.cross_entropy, and its backward.
 */
softlane_status softlane_cross_entropy_f32(const float *logits,
                                           const int64_t *targets,
                                           size_t rows,
                                           size_t classes,
                                           const struct softlane_cross_entropy *options,
                                           float *loss,
                                           float *grad);

/**
 * The same with a distribution t = target_probs, as many elements as logits has, in place of a class:
 *
 *   q[k] = w[k] ((1 - e) t[k] + e / K)     L = sum_k q[k] (lse - z[k]) + c lse^2
 *   dL/dx[k] = s ((M + 2 c lse) p[k] - q[k])     M = sum_k q[k]
 *
 * The mean divides by the sum of w[k] t[k] over all rows. A row whose targets are all 0 counts for nothing. Targets are data: nothing checks that they add
 * up to 1. ignore_index plays no part.
 */
softlane_status softlane_cross_entropy_soft_f32(const float *logits,
                                                const float *target_probs,
                                                size_t rows,
                                                size_t classes,
                                                const struct softlane_cross_entropy *options,
                                                float *loss,
                                                float *grad);

/**
 * Binary cross-entropy of independent yes-or-no questions, rows of so many labels: a logit x and a target t for each, 0 for no, 1 for yes, or between. With S
 * the sigmoid and the default options (NULL), the mean over all elements of L = -t ln S(x) - (1 - t) ln S(-x), and S(x) - t, divided by their number. With all:
 *
 *   t' = (1 - e) t + e / 2
 *   L = w (-q t' ln S(x) - (1 - t') ln S(-x))     dL/dx = w ((1 - t') S(x) - q t' S(-x))
 *
 * loss gets 1 number, or one for each element if reduction is SOFTLANE_NONE (grad is then that of each element's own loss); grad gets rows * labels elements, and may be
 * logits. Either may be NULL, and is not computed then.
 *
 * With targets 0 and 1 and no other options, loss and gradient of an element are within 1.5 ULP, at both ends. At an infinite logit they are the limits.
 *
 * torch.nn.functional.binary_cross_entropy_with_logits, and its backward.
 */
softlane_status softlane_binary_cross_entropy_f32(const float *logits,
                                                  const float *targets,
                                                  size_t rows,
                                                  size_t labels,
                                                  const struct softlane_binary_cross_entropy *options,
                                                  float *loss,
                                                  float *grad);

/**
 * As softlane_exp_f32, for double.
 */
softlane_status softlane_exp_f64(const double *x, double *y, size_t n);

/**
 * As softlane_sigmoid_f32, for double.
 */
softlane_status softlane_sigmoid_f64(const double *x, double *y, size_t n);

/**
 * As softlane_max_f32, for double.
 */
softlane_status softlane_max_f64(const double *x, size_t n, double *max);

/**
 * As softlane_sum_f32, for double.
 */
softlane_status softlane_sum_f64(const double *x, size_t n, double *sum);

/**
 * As softlane_softmax_f32, for double.
 */
softlane_status softlane_softmax_f64(const double *x, double *y, size_t rows, size_t classes);

/**
 * As softlane_log_softmax_f32, for double.
 */
softlane_status softlane_log_softmax_f64(const double *x, double *y, size_t rows, size_t classes);

/**
 * As softlane_logsumexp_f32, for double.
 */
softlane_status softlane_logsumexp_f64(const double *x, double *lse, size_t rows, size_t classes);

/**
 * As softlane_softmax_backward_f32, for double.
 */
softlane_status softlane_softmax_backward_f64(const double *y,
                                              const double *dy,
                                              double *dx,
                                              size_t rows,
                                              size_t classes);

/**
 * As softlane_log_softmax_backward_f32, for double.
 */
softlane_status softlane_log_softmax_backward_f64(const double *y,
                                                  const double *dy,
                                                  double *dx,
                                                  size_t rows,
                                                  size_t classes);

/**
 * As softlane_softmax_with_f32, for double.
 */
softlane_status softlane_softmax_with_f64(const double *x,
                                          double *y,
                                          size_t rows,
                                          size_t classes,
                                          const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_with_f32, for double.
 */
softlane_status softlane_log_softmax_with_f64(const double *x,
                                              double *y,
                                              size_t rows,
                                              size_t classes,
                                              const struct softlane_softmax_options *options);

/**
 * As softlane_softmax_backward_with_f32, for double.
 */
softlane_status softlane_softmax_backward_with_f64(const double *y,
                                                   const double *dy,
                                                   double *dx,
                                                   size_t rows,
                                                   size_t classes,
                                                   const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_backward_with_f32, for double.
 */
softlane_status softlane_log_softmax_backward_with_f64(const double *y,
                                                       const double *dy,
                                                       double *dx,
                                                       size_t rows,
                                                       size_t classes,
                                                       const struct softlane_softmax_options *options);

/**
 * As softlane_cross_entropy_f32, for double.
 */
softlane_status softlane_cross_entropy_f64(const double *logits,
                                           const int64_t *targets,
                                           size_t rows,
                                           size_t classes,
                                           const struct softlane_cross_entropy *options,
                                           double *loss,
                                           double *grad);

/**
 * As softlane_cross_entropy_soft_f32, for double.
 */
softlane_status softlane_cross_entropy_soft_f64(const double *logits,
                                                const double *target_probs,
                                                size_t rows,
                                                size_t classes,
                                                const struct softlane_cross_entropy *options,
                                                double *loss,
                                                double *grad);

/**
 * As softlane_binary_cross_entropy_f32, for double.
 */
softlane_status softlane_binary_cross_entropy_f64(const double *logits,
                                                  const double *targets,
                                                  size_t rows,
                                                  size_t labels,
                                                  const struct softlane_binary_cross_entropy *options,
                                                  double *loss,
                                                  double *grad);

/**
 * As softlane_exp_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_exp_f16(const uint16_t *x, uint16_t *y, size_t n);

/**
 * As softlane_sigmoid_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_sigmoid_f16(const uint16_t *x, uint16_t *y, size_t n);

/**
 * As softlane_max_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_max_f16(const uint16_t *x, size_t n, float *max);

/**
 * As softlane_sum_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_sum_f16(const uint16_t *x, size_t n, float *sum);

/**
 * As softlane_softmax_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_softmax_f16(const uint16_t *x, uint16_t *y, size_t rows, size_t classes);

/**
 * As softlane_log_softmax_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_log_softmax_f16(const uint16_t *x, uint16_t *y, size_t rows, size_t classes);

/**
 * As softlane_logsumexp_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_logsumexp_f16(const uint16_t *x, float *lse, size_t rows, size_t classes);

/**
 * As softlane_softmax_backward_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_softmax_backward_f16(const uint16_t *y,
                                              const uint16_t *dy,
                                              uint16_t *dx,
                                              size_t rows,
                                              size_t classes);

/**
 * As softlane_log_softmax_backward_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_log_softmax_backward_f16(const uint16_t *y,
                                                  const uint16_t *dy,
                                                  uint16_t *dx,
                                                  size_t rows,
                                                  size_t classes);

/**
 * As softlane_softmax_with_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_softmax_with_f16(const uint16_t *x,
                                          uint16_t *y,
                                          size_t rows,
                                          size_t classes,
                                          const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_with_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_log_softmax_with_f16(const uint16_t *x,
                                              uint16_t *y,
                                              size_t rows,
                                              size_t classes,
                                              const struct softlane_softmax_options *options);

/**
 * As softlane_softmax_backward_with_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_softmax_backward_with_f16(const uint16_t *y,
                                                   const uint16_t *dy,
                                                   uint16_t *dx,
                                                   size_t rows,
                                                   size_t classes,
                                                   const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_backward_with_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_log_softmax_backward_with_f16(const uint16_t *y,
                                                       const uint16_t *dy,
                                                       uint16_t *dx,
                                                       size_t rows,
                                                       size_t classes,
                                                       const struct softlane_softmax_options *options);

/**
 * As softlane_cross_entropy_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_cross_entropy_f16(const uint16_t *logits,
                                           const int64_t *targets,
                                           size_t rows,
                                           size_t classes,
                                           const struct softlane_cross_entropy *options,
                                           float *loss,
                                           uint16_t *grad);

/**
 * As softlane_cross_entropy_soft_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_cross_entropy_soft_f16(const uint16_t *logits,
                                                const uint16_t *target_probs,
                                                size_t rows,
                                                size_t classes,
                                                const struct softlane_cross_entropy *options,
                                                float *loss,
                                                uint16_t *grad);

/**
 * As softlane_binary_cross_entropy_f32, for bits of f16 (IEEE 754 binary16).
 */
softlane_status softlane_binary_cross_entropy_f16(const uint16_t *logits,
                                                  const uint16_t *targets,
                                                  size_t rows,
                                                  size_t labels,
                                                  const struct softlane_binary_cross_entropy *options,
                                                  float *loss,
                                                  uint16_t *grad);

/**
 * As softlane_exp_f32, for bits of bf16.
 */
softlane_status softlane_exp_bf16(const uint16_t *x, uint16_t *y, size_t n);

/**
 * As softlane_sigmoid_f32, for bits of bf16.
 */
softlane_status softlane_sigmoid_bf16(const uint16_t *x, uint16_t *y, size_t n);

/**
 * As softlane_max_f32, for bits of bf16.
 */
softlane_status softlane_max_bf16(const uint16_t *x, size_t n, float *max);

/**
 * As softlane_sum_f32, for bits of bf16.
 */
softlane_status softlane_sum_bf16(const uint16_t *x, size_t n, float *sum);

/**
 * As softlane_softmax_f32, for bits of bf16.
 */
softlane_status softlane_softmax_bf16(const uint16_t *x, uint16_t *y, size_t rows, size_t classes);

/**
 * As softlane_log_softmax_f32, for bits of bf16.
 */
softlane_status softlane_log_softmax_bf16(const uint16_t *x, uint16_t *y, size_t rows, size_t classes);

/**
 * As softlane_logsumexp_f32, for bits of bf16.
 */
softlane_status softlane_logsumexp_bf16(const uint16_t *x, float *lse, size_t rows, size_t classes);

/**
 * As softlane_softmax_backward_f32, for bits of bf16.
 */
softlane_status softlane_softmax_backward_bf16(const uint16_t *y,
                                               const uint16_t *dy,
                                               uint16_t *dx,
                                               size_t rows,
                                               size_t classes);

/**
 * As softlane_log_softmax_backward_f32, for bits of bf16.
 */
softlane_status softlane_log_softmax_backward_bf16(const uint16_t *y,
                                                   const uint16_t *dy,
                                                   uint16_t *dx,
                                                   size_t rows,
                                                   size_t classes);

/**
 * As softlane_softmax_with_f32, for bits of bf16.
 */
softlane_status softlane_softmax_with_bf16(const uint16_t *x,
                                           uint16_t *y,
                                           size_t rows,
                                           size_t classes,
                                           const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_with_f32, for bits of bf16.
 */
softlane_status softlane_log_softmax_with_bf16(const uint16_t *x,
                                               uint16_t *y,
                                               size_t rows,
                                               size_t classes,
                                               const struct softlane_softmax_options *options);

/**
 * As softlane_softmax_backward_with_f32, for bits of bf16.
 */
softlane_status softlane_softmax_backward_with_bf16(const uint16_t *y,
                                                    const uint16_t *dy,
                                                    uint16_t *dx,
                                                    size_t rows,
                                                    size_t classes,
                                                    const struct softlane_softmax_options *options);

/**
 * As softlane_log_softmax_backward_with_f32, for bits of bf16.
 */
softlane_status softlane_log_softmax_backward_with_bf16(const uint16_t *y,
                                                        const uint16_t *dy,
                                                        uint16_t *dx,
                                                        size_t rows,
                                                        size_t classes,
                                                        const struct softlane_softmax_options *options);

/**
 * As softlane_cross_entropy_f32, for bits of bf16.
 */
softlane_status softlane_cross_entropy_bf16(const uint16_t *logits,
                                            const int64_t *targets,
                                            size_t rows,
                                            size_t classes,
                                            const struct softlane_cross_entropy *options,
                                            float *loss,
                                            uint16_t *grad);

/**
 * As softlane_cross_entropy_soft_f32, for bits of bf16.
 */
softlane_status softlane_cross_entropy_soft_bf16(const uint16_t *logits,
                                                 const uint16_t *target_probs,
                                                 size_t rows,
                                                 size_t classes,
                                                 const struct softlane_cross_entropy *options,
                                                 float *loss,
                                                 uint16_t *grad);

/**
 * As softlane_binary_cross_entropy_f32, for bits of bf16.
 */
softlane_status softlane_binary_cross_entropy_bf16(const uint16_t *logits,
                                                   const uint16_t *targets,
                                                   size_t rows,
                                                   size_t labels,
                                                   const struct softlane_binary_cross_entropy *options,
                                                   float *loss,
                                                   uint16_t *grad);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SOFTLANE_H */

#ifndef SOFTLANE_H_DEFAULTS
#define SOFTLANE_H_DEFAULTS

/* The default options, of the size that this header knows. */
static inline softlane_cross_entropy softlane_cross_entropy_default(void) {
    softlane_cross_entropy options;
    (void)softlane_cross_entropy_init(&options, sizeof options);
    return options;
}
static inline softlane_binary_cross_entropy softlane_binary_cross_entropy_default(void) {
    softlane_binary_cross_entropy options;
    (void)softlane_binary_cross_entropy_init(&options, sizeof options);
    return options;
}
static inline softlane_softmax_options softlane_softmax_options_default(void) {
    softlane_softmax_options options;
    (void)softlane_softmax_options_init(&options, sizeof options);
    return options;
}

#endif
