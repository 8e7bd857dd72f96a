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

#include "base/barrier.h"

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

/**
 * kr_vm_grow() - Enlarge a private mapping, moving its pages if need be.
 * @old_size: Its size, 0 if there is none yet.
 * @size: The new one; both are whole pages.
 * @addr: Where it is, and then is.
 */
int kr_vm_grow(size_t old_size, size_t size, void **addr);
int kr_vm_unmap(void *addr, size_t size);
/**
 * kr_vm_guard() - Make pages inaccessible.
 * @may_split: Even where that splits the mapping.
 * @ret_cheap: It did not.
 *
 * Return: 0, -ENOMEM where only a split would do, or another error.
 */
int kr_vm_guard(void *addr, size_t size, bool may_split, bool *ret_cheap);
/* Give back the memory behind pages, which read as zeros then. */
void kr_vm_discard(void *addr, size_t size);
/*
 * Ask for transparent huge pages, or keep them away from memory that is touched
 * sparsely. Return: 0; kernels without them refuse.
 */
int kr_vm_hugepage(void *addr, size_t size, bool on);
/* Children of fork() do not see this range. */
int kr_vm_dont_fork(void *addr, size_t size);

/* reserve.c */

/**
 * kr_vm_reserve() - Reserve addresses that cannot be accessed yet.
 * @size: Bytes, a multiple of @align.
 * @align: A power of two, whole pages.
 * @ret_addr: Where.
 */
int kr_vm_reserve(size_t size, size_t align, void **ret_addr);
/* Make a part of them accessible: zeroed, as after kr_vm_map(). */
int kr_vm_commit(void *addr, size_t size);

/* A range of whole pages. */
struct kr_vm_range {
	void *addr;
	size_t size;
};

/* Give the memory below ranges back: they read as zero from now on. */
int kr_vm_return(const struct kr_vm_range *ranges, unsigned int nr);
/*
 * Or let the kernel have it when it is short of memory, if they have not been
 * written to by then: until then they read as before, or as zero.
 */
int kr_vm_free_lazily(const struct kr_vm_range *ranges, unsigned int nr);
/* Once, before: find out whether it can be returned in one call. True: it can. */
bool kr_vm_batch_init(void);
/* Bytes of address space that the process may have; SIZE_MAX: no limit. */
size_t kr_vm_limit(void);

/* dirty.c: which pages of the process have been written */

/**
 * kr_dirty_open() - Find a way by which the kernel tells it.
 * @wanted: The only one that may be used ("scan", "soft"), or NULL.
 *
 * Context: one at a time, as all of these but kr_dirty_each().
 * Return: its name, or NULL: there is none here.
 */
const char *kr_dirty_open(const char *wanted);
/* In a child of fork(): as before kr_dirty_open(). */
void kr_dirty_forked(void);
/* Whole pages that will be asked about. 0 or -errno. */
int kr_dirty_add(void *addr, size_t size);

/* Between the two pages can be asked about. 0 or -errno. */
int kr_dirty_begin(void);
void kr_dirty_end(void);
/*
 * After kr_dirty_begin(): from now on these count as not written. Some ways do
 * so with all pages that there are, in kr_dirty_begin().
 */
int kr_dirty_clean(void *addr, size_t size);

/* Pages from @lo to before @hi have been written, or may have been. */
typedef void (*kr_dirty_fn)(void *arg, const char *lo, const char *hi);

/**
 * kr_dirty_each() - Call a function for all pages that have been written.
 * @lo: The first page.
 * @hi: Behind the last one.
 * @take: They count as not written afterwards; if kr_dirty_takes().
 * @fn: Called for each run of pages, which may be written again meanwhile.
 * @arg: Passed to @fn.
 *
 * Context: any number at a time. Wants 5 KiB of stack.
 * Return: 0 or -errno: more pages may have been written.
 */
int kr_dirty_each(const char *lo, const char *hi, bool take, kr_dirty_fn fn,
		  void *arg);
bool kr_dirty_takes(void);
/* Nobody will ask about these: writing to them costs less than before. */
void kr_dirty_release(void *addr, size_t size);
/* False: nothing that was said since kr_dirty_begin() may be relied on. */
bool kr_dirty_intact(void);

/* pressure.c */

struct kr_pressure {
	int wake_fd, psi_fd, cgroup_psi_fd, cgroup_fd;
};

int kr_pressure_open(struct kr_pressure *pr);

/**
 * kr_pressure_wait() - Sleep until memory is short or somebody wakes us.
 * @pr: From kr_pressure_open().
 * @timeout_ms: Not longer than this; -1: for ever.
 *
 * Return: true if memory is short.
 */
bool kr_pressure_wait(struct kr_pressure *pr, int timeout_ms);
/* Any context. */
void kr_pressure_wake(const struct kr_pressure *pr);

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

/*
 * Without a locked operation, which is a third of what a channel costs: so no
 * barrier for what comes after it, and who falls asleep in the very moment
 * between load and store is not woken, but looks again soon (kr_lock_slow()).
 * The load is not after the store, for then the lock may be gone.
 */
static inline void kr_unlock_quick(uint32_t *lock)
{
	if (likely(READ_ONCE(*lock) == 1))
		smp_store_release(lock, 0);
	else
		kr_unlock(lock);
}

/* clock.c */
uint64_t kr_clock_now_ns(void);
/* CPU time that a thread of this process has used; it may be gone. */
int kr_clock_thread_cpu_ns(int tid, uint64_t *ret_ns);
void kr_clock_sleep_ns(uint64_t ns);

/**
 * kr_clock_exact_begin() - The thread is about to sleep until @deadline_ns.
 * @deadline_ns: Absolute CLOCK_MONOTONIC or UINT64_MAX.
 *
 * If that is soon the kernel is asked to wake it then, and not up to 50 us
 * later. Not for good: threads and processes that a goroutine makes inherit the
 * slack.
 *
 * Return: for kr_clock_exact_end(), afterwards.
 */
bool kr_clock_exact_begin(uint64_t deadline_ns);
void kr_clock_exact_end(bool exact);

/*
 * Ticks: then the kernel looks whose turn it is, and who has had enough. All CPUs
 * tick together, or some microseconds after another (unless booted with skew_tick).
 */

/*
 * Wait for one, busily, and remember when it was. False: it was not seen, as others
 * had the CPU.
 */
bool kr_clock_find_tick(void);

/**
 * kr_clock_tick_ns() - When was the last tick?
 * @ret_period_ns: From one to the next; 0: not known.
 *
 * Return: ns since then, less than a period: a tick may be late, or left out.
 */
uint64_t kr_clock_tick_ns(uint64_t *ret_period_ns);

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
/* The same without argument, and no signal is for it. */
int kr_thread_create_quiet(void *(*fn)(void *), size_t stack_size,
			   pthread_t *ret_thread);
int kr_thread_tid(void);
/* Where the stack of the calling thread ends. May wait for locks of libc. */
int kr_thread_stack_end(uintptr_t *ret_end);
/* State letter of /proc/self/task/TID/stat (R, S, D, ...) or 0. */
char kr_thread_state(int tid);
int kr_thread_kill(int tid, int sig);
/**
 * kr_cpus_allowed() - Number of CPUs the process may use, and their numbers.
 * @tid: A thread that kr_cpu_bind() is not called on, or 0 for the caller.
 * @ret_cpus: The first @max of them.
 * @max: Size of @ret_cpus.
 */
unsigned int kr_cpus_allowed(int tid, unsigned int *ret_cpus, unsigned int max);
/* Are they others than when they were last asked for? */
bool kr_cpus_changed(int tid);
/* Pin the calling thread to one CPU; undo allows what was found last above. */
int kr_cpu_bind(unsigned int cpu);
void kr_cpu_unbind(void);

/**
 * kr_membarrier() - Make all running threads of the process pass a barrier.
 *
 * Return: 0, -ENOSYS where the kernel has none (kr_membarrier_init() said so).
 */
int kr_membarrier_init(void);
int kr_membarrier(void);

/* segment.c */

/* Variables: from @lo to before @hi. */
typedef void (*kr_segment_fn)(void *arg, const void *lo, const void *hi);

/**
 * kr_segments_for_each() - Writable data of the program and its libraries,
 * without what is read-only once it has been relocated.
 * @fn: Called for each range.
 * @arg: Passed to @fn.
 *
 * Takes no lock. Context: nothing else loads or unloads a library meanwhile.
 */
void kr_segments_for_each(kr_segment_fn fn, void *arg);

/* maps.c */

/* Code of a file that is mapped. */
struct kr_code_map {
	uint64_t lo, hi, offset;
	const char *path;		/* or the name of something else */
};

typedef void (*kr_code_map_fn)(void *arg, const struct kr_code_map *map);

/**
 * kr_code_maps_for_each() - Where the code of the program and its libraries is.
 * @fn: Called for each range.
 * @arg: Passed to @fn.
 *
 * Wants 5 KiB of stack. Return: 0, or an error of reading /proc/self/maps.
 */
int kr_code_maps_for_each(kr_code_map_fn fn, void *arg);

/* signal.c */

/**
 * kr_signal_install() - Install an SA_SIGINFO handler that restarts system
 * calls and runs on the alternate stack.
 */
int kr_signal_install(int sig,
		      void (*fn)(int sig, siginfo_t *info, void *uc));
/* Give the calling thread an alternate signal stack; -EEXIST: it has one. */
int kr_signal_altstack(void *stack, size_t size);
/* Take it away. */
void kr_signal_no_altstack(void);
void kr_signal_unblock(int sig);
bool kr_signal_is_default(int sig);
void kr_signal_default(int sig);

/* file.c */
int kr_file_write_all(int fd, const char *buf, size_t len);

/**
 * kr_proc_status() - What /proc/self/status says.
 * @ret_threads: Number of threads.
 * @ret_caught: Bit n-1: signal n has a handler.
 */
int kr_proc_status(unsigned int *ret_threads, uint64_t *ret_caught);
/* What the process has in memory, in bytes; 0: not known. */
uint64_t kr_proc_resident(void);

/* cgroup.c */

/**
 * kr_cgroup_cpus() - CPUs' worth of time that the process may use.
 *
 * Return: the quota over the period, rounded up; 0: no limit.
 */
unsigned int kr_cgroup_cpus(void);
/**
 * kr_cgroup_memory() - Memory that the process's control group may use.
 *
 * Return: the least of memory.max and memory.high (version 1: limit_in_bytes)
 * of the group and those above it, in bytes; UINT64_MAX: no limit.
 */
uint64_t kr_cgroup_memory(void);
/**
 * kr_cgroup_open() - Open a file of the process's group of version 2.
 * @name: As "memory.events".
 * @flags: Of open(2).
 *
 * Return: a descriptor or -errno.
 */
int kr_cgroup_open(const char *name, int flags);
/* Where the process's cgroup and mountinfo are: tests have others. */
extern const char *kr_cgroup_proc;

/* elf.c */

/* Where an instruction is. */
struct kr_where {
	const char *file;	/* the program or a library */
	uintptr_t in_file;	/* address as the file's own tables count */
	char name[64];		/* function, cut short; "": not known */
	uintptr_t in_name;	/* bytes from its beginning */
};

/* False: in no file at all. Safe in signal handlers. */
bool kr_elf_where(uintptr_t ip, struct kr_where *ret_where);

/* kdev.c: /dev/kaus */
int kr_kdev_open(void);
void kr_kdev_close(int fd);
/* One ioctl of uapi/linux/kaus.h; never restarted here. */
int kr_kdev_ioctl(int fd, unsigned int cmd, void *arg);
/*
 * Close the file behind a descriptor, but keep its number for what @watch is, or
 * else for something new, which wants a descriptor for a moment.
 */
int kr_kdev_replace(int fd, int watch);
/* @fd gets the number @to, whose file is closed. */
int kr_kdev_move(int fd, int to);
/* Watch for the device: a descriptor for inotify, or an error. */
int kr_kdev_watch(void);
/* Has it appeared, or become accessible, since the last time? Does not wait. */
bool kr_kdev_watch_has_come(int watch);

#endif /* KR_OS_OS_H */
