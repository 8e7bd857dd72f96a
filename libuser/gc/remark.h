/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Cycles without a barrier: what was written meanwhile is looked at again. */
#ifndef KR_GC_REMARK_H
#define KR_GC_REMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "gc/work.h"

struct m;

/* What the environment allows: see kr_dirty_open(); "off": nothing. */
void kr_remark_init(const char *wanted);
/* The kernel tells which pages are written. Any context; finds out once. */
bool kr_remark_is_possible(void);
void kr_remark_forked(void);

/*
 * No page of the heap counts as written from now on. Before the stop that begins
 * a cycle, by the only one that may begin one. @mp: the M, preemption off, which may
 * be another one then, or NULL. False: it cannot be done.
 */
bool kr_remark_arm(struct m **mp);
/* The cycle is over, or was not begun. */
void kr_remark_disarm(void);

/*
 * After a cycle, the world runs: pages that are still protected cost the program a
 * fault each when it writes to them, which this does away with, until others want
 * the CPU of @mp, which may be NULL. If a cycle begins meanwhile, it finds that more
 * pages have been written than were.
 */
void kr_remark_release(const struct m *mp);

/*
 * The world is stopped: @fn marks a range of variables. The first time in a
 * cycle all of it, and then, after kr_remark_again(), what was written.
 */
void kr_remark_segment(struct kr_marker *mk, const char *lo, const char *hi,
		       void (*fn)(void *arg, const void *lo, const void *hi));
void kr_remark_again(void);

/*
 * A round over the heap is begun, for kr_remark_slice(): as long as there are
 * many pages to be looked at while the program runs. By one at a time.
 */
bool kr_remark_next_round(void);
/* Or with the world stopped; and that was too much: more while it runs. */
void kr_remark_last_round(void);
void kr_remark_was_not_last(void);
bool kr_remark_has_slices(void);
/* Look at what was written in a part of the heap. In kr_work. False: no part. */
bool kr_remark_slice(struct kr_marker *mk);
/* Bytes looked at in this round. */
uint64_t kr_remark_bytes(void);
/* The world is stopped: look at all that is marked, if pages are not known. */
void kr_remark_all_if_blind(struct kr_marker *mk);

#endif /* KR_GC_REMARK_H */
