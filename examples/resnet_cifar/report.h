/* report.h: what the run shows at its end: numbers and pictures. */
#ifndef RESNET_CIFAR_REPORT_H
#define RESNET_CIFAR_REPORT_H

#include <reel/reel.h>

/* One row of the curves; stored in checkpoints as f64 [epochs, REPORT_COLUMNS]. */
typedef struct epoch_row {
    double lr, train_loss, train_accuracy, test_loss, test_accuracy, seconds;
} epoch_row;
enum { REPORT_COLUMNS = 6 };

/* What the model says of each test image. */
typedef struct prediction {
    int64_t sample, label, guess;
    float confidence; /* probability of the guess */
} prediction;

/* Confusion matrix and accuracy of each class, as text. */
void report_classes(FILE *to, const reel_dataset *ds, const prediction *p, int64_t n);
/* Loss and accuracy by epoch. */
reel_status report_curves(const char *path, const char *title, const epoch_row *row,
                          int64_t n);
/* The most confident mistakes, at most rows x columns, as a picture; and listed on `to`.
 * Sorts `p`. */
reel_status report_mistakes(FILE *to, const char *path, reel_dataset *ds, prediction *p,
                            int64_t n);

#endif
