/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Sampling what is allocated.
 *
 * DOC: Each byte that is allocated is a point of a Poisson process with the same
 * small probability, as in Go and tcmalloc: the distance from one sample to the
 * next is drawn from an exponential distribution. A cache counts it down where
 * it claims objects, and cuts what it has claimed in two if the next sample is
 * among them (mem/cache.c), so that the fast path does nothing for it.
 *
 * An object of S bytes is sampled with the probability 1 - exp(-S / rate). So it
 * stands for the inverse of that many objects, which is its weight. The weight
 * is kept with the sample: the rate may change.
 *
 * Samples are counted by call chain. A record of the object (special.c) leads
 * back to its chain when it dies.
 *
 * The unwinder of the compiler's run time finds the chain; it takes no lock and
 * no memory, and wants a few KiB of stack. Where there is less the chain is
 * empty. Frames of this library at the top are left out if it is a shared one;
 * else those who read the profile leave them out by their names.
 */
#include "gc/profile.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unwind.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "gc/special.h"
#include "mem/heap.h"
#include "mem/persist.h"
#include "mem/root.h"
#include "os/os.h"
#include "sched/sched.h"

#define NR_CHAINS	4096U		/* of the table; a power of two */
#define STACK_BYTES	(12UL << 10)	/* the unwinder's */
#define ONE_SHIFT	16		/* of weights */
#define NEVER		(1ULL << 62)

struct kr_profile_bucket {
	struct kr_profile_bucket *next;	/* in the table */
	struct kr_profile_bucket *next_all;
	uint64_t hash;
	/* profile.lock; objects by weight, in 2^-ONE_SHIFT. */
	uint64_t allocs, alloc_bytes, inuse, inuse_bytes;
	uint32_t nr_frames;
	uintptr_t frames[];
};

static struct {
	uint32_t lock;			/* after the lock of a span */
	uint64_t rate;
	uint64_t random;
	struct kr_profile_bucket *table[NR_CHAINS];
	struct kr_profile_bucket *first, *last;
} profile;
KR_NOT_A_ROOT(profile);

/* ---- arithmetic, without libm ---- */

/* Uniform in (0, 1]. G. Steele and others, "SplitMix", OOPSLA 2014. */
static double uniform(void)
{
	uint64_t x = __atomic_add_fetch(&profile.random, 0x9e3779b97f4a7c15ULL,
					__ATOMIC_RELAXED);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return (double)((x >> 11) + 1) * 0x1p-53;
}

/* -ln(x) for x in (0, 1]: x = m / 2^k, and ln m by the series of artanh. */
static double minus_ln(double x)
{
	double t, square, term, sum = 0;
	int k = 0;

	while (x < 0.75) {
		x *= 2;
		k++;
	}
	t = (x - 1) / (x + 1);
	square = t * t;
	term = t;
	for (int i = 1; i < 20; i += 2) {
		sum += term / i;
		term *= square;
	}
	return k * 0.69314718055994531 - 2 * sum;
}

/* 1 - exp(-x) for x >= 0. */
static double one_minus_exp(double x)
{
	double y = x, term, sum = 0;
	int k = 0;

	if (x > 40)
		return 1;
	while (y > 0.0625) {
		y /= 2;
		k++;
	}
	/* By its series, and 1 - (1 - s)^2 = 2s - s^2 back up. */
	term = y;
	for (int i = 2; i < 12; i++) {
		sum += term;
		term *= -y / i;
	}
	while (k--)
		sum = sum * (2 - sum);
	return sum;
}

static uint64_t weight_of(size_t bytes, uint64_t rate)
{
	double p = one_minus_exp((double)bytes / (double)rate);

	return (uint64_t)((double)(1U << ONE_SHIFT) / p + 0.5);
}

static uint64_t bytes_of(uint64_t weight, size_t bytes)
{
	return (uint64_t)((unsigned __int128)weight * bytes >> ONE_SHIFT);
}

static uint64_t next_distance(uint64_t rate)
{
	double d;

	if (!rate)
		return NEVER;
	if (rate == 1)
		return 0;
	d = minus_ln(uniform()) * (double)rate;
	return d < (double)NEVER ? (uint64_t)d : NEVER;
}

/* ---- call chains ---- */

struct chain {
	const void *own;		/* this library, if it is a shared one */
	bool inside;			/* still in it */
	uint32_t nr;
	uintptr_t frames[KR_PROFILE_FRAMES];
};

static const void *file_of(const void *addr)
{
	struct dl_find_object obj;

	/* Lock-free, by its manual (glibc 2.35). */
	return _dl_find_object((void *)(uintptr_t)addr, &obj) ? NULL :
	       obj.dlfo_link_map->l_name[0] ? obj.dlfo_link_map : NULL;
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
	uintptr_t ip = (uintptr_t)_Unwind_GetIP(context);
	struct chain *chain = arg;

	if (!ip || chain->nr == KR_PROFILE_FRAMES)
		return _URC_END_OF_STACK;
	if (chain->inside && file_of((const void *)(ip - 1)) == chain->own)
		return _URC_NO_REASON;
	chain->inside = false;
	chain->frames[chain->nr++] = ip;
	return _URC_NO_REASON;
}

static void find_chain(struct chain *chain)
{
	static const void *own;
	struct m *mp = kr_self();
	struct g *gp = mp ? mp->curg : NULL;
	const char *here = __builtin_frame_address(0);

	chain->nr = 0;
	if (gp && here >= gp->stack.lo && here < gp->stack.hi &&
	    here - gp->stack.lo < (long)STACK_BYTES)
		return;
	if (!READ_ONCE(own))
		WRITE_ONCE(own, file_of((const void *)profile.table));
	chain->own = READ_ONCE(own);
	chain->inside = chain->own;
	_Unwind_Backtrace(on_frame, chain);
}

static uint64_t hash_of(const struct chain *chain)
{
	uint64_t hash = chain->nr;

	for (uint32_t i = 0; i < chain->nr; i++)
		hash = (hash ^ chain->frames[i]) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static struct kr_profile_bucket *bucket_locked(const struct chain *chain)
{
	uint64_t hash = hash_of(chain);
	struct kr_profile_bucket **head = &profile.table[hash % NR_CHAINS];
	size_t bytes = chain->nr * sizeof(chain->frames[0]);
	struct kr_profile_bucket *b;

	for (b = *head; b; b = b->next)
		if (b->hash == hash && b->nr_frames == chain->nr &&
		    !memcmp(b->frames, chain->frames, bytes))
			return b;
	b = kr_persist_alloc(sizeof(*b) + bytes);
	if (!b)
		return NULL;
	b->hash = hash;
	b->nr_frames = chain->nr;
	memcpy(b->frames, chain->frames, bytes);
	b->next = *head;
	*head = b;
	if (profile.last)
		profile.last->next_all = b;
	else
		profile.first = b;
	profile.last = b;
	return b;
}

/* ---- samples ---- */

static KR_NOINLINE void sample(void *obj, size_t bytes, uint64_t rate)
{
	struct kr_span *s = kr_span_of(obj);
	uint64_t weight = weight_of(bytes, rate), sum = bytes_of(weight, bytes);
	struct kr_profile_bucket *b;
	struct kr_special *sp;
	struct chain chain;

	find_chain(&chain);
	kr_special_lock_span(s);
	kr_lock(&profile.lock);
	b = bucket_locked(&chain);
	kr_unlock(&profile.lock);
	sp = b ? kr_special_add(s, (uintptr_t)obj, KR_SPECIAL_SAMPLE) : NULL;
	/* What cannot be seen to die is not counted either. */
	if (sp) {
		sp->arg = b;
		sp->weight = weight;
		kr_lock(&profile.lock);
		b->allocs += weight;
		b->alloc_bytes += sum;
		b->inuse += weight;
		b->inuse_bytes += sum;
		kr_unlock(&profile.lock);
	}
	kr_special_unlock(s);
}

/* kr_heap_ops.sample */
static uint64_t sampled(void *obj, size_t bytes)
{
	uint64_t rate = READ_ONCE(profile.rate);

	if (obj && rate)
		sample(obj, bytes, rate);
	return next_distance(rate);
}

void kr_profile_freed(struct kr_profile_bucket *b, uint64_t weight,
		      size_t bytes)
{
	kr_lock(&profile.lock);
	b->inuse -= weight;
	b->inuse_bytes -= bytes_of(weight, bytes);
	kr_unlock(&profile.lock);
}

void kr_profile_set_rate(uint64_t bytes)
{
	WRITE_ONCE(profile.rate, bytes);
	if (!kr_heap_ops.sample)
		kr_heap_ops.sample = sampled;
	/* Caches draw anew. Release: they find the rate. */
	if (!__atomic_add_fetch(&kr_heap.sample_gen, 1, __ATOMIC_RELEASE))
		__atomic_add_fetch(&kr_heap.sample_gen, 1, __ATOMIC_RELEASE);
}

void kr_profile_init(uint64_t rate)
{
	if (!READ_ONCE(kr_heap.sample_gen) && rate)
		kr_profile_set_rate(rate);
}

uint64_t kr_profile_rate(void)
{
	return READ_ONCE(profile.rate);
}

struct kr_profile_bucket *kr_profile_next(struct kr_profile_bucket *b,
					  struct kr_profile_site *site)
{
	kr_lock(&profile.lock);
	b = b ? b->next_all : profile.first;
	if (b) {
		site->nr_allocs = b->allocs >> ONE_SHIFT;
		site->alloc_bytes = b->alloc_bytes;
		site->nr_inuse = b->inuse >> ONE_SHIFT;
		site->inuse_bytes = b->inuse_bytes;
		site->nr_frames = b->nr_frames;
		memcpy(site->frames, b->frames,
		       b->nr_frames * sizeof(b->frames[0]));
	}
	kr_unlock(&profile.lock);
	return b;
}
