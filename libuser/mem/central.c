/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Lists of spans with free objects; the states they hang on: heap.c. */
#include "mem/central.h"

#include "base/barrier.h"
#include "base/bug.h"
#include "mem/root.h"

#define SWEEP_MAX	32	/* spans swept for one that is wanted */

static struct kr_central centrals[KR_NR_SPANCLASSES];
KR_NOT_A_ROOT(centrals);

static uint64_t head_next(uint64_t head, uint32_t nr)
{
	return (head & ~(uint64_t)UINT32_MAX) + (1ULL << 32) + nr;
}

static void lost(struct kr_central *c)
{
	__atomic_fetch_add(&c->nr_retries, 1, __ATOMIC_RELAXED);
}

void kr_central_push(struct kr_central *c, struct kr_span *s)
{
	uint64_t head = READ_ONCE(c->head);

	for (;;) {
		WRITE_ONCE(s->next, (uint32_t)head);
		if (__atomic_compare_exchange_n(&c->head, &head,
						head_next(head, kr_span_nr(s)),
						false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
		lost(c);
	}
}

struct kr_span *kr_central_pop(struct kr_central *c)
{
	uint64_t head = smp_load_acquire(&c->head);

	while ((uint32_t)head) {
		struct kr_span *s = &kr_heap.spans[(uint32_t)head];
		uint64_t next = head_next(head, READ_ONCE(s->next));

		if (__atomic_compare_exchange_n(&c->head, &head, next, false,
						__ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return s;
		lost(c);
	}
	return NULL;
}

struct kr_central *kr_central_of(const struct kr_span *s)
{
	return &centrals[kr_spanclass(s->class, (enum kr_kind)s->kind)];
}

/* A span has come off the list: true if it is ours and has free objects. */
static bool got(struct kr_span *s)
{
	uint64_t state = kr_span_state(s), new;

	do {
		enum kr_span_where where = kr_state_where(state);

		if (where == KR_SPAN_HELD) {
			/* Whoever holds it puts it back. */
			new = kr_state(KR_SPAN_POPPED, kr_state_used(state));
			continue;
		}
		if (where != KR_SPAN_PARTIAL) {
			KR_ASSERT(where == KR_SPAN_ZOMBIE ||
				  where == KR_SPAN_EMPTYING);
			kr_span_unlisted(s, state);
			return false;
		}
		new = kr_state(KR_SPAN_CACHED, kr_state_used(state));
	} while (!__atomic_compare_exchange_n(&s->state, &state, new, false,
					      __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return kr_state_where(new) == KR_SPAN_CACHED;
}

struct kr_span *kr_central_get(struct kr_page_cache *pc, unsigned int class,
			       enum kr_kind kind)
{
	struct kr_central *c = &centrals[kr_spanclass(class, kind)];
	struct kr_span *s;
	size_t bytes;

	for (int i = 0; i < SWEEP_MAX; i++) {
		while ((s = kr_central_pop(c)))
			if (got(s))
				return s;
		if (!kr_heap_sweep_for(class, kind, &bytes, &s))
			break;
		if (s)
			return s;
	}
	/* What was swept last may be of this class too. */
	while ((s = kr_central_pop(c)))
		if (got(s))
			return s;
	return kr_span_new(pc, class, kind, 0);
}

void kr_central_put(struct kr_span *s, uint32_t nr_unclaimed)
{
	uint64_t state = kr_span_state(s), new;
	enum kr_span_where to;
	uint32_t used;

	do {
		KR_ASSERT(kr_state_where(state) == KR_SPAN_CACHED);
		used = kr_state_used(state) - nr_unclaimed;
		to = !used ? KR_SPAN_DEAD :
		     kr_span_has_room(s, used) ? KR_SPAN_PARTIAL :
						 KR_SPAN_FULL;
		/* While marking no span goes away: see kr_span_of(). */
		if (!used && READ_ONCE(kr_heap.marking))
			to = KR_SPAN_PARTIAL;
		new = kr_state(to, used);
	} while (!__atomic_compare_exchange_n(&s->state, &state, new, false,
					      __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	if (to == KR_SPAN_DEAD)
		kr_span_release(s);
	else if (to == KR_SPAN_PARTIAL)
		kr_central_push(kr_central_of(s), s);
}

void kr_centrals_forget(void)
{
	for (unsigned int i = 0; i < KR_NR_SPANCLASSES; i++)
		WRITE_ONCE(centrals[i].head, READ_ONCE(centrals[i].head) &
					     ~(uint64_t)UINT32_MAX);
}

uint64_t kr_centrals_retries(void)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < KR_NR_SPANCLASSES; i++)
		nr += READ_ONCE(centrals[i].nr_retries);
	return nr;
}
