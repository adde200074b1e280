/* test_file.c: the file shim: limits, what is not a regular file, atomic replacement under every
 * fault, folders. */
#include "base/alloc.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NO_LIMIT INT64_MAX

static char root[64], path[128];

static int open_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s/reel-test-XXXXXX", P_tmpdir);
    if (!mkdtemp(root)) return -1;
    snprintf(path, sizeof path, "%s/file", root);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static int clear(void **state)
{
    (void)state;
    reel__fault_io(0, false, REEL__FAULT_EIO);
    reel__fault_alloc(0, false);
    reel_error_clear();
    return 0;
}

static const char *under_root(const char *name)
{
    static char full[192];
    snprintf(full, sizeof full, "%s/%s", root, name);
    return full;
}

/* The error is of this kind and its message names the path. */
static void assert_error(reel_status status, const char *named)
{
    assert_int_equal(reel_error_status(), status);
    assert_non_null(strstr(reel_error_message(), named));
    reel_error_clear();
}

static void assert_holds(const char *name, const char *text)
{
    size_t n;
    char *data = reel__file_load(name, NO_LIMIT, &n);
    assert_non_null(data);
    assert_int_equal(n, strlen(text));
    assert_string_equal(data, text);
    reel__free(data);
}

static size_t files_in_root(void)
{
    reel__names names;
    assert_int_equal(reel__folder_list(root, &names), REEL_OK);
    size_t n = names.n;
    reel__names_free(&names);
    return n;
}

/* ---- reading ----------------------------------------------------------------------- */

static void reads_exactly(void **state)
{
    (void)state;
    assert_int_equal(reel__file_save(path, "0123456789", 10), REEL_OK);
    reel__file f;
    assert_int_equal(reel__file_open(&f, path, 10), REEL_OK);
    assert_int_equal(f.size, 10);
    char b[8] = "";
    assert_int_equal(reel__file_read(&f, 3, b, 7), REEL_OK);
    assert_string_equal(b, "3456789");
    assert_int_equal(reel__file_read(&f, 10, b, 0), REEL_OK);
    const struct {
        int64_t offset;
        size_t n;
    } bad[] = {{4, 7}, {11, 0}, {-1, 1}, {0, SIZE_MAX}, {INT64_MAX, 1}, {INT64_MIN, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reel__file_read(&f, bad[i].offset, b, bad[i].n),
                         REEL_ERR_FORMAT);
        assert_error(REEL_ERR_FORMAT, path);
    }
    assert_int_equal(truncate(path, 5), 0); /* while it is open */
    assert_int_equal(reel__file_read(&f, 3, b, 7), REEL_ERR_FORMAT);
    assert_error(REEL_ERR_FORMAT, path);
    reel__file_close(&f);
    reel__file_close(&f); /* harmless */
}

static void maps(void **state)
{
    (void)state;
    for (int empty = 0; empty < 2; empty++)
        for (int fault = 0; fault < 2; fault++) { /* mmap refused: it is read */
            assert_int_equal(reel__file_save(path, "abc", empty ? 0 : 3), REEL_OK);
            reel__file f;
            reel__map m;
            assert_int_equal(reel__file_open(&f, path, NO_LIMIT), REEL_OK);
            reel__fault_io(fault, false, REEL__FAULT_EIO);
            assert_int_equal(reel__file_map(&f, &m), REEL_OK);
            reel__fault_io(0, false, REEL__FAULT_EIO);
            reel__file_close(&f);
            assert_non_null(m.data);
            assert_int_equal(m.size, empty ? 0 : 3);
            assert_memory_equal(m.data, "abc", m.size);
            assert_int_equal(m.memory != NULL, empty || fault);
            reel__file_unmap(&m);
            if (empty) break;
        }
}

static void refuses(void **state)
{
    (void)state;
    reel__file f;
    assert_int_equal(reel__file_open(&f, under_root("none"), NO_LIMIT), REEL_ERR_IO);
    assert_non_null(strstr(reel_error_message(), "No such file"));
    assert_error(REEL_ERR_IO, "none");
    assert_int_equal(reel__file_open(&f, root, NO_LIMIT), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "folder");
    assert_int_equal(reel__file_open(&f, NULL, NO_LIMIT), REEL_ERR_ARG);
    reel_error_clear();
    assert_int_equal(reel__file_save(path, "0123456789", 10), REEL_OK);
    assert_int_equal(reel__file_open(&f, path, 9), REEL_ERR_FORMAT);
    assert_error(REEL_ERR_FORMAT, "at most 9");
    size_t n;
    assert_null(reel__file_load(path, 9, &n));
    assert_error(REEL_ERR_FORMAT, path);
}

/* A pipe without a writer, a device without end: an alarm would kill a test that hangs. */
static void pipes_and_devices_do_not_hang(void **state)
{
    (void)state;
    alarm(5);
    const char *pipe_path = under_root("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    reel__file f;
    assert_int_equal(reel__file_open(&f, pipe_path, NO_LIMIT), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "pipe");
    assert_int_equal(reel__file_save(pipe_path, "x", 1), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "pipe");
    unlink(pipe_path);
    assert_int_equal(reel__file_open(&f, "/dev/zero", NO_LIMIT), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "device");
    assert_int_equal(reel__file_save("/dev/null", "x", 1), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "/dev/null");
    assert_int_equal(reel__file_save(root, "x", 1), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "folder");
    alarm(0);
}

/* ---- writing ----------------------------------------------------------------------- */

static void writes_in_pieces(void **state)
{
    (void)state;
    enum { N = 300000 }; /* several buffers */
    unsigned char *data = malloc(N);
    assert_non_null(data);
    for (int i = 0; i < N; i++) data[i] = (unsigned char)(i * 7 + i / 256);
    const size_t piece[] = {1, 1000, 65535, 65536, 70000, N};
    for (size_t k = 0; k < sizeof piece / sizeof *piece; k++) {
        reel__writer *w = reel__writer_open(path);
        assert_non_null(w);
        for (size_t i = 0; i < N; i += piece[k])
            reel__writer_write(w, data + i, N - i < piece[k] ? N - i : piece[k]);
        assert_int_equal(reel__writer_tell(w), N);
        assert_int_equal(reel__writer_commit(w), REEL_OK);
        size_t n;
        char *back = reel__file_load(path, NO_LIMIT, &n);
        assert_non_null(back);
        assert_int_equal(n, N);
        assert_memory_equal(back, data, N);
        reel__free(back);
    }
    free(data);
}

static void abort_keeps_the_old_file(void **state)
{
    (void)state;
    assert_int_equal(reel__file_save(path, "old", 3), REEL_OK);
    size_t before = files_in_root();
    reel__writer *w = reel__writer_open(path);
    reel__writer_write(w, "new", 3);
    reel__writer_abort(w);
    assert_holds(path, "old");
    assert_int_equal(files_in_root(), before);
    reel__writer_abort(NULL);
    assert_int_equal(reel__writer_write(NULL, "x", 1), REEL_ERR_STATE);
    reel_error_clear();
    assert_int_equal(reel__writer_commit(NULL), REEL_ERR_STATE);
    reel_error_clear();
    assert_null(reel__writer_open(""));
    assert_int_equal(reel_error_status(), REEL_ERR_ARG);
    reel_error_clear();
    assert_int_equal(reel__file_save(under_root("no/such/file"), "x", 1), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "no/such/file");
}

static void links_and_modes_survive(void **state)
{
    (void)state;
    assert_int_equal(reel__file_save(path, "old", 3), REEL_OK);
    assert_int_equal(chmod(path, 0640), 0);
    const char *link_path = under_root("link");
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(reel__file_save(link_path, "new", 3), REEL_OK);
    struct stat st;
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_holds(path, "new");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    unlink(link_path);
}

/* Every call to the system fails once, then all from the k-th on, with each error: the file
 * is the old one or the new one, whole, and nothing else is left behind. */
static void every_write_fault(void **state)
{
    (void)state;
    assert_int_equal(reel__file_save(path, "old", 3), REEL_OK);
    size_t before = files_in_root();
    for (int mode = 0; mode < 4; mode++) {
        reel__io_fault kind = mode % 2 ? REEL__FAULT_ENOSPC : REEL__FAULT_EIO;
        bool done = false;
        for (int64_t k = 1; !done; k++) {
            assert_int_equal(reel__file_save(path, "old", 3), REEL_OK);
            reel__fault_io(k, mode >= 2, kind);
            reel_status status = reel__file_save(path, "brand new", 9);
            done = reel__fault_io_count() < k;
            reel__fault_io(0, false, REEL__FAULT_EIO);
            assert_int_equal(status, reel_error_status());
            if (status != REEL_OK) {
                assert_non_null(strstr(reel_error_message(), mode % 2
                                                                 ? "No space left"
                                                                 : "Input/output error"));
                assert_error(REEL_ERR_IO, path);
            }
            size_t n;
            char *now = reel__file_load(path, NO_LIMIT, &n);
            assert_non_null(now);
            bool is_new = strcmp(now, "brand new") == 0;
            assert_true(is_new || strcmp(now, "old") == 0);
            if (status == REEL_OK) assert_true(is_new);
            /* Only what comes after the rename may fail with the new file in place. */
            if (is_new) assert_true(k >= 6);
            reel__free(now);
            assert_int_equal(files_in_root(), before);
            assert_true(k < 50);
        }
    }
}

static void every_read_fault(void **state)
{
    (void)state;
    assert_int_equal(reel__file_save(path, "text", 4), REEL_OK);
    for (int64_t k = 1; k <= 2; k++) { /* open, read */
        size_t n;
        reel__fault_io(k, false, REEL__FAULT_EIO);
        assert_null(reel__file_load(path, NO_LIMIT, &n));
        assert_error(REEL_ERR_IO, path);
        reel__fault_io(0, false, REEL__FAULT_EIO);
        reel__fault_alloc(k, false);
        assert_null(reel__file_load(path, NO_LIMIT, &n));
        assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
        reel__fault_alloc(0, false);
        reel_error_clear();
    }
    for (int64_t k = 1; k <= 4; k++) {
        reel__fault_alloc(k, false);
        assert_int_equal(reel__file_save(path, "new", 3), REEL_ERR_MEMORY);
        reel__fault_alloc(0, false);
        reel_error_clear();
        assert_holds(path, "text");
    }
}

/* Half of each transfer: everything arrives all the same. */
static void short_transfers(void **state)
{
    (void)state;
    const char *text = "a text that is cut in half again and again";
    reel__fault_io(1, true, REEL__FAULT_SHORT);
    assert_int_equal(reel__file_save(path, text, strlen(text)), REEL_OK);
    assert_true(reel__fault_io_count() > 8);
    assert_holds(path, text);
}

/* ---- folders ----------------------------------------------------------------------- */

static void folders(void **state)
{
    (void)state;
    const char *deep = under_root("a/b//c/");
    assert_int_equal(reel__make_folders(deep), REEL_OK);
    assert_int_equal(reel__make_folders(deep), REEL_OK);
    struct stat st;
    assert_true(stat(under_root("a/b/c"), &st) == 0 && S_ISDIR(st.st_mode));
    assert_int_equal(reel__file_save(under_root("a/z"), "", 0), REEL_OK);
    assert_int_equal(reel__file_save(under_root("a/Z"), "", 0), REEL_OK);
    assert_int_equal(reel__make_folders(under_root("a/z/y")), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "a/z");
    assert_int_equal(reel__make_folders(""), REEL_ERR_ARG);
    reel_error_clear();
    reel__names names;
    assert_int_equal(reel__folder_list(under_root("a"), &names), REEL_OK);
    assert_int_equal(names.n, 3);
    assert_string_equal(names.name[0], "Z");
    assert_string_equal(names.name[1], "b");
    assert_string_equal(names.name[2], "z");
    reel__names_free(&names);
    assert_int_equal(reel__folder_list(under_root("a/z"), &names), REEL_ERR_IO);
    assert_error(REEL_ERR_IO, "a/z");
    for (int64_t k = 1; k <= 4; k++) { /* the list, then three names */
        reel__fault_alloc(k, false);
        assert_int_equal(reel__folder_list(under_root("a"), &names), REEL_ERR_MEMORY);
        assert_null(names.name);
        reel__fault_alloc(0, false);
        reel_error_clear();
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)
    const struct CMUnitTest tests[] = {
        TEST(reads_exactly),
        TEST(maps),
        TEST(refuses),
        TEST(pipes_and_devices_do_not_hang),
        TEST(writes_in_pieces),
        TEST(abort_keeps_the_old_file),
        TEST(links_and_modes_survive),
        TEST(every_write_fault),
        TEST(every_read_fault),
        TEST(short_transfers),
        TEST(folders),
    };
    return cmocka_run_group_tests(tests, open_root, remove_root);
}
