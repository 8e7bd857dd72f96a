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
 * @nr_threads: Ms, threads that run goroutines; idle ones end after a while.
 * @nr_gs: Goroutines alive.
 * @nr_runnable: Goroutines waiting for a P at this moment.
 * @nr_switches: Goroutines started or resumed.
 * @nr_preempts: Goroutines preempted in the midst of their code.
 * @nr_yield_preempts: Preemptions that could wait for the end of a call into
 *	the runtime (and so cost no thread switch).
 * @nr_light_preempts: Of nr_preempts, those in a preemptible function, for
 *	which no thread changed (kaus/preemptible.h).
 * @nr_redirects: Entries into the trampoline, whatever came of them.
 * @nr_handoffs: Ps given to another M because the holder slept in the kernel.
 * @nr_lost: Times an M came back from the kernel without its P.
 * @nr_steals: Successful steals.
 * @nr_timers: Armed timers: sleeps and deadlines of calls that wait.
 * @nr_stack_hits: Goroutines that started on a stack from their P's cache.
 * @nr_stack_misses: Those whose stack came from the global pool.
 * @nr_stacks: Stacks that exist, as address space at least.
 * @nr_pooled_stacks: Free ones in the global pool that have memory.
 * @nr_trimmed_stacks: Times that a free stack gave its memory back.
 * @assist: "module" or "signal": who helps the scheduler now.
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
	uint64_t nr_light_preempts;
	uint64_t nr_redirects;
	uint64_t nr_handoffs;
	uint64_t nr_lost;
	uint64_t nr_steals;
	uint64_t nr_timers;
	uint64_t nr_stack_hits;
	uint64_t nr_stack_misses;
	uint64_t nr_stacks;
	uint64_t nr_pooled_stacks;
	uint64_t nr_trimmed_stacks;
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
 * kaus_dump() - Write a line for the heap and one for each goroutine.
 * @fd: Where to.
 *
 * Of the heap its size, what was live last, when it is collected next, the
 * limit, its pages and those that are free, finalizers that are due; of each
 * goroutine number, state, wait reason, M and stack.
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
