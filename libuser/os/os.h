/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the runtime asks of the operating system. Only this directory makes
 * system calls. Results are 0 (or a count) or -errno; the caller's errno is
 * left alone unless said otherwise.
 */
#ifndef KR_OS_OS_H
#define KR_OS_OS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KR_PAGE_SIZE	4096UL

/* vm.c */

/**
 * kr_vm_map() - Map zeroed anonymous memory.
 * @size: Bytes, whole pages.
 * @shared: MAP_SHARED (for memory that the module pins) or private.
 * @ret_addr: The mapping.
 *
 * Not backed until touched, not counted against overcommit.
 */
int kr_vm_map(size_t size, bool shared, void **ret_addr);
int kr_vm_unmap(void *addr, size_t size);
/* Make pages inaccessible: guards. */
int kr_vm_protect_none(void *addr, size_t size);
/* Keep transparent huge pages away from memory that is touched sparsely. */
void kr_vm_no_hugepage(void *addr, size_t size);
/* Children of fork() do not see this range. */
int kr_vm_dont_fork(void *addr, size_t size);

/* futex.c: process-private futexes */

/**
 * kr_futex_wait() - Sleep while *@word == @val.
 * @deadline_ns: Absolute CLOCK_MONOTONIC, UINT64_MAX never.
 *
 * Return: 0 (woken, perhaps spuriously, or the value differed), -ETIMEDOUT.
 */
int kr_futex_wait(uint32_t *word, uint32_t val, uint64_t deadline_ns);
void kr_futex_wake(uint32_t *word, int nr);

/*
 * A lock for short critical sections of the runtime. Take it only with
 * preemption off (kr_enter()) or on a thread that is no M, else a goroutine
 * stopped in the midst would hold it for long. Zeroed is unlocked.
 */
void kr_lock_slow(uint32_t *lock);

static inline void kr_lock(uint32_t *lock)
{
	uint32_t unlocked = 0;

	if (!__atomic_compare_exchange_n(lock, &unlocked, 1, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		kr_lock_slow(lock);
}

static inline bool kr_trylock(uint32_t *lock)
{
	uint32_t unlocked = 0;

	return __atomic_compare_exchange_n(lock, &unlocked, 1, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void kr_unlock(uint32_t *lock)
{
	if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
		kr_futex_wake(lock, 1);
}

/* clock.c */
uint64_t kr_clock_now_ns(void);
/* CPU time that a thread of this process has used. */
int kr_clock_thread_cpu_ns(pthread_t thread, uint64_t *ret_ns);
void kr_clock_sleep_ns(uint64_t ns);

/* thread.c */

/**
 * kr_thread_create() - Start a detached thread with all signals as they are.
 * @fn: What it runs.
 * @arg: Passed to @fn.
 * @stack_size: Of the new thread.
 * @ret_thread: Its handle, written before @fn can see it only by luck.
 */
int kr_thread_create(void *(*fn)(void *), void *arg, size_t stack_size,
		     pthread_t *ret_thread);
int kr_thread_tid(void);
/* State letter of /proc/self/task/TID/stat (R, S, D, ...) or 0. */
char kr_thread_state(int tid);
int kr_thread_kill(int tid, int sig);
/* Number of CPUs this process may use, and their numbers. */
unsigned int kr_cpus_allowed(unsigned int *ret_cpus, unsigned int max);
/* Pin the calling thread to one CPU; undo restores the mask of start-up. */
int kr_cpu_bind(unsigned int cpu);
void kr_cpu_unbind(void);

/**
 * kr_membarrier() - Make all running threads of the process pass a barrier.
 *
 * Return: 0, -ENOSYS where the kernel has none (kr_membarrier_init() said so).
 */
int kr_membarrier_init(void);
int kr_membarrier(void);

/* signal.c */

/**
 * kr_signal_install() - Install an SA_SIGINFO handler that restarts system
 * calls and runs on the alternate stack.
 */
int kr_signal_install(int sig,
		      void (*fn)(int sig, siginfo_t *info, void *uc));
/* Give the calling thread an alternate signal stack, unless it has one. */
int kr_signal_altstack(void *stack, size_t size);
void kr_signal_unblock(int sig);

/* file.c */
int kr_file_write_all(int fd, const char *buf, size_t len);

/* kdev.c: /dev/kaus */
int kr_kdev_open(void);
void kr_kdev_close(int fd);
/* One ioctl of uapi/linux/kaus.h; never restarted here. */
int kr_kdev_ioctl(int fd, unsigned int cmd, void *arg);

#endif /* KR_OS_OS_H */
