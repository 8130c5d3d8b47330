/* What changes files below one folder fails at a step of one's choice, whoever asks for it: Python, polars, Arrow, torch.
 *
 * Loaded before the C library (LD_PRELOAD). A step is one opening for writing, writing, syncing, making, linking,
 * renaming, cutting or deleting; `seen` counts those below the folder. A full disk and one that is read-only stay so
 * until the process ends; any other error comes once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { TAKES_SPACE, CHANGES };

static char root[PATH_MAX];
static long failing_step;
static int failing_error;
static atomic_long steps;

void fail_below(const char *folder, long step, int error) {
    snprintf(root, sizeof root, "%s", folder);
    failing_step = step;
    failing_error = error;
    atomic_store(&steps, 0);
}

long seen(void) { return atomic_load(&steps); }

static int place_of_descriptor(int descriptor, char *place) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, place, PATH_MAX - 1);
    if (length < 0) return 0;
    place[length] = 0;
    return 1;
}

static int place_of_path(int folder, const char *path, char *place) {
    char beginning[PATH_MAX] = "";
    if (path[0] != '/') {
        if (folder == AT_FDCWD ? !getcwd(beginning, sizeof beginning) : !place_of_descriptor(folder, beginning)) return 0;
        strncat(beginning, "/", sizeof beginning - strlen(beginning) - 1);
    }
    return snprintf(place, PATH_MAX, "%s%s", beginning, path) < PATH_MAX;
}

static int fails(const char *place, enum kind kind) {
    if (!root[0] || strncmp(place, root, strlen(root)) != 0) return 0;
    long step = atomic_fetch_add(&steps, 1) + 1;
    int stays = failing_error == EROFS || (failing_error == ENOSPC && kind == TAKES_SPACE);
    if (!failing_step || step < failing_step || (step > failing_step && !stays)) return 0;
    errno = failing_error;
    return 1;
}

static int path_fails(int folder, const char *path, enum kind kind) {
    char place[PATH_MAX];
    int before = errno;
    int failed = root[0] && path && place_of_path(folder, path, place) && fails(place, kind);
    if (!failed) errno = before;
    return failed;
}

static int descriptor_fails(int descriptor, enum kind kind) {
    char place[PATH_MAX];
    int before = errno;
    int failed = root[0] && place_of_descriptor(descriptor, place) && fails(place, kind);
    if (!failed) errno = before;
    return failed;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OF_PATH(name, parameters, folder, path, kind, given) \
    int name parameters { \
        REAL(name); \
        return path_fails(folder, path, kind) ? -1 : real given; \
    }

#define OF_DESCRIPTOR(type, name, parameters, descriptor, kind, given) \
    type name parameters { \
        REAL(name); \
        return descriptor_fails(descriptor, kind) ? -1 : real given; \
    }

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return flags & (O_WRONLY | O_RDWR) && path_fails(AT_FDCWD, path, TAKES_SPACE) ? -1 : real(path, flags, mode); \
    }

#define OPENING_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return flags & (O_WRONLY | O_RDWR) && path_fails(folder, path, TAKES_SPACE) ? -1 : real(folder, path, flags, mode); \
    }

#define OPENING_STREAM(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        return strpbrk(mode, "wa+") && path_fails(AT_FDCWD, path, TAKES_SPACE) ? NULL : real(path, mode); \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
OPENING_STREAM(fopen)
OPENING_STREAM(fopen64)

OF_DESCRIPTOR(ssize_t, write, (int to, const void *data, size_t size), to, TAKES_SPACE, (to, data, size))
OF_DESCRIPTOR(ssize_t, writev, (int to, const struct iovec *data, int count), to, TAKES_SPACE, (to, data, count))
OF_DESCRIPTOR(ssize_t, pwrite, (int to, const void *data, size_t size, off_t at), to, TAKES_SPACE, (to, data, size, at))
OF_DESCRIPTOR(ssize_t, pwrite64, (int to, const void *data, size_t size, off64_t at), to, TAKES_SPACE, (to, data, size, at))
OF_DESCRIPTOR(int, fsync, (int to), to, TAKES_SPACE, (to))
OF_DESCRIPTOR(int, fdatasync, (int to), to, TAKES_SPACE, (to))
OF_DESCRIPTOR(int, ftruncate, (int to, off_t size), to, CHANGES, (to, size))
OF_DESCRIPTOR(int, ftruncate64, (int to, off64_t size), to, CHANGES, (to, size))

ssize_t sendfile(int to, int from, off_t *at, size_t size);
ssize_t sendfile64(int to, int from, off64_t *at, size_t size);
OF_DESCRIPTOR(ssize_t, sendfile, (int to, int from, off_t *at, size_t size), to, TAKES_SPACE, (to, from, at, size))
OF_DESCRIPTOR(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t size), to, TAKES_SPACE, (to, from, at, size))

OF_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, TAKES_SPACE, (path, mode))
OF_PATH(mkdirat, (int folder, const char *path, mode_t mode), folder, path, TAKES_SPACE, (folder, path, mode))
OF_PATH(rmdir, (const char *path), AT_FDCWD, path, CHANGES, (path))
OF_PATH(unlink, (const char *path), AT_FDCWD, path, CHANGES, (path))
OF_PATH(unlinkat, (int folder, const char *path, int flags), folder, path, CHANGES, (folder, path, flags))
OF_PATH(rename, (const char *from, const char *to), AT_FDCWD, to, CHANGES, (from, to))
OF_PATH(renameat, (int at, const char *from, int folder, const char *to), folder, to, CHANGES, (at, from, folder, to))
OF_PATH(link, (const char *from, const char *to), AT_FDCWD, to, TAKES_SPACE, (from, to))
OF_PATH(linkat, (int at, const char *from, int folder, const char *to, int flags), folder, to, TAKES_SPACE, (at, from, folder, to, flags))
OF_PATH(symlink, (const char *from, const char *to), AT_FDCWD, to, TAKES_SPACE, (from, to))
OF_PATH(symlinkat, (const char *from, int folder, const char *to), folder, to, TAKES_SPACE, (from, folder, to))
