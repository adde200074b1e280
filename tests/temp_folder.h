/* temp_folder.h: a folder for the files of one test program, and what tests ask of
 * them. */
#ifndef TESTS_TEMP_FOLDER_H
#define TESTS_TEMP_FOLDER_H

#include <reel/base.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"

static char temp_root[64];

/* Group setup and teardown. */
static inline int temp_open(void **state)
{
    (void)state;
    snprintf(temp_root, sizeof temp_root, "%s/reel-test-XXXXXX", P_tmpdir);
    return mkdtemp(temp_root) ? 0 : -1;
}

static inline int temp_remove(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", temp_root);
    return system(command);
}

/* Test setup: no fault, no error left over, and the folder empty. */
static inline int temp_clean(void **state)
{
    (void)state;
    reel__fault_io(0, false, REEL__FAULT_EIO);
    reel__fault_alloc(0, false);
    reel_error_clear();
    char command[192];
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", temp_root, temp_root);
    return system(command);
}

/* Path of a name in the folder; four at a time may be in use. */
static inline const char *temp_path(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", temp_root, name);
    return p;
}

/* Writes a file, and the folders above it. */
static inline void temp_write(const char *name, const void *data, size_t n)
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s", temp_path(name));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(reel__make_folders(folder), REEL_OK);
    remove(temp_path(name)); /* a file made shorter is flushed by some systems: slow */
    FILE *f = fopen(temp_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline size_t temp_count(void)
{
    reel__names names;
    assert_int_equal(reel__folder_list(temp_root, &names), REEL_OK);
    size_t n = names.n;
    reel__names_free(&names);
    return n;
}

/* An error of this kind is pending, and its message has `named` in it. Clears it. */
static inline void assert_error(reel_status status, const char *named)
{
    if (reel_error_status() != status || !strstr(reel_error_message(), named))
        print_error("pending: %s: %s\n  expected: %s: %s\n",
                    reel_status_name(reel_error_status()), reel_error_message(),
                    reel_status_name(status), named);
    assert_int_equal(reel_error_status(), status);
    assert_non_null(strstr(reel_error_message(), named));
    reel_error_clear();
}

/* Nothing went wrong; says what did. */
static inline void assert_ok(void)
{
    if (reel_failed()) print_error("pending: %s\n", reel_error_message());
    assert_false(reel_failed());
}

#endif
