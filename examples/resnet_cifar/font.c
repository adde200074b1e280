/* font.c: letters of 3 by 5 dots. */
#include "font.h"

#include <ctype.h>
#include <string.h>

/* A row of dots is one octal digit, from the top. */
static const uint16_t letters[26] = {
    025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227, /* a to i */
    011152, 055655, 044447, 057755, 065555, 025552, 065644, 025563, 065655, /* j to r */
    034216, 072222, 055557, 055552, 055775, 055255, 055222, 071247,         /* s to z */
};
static const uint16_t digits[10] = {
    075557, 026227, 061247, 061216, 055711, 074616, 034757, 071222, 075757, 075716,
};

static unsigned glyph(char c)
{
    int small = tolower((unsigned char)c);
    if (small >= 'a' && small <= 'z') return letters[small - 'a'];
    return small >= '0' && small <= '9' ? digits[small - '0'] : 0;
}

void font_write(uint8_t *px, int width, int x, int y, int room, const char *text,
                const uint8_t colour[3])
{
    for (; *text && room >= 3 * FONT_SCALE; text++) {
        unsigned dots = glyph(*text);
        for (int v = 0; v < 5 * FONT_SCALE; v++)
            for (int u = 0; u < 3 * FONT_SCALE; u++) {
                int row = v / FONT_SCALE, column = u / FONT_SCALE;
                if (dots >> (14 - 3 * row - column) & 1)
                    memcpy(px + ((y + v) * width + x + u) * 3, colour, 3);
            }
        x += 4 * FONT_SCALE;
        room -= 4 * FONT_SCALE;
    }
}
