/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Threads, CPUs and barriers between them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/barrier.h"
#include "os/os.h"

#define MAX_CPUS	4096
#define CPU_SET_BYTES	CPU_ALLOC_SIZE(MAX_CPUS)

#define MASK_WORDS	(MAX_CPUS / 64)

/*
 * What the process may use, for threads and children that are not bound. May
 * be changed while others use it: a mixture is a mask as well.
 */
static uint64_t allowed_mask[MASK_WORDS];
static bool allowed_known;

int kr_thread_create(void *(*fn)(void *), void *arg, size_t stack_size,
		     pthread_t *ret_thread)
{
	pthread_attr_t attr;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, stack_size);
	err = pthread_create(ret_thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

int kr_thread_create_quiet(void *(*fn)(void *), size_t stack_size,
			   pthread_t *ret_thread)
{
	sigset_t all, saved;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	err = kr_thread_create(fn, NULL, stack_size, ret_thread);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return err;
}

int kr_thread_stack_end(uintptr_t *ret_end)
{
	pthread_attr_t attr;
	size_t size;
	void *lo;
	int err;

	err = pthread_getattr_np(pthread_self(), &attr);
	if (err)
		return -err;
	pthread_attr_getstack(&attr, &lo, &size);
	pthread_attr_destroy(&attr);
	*ret_end = (uintptr_t)lo + size;
	return 0;
}

int kr_thread_tid(void)
{
	return (int)syscall(SYS_gettid);
}

char kr_thread_state(int tid)
{
	int saved_errno = errno;
	char path[64], buf[256], state = 0;
	const char *paren;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, buf, sizeof(buf) - 1);
		close(fd);
		if (len > 0) {
			buf[len] = '\0';
			/* The name may hold anything, the last ) ends it. */
			paren = strrchr(buf, ')');
			if (paren && paren[1] == ' ')
				state = paren[2];
		}
	}
	errno = saved_errno;
	return state;
}

int kr_thread_kill(int tid, int sig)
{
	int saved_errno = errno;
	int err = syscall(SYS_tgkill, getpid(), tid, sig) ? -errno : 0;

	errno = saved_errno;
	return err;
}

unsigned int kr_cpus_allowed(int tid, unsigned int *ret_cpus, unsigned int max)
{
	uint64_t mask[MASK_WORDS] = { 0 };
	cpu_set_t *set = (cpu_set_t *)mask;
	int saved_errno = errno;
	unsigned int nr = 0;
	int err;

	err = sched_getaffinity(tid, CPU_SET_BYTES, set);
	errno = saved_errno;
	if (err)
		return 0;
	for (int i = 0; i < MASK_WORDS; i++)
		WRITE_ONCE(allowed_mask[i], mask[i]);
	smp_store_release(&allowed_known, true);
	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!CPU_ISSET_S(cpu, CPU_SET_BYTES, set))
			continue;
		if (nr < max)
			ret_cpus[nr] = cpu;
		nr++;
	}
	return nr;
}

bool kr_cpus_changed(int tid)
{
	uint64_t mask[MASK_WORDS] = { 0 };
	int saved_errno = errno;
	bool changed = false;

	if (sched_getaffinity(tid, CPU_SET_BYTES, (cpu_set_t *)mask) < 0) {
		errno = saved_errno;
		return false;
	}
	for (int i = 0; i < MASK_WORDS; i++)
		changed |= mask[i] != READ_ONCE(allowed_mask[i]);
	return changed;
}

int kr_cpu_bind(unsigned int cpu)
{
	uint64_t mask[MASK_WORDS] = { 0 };
	cpu_set_t *set = (cpu_set_t *)mask;
	int saved_errno = errno;
	int err = 0;

	CPU_SET_S(cpu, CPU_SET_BYTES, set);
	/* Bytes beyond the CPU are not needed and cost copying. */
	if (sched_setaffinity(0, (cpu / 64 + 1) * 8, set))
		err = -errno;
	errno = saved_errno;
	return err;
}

void kr_cpu_unbind(void)
{
	uint64_t mask[MASK_WORDS];
	int saved_errno = errno;

	if (!smp_load_acquire(&allowed_known))
		return;
	for (int i = 0; i < MASK_WORDS; i++)
		mask[i] = READ_ONCE(allowed_mask[i]);
	(void)sched_setaffinity(0, CPU_SET_BYTES, (cpu_set_t *)mask);
	errno = saved_errno;
}

int kr_membarrier_init(void)
{
	int saved_errno = errno;
	int err = 0;

	if (syscall(SYS_membarrier,
		    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
		err = -errno;
	errno = saved_errno;
	return err;
}

int kr_membarrier(void)
{
	int saved_errno = errno;
	int err = 0;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		err = -errno;
	errno = saved_errno;
	return err;
}
