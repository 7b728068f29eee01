/* Fails the FAIL_AT-th call of FAIL_CALL ("sync" or "write") on files whose name ends in FAIL_FILE, once; later calls
   succeed, as a disk does that hides what it lost. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *call, int fd) {
  static int count;
  const char *wanted = getenv("FAIL_CALL"), *file = getenv("FAIL_FILE"), *at = getenv("FAIL_AT");
  char link[64], path[4096];
  if (!wanted || !file || !at || strcmp(wanted, call)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < (ssize_t)strlen(file)) return 0;
  path[length] = 0;
  if (strcmp(path + length - strlen(file), file)) return 0;
  return __sync_add_and_fetch(&count, 1) == atoi(at);
}

#define SYNC(name) \
  int name(int fd) { \
    if (fails("sync", fd)) { errno = EIO; return -1; } \
    return ((int (*)(int))dlsym(RTLD_NEXT, #name))(fd); \
  }
SYNC(fsync)
SYNC(fdatasync)

#define WRITE(name, offset) \
  ssize_t name(int fd, const void *bytes, size_t length, offset at) { \
    ssize_t (*next)(int, const void *, size_t, offset) = dlsym(RTLD_NEXT, #name); \
    if (fails("write", fd)) { next(fd, bytes, length / 2, at); errno = EIO; return -1; } \
    return next(fd, bytes, length, at); \
  }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)
