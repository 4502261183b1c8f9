/* Faults of the machine below a running gateway, by LD_PRELOAD: a disk that is full or slow, a wall clock that is set.
 * The test turns them on and off by writing into the file that FAULTS_FILE names, which is mapped here.
 * Each number is eight bytes in the machine's order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct faults {
    volatile int64_t wall_clock_offset_ms; /* added to CLOCK_REALTIME */
    volatile int64_t sync_delay_ms;        /* how long each fdatasync and fsync waits before it begins */
    volatile int64_t disk_full;            /* not 0: whatever would make a file grow fails with ENOSPC */
    volatile int64_t syncs_begun;          /* counted here, read by the test */
    volatile int64_t syncs_ended;
};

static struct faults none;
static struct faults *faults = &none;

__attribute__((constructor)) static void map_faults(void) {
    const char *name = getenv("FAULTS_FILE");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(0, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) faults = page;
    close(file);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL(clock_gettime);
    int result = real(clock, at);
    if (result == 0 && clock == CLOCK_REALTIME) {
        int64_t ns = at->tv_nsec + (faults->wall_clock_offset_ms % 1000) * 1000000;
        at->tv_sec += faults->wall_clock_offset_ms / 1000 + ns / 1000000000;
        at->tv_nsec = ns % 1000000000;
        if (at->tv_nsec < 0) { at->tv_nsec += 1000000000; at->tv_sec -= 1; }
    }
    return result;
}

static void begin_sync(void) {
    __sync_fetch_and_add(&faults->syncs_begun, 1);
    /* In short turns, so that the test can let go of a sync that hangs. */
    const struct timespec turn = {0, 10 * 1000000};
    for (int64_t waited_ms = 0; waited_ms < faults->sync_delay_ms; waited_ms += 10) nanosleep(&turn, 0);
}

int fdatasync(int file) {
    REAL(fdatasync);
    begin_sync();
    int result = real(file);
    __sync_fetch_and_add(&faults->syncs_ended, 1);
    return result;
}

int fsync(int file) {
    REAL(fsync);
    begin_sync();
    int result = real(file);
    __sync_fetch_and_add(&faults->syncs_ended, 1);
    return result;
}

/* Space that a file has already is not taken away from it. */
static int is_refused(int file, off64_t end) {
    struct stat64 now;
    return faults->disk_full && fstat64(file, &now) == 0 && S_ISREG(now.st_mode) && end > now.st_size;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (is_refused(file, at + (off64_t)count)) { errno = ENOSPC; return -1; }
    return real(file, bytes, count, at);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    REAL(pwrite);
    if (is_refused(file, at + (off_t)count)) { errno = ENOSPC; return -1; }
    return real(file, bytes, count, at);
}

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    if (faults->disk_full) {
        off64_t at = lseek64(file, 0, SEEK_CUR);
        if (at >= 0 && is_refused(file, at + (off64_t)count)) { errno = ENOSPC; return -1; }
    }
    return real(file, bytes, count);
}
