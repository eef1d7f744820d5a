/* What can go wrong between a program and its disk, at a chosen moment.
 *
 * Loaded with LD_PRELOAD. It counts the calls that change files below one folder: a new file, a
 * write, a sync, a rename, a link, a removal, a new folder. At a chosen call it kills the process
 * (a write is first done by half), says that the disk is full from then on, or puts the clock back.
 *
 * torture_arm(folder, what, at) starts the count; torture_calls() is the count so far.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL, FULL, CLOCK };

static char root[PATH_MAX];
static size_t root_length;
static int what = NOTHING;
static long at = 0;
static long calls = 0;
static long long clock_shift = 0; /* seconds */

void torture_arm(const char *folder, int kind, long moment)
{
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    what = kind;
    at = moment;
    __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
}

long torture_calls(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }

static int is_below(const char *path)
{
    return root_length && strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == 0);
}

/* Whether a path, relative to an open folder or to the working folder, lies below the root. */
static int counts(int folder, const char *path)
{
    char start[PATH_MAX] = "", link[64], whole[2 * PATH_MAX];
    if (!root_length || !path) return 0;
    if (path[0] == '/') return is_below(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(start, sizeof start)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, start, sizeof start - 1);
        if (length < 0) return 0;
        start[length] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", start, path);
    return is_below(whole);
}

static int counts_open(int fd)
{
    char link[64], path[PATH_MAX];
    if (!root_length || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* Count one call. 0: go on; KILL or FULL: it happens at this call. */
static int moment(void)
{
    long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (what == KILL && n == at) return KILL;
    if (what == FULL && n >= at) return FULL;
    if (what == CLOCK && n == at) clock_shift = -86400;
    return NOTHING;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* The function of this name in the C library. */
#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* A call that makes the folder larger: killed before it, or refused for lack of room. */
#define GROWS(does_count) \
    if (does_count) { \
        int found = moment(); \
        if (found == KILL) die(); \
        if (found == FULL) { errno = ENOSPC; return -1; } \
    }
/* A call that a full disk allows. */
#define CHANGES(does_count) \
    if ((does_count) && moment() == KILL) die();

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        if (flags & (O_CREAT | O_TRUNC)) { GROWS(counts(AT_FDCWD, path)) } \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        if (flags & (O_CREAT | O_TRUNC)) { GROWS(counts(folder, path)) } \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (counts_open(fd)) {
        int found = moment();
        if (found) {
            if (size > 1) real(fd, data, size / 2);
            if (found == KILL) die();
            errno = ENOSPC;
            return -1;
        }
    }
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    GROWS(counts_open(fd))
    return real(fd, parts, count);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) \
    { \
        REAL(name); \
        GROWS(counts_open(fd)) \
        return real(fd, data, size, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, length_type) \
    int name(int fd, length_type length) \
    { \
        REAL(name); \
        GROWS(counts_open(fd)) \
        return real(fd, length); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size)
{
    REAL(sendfile64);
    GROWS(counts_open(out))
    return real(out, in, offset, size);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size)
{
    REAL(sendfile);
    GROWS(counts_open(out))
    return real(out, in, offset, size);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    REAL(copy_file_range);
    GROWS(counts_open(out))
    return real(in, from, out, to, size, flags);
}

int fsync(int fd)
{
    REAL(fsync);
    GROWS(counts_open(fd))
    return real(fd);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    GROWS(counts(AT_FDCWD, path))
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    REAL(mkdirat);
    GROWS(counts(folder, path))
    return real(folder, path, mode);
}

int link(const char *from, const char *to)
{
    REAL(link);
    GROWS(counts(AT_FDCWD, to))
    return real(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    REAL(linkat);
    GROWS(counts(b, to))
    return real(a, from, b, to, flags);
}

int symlink(const char *target, const char *path)
{
    REAL(symlink);
    GROWS(counts(AT_FDCWD, path))
    return real(target, path);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    CHANGES(counts(AT_FDCWD, to))
    return real(from, to);
}

int renameat(int a, const char *from, int b, const char *to)
{
    REAL(renameat);
    CHANGES(counts(b, to))
    return real(a, from, b, to);
}

int unlink(const char *path)
{
    REAL(unlink);
    CHANGES(counts(AT_FDCWD, path))
    return real(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(unlinkat);
    CHANGES(counts(folder, path))
    return real(folder, path, flags);
}

int rmdir(const char *path)
{
    REAL(rmdir);
    CHANGES(counts(AT_FDCWD, path))
    return real(path);
}

/* The clock, put back by a day from the chosen moment on. Files keep the kernel's time. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    int said = (int)syscall(SYS_clock_gettime, id, now);
    if (said == 0 && id == CLOCK_REALTIME) now->tv_sec += clock_shift;
    return said;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
