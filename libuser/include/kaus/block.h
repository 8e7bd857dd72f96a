/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Telling the scheduler that a goroutine is about to sleep in the kernel. */
#ifndef KAUS_BLOCK_H
#define KAUS_BLOCK_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * None of this is needed for correctness: a goroutine may make any system call,
 * and loses its P when it sleeps. With the module that costs no notice. Without
 * it somebody has to find out, up to 10 ms later; these calls say so at once.
 */

/**
 * kaus_block_begin() - What follows may sleep in the kernel.
 *
 * Until kaus_block_end() the P may be taken by others who have work for it. The
 * caller may be preempted or not in between, and may call nothing of this library but
 * kaus_block_end(), kaus_now_ns() and kaus_raw_syscall(). With the module this
 * does nothing. errno is preserved.
 *
 * Context: G.
 * Return: 0, or -EPERM outside a goroutine or between begin and end.
 */
int kaus_block_begin(void);

/**
 * kaus_block_end() - It is over.
 *
 * Waits for a P if the caller's was taken. errno is preserved.
 *
 * Context: G.
 * Return: 0, or -EPERM if there was no kaus_block_begin().
 */
int kaus_block_end(void);

/**
 * kaus_blocking() - Call a function that is known to sleep.
 * @fn: What to call; the rules of kaus_block_begin() hold for it.
 * @arg: Passed to @fn.
 *
 * The P goes to another thread at once if anybody waits for it.
 *
 * Context: any; outside a goroutine it is a plain call.
 * Return: What @fn returned.
 */
void *kaus_blocking(void *(*fn)(void *arg), void *arg);

/**
 * kaus_syscall() - One system call between begin and end.
 * @nr: Its number, SYS_xxx of <sys/syscall.h>.
 * @...: Up to six arguments, each as wide as a long.
 *
 * Context: any; outside a goroutine it is kaus_raw_syscall().
 * Return: What the kernel returned: -errno on failure. errno is not touched.
 */
long kaus_syscall(long nr, ...);

/**
 * kaus_raw_syscall() - One system call, without the C library or any notice.
 * @nr: Its number.
 * @a: First argument.
 * @b: Second argument.
 * @c: Third argument.
 * @d: Fourth argument.
 * @e: Fifth argument.
 * @f: Sixth argument.
 *
 * Context: any, signal handlers included.
 * Return: What the kernel returned: -errno on failure. errno is not touched.
 */
long kaus_raw_syscall(long nr, long a, long b, long c, long d, long e, long f);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_BLOCK_H */
