/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The heap: spans, and what is known about an address. Protocols: heap.c.
 */
#ifndef KR_MEM_HEAP_H
#define KR_MEM_HEAP_H

#include <kaus/alloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "mem/pages.h"
#include "mem/sizeclass.h"

#define KR_SPAN_WORDS	8		/* of bits: one page of the least size */

/* In each byte of what was freed, with kr_heap.poison: a word is no address. */
#define KR_POISON	0xdb

/* Where a span is: struct kr_span.state. */
enum kr_span_where {
	KR_SPAN_DEAD,		/* has no pages */
	KR_SPAN_FULL,		/* in no list: too few free objects */
	KR_SPAN_PARTIAL,	/* in the list of its class, or on its way */
	KR_SPAN_CACHED,		/* a cache allocates from it */
	KR_SPAN_EMPTYING,	/* in the list, and about to lose its pages */
	KR_SPAN_ZOMBIE,		/* in the list, without pages */
	KR_SPAN_LARGE,		/* one large object */
	KR_SPAN_HELD,		/* in the list, and being trimmed: trim.c */
	KR_SPAN_POPPED,		/* the same, and off the list by now */
};

struct kr_span {
	/* Constant while it is in use. */
	char *base;
	size_t elem_bytes;
	uint32_t npages;
	uint32_t nelems;
	uint32_t magic;			/* divides by elem_bytes */
	uint8_t class;
	uint8_t kind;			/* enum kr_kind */

	uint8_t needzero;		/* free objects may not be zero */
	uint32_t nr_specials;		/* records of its objects: kr_heap_ops */
	uint32_t sweepgen;		/* see kr_heap.sweepgen */
	uint32_t next;			/* in a list: its number */
	uint32_t returned;		/* the kernel's pages: see trim.c */
	/* kr_span_where in the low byte, objects in use from bit 32 on. */
	uint64_t state;
	const struct kaus_type *type;	/* of a large object that is KR_TYPED */

	/*
	 * A bit for each object, set: it is in use, or claimed by the cache
	 * that the span is in. Bits beyond the last object are set.
	 */
	uint64_t alloc_bits[KR_SPAN_WORDS] __attribute__((aligned(64)));
	/* Marked in this cycle; all clear outside of one. */
	uint64_t mark_bits[KR_SPAN_WORDS];
} __attribute__((aligned(64)));

struct kr_heap {
	/* Written once. */
	char *base;			/* kr_pages.base */
	uint32_t *table;		/* of pages: number of the span, or 0 */
	struct kr_span *spans;		/* by number, from 1 on */

	uint32_t nr_table;		/* entries that may be read; grows */

	/*
	 * A span with this sweepgen is swept, with two less it is to be swept,
	 * with one less somebody does it. Changes with the world stopped.
	 */
	uint32_t sweepgen KR_PAIR_ALIGNED;
	uint32_t sweep_end;		/* numbers below are swept this time */
	int64_t due_bytes;		/* then kr_heap_ops.due is called */
	bool marking;			/* between mark_begin() and mark_end() */
	bool poison;			/* KAUS_GC_POISON: what is freed is filled */
	uint32_t sample_gen;		/* how often the rate was set; 0: never */

	/* Counters. */
	uint32_t nr_spans KR_PAIR_ALIGNED;	/* numbers below were used */
	int64_t live_bytes KR_PAIR_ALIGNED;	/* objects in use or claimed */
	uint32_t sweep_next KR_PAIR_ALIGNED;
	uint32_t nr_sweepers;
};

/* What layers above add. Set before there is anything to add it to. */
struct kr_heap_ops {
	/*
	 * A span with nr_specials is about to be swept: objects that are in
	 * use and not marked die unless they are marked now.
	 */
	void (*sweep_specials)(struct kr_span *s);
	/* An object in such a span is about to be freed by the program. */
	void (*free_specials)(struct kr_span *s, uint32_t index);
	/* live_bytes has reached due_bytes. Preemption off, or a plain thread
	 * with kr_outside_lock() held.
	 */
	void (*due)(void);
	/*
	 * The runtime copies to the program's memory, which may be an object's:
	 * what is overwritten is told to a cycle that marks. Preemption off, or
	 * a plain thread, for which no cycle begins meanwhile.
	 */
	void (*copy)(void *to, const void *from, size_t bytes);
	/*
	 * An object is allocated that is a sample; NULL: none is, yet. Return:
	 * so many bytes are allocated before the next one begins. Context: as
	 * due().
	 */
	uint64_t (*sample)(void *obj, size_t bytes);
};

extern struct kr_heap kr_heap;
extern struct kr_heap_ops kr_heap_ops;

/* Once; any context, before the first use of a cache. 0 or -ENOMEM. */
int kr_heap_init(void);
static inline bool kr_heap_is_on(void)
{
	return smp_load_acquire(&kr_heap.base);
}

/* ---- state words ---- */

#define KR_SPAN_ONE	(1ULL << 32)

static inline uint64_t kr_span_state(const struct kr_span *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

static inline enum kr_span_where kr_state_where(uint64_t state)
{
	return (enum kr_span_where)(state & 0xff);
}

/* A transient excess of one is possible, see heap.c. */
static inline uint32_t kr_state_used(uint64_t state)
{
	return (uint32_t)(state >> 32);
}

static inline uint64_t kr_state(enum kr_span_where where, uint32_t used)
{
	return (uint64_t)used << 32 | where;
}

/*
 * Worth a place in the list: an eighth of the objects is free. Else one that is
 * freed would be all that a cache gets for its way to the list and back.
 */
static inline bool kr_span_has_room(const struct kr_span *s, uint32_t used)
{
	uint32_t few = s->nelems / 8;

	return used + (few ? few : 1) <= s->nelems;
}

static inline bool kr_span_in_use(const struct kr_span *s)
{
	enum kr_span_where where = kr_state_where(kr_span_state(s));

	return where != KR_SPAN_DEAD && where != KR_SPAN_EMPTYING &&
	       where != KR_SPAN_ZOMBIE;
}

/* ---- what is at an address ---- */

/**
 * kr_span_of() - The span in which an address lies.
 * @addr: Any value.
 *
 * Context: any; lock-free. The answer holds as long as the span cannot become
 * free: while marking, or while somebody has an object in it.
 *
 * Return: the span, or NULL.
 */
static inline struct kr_span *kr_span_of(const void *addr)
{
	size_t page = ((uintptr_t)addr - (uintptr_t)kr_heap.base) >>
		      KR_HPAGE_SHIFT;
	uint32_t nr;

	if (page >= __atomic_load_n(&kr_heap.nr_table, __ATOMIC_ACQUIRE))
		return NULL;
	nr = __atomic_load_n(&kr_heap.table[page], __ATOMIC_ACQUIRE);
	return nr ? &kr_heap.spans[nr] : NULL;
}

/* Number of the object at an address in @s; s->nelems or more: the rest. */
static inline uint32_t kr_obj_index(const struct kr_span *s, const void *addr)
{
	uint64_t offset = (uint64_t)((const char *)addr - s->base);

	if (unlikely(!s->class))
		return offset >= s->elem_bytes;
	return (uint32_t)(offset * s->magic >> 32);
}

static inline char *kr_obj_base(const struct kr_span *s, uint32_t index)
{
	return s->base + index * s->elem_bytes;
}

/* In use, or claimed by a cache. */
static inline bool kr_obj_is_alloced(const struct kr_span *s, uint32_t index)
{
	return __atomic_load_n(&s->alloc_bits[index / 64], __ATOMIC_ACQUIRE) &
	       1ULL << index % 64;
}

/**
 * kr_obj_find() - The object that an address points to or into.
 * @addr: Any value.
 * @ret_span: Its span.
 * @ret_index: Its number there.
 *
 * Return: false if there is none: no heap, or nothing in use.
 */
static inline bool kr_obj_find(const void *addr, struct kr_span **ret_span,
			       uint32_t *ret_index)
{
	struct kr_span *s = kr_span_of(addr);
	uint32_t index;

	if (!s)
		return false;
	index = kr_obj_index(s, addr);
	if (index >= s->nelems || !kr_obj_is_alloced(s, index))
		return false;
	*ret_span = s;
	*ret_index = index;
	return true;
}

/* Where the type of an object of kind KR_TYPED is kept. */
static inline const struct kaus_type **kr_obj_type_slot(struct kr_span *s,
							uint32_t index)
{
	char *end;

	if (!s->class)
		return &s->type;
	end = kr_obj_base(s, index) + s->elem_bytes;
	return (const struct kaus_type **)(void *)end - 1;
}

/* NULL: each word may be a pointer. Only for kind KR_TYPED. */
static inline const struct kaus_type *kr_obj_type(struct kr_span *s,
						  uint32_t index)
{
	return READ_ONCE(*kr_obj_type_slot(s, index));
}

/* Bytes of an object that the program may use: all that can be scanned. */
static inline size_t kr_obj_bytes(const struct kr_span *s)
{
	return s->elem_bytes -
	       (s->kind == KR_TYPED && s->class ? sizeof(void *) : 0);
}

/* An object dies, and its bit is still set: who uses it afterwards shall notice. */
static inline void kr_obj_poison(const struct kr_span *s, uint32_t index)
{
	if (unlikely(READ_ONCE(kr_heap.poison)))
		memset(kr_obj_base(s, index), KR_POISON, kr_obj_bytes(s));
}

/* ---- marking ---- */

static inline bool kr_is_marked(const struct kr_span *s, uint32_t index)
{
	return __atomic_load_n(&s->mark_bits[index / 64], __ATOMIC_ACQUIRE) &
	       1ULL << index % 64;
}

/* Return: true if it was not marked before, and so is the caller's to scan. */
static inline bool kr_mark(struct kr_span *s, uint32_t index)
{
	uint64_t bit = 1ULL << index % 64;

	if (kr_is_marked(s, index))
		return false;
	return !(__atomic_fetch_or(&s->mark_bits[index / 64], bit,
				   __ATOMIC_ACQ_REL) & bit);
}

/**
 * kr_heap_mark_begin() - A cycle begins.
 *
 * From now on what is allocated is marked at once: a cache marks what it
 * claims, and what caches have claimed already is marked here. So there are
 * marked objects that nobody has been given yet. Nothing is freed until
 * kr_heap_mark_end(): kaus_free() does nothing.
 *
 * Context: the world is stopped, kr_outside_lock() is held, all is swept.
 */
void kr_heap_mark_begin(void);

/**
 * kr_heap_mark_end() - All that is reachable is marked: sweeping begins.
 * @marked_bytes: Sum of what is marked: what kr_heap.live_bytes is now. The rest
 *	is no longer counted, though it is yet to be swept.
 *
 * Caches give back what they have claimed. Context: as kr_heap_mark_begin().
 */
void kr_heap_mark_end(uint64_t marked_bytes);

/* In a child of fork(): nobody will end the cycle. Nothing else runs. */
void kr_heap_mark_forget(void);

/* ---- sweeping ---- */

/**
 * kr_heap_sweep_one() - Sweep a span that nobody has swept yet.
 * @ret_bytes: So much became free.
 *
 * Context: preemption off, or a plain thread with kr_outside_lock() held.
 * Return: false if none is left.
 */
bool kr_heap_sweep_one(size_t *ret_bytes);

/**
 * kr_heap_sweep_for() - kr_heap_sweep_one() for one who wants a span.
 * @class: The span's class, or 0: none is wanted.
 * @kind: Its kind.
 * @ret_bytes: So much became free.
 * @ret_span: The one that was swept, CACHED, if it is such a span and has free
 *	objects. Else NULL.
 *
 * Context: as kr_heap_sweep_one(). Return: the same.
 */
bool kr_heap_sweep_for(unsigned int class, enum kr_kind kind,
		       size_t *ret_bytes, struct kr_span **ret_span);

/* Sweep this one, unless somebody has or does. Context: as above. */
void kr_heap_sweep_span(struct kr_span *s);

/* All is swept, and nobody is at it any more. */
bool kr_heap_is_swept(void);

/* ---- spans ---- */

/* A span of class @class, or of @bytes if that is 0, CACHED or LARGE. */
struct kr_span *kr_span_new(struct kr_page_cache *pc, unsigned int class,
			    enum kr_kind kind, size_t bytes);
/* It is DEAD and ours: its pages become free, and it may be used again. */
void kr_span_release(struct kr_span *s);
/* An EMPTYING span or a ZOMBIE has come off its list. */
void kr_span_unlisted(struct kr_span *s, uint64_t state);
/* It is EMPTYING by the caller's hand, and somewhere in a list, or was. */
void kr_span_empty(struct kr_span *s);
/* Free an object whose bit was set until the caller cleared it. */
void kr_span_put_one(struct kr_span *s);

static inline uint32_t kr_span_nr(const struct kr_span *s)
{
	return (uint32_t)(s - kr_heap.spans);
}

/**
 * kr_heap_return_dead() - Return memory of structures of spans that are no more.
 *
 * Does nothing if there is not much. Context: a thread that has the time.
 * Return: so many bytes.
 */
uint64_t kr_heap_return_dead(void);

/* Words of bits that a span has objects in. */
static inline uint32_t kr_span_words(const struct kr_span *s)
{
	return (s->nelems + 63) / 64;
}

/* The bits of word @w that stand for no object. */
static inline uint64_t kr_span_tail(const struct kr_span *s, uint32_t w)
{
	uint32_t nr = s->nelems - w * 64;

	return nr >= 64 ? 0 : ~0ULL << nr;
}

static inline void kr_heap_count_live(int64_t bytes)
{
	__atomic_fetch_add(&kr_heap.live_bytes, bytes, __ATOMIC_RELAXED);
}

/* After some have been added. */
static inline void kr_heap_look_if_due(void)
{
	if (unlikely(READ_ONCE(kr_heap.live_bytes) >=
		     READ_ONCE(kr_heap.due_bytes)) && kr_heap_ops.due)
		kr_heap_ops.due();
}

#endif /* KR_MEM_HEAP_H */
