/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Address space that is reserved first, and memory that comes and goes in it. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/barrier.h"
#include "os/os.h"

_Static_assert(sizeof(struct kr_vm_range) == sizeof(struct iovec) &&
	       offsetof(struct kr_vm_range, size) ==
	       offsetof(struct iovec, iov_len), "struct kr_vm_range");

int kr_vm_reserve(size_t size, size_t align, void **ret_addr)
{
	int saved_errno = errno;
	char *addr, *aligned;
	size_t before;

	addr = mmap(NULL, size + align, PROT_NONE,
		    MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED) {
		int err = -errno;

		errno = saved_errno;
		return err;
	}
	aligned = (char *)(((uintptr_t)addr + align - 1) & ~(align - 1));
	before = (size_t)(aligned - addr);
	if (before)
		munmap(addr, before);
	munmap(aligned + size, align - before);
	errno = saved_errno;
	*ret_addr = aligned;
	return 0;
}

int kr_vm_commit(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = mprotect(addr, size, PROT_READ | PROT_WRITE) ? -errno : 0;

	errno = saved_errno;
	return err;
}

/*
 * Many ranges in one call. process_madvise(2) takes MADV_DONTNEED for the
 * caller's own memory since Linux 6.13, and from 6.16 on flushes the TLBs once
 * for all of them. What an older kernel, or a filter, answers to the first call
 * counts for all: one without any memory, before anybody relies on it.
 */
static struct {
	int pidfd;
	pid_t pid;	/* whose it is: a child of fork() must not use it */
} batch = { .pidfd = -1 };

bool kr_vm_batch_init(void)
{
	int saved_errno = errno;
	long ret = -1;
	int fd;

	fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (fd >= 0) {
		char *page = mmap(NULL, KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct iovec iov = { page, KR_PAGE_SIZE };

		if (page != MAP_FAILED) {
			ret = syscall(SYS_process_madvise, fd, &iov, 1,
				      MADV_DONTNEED, 0);
			munmap(page, KR_PAGE_SIZE);
		}
		if (ret == KR_PAGE_SIZE) {
			WRITE_ONCE(batch.pid, getpid());
			/* Release: others return memory meanwhile. */
			smp_store_release(&batch.pidfd, fd);
		} else {
			close(fd);
		}
	}
	errno = saved_errno;
	return READ_ONCE(batch.pidfd) >= 0;
}

/* Return: how many of @ranges have been given back whole. */
static unsigned int return_batch(const struct kr_vm_range *ranges,
				 unsigned int nr)
{
	int fd = smp_load_acquire(&batch.pidfd);
	unsigned int i;
	long done;

	if (nr < 2 || fd < 0 || READ_ONCE(batch.pid) != getpid())
		return 0;
	done = syscall(SYS_process_madvise, fd, ranges, (size_t)nr,
		       MADV_DONTNEED, 0);
	/* It stops where it fails, in the middle of one perhaps. */
	for (i = 0; i < nr && done >= (long)ranges[i].size; i++)
		done -= (long)ranges[i].size;
	return i;
}

#define HUGE_BYTES	(2UL << 20)

static void split_at(uintptr_t addr, uintptr_t *last)
{
	uintptr_t block = addr & ~(HUGE_BYTES - 1);

	if (block != *last)
		(void)madvise((void *)addr, KR_PAGE_SIZE, MADV_FREE);
	*last = block;
}

/*
 * A huge page of which a part is returned is unmapped there and stays whole: no
 * memory becomes free, and the control group pays for all of it, until reclaim
 * splits it. MADV_FREE on a part splits it at once. Which is done to one page in
 * each 2 MiB that ranges begin or end within; without huge pages it does nothing
 * but that. Ranges come by falling address: no block comes twice.
 */
static void split_huge(const struct kr_vm_range *ranges, unsigned int nr)
{
	uintptr_t last = 0;

	for (unsigned int i = 0; i < nr; i++) {
		uintptr_t lo = (uintptr_t)ranges[i].addr;
		uintptr_t hi = lo + ranges[i].size;
		uintptr_t end = hi & ~(HUGE_BYTES - 1);

		if (hi != end)
			split_at(end > lo ? end : lo, &last);
		if (lo & (HUGE_BYTES - 1))
			split_at(lo, &last);
	}
}

int kr_vm_return(const struct kr_vm_range *ranges, unsigned int nr)
{
	int saved_errno = errno;
	int err = 0;

	/* The kernel would round the end up, and free what is beyond. */
	for (unsigned int i = 0; i < nr; i++)
		if (((uintptr_t)ranges[i].addr | ranges[i].size) &
		    (KR_PAGE_SIZE - 1))
			return -EINVAL;
	split_huge(ranges, nr);
	for (unsigned int i = return_batch(ranges, nr); i < nr && !err; i++)
		if (madvise(ranges[i].addr, ranges[i].size, MADV_DONTNEED))
			err = -errno;
	errno = saved_errno;
	return err;
}

int kr_vm_free_lazily(const struct kr_vm_range *ranges, unsigned int nr)
{
	int saved_errno = errno;
	int err = 0;

	for (unsigned int i = 0; i < nr && !err; i++) {
		/* As above. */
		if (((uintptr_t)ranges[i].addr | ranges[i].size) &
		    (KR_PAGE_SIZE - 1))
			err = -EINVAL;
		else if (madvise(ranges[i].addr, ranges[i].size, MADV_FREE))
			err = -errno;
	}
	errno = saved_errno;
	return err;
}

size_t kr_vm_limit(void)
{
	int saved_errno = errno;
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY };

	(void)getrlimit(RLIMIT_AS, &limit);
	errno = saved_errno;
	return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit.rlim_cur;
}
