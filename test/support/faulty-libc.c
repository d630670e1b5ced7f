/* Faults below a process that knows nothing of them: loaded before the C library (LD_PRELOAD), it lets calls fail and
 * clocks be wrong as a file says, which the test changes while the process runs. See faulty-libc.ts. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct faults {
  int32_t read_errno;  /* 0: none */
  int32_t write_errno; /* of writes, truncations and syncs */
  int32_t no_sync;     /* 1: a sync says that it has synced, and has not */
  int32_t unused;
  int64_t clock_step_ms;
};

static const volatile struct faults *faults;
static const char *below; /* files whose path begins so suffer */

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTY_LIBC");
  below = getenv("FAULTY_LIBC_BELOW");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) faults = at;
}

static int suffers(int fd, int code) {
  if (!code || !below) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strncmp(path, below, strlen(below)) == 0;
}

#define FAIL_IF(fd, which) \
  do { int code = faults ? faults->which : 0; if (suffers(fd, code)) { errno = code; return -1; } } while (0)
#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t pread64(int fd, void *to, size_t size, off64_t at) { REAL(pread64); FAIL_IF(fd, read_errno); return real(fd, to, size, at); }
ssize_t pread(int fd, void *to, size_t size, off_t at) { REAL(pread); FAIL_IF(fd, read_errno); return real(fd, to, size, at); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { REAL(pwrite64); FAIL_IF(fd, write_errno); return real(fd, from, size, at); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { REAL(pwrite); FAIL_IF(fd, write_errno); return real(fd, from, size, at); }
ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at) { REAL(pwritev); FAIL_IF(fd, write_errno); return real(fd, from, count, at); }
ssize_t write(int fd, const void *from, size_t size) { REAL(write); FAIL_IF(fd, write_errno); return real(fd, from, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); FAIL_IF(fd, write_errno); return real(fd, size); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); FAIL_IF(fd, write_errno); return real(fd, size); }

int fsync(int fd) { REAL(fsync); FAIL_IF(fd, write_errno); return suffers(fd, faults ? faults->no_sync : 0) ? 0 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL_IF(fd, write_errno); return suffers(fd, faults ? faults->no_sync : 0) ? 0 : real(fd); }

static int64_t step_ms(void) { return faults ? faults->clock_step_ms : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(clock_gettime);
  int result = real(clock, now);
  if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
  int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + step_ms() * 1000000;
  now->tv_sec = ns / 1000000000;
  now->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now) *now = precise.tv_sec;
  return precise.tv_sec;
}
