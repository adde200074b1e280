/* every_function.h: is every function that a header declares called in a test? */
#ifndef TESTS_SUPPORT_EVERY_FUNCTION_H
#define TESTS_SUPPORT_EVERY_FUNCTION_H

/* Fails unless each name that a REEL_API declaration of include/reel/HEADER has stands in
 * tests/TEST, both below the folder `source`, as reel_name( or ONE(name). */
void check_every_function(const char *source, const char *header, const char *test);

#endif
