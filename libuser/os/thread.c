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

#include "os/os.h"

#define MAX_CPUS	4096
#define CPU_SET_BYTES	CPU_ALLOC_SIZE(MAX_CPUS)

/* Mask of the process at start-up, to give back to children. */
static unsigned char start_mask[MAX_CPUS / 8] __attribute__((aligned(8)));
static bool start_mask_known;

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

unsigned int kr_cpus_allowed(unsigned int *ret_cpus, unsigned int max)
{
	cpu_set_t *set = (cpu_set_t *)start_mask;
	unsigned int nr = 0;

	memset(start_mask, 0, sizeof(start_mask));
	if (sched_getaffinity(0, CPU_SET_BYTES, set))
		return 0;
	start_mask_known = true;
	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!CPU_ISSET_S(cpu, CPU_SET_BYTES, set))
			continue;
		if (nr < max)
			ret_cpus[nr] = cpu;
		nr++;
	}
	return nr;
}

int kr_cpu_bind(unsigned int cpu)
{
	unsigned char mask[sizeof(start_mask)] __attribute__((aligned(8)));
	cpu_set_t *set = (cpu_set_t *)mask;
	int saved_errno = errno;
	int err = 0;

	memset(mask, 0, sizeof(mask));
	CPU_SET_S(cpu, CPU_SET_BYTES, set);
	/* Bytes beyond the CPU are not needed and cost copying. */
	if (sched_setaffinity(0, (cpu / 64 + 1) * 8, set))
		err = -errno;
	errno = saved_errno;
	return err;
}

void kr_cpu_unbind(void)
{
	int saved_errno = errno;

	if (start_mask_known)
		(void)sched_setaffinity(0, CPU_SET_BYTES,
					(cpu_set_t *)start_mask);
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
