/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Counters of the runtime. */
#ifndef KAUS_STAT_H
#define KAUS_STAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kaus_stats - What the scheduler has done so far.
 * @size: In: sizeof(struct kaus_stats).
 * @nr_procs: Number of Ps.
 * @nr_idle_procs: Ps nobody holds at this moment.
 * @nr_sleeping_procs: Ps whose holder sleeps in the kernel at this moment.
 * @nr_threads: Ms started.
 * @nr_gs: Goroutines alive.
 * @nr_runnable: Goroutines waiting for a P at this moment.
 * @nr_switches: Goroutines started or resumed.
 * @nr_preempts: Goroutines preempted in the midst of their code.
 * @nr_yield_preempts: Preemptions that could wait for the end of a call into
 *	the runtime (and so cost no thread switch).
 * @nr_redirects: Entries into the trampoline, whatever came of them.
 * @nr_handoffs: Ps given to another M because the holder slept in the kernel.
 * @nr_lost: Times an M came back from the kernel without its P.
 * @nr_steals: Successful steals.
 * @assist: "module" or "signal".
 */
struct kaus_stats {
	size_t size;
	uint32_t nr_procs;
	uint32_t nr_idle_procs;
	uint32_t nr_sleeping_procs;
	uint32_t nr_threads;
	uint64_t nr_gs;
	uint64_t nr_runnable;
	uint64_t nr_switches;
	uint64_t nr_preempts;
	uint64_t nr_yield_preempts;
	uint64_t nr_redirects;
	uint64_t nr_handoffs;
	uint64_t nr_lost;
	uint64_t nr_steals;
	const char *assist;
};

/**
 * kaus_stats_read() - Read the counters.
 * @st: Result; @st->size set by the caller.
 *
 * The values are not taken at one instant.
 *
 * Context: any thread while the runtime runs; cheap enough for 1 kHz.
 * Return: 0, -EINVAL for an unknown size, -EPERM if the runtime never ran.
 */
int kaus_stats_read(struct kaus_stats *st);

/**
 * kaus_dump() - Write one line for each goroutine to a file descriptor.
 * @fd: Where to.
 *
 * Number, state, wait reason, M, P and stack of each.
 *
 * Context: any thread.
 * Return: 0, -EPERM if the runtime never ran, or the
 * error of write(2).
 */
int kaus_dump(int fd);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_STAT_H */
