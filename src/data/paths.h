/* paths.h: questions about paths that datasets ask. */
#ifndef REEL_DATA_PATHS_H
#define REEL_DATA_PATHS_H

#include <stdbool.h>

/* "dir/name"; the caller frees it with reel__free(). NULL and a pending error on
 *  failure. */
char *reel__path_join(const char *dir, const char *name);
/* Links are followed. */
bool reel__is_folder(const char *path);
/* True if dir/name is there, of whatever kind. False and a pending error without
 *  memory. */
bool reel__is_there(const char *dir, const char *name);

#endif
