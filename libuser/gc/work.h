/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Work of a cycle: objects that are marked and not scanned yet, and who scans
 * them. How it is shared and how its end is noticed: work.c.
 */
#ifndef KR_GC_WORK_H
#define KR_GC_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define KR_BLOCK_ITEMS	KR_SIZE(510U, 6U)
#define KR_FIFO_ITEMS	KR_SIZE(16U, 2U)	/* a power of two */

struct kr_block {
	struct kr_block *next;
	uint64_t nr;
	uintptr_t items[KR_BLOCK_ITEMS];
};

struct kr_marker {
	struct kr_block *block;		/* its own, or NULL */
	/* Objects on their way from the block, being fetched from memory. */
	uintptr_t fifo[KR_FIFO_ITEMS];
	uint32_t fifo_pos;
	uint32_t nr_since_look;		/* scanned since it looked who is idle */
	/* Counts of this cycle. */
	uint64_t marked_bytes, nr_marked, scan_bytes, root_bytes, stack_bytes;
	uint64_t done_bytes;		/* of scan_bytes, those looked at */
	uint64_t cpu_ns;
	/* Of the check mode: what has just been marked, and from where. */
	void (*found)(struct kr_marker *mk, uintptr_t obj, const void *slot);
	bool alone;			/* the world is stopped: no atomics */
	bool gives_way;			/* to one who wants to stop it */
} KR_PAIR_ALIGNED;

/* A cycle begins: there must be nothing left of the last one. */
void kr_work_begin(void);
/* In a child of fork(): what others were at is forgotten. */
void kr_work_forked(void);

/**
 * kr_work_take() - Get a block when the own one is empty.
 * @mk: The marker; has a block with items afterwards.
 *
 * Return: false if there is none. Others may still be at work.
 */
bool kr_work_take(struct kr_marker *mk);
/* Room for one item at least. */
void kr_work_room(struct kr_marker *mk);
/* Give half of what there is to others, if they find nothing. */
void kr_work_share(struct kr_marker *mk);
/* Give all that there is to others: the marker is empty. */
void kr_work_flush(struct kr_marker *mk);
/* Nothing waits to be taken, neither there nor among the roots. */
bool kr_work_is_empty(void);

/* Between the two a marker may have something that others do not see. */
void kr_work_enter(void);
void kr_work_leave(struct kr_marker *mk);
/* Nobody is between the two. */
bool kr_work_is_quiet(void);
/* Nor is anything left, and there will not be. No barrier is on. */
bool kr_work_is_over(void);

static inline void kr_work_put(struct kr_marker *mk, uintptr_t item)
{
	if (unlikely(!mk->block || mk->block->nr == KR_BLOCK_ITEMS))
		kr_work_room(mk);
	mk->block->items[mk->block->nr++] = item;
}

#endif /* KR_GC_WORK_H */
