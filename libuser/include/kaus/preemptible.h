/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Functions that may be preempted cheaply.
 *
 * A goroutine that is preempted in mid code keeps its thread, as that code may
 * hold a lock or use thread-local data: another thread takes over. A function
 * marked KAUS_PREEMPTIBLE promises that this does not matter. Preempting it is a
 * switch of goroutines without a system call, and it may go on on another
 * thread.
 */
#ifndef KAUS_PREEMPTIBLE_H
#define KAUS_PREEMPTIBLE_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * KAUS_PREEMPTIBLE - Mark a function as independent of its thread.
 *
 *	KAUS_PREEMPTIBLE static double integrate(double (*f)(double), ...)
 *
 * The promise covers the function with what it has inlined, and all its callers
 * up to the goroutine's first function:
 *	- no use of thread-local variables, errno included, that spans an
 *	  instruction at which it may be preempted: that is, none at all in the
 *	  marked function, and no address of one kept by its callers;
 *	- no lock held that belongs to a thread (pthread_mutex_t, stdio's,
 *	  malloc's): so it is not a callback of a library that holds one.
 *
 * What the function calls is not covered: it is preempted in the usual manner
 * while it is in a function without the mark.
 */
#define KAUS_PREEMPTIBLE \
	__attribute__((noinline, section("kaus_preemptible")))

/**
 * kaus_preemptible_add() - Tell the runtime where preemptible code is.
 * @start: Its first byte.
 * @end: Behind its last byte.
 *
 * For code from elsewhere, such as a compiler at run time: what
 * KAUS_PREEMPTIBLE marks is told by a constructor in each object. Ranges stay
 * for the life of the process: do not unload an object that has one.
 *
 * Context: any, before or while the runtime runs; not a signal handler.
 *
 * Return: 0, also for a range known already; -EINVAL if @end is not above
 * @start; -ENOSPC beyond 64 ranges.
 */
int kaus_preemptible_add(const void *start, const void *end);

/* The linker's names for the section of this program or shared object. */
extern const char kaus_preemptible_start_[] __asm__("__start_kaus_preemptible")
	__attribute__((weak, visibility("hidden")));
extern const char kaus_preemptible_end_[] __asm__("__stop_kaus_preemptible")
	__attribute__((weak, visibility("hidden")));

__attribute__((constructor, unused)) static void kaus_preemptible_init_(void)
{
	if (kaus_preemptible_start_)
		(void)kaus_preemptible_add(kaus_preemptible_start_,
					   kaus_preemptible_end_);
}

#ifdef __cplusplus
}
#endif

#endif /* KAUS_PREEMPTIBLE_H */
