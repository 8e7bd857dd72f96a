// SPDX-License-Identifier: GPL-2.0-only
/*
 * kw: threads that are workers, pools of parked ones, and what /proc says
 * about a thread. See kw.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kw.h"

static void *thread_main(void *arg)
{
	struct kw_thread *t = arg;

	t->tid = kw_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
	kw_self.hook = t->hook;
	t->ret = kw_register(t->kw, t->worker);
	KW_STORE(t->ready, 1);
	if (!t->ret) {
		t->fn(t);
		if (!t->keep)
			kw_unregister(t->kw);
	}
	KW_STORE(t->done, 1);
	return NULL;
}

/* Start @fn as worker @worker; returns when it is registered, or cannot be. */
int kw_thread_start(struct kw_thread *t, struct kw *k, uint32_t worker,
		    void (*fn)(struct kw_thread *self), void *arg)
{
	pthread_attr_t attr;
	int ret;

	t->kw = k;
	t->worker = worker;
	t->fn = fn;
	t->arg = arg;
	t->ready = 0;
	t->done = 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	ret = pthread_create(&t->thread, &attr, thread_main, t);
	pthread_attr_destroy(&attr);
	if (ret)
		return -ret;
	if (!KW_WAIT(KW_LOAD(t->ready)))
		return -ETIMEDOUT;
	return t->ret;
}

int kw_thread_join(struct kw_thread *t)
{
	return -pthread_join(t->thread, NULL);
}

static ssize_t read_task(pid_t tid, const char *file, char *buf, size_t len)
{
	char path[64];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", tid, tid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, file);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return -1;
	ret = read(fd, buf, len - 1);
	close(fd);
	buf[ret > 0 ? ret : 0] = 0;
	return ret;
}

char kw_thread_state(pid_t tid)
{
	char buf[512], *p;

	if (read_task(tid, "stat", buf, sizeof(buf)) <= 0)
		return 0;
	p = strrchr(buf, ')');
	return p ? p[2] : 0;
}

bool kw_asleep(pid_t tid)
{
	char state = kw_thread_state(tid);

	return state == 'S' || state == 'D';
}

bool kw_in_syscall(pid_t tid, long nr)
{
	char buf[256];

	return read_task(tid, "syscall", buf, sizeof(buf)) > 0 &&
	       buf[0] >= '0' && buf[0] <= '9' && atol(buf) == nr;
}

bool kw_parked(pid_t tid)
{
	return kw_in_syscall(tid, SYS_ioctl);
}

int kw_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

int kw_nr_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

long kw_on_cpus(const char *column)
{
	FILE *f = fopen("/sys/kernel/debug/kaus/cpus", "re");
	int at = -1, i;
	long sum = -1;
	char line[512], *save, *s;

	while (f && fgets(line, sizeof(line), f)) {
		s = strtok_r(line, " \n", &save);
		for (i = 0; s; s = strtok_r(NULL, " \n", &save), i++) {
			if (at < 0 && !strcmp(s, column))
				at = i;
			else if (at == i)
				sum += atol(s) + (sum < 0);
		}
	}
	if (f)
		fclose(f);
	return sum;
}

long kw_pinned_bytes(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb < 0 ? -1 : kb * 1024;
}

/* --- the pool ------------------------------------------------------------- */

void kw_pool_loop(struct kw_thread *t)
{
	struct kw_pool *pool = t->arg;
	uint32_t proc;
	int ret;

	while (!KW_LOAD(pool->stop)) {
		ret = kw_park(t->kw, KAUS_PARK_POOL, pool->home, KAUS_FOREVER,
			      &proc);
		if (ret == -EINTR)
			continue;
		if (ret) {
			t->value = -ret;
			return;
		}
		if (proc == KAUS_NONE)
			continue;
		KW_STORE(kw_self.slot->proc, proc);
		pool->given(t, proc);
		KW_ADD(t->count, 1);
	}
}

/* Start @nr pool workers on the slots from @first; all are parked on return. */
int kw_pool_start(struct kw_pool *pool, struct kw *k, struct kw_thread *t,
		  uint32_t first, uint32_t nr)
{
	int ret;

	for (uint32_t i = 0; i < nr; i++) {
		ret = kw_thread_start(&t[i], k, first + i, kw_pool_loop, pool);
		if (ret)
			return ret;
		if (!KW_WAIT(kw_parked(t[i].tid)))
			return -ETIMEDOUT;
	}
	return 0;
}

void kw_pool_stop(struct kw_pool *pool, struct kw_thread *t, uint32_t nr)
{
	KW_STORE(pool->stop, 1);
	for (uint32_t i = 0; i < nr; i++) {
		/* Already gone: -ESRCH. */
		kw_wake(t[i].kw, t[i].worker, KAUS_NONE, 0);
		kw_thread_join(&t[i]);
	}
}
