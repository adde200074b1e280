/* font.h: the smallest letters that can be read, for captions in pictures. */
#ifndef RESNET_CIFAR_FONT_H
#define RESNET_CIFAR_FONT_H

#include <stdint.h>

enum { FONT_SCALE = 2 }; /* a letter takes 4 by 6 times this, spacing included */

/* Writes `text` in RGB pixels of `width` a row, its upper left corner at (x, y); what does not
 * fit into `room` pixels is left out. Capitals become small; what is not a letter or digit, a
 * gap. */
void font_write(uint8_t *px, int width, int x, int y, int room, const char *text,
                const uint8_t colour[3]);

#endif
