/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Returning free pages of the heap to the kernel; how much and when. */
#ifndef KR_MEM_SCAVENGE_H
#define KR_MEM_SCAVENGE_H

#include <stdint.h>

#include "mem/pages.h"

/* So much free memory is not worth a thread: 8 MiB. */
#define KR_SCAVENGE_MIN_PAGES	1024U

/**
 * kr_scavenge() - Return free pages to the kernel, long runs first.
 * @max_pages: At most so many.
 *
 * Context: a thread that has the time. Return: how many it were.
 */
uint64_t kr_scavenge(uint64_t max_pages);

/* Or let it have them when it needs some; not those that it may have already. */
uint64_t kr_scavenge_lazily(uint64_t max_pages);

/* The same for pages in spans; @max_bytes. Return: bytes that were returned. */
uint64_t kr_scavenge_spans(uint64_t max_bytes);
/* All is swept, by now: there may be such pages. Preemption off or a thread. */
void kr_scavenge_swept(void);

/* The control group has a limit: one that may be lowered, and then kills. */
void kr_scavenge_set_limited(bool on);

/* So much was returned, and the thread's CPU time. Context: any. */
void kr_scavenge_read_stats(uint64_t *ret_bytes, uint64_t *ret_cpu_ns);

/* How it meets those above. */
struct kr_scavenge_ops {
	/* The kernel's pages that are wanted since this was asked last. */
	uint64_t (*take_wanted)(void);
	/* Memory is short: give back what else there is, or have that done. */
	void (*pressed)(void);
};

/* 1 while its thread is there, or about to be. */
extern uint32_t kr_scavenge_nr_threads;

/* The scavenger's thread; @arg: its const struct kr_scavenge_ops. */
void *kr_scavenge_main(void *arg);

/* There is something to take. False: there is no thread yet. */
bool kr_scavenge_wake(void);

#endif /* KR_MEM_SCAVENGE_H */
