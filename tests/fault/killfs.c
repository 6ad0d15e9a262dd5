/* LD_PRELOAD shim: counts a program's own calls that change files, and dies or fails at one of them.
 *
 *   KILLFS_COUNT_FILE  a file that always holds the number of calls begun and the name of the last one, or of the
 *                      first that was failed (struct counter)
 *   KILLFS_KILL_AT     SIGKILL to this process at the Nth call (the first is 1) ...
 *   KILLFS_WHEN        ... `before` it is made (default), or `after` it returned
 *   KILLFS_FAIL_AT     the Nth call is not made and fails with ...
 *   KILLFS_FAIL_FROM   the Nth call and all later ones fail (a disk that is full stays full) ...
 *   KILLFS_ERRNO       ... this number
 *   KILLFS_NAMES       only these calls count: names with commas between (default: all)
 *
 * Calls that go through the PLT are seen: kmtool's and SQLite's. Those of the token's module are left alone (the caller's
 * address tells); its faults are the forwarding module's business. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct counter {
  _Atomic uint64_t calls;
  char last[56];
};

static struct counter in_memory;
static struct counter* counter;
static uint64_t kill_at, fail_at, fail_from;
static int kill_after, fail_errno;
static _Atomic int failed;
static const char* names;

static uint64_t number_from(const char* variable) {
  const char* text = getenv(variable);
  return text == NULL ? 0 : strtoull(text, NULL, 10);
}

__attribute__((constructor)) static void start(void) {
  if (counter != NULL) return;
  counter = &in_memory;
  const char* path = getenv("KILLFS_COUNT_FILE");
  if (path != NULL) {
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    /* One byte at the end makes the file long enough without ftruncate, which is one of ours. */
    const int stretched = fd >= 0 && lseek(fd, 0, SEEK_END) >= (off_t)sizeof(struct counter);
    void* map = MAP_FAILED;
    if (fd >= 0 && (stretched || posix_fallocate(fd, 0, sizeof(struct counter)) == 0)) {
      map = mmap(NULL, sizeof(struct counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED) abort();
    close(fd);
    counter = map;
  }
  kill_at = number_from("KILLFS_KILL_AT");
  fail_at = number_from("KILLFS_FAIL_AT");
  fail_from = number_from("KILLFS_FAIL_FROM");
  fail_errno = (int)number_from("KILLFS_ERRNO");
  const char* when = getenv("KILLFS_WHEN");
  kill_after = when != NULL && strcmp(when, "after") == 0;
  names = getenv("KILLFS_NAMES");
}

static void die(void) {
  kill(getpid(), SIGKILL);
  abort();
}

/* Is this call counted: by name, and not made by the token's module or by the forwarding module before it? */
static int counted(const char* name, const void* caller) {
  if (names != NULL) {
    const size_t length = strlen(name);
    const char* at = names;
    while ((at = strstr(at, name)) != NULL) {
      if ((at == names || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) break;
      at += length;
    }
    if (at == NULL) return 0;
  }
  Dl_info info;
  if (dladdr(caller, &info) == 0 || info.dli_fname == NULL) return 1;
  return strstr(info.dli_fname, "libsofthsm2") == NULL && strstr(info.dli_fname, "libkmforward") == NULL;
}

enum verdict { go, go_and_die, fail };

static enum verdict begin(const char* name, const void* caller) {
  start();
  if (!counted(name, caller)) return go;
  const uint64_t number = atomic_fetch_add(&counter->calls, 1) + 1;
  if (!failed) snprintf(counter->last, sizeof counter->last, "%s", name);
  if (number == kill_at && !kill_after) die();
  if (number == fail_at || (fail_from != 0 && number >= fail_from)) {
    failed = 1;
    errno = fail_errno;
    return fail;
  }
  return number == kill_at ? go_and_die : go;
}

/* Looks the next library's function up each time: these calls are slow anyhow. */
#define SHIM(result, name, parameters, ...)                                 \
  __attribute__((visibility("default"))) result name parameters {           \
    const enum verdict verdict = begin(#name, __builtin_return_address(0)); \
    if (verdict == fail) return -1;                                         \
    result(*real) parameters = NULL;                                        \
    *(void**)&real = dlsym(RTLD_NEXT, #name);                               \
    const result value = real(__VA_ARGS__);                                 \
    if (verdict == go_and_die) die();                                       \
    return value;                                                           \
  }

/* What is said on standard error is no file's content, and must come through for the tests to read. */
__attribute__((visibility("default"))) ssize_t write(int fd, const void* data, size_t size) {
  const enum verdict verdict = fd == STDERR_FILENO ? go : begin("write", __builtin_return_address(0));
  if (verdict == fail) return -1;
  ssize_t (*real)(int, const void*, size_t) = NULL;
  *(void**)&real = dlsym(RTLD_NEXT, "write");
  const ssize_t value = real(fd, data, size);
  if (verdict == go_and_die) die();
  return value;
}
SHIM(ssize_t, writev, (int fd, const struct iovec* parts, int count), fd, parts, count)
SHIM(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t offset), fd, data, size, offset)
SHIM(ssize_t, pwrite64, (int fd, const void* data, size_t size, off64_t offset), fd, data, size, offset)
SHIM(int, fsync, (int fd), fd)
SHIM(int, fdatasync, (int fd), fd)
SHIM(int, rename, (const char* from, const char* to), from, to)
SHIM(int, renameat2, (int from_fd, const char* from, int to_fd, const char* to, unsigned flags), from_fd, from, to_fd, to, flags)
SHIM(int, link, (const char* from, const char* to), from, to)
SHIM(int, linkat, (int from_fd, const char* from, int to_fd, const char* to, int flags), from_fd, from, to_fd, to, flags)
SHIM(int, unlink, (const char* path), path)
SHIM(int, ftruncate, (int fd, off_t size), fd, size)
SHIM(int, ftruncate64, (int fd, off64_t size), fd, size)
SHIM(int, fallocate, (int fd, int mode, off_t offset, off_t size), fd, mode, offset, size)
