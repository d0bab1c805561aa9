/*
 * Probabilities of two rows of logits, and the loss and gradient that train a classifier.
 *
 *   cc -std=c99 softmax.c $(pkg-config --cflags --libs softlane) -o softmax && ./softmax
 */
#include <softlane.h>
#include <stdio.h>

static int failed(void) {
    fprintf(stderr, "softlane: %s\n", softlane_last_error());
    return 1;
}

int main(void) {
    const float logits[2 * 3] = {1, 2, 3, 20, 0, 1};
    const int64_t targets[2] = {2, 0};
    float probs[2 * 3];
    float grad[2 * 3];
    float loss[2];
    softlane_cross_entropy options = softlane_cross_entropy_default();

    if (softlane_softmax_f32(logits, probs, 2, 3) != SOFTLANE_OK) {
        return failed();
    }
    printf("probabilities: %.7f %.7f %.7f\n", probs[0], probs[1], probs[2]);

    /* One loss for each row: the second is not 0, though its class is almost sure. */
    options.reduction = SOFTLANE_NONE;
    if (softlane_cross_entropy_f32(logits, targets, 2, 3, &options, loss, grad) != SOFTLANE_OK) {
        return failed();
    }
    printf("losses: %.7g %.4g\n", loss[0], loss[1]);
    printf("gradient: %.7f %.7f %.7f\n", grad[0], grad[1], grad[2]);

    /* Errors are statuses, with a message. */
    {
        const int64_t wrong[2] = {2, 3};
        softlane_status status = softlane_cross_entropy_f32(logits, wrong, 2, 3, NULL, loss, NULL);
        printf("%s: %s\n", softlane_status_message(status), softlane_last_error());
    }
    return 0;
}
