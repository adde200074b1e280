/* set_locale.c: in each test program: takes the environment's locale if REEL_TEST_LOCALE is set,
 * as programs do whose numbers have a comma. test_locale.sh runs them so. */
#include <locale.h>
#include <stdlib.h>

__attribute__((constructor)) static void set_locale(void)
{
    if (getenv("REEL_TEST_LOCALE")) setlocale(LC_ALL, "");
}
