/* json.c: JSON as the commands write it (RFC 8259). */
#include "cli.h"

#include <inttypes.h>
#include <math.h>

/* Bytes of the UTF-8 sequence at s, of which at least one byte is there; 0 if it is none
 * (RFC 3629: the shortest form, no surrogates, up to U+10FFFF). */
static int utf8_length(const unsigned char *s)
{
    int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] > 0xf4) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool good = !(s[0] == 0xe0 && s[1] < 0xa0) && !(s[0] == 0xed && s[1] >= 0xa0) &&
                !(s[0] == 0xf0 && s[1] < 0x90) && !(s[0] == 0xf4 && s[1] >= 0x90);
    return good ? n : 0;
}

/* Names come from files and may hold anything; what is no UTF-8 becomes U+FFFD. */
static void put_text(const char *text)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        int n = utf8_length(c);
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20)
            printf("\\u%04x", *c);
        else if (n)
            fwrite(c, 1, (size_t)n, stdout);
        else
            fputs("\\ufffd", stdout);
        c += n ? n : 1;
    }
    putchar('"');
}

static void begin(json *j, const char *key)
{
    if (j->after) fputs(", ", stdout);
    j->after = true;
    if (!key) return;
    put_text(key);
    fputs(": ", stdout);
}

void json_open(json *j, const char *key, char bracket)
{
    begin(j, key);
    putchar(bracket);
    j->after = false;
}

void json_close(json *j, char bracket)
{
    putchar(bracket);
    j->after = true;
}

void json_text(json *j, const char *key, const char *text)
{
    begin(j, key);
    if (text)
        put_text(text);
    else
        fputs("null", stdout);
}

void json_number(json *j, const char *key, double number)
{
    begin(j, key);
    if (isfinite(number))
        printf("%.9g", number);
    else
        fputs("null", stdout); /* JSON has no other way to say it */
}

void json_whole(json *j, const char *key, int64_t number)
{
    begin(j, key);
    printf("%" PRId64, number);
}

void json_bool(json *j, const char *key, bool yes)
{
    begin(j, key);
    fputs(yes ? "true" : "false", stdout);
}

void json_end(void)
{
    putchar('\n');
}
