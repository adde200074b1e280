#include "data/paths.h"

#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

char *reel__path_join(const char *dir, const char *name)
{
    size_t d = strlen(dir), n = strlen(name);
    char *path = reel__malloc(d + n + 2);
    if (!path) return NULL;
    memcpy(path, dir, d);
    if (d > 0 && dir[d - 1] != '/') path[d++] = '/';
    memcpy(path + d, name, n + 1);
    return path;
}

bool reel__is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool reel__is_there(const char *dir, const char *name)
{
    struct stat st;
    char *path = reel__path_join(dir, name);
    bool there = path && stat(path, &st) == 0;
    reel__free(path);
    return there;
}
