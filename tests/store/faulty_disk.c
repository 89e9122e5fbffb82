/* The k-th write to a file of a journal fails, or takes half of what it is given. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long at, count;
static int how; /* an errno, or 0 for a short write */

void arm(long k, int error) { at = k; count = 0; how = error; }
long writes(void) { return count; }

static int strikes(int fd) {
    char link[64], path[4096];
    if (at == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "journal.db") && ++count == at;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL if (strikes(fd)) { if (how) { errno = how; return -1; } size = (size + 1) / 2; }

ssize_t write(int fd, const void *data, size_t size) { REAL(write); FAIL return real(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t o) {
    REAL(pwrite); FAIL return real(fd, data, size, o);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t o) {
    REAL(pwrite64); FAIL return real(fd, data, size, o);
}
#undef FAIL
#define FAIL if (strikes(fd) && how) { errno = how; return -1; }
int fsync(int fd) { REAL(fsync); FAIL return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL return real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); FAIL return real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); FAIL return real(fd, size); }
