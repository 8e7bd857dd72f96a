/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Lists of spans that have free objects, one for each class and kind: where
 * caches get spans and leave them.
 */
#ifndef KR_MEM_CENTRAL_H
#define KR_MEM_CENTRAL_H

#include <stdint.h>

#include "base/compiler.h"
#include "mem/heap.h"

/*
 * A lock-free stack. Its head is the number of a span in the low half, and
 * above a count of changes, so that a head that has come back is told from one
 * that has stayed. Structures of spans are never unmapped: a look at one that
 * is gone from the stack does no harm.
 */
struct kr_central {
	uint64_t head;
	uint64_t nr_retries;		/* lost races for the head */
} KR_PAIR_ALIGNED;

void kr_central_push(struct kr_central *c, struct kr_span *s);
struct kr_span *kr_central_pop(struct kr_central *c);
struct kr_central *kr_central_of(const struct kr_span *s);

/**
 * kr_central_get() - A span with free objects, or a new one.
 * @pc: The cache's pages.
 * @class: Size class, not 0.
 * @kind: Kind.
 *
 * While there are spans to be swept some are, before there is a new one.
 *
 * Return: the span, CACHED, or NULL.
 */
struct kr_span *kr_central_get(struct kr_page_cache *pc, unsigned int class,
			       enum kr_kind kind);

/**
 * kr_central_put() - A cache is done with a span.
 * @s: The span, CACHED.
 * @nr_unclaimed: So many objects the cache had claimed and has not used; their
 *	bits are clear already.
 */
void kr_central_put(struct kr_span *s, uint32_t nr_unclaimed);

/* All lists become empty. World stopped. */
void kr_centrals_forget(void);

/* Lost races for the head of any list. */
uint64_t kr_centrals_retries(void);

#endif /* KR_MEM_CENTRAL_H */
