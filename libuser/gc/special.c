/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Records of what is to happen when an object dies: finalizers, cleanups, weak
 * pointers, samples of the heap profile.
 *
 * DOC: Records lie outside of the heap, in a table by the object's address. The
 * table is cut into shards by the number of the object's span, so that one
 * lock, taken once, is enough to sweep a span. A span counts its records; where
 * it has none, which is nearly everywhere, nobody looks here.
 *
 * What decides is the sweep of the object's span (Go does it so too): until
 * then nobody has its memory, and from the end of marking on the mark tells
 * what will come of it. Nothing is done with the world stopped. Whoever asks
 * about an object in the meantime has its span swept first.
 *
 *	marking		what is in objects with a finalizer is marked, they
 *			themselves are not: kr_special_mark_some()
 *	sweeping	an object that is not marked and has a finalizer: weak
 *			pointers are cleared, the finalizer is queued, and the
 *			object is marked, so that it survives this sweep. It
 *			will die another time, without a finalizer unless it
 *			has got one again
 *			one that has none: weak pointers are cleared, cleanups
 *			are queued, and it dies
 *	kaus_free()	the finalizer is forgotten, as the program has done what
 *			there was to do; the rest as above
 *
 * From this the order of finalizers follows: if A refers to B and both have
 * one, B is marked by way of A, and its finalizer waits until A has died. A
 * ring of objects with finalizers never dies, nor does an object that refers
 * to itself and has one.
 *
 * While a cycle marks, and the program runs, three things would go unseen, and
 * are shaded by those who do them: an object that gets a finalizer, arguments of
 * new records, and what comes off the queue. So it does not matter when in the
 * cycle the records are looked at, nor whether one that is new is.
 *
 * Rejected: a list for each span, sorted, as in Go (a span has up to 512
 * objects, and with a finalizer each the list is long); to look at all records
 * once marking is done (their number would count in the pause).
 */
#include "gc/special.h"

#include "base/bug.h"
#include "gc/gc.h"
#include "gc/profile.h"
#include "gc/shade.h"
#include "mem/persist.h"
#include "mem/root.h"
#include "os/os.h"

#define NR_SHARDS	64U
#define CHUNK_BYTES	4096U
#define MIN_BUCKETS	512U		/* a page of them */
#define SPINS		200
#define NAP_NS		20000ULL

#define CHUNK_RECORDS	((CHUNK_BYTES - sizeof(void *)) / \
			 sizeof(struct kr_special))

struct chunk {
	struct chunk *next;
	struct kr_special records[CHUNK_RECORDS];
};

struct shard {
	uint32_t lock;
	uint32_t nr;			/* in the table */
	uint32_t nr_marking;		/* that marking looks at */
	uint32_t nr_buckets;		/* a power of two */
	struct kr_special **buckets;
	struct kr_special *free;
	struct chunk *chunks;		/* also read without the lock */
} KR_PAIR_ALIGNED;

static struct shard shards[NR_SHARDS];
KR_NOT_A_ROOT(shards);

static struct shard *shard_of(const struct kr_span *s)
{
	return &shards[kr_span_nr(s) % NR_SHARDS];
}

static struct kr_special **bucket_of(struct shard *sh, uintptr_t obj)
{
	uint64_t hash = (obj >> 4) * 0x9e3779b97f4a7c15ULL;

	return &sh->buckets[(hash >> 32) & (sh->nr_buckets - 1)];
}

/* ---- the table; the shard's lock is held ---- */

static int grow(struct shard *sh)
{
	uint32_t nr = sh->nr_buckets ? 2 * sh->nr_buckets : MIN_BUCKETS;
	struct shard old = *sh;
	void *mem;
	int err;

	err = kr_vm_map(nr * sizeof(*sh->buckets), false, &mem);
	if (err)
		return err;
	sh->buckets = mem;
	sh->nr_buckets = nr;
	for (uint32_t i = 0; i < old.nr_buckets; i++) {
		struct kr_special *sp = old.buckets[i];

		while (sp) {
			struct kr_special **to = bucket_of(sh, sp->obj);
			struct kr_special *next = sp->next;

			sp->next = *to;
			*to = sp;
			sp = next;
		}
	}
	if (old.nr_buckets)
		kr_vm_unmap(old.buckets,
			    old.nr_buckets * sizeof(*old.buckets));
	return 0;
}

static struct kr_special *record_get(struct shard *sh)
{
	struct kr_special *sp = sh->free;
	struct chunk *chunk;

	if (!sp) {
		chunk = kr_persist_alloc(sizeof(*chunk));
		if (!chunk)
			return NULL;
		for (uint32_t i = CHUNK_RECORDS; i-- > 0;) {
			chunk->records[i].shard = (uint8_t)(sh - shards);
			chunk->records[i].next = sh->free;
			sh->free = &chunk->records[i];
		}
		chunk->next = sh->chunks;
		smp_store_release(&sh->chunks, chunk);
		sp = sh->free;
	}
	sh->free = sp->next;
	return sp;
}

/* What it has is kept for it: for samples of the profile nothing is. */
static bool keeps(enum kr_special_kind kind)
{
	return kind == KR_SPECIAL_FINALIZER || kind == KR_SPECIAL_CLEANUP ||
	       kind == KR_SPECIAL_QUEUED;
}

static void record_put(struct shard *sh, struct kr_special *sp)
{
	if (keeps(sp->kind))
		WRITE_ONCE(sh->nr_marking, sh->nr_marking - 1);
	sp->kind = KR_SPECIAL_FREE;
	sp->next = sh->free;
	sh->free = sp;
}

static void unlink_at(struct shard *sh, struct kr_span *s,
		      struct kr_special **link)
{
	*link = (*link)->next;
	sh->nr--;
	WRITE_ONCE(s->nr_specials, s->nr_specials - 1);
}

struct kr_special *kr_special_next(const struct kr_special *sp)
{
	uintptr_t obj = sp->obj;
	struct kr_special *next = sp->next;

	while (next && next->obj != obj)
		next = next->next;
	return next;
}

struct kr_special *kr_special_first(struct kr_span *s, uintptr_t obj)
{
	struct shard *sh = shard_of(s);
	struct kr_special *sp = sh->nr ? *bucket_of(sh, obj) : NULL;

	while (sp && sp->obj != obj)
		sp = sp->next;
	return sp;
}

struct kr_special *kr_special_add(struct kr_span *s, uintptr_t obj,
				  enum kr_special_kind kind)
{
	struct shard *sh = shard_of(s);
	struct kr_special *sp, **to;

	if (unlikely(!kr_heap_ops.sweep_specials))
		kr_special_init();
	/* A table that cannot grow is slow and no more. */
	if (sh->nr >= sh->nr_buckets && grow(sh) && !sh->nr_buckets)
		return NULL;
	sp = record_get(sh);
	if (!sp)
		return NULL;
	to = bucket_of(sh, obj);
	sp->obj = obj;
	sp->arg = NULL;
	sp->kind = (uint8_t)kind;
	sp->next = *to;
	*to = sp;
	sh->nr++;
	if (keeps(sp->kind))
		WRITE_ONCE(sh->nr_marking, sh->nr_marking + 1);
	WRITE_ONCE(s->nr_specials, s->nr_specials + 1);
	return sp;
}

void kr_special_del(struct kr_span *s, struct kr_special *sp)
{
	struct shard *sh = shard_of(s);
	struct kr_special **link = bucket_of(sh, sp->obj);

	while (*link != sp)
		link = &(*link)->next;
	unlink_at(sh, s, link);
	record_put(sh, sp);
}

void kr_special_take(struct kr_special *sp, struct kr_special *ret_copy)
{
	struct shard *sh = &shards[sp->shard];

	kr_lock(&sh->lock);
	*ret_copy = *sp;
	kr_gc_shade((const void *)sp->obj);
	kr_gc_shade(sp->arg);
	record_put(sh, sp);
	kr_unlock(&sh->lock);
}

/* ---- objects ---- */

/* Nobody else is long at it, though his thread may have to wait for a CPU. */
static void wait_until_swept(struct kr_span *s)
{
	for (int i = 0; smp_load_acquire(&s->sweepgen) !=
			READ_ONCE(kr_heap.sweepgen); i++) {
		if (i < SPINS)
			cpu_relax();
		else
			kr_clock_sleep_ns(NAP_NS);
	}
}

void kr_special_lock_span(struct kr_span *s)
{
	kr_lock(&shard_of(s)->lock);
}

void kr_special_unlock(struct kr_span *s)
{
	kr_unlock(&shard_of(s)->lock);
}

bool kr_special_lock(const void *ptr, struct kr_span **ret_span,
		     uint32_t *ret_index)
{
	struct kr_span *s = kr_span_of(ptr), *found;
	uint32_t index;

	if (!s)
		return false;
	if (unlikely(smp_load_acquire(&s->sweepgen) !=
		     READ_ONCE(kr_heap.sweepgen))) {
		/* Who has a pointer to it has it marked, or has none. */
		if (!kr_obj_find(ptr, &s, &index))
			return false;
		kr_heap_sweep_span(s);
		wait_until_swept(s);
	}
	kr_special_lock_span(s);
	if (!kr_obj_find(ptr, &found, &index) || found != s) {
		kr_special_unlock(s);
		return false;
	}
	*ret_span = s;
	*ret_index = index;
	return true;
}

/* What is left of an object's records once it dies, or is about to. */
static void settle(struct shard *sh, struct kr_span *s, uintptr_t obj,
		   bool finalize, bool dies)
{
	struct kr_special **link = bucket_of(sh, obj), *sp;

	while ((sp = *link)) {
		bool queue = sp->kind == KR_SPECIAL_FINALIZER ? finalize :
			     sp->kind == KR_SPECIAL_CLEANUP;

		if (sp->obj != obj ||
		    (!dies && sp->kind != KR_SPECIAL_FINALIZER &&
		     sp->kind != KR_SPECIAL_WEAK)) {
			link = &sp->next;
			continue;
		}
		unlink_at(sh, s, link);
		if (queue) {
			if (sp->kind == KR_SPECIAL_CLEANUP)
				sp->obj = 0;
			sp->kind = KR_SPECIAL_QUEUED;
			kr_final_put(sp);
			continue;
		}
		if (sp->kind == KR_SPECIAL_WEAK)
			kr_weak_clear(sp->arg);
		else if (sp->kind == KR_SPECIAL_SAMPLE)
			kr_profile_freed(sp->arg, sp->weight, s->elem_bytes);
		record_put(sh, sp);
	}
}

static bool has_finalizer(struct kr_span *s, uintptr_t obj)
{
	struct kr_special *sp = kr_special_first(s, obj);

	while (sp && sp->kind != KR_SPECIAL_FINALIZER)
		sp = kr_special_next(sp);
	return sp;
}

static void sweep_object(struct kr_span *s, uint32_t index)
{
	uintptr_t obj = (uintptr_t)kr_obj_base(s, index);
	bool finalize;

	if (!kr_special_first(s, obj))
		return;
	finalize = has_finalizer(s, obj);
	settle(shard_of(s), s, obj, finalize, !finalize);
	if (finalize) {
		kr_mark(s, index);
		kr_heap_count_live((int64_t)s->elem_bytes);
	}
}

/* kr_heap_ops.sweep_specials */
static void sweep(struct kr_span *s)
{
	kr_special_lock_span(s);
	for (uint32_t w = 0; w < kr_span_words(s) && s->nr_specials; w++) {
		uint64_t dead = READ_ONCE(s->alloc_bits[w]) &
				~READ_ONCE(s->mark_bits[w]) &
				~kr_span_tail(s, w);

		for (; dead; dead &= dead - 1)
			sweep_object(s, w * 64 +
				     (uint32_t)__builtin_ctzll(dead));
	}
	kr_special_unlock(s);
}

/* kr_heap_ops.free_specials */
static void freed(struct kr_span *s, uint32_t index)
{
	kr_special_lock_span(s);
	if (shard_of(s)->nr)
		settle(shard_of(s), s, (uintptr_t)kr_obj_base(s, index), false,
		       true);
	kr_special_unlock(s);
}

/* ---- marking ---- */

/* Chunks of records that are not looked at yet. */
static struct {
	uint32_t lock;
	uint32_t is_left;
	uint32_t shard;
	const struct chunk *chunk;	/* of that; NULL: from its first one on */
} left;

/*
 * Without the shard's lock, which a marker that is not there any more in a child
 * of fork() would keep. What was there when the cycle began stays as it is, or
 * goes to the queue with the same object and argument; of anything else it does
 * not matter what is read.
 */
__attribute__((no_sanitize("thread")))
static bool mark_record(struct kr_marker *mk, const struct kr_special *sp)
{
	enum kr_special_kind kind = READ_ONCE(sp->kind);
	uintptr_t obj = READ_ONCE(sp->obj);
	struct kr_span *s;
	uint32_t index;

	if (!keeps(kind))
		return false;
	kr_mark_word(mk, (uintptr_t)READ_ONCE(sp->arg));
	if (kind == KR_SPECIAL_QUEUED)
		kr_mark_word(mk, obj);
	else if (kind == KR_SPECIAL_FINALIZER &&
		 kr_obj_find((const void *)obj, &s, &index) &&
		 !kr_is_marked(s, index))
		kr_mark_inside(mk, s, index);
	return true;
}

void kr_special_begin(void)
{
	left.shard = 0;
	left.chunk = NULL;
	WRITE_ONCE(left.is_left, true);
}

bool kr_special_is_left(void)
{
	return READ_ONCE(left.is_left);
}

void kr_special_forked(void)
{
	left.lock = 0;
	left.is_left = false;
}

/* The next one, or NULL: that was the last. */
static const struct chunk *take_locked(void)
{
	for (; left.shard < NR_SHARDS; left.shard++) {
		const struct shard *sh = &shards[left.shard];
		const struct chunk *chunk = left.chunk;

		/* Who adds the first one has shaded it. */
		if (!chunk && READ_ONCE(sh->nr_marking))
			chunk = smp_load_acquire(&sh->chunks);
		if (!chunk)
			continue;
		left.chunk = chunk->next;
		if (!left.chunk)
			left.shard++;
		return chunk;
	}
	WRITE_ONCE(left.is_left, false);
	return NULL;
}

uint32_t kr_special_mark_some(struct kr_marker *mk)
{
	const struct chunk *chunk = NULL;
	uint32_t nr = 1;	/* of nothing, too: there may be more */

	if (!kr_special_is_left())
		return 0;
	kr_lock(&left.lock);
	if (left.is_left)
		chunk = take_locked();
	kr_unlock(&left.lock);
	if (!chunk)
		return 0;
	for (uint32_t i = 0; i < CHUNK_RECORDS; i++)
		nr += mark_record(mk, &chunk->records[i]);
	return nr;
}

void kr_special_init(void)
{
	kr_heap_ops.sweep_specials = sweep;
	kr_heap_ops.free_specials = freed;
	kr_final_init();
}
