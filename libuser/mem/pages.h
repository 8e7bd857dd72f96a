/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The page heap: runs of pages out of one range of addresses. It knows neither
 * spans nor objects. How it works: pages.c.
 */
#ifndef KR_MEM_PAGES_H
#define KR_MEM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define KR_HPAGE_SHIFT	13
#define KR_HPAGE_BYTES	(1UL << KR_HPAGE_SHIFT)
#define KR_HPAGE_KERNEL	(1U << (KR_HPAGE_SHIFT - 12))	/* of the kernel's */
#define KR_CHUNK_PAGES	512U		/* 4 MiB */
#define KR_CHUNK_BYTES	(KR_CHUNK_PAGES * KR_HPAGE_BYTES)
#define KR_NO_PAGE	UINT32_MAX

/* Pages are numbered from the beginning of the range. */
struct kr_run {
	uint32_t page, nr;
};

/* 64 pages that a P has for itself: taken from the heap without a lock. */
struct kr_page_cache {
	uint32_t page;		/* the first; of those that are not in */
	uint64_t free;		/* "free" it has nothing */
	uint64_t clean;		/* not backed: zero when touched */
};

#define KR_PAGE_CACHE_MAX 15U	/* longer runs come from the heap itself */

struct kr_page_stats {
	uint64_t committed_pages;	/* may be touched */
	uint64_t free_pages;		/* in no run that was handed out */
	uint64_t returnable_pages;	/* free, and backed by memory */
	uint64_t lazy_pages;		/* of these the kernel may take any */
};

struct kr_pages {
	/* Written once. */
	char *base;
	uint32_t max_pages;

	/* Pages below it may be touched; grows, and then has readers. */
	uint32_t nr_pages;
};

extern struct kr_pages kr_pages;

/**
 * kr_pages_init() - Reserve the range.
 * @max_bytes: So much if that can be had, else a half, a fourth, and so on.
 *
 * Context: once, before anything else. Return: 0 or -ENOMEM.
 */
int kr_pages_init(size_t max_bytes);

/* Whether the heap is in huge pages, where the kernel can be asked. */
enum kr_huge_pages {
	KR_HUGE_DEFAULT,	/* as it does it for everybody */
	KR_HUGE_ON,
	KR_HUGE_OFF,
};

/*
 * From now on, or from when there is a heap. Those that are there stay. @huge: not
 * KR_HUGE_DEFAULT. Context: preemption off or a plain thread. Return: 0, -EINVAL if
 * this kernel has none, -ENOMEM.
 */
int kr_pages_set_huge(enum kr_huge_pages huge);
enum kr_huge_pages kr_pages_huge(void);

/**
 * kr_pages_alloc() - Take a run of pages, the lowest that is long enough.
 * @nr: Its length.
 * @ret_clean: It is known to be all zero.
 *
 * Context: preemption off or a plain thread. Return: the first page, or
 * KR_NO_PAGE.
 */
uint32_t kr_pages_alloc(uint32_t nr, bool *ret_clean);
/* The same through a cache that the caller owns; @nr <= KR_PAGE_CACHE_MAX. */
uint32_t kr_pages_alloc_cached(struct kr_page_cache *pc, uint32_t nr,
			       bool *ret_clean);
/* Give back a run or a part of one. */
void kr_pages_free(uint32_t page, uint32_t nr);
/* Give back what a cache has. */
void kr_pages_flush(struct kr_page_cache *pc);

/* What is known of a free page. */
enum kr_page_state {
	KR_PAGE_DIRTY,		/* backed by memory */
	KR_PAGE_LAZY,		/* that, until the kernel needs it */
	KR_PAGE_CLEAN,		/* not backed, zero */
};

/* Which runs of free pages. */
struct kr_page_wish {
	uint32_t min_pages;	/* of so many or more, */
	uint32_t align_pages;	/* what is aligned to this, a power of two; */
	bool lazy;		/* and without those that are lazy already */
};

/**
 * kr_pages_take_returnable() - Take free runs that are backed by memory.
 * @wish: Which ones.
 * @cursor: Chunk to begin below; UINT32_MAX: all. Then where to go on, 0: end.
 * @max_pages: Not more than this in all.
 * @runs: What was taken, by falling address.
 * @max_runs: Room in @runs.
 *
 * Looks at a few dozen chunks. Nobody else can have the pages until they are
 * given back by kr_pages_put_returned(), which says what they are now.
 *
 * Return: number of runs.
 */
uint32_t kr_pages_take_returnable(const struct kr_page_wish *wish,
				  uint32_t *cursor, uint32_t max_pages,
				  struct kr_run *runs, uint32_t max_runs);
void kr_pages_put_returned(const struct kr_run *runs, uint32_t nr,
			   enum kr_page_state state);

/* The least number of returnable pages since it was asked last. */
uint64_t kr_pages_low_water(void);

/*
 * Call @fn, with no lock held, when @nr pages are returnable; once, it must be
 * set again. By a mutator: it may only wake somebody.
 */
void kr_pages_set_alarm(uint64_t nr, void (*fn)(void));

/* Call it now, whatever is returnable, if one is set. */
void kr_pages_ring(void);

/*
 * Keep at *@to how many pages of the kernel's are returnable; NULL: nowhere.
 * Where it was kept before is 0 then.
 */
void kr_pages_publish(uint64_t *to);

void kr_pages_read_stats(struct kr_page_stats *ret_stats);
/* Times that the lock was found taken, and what that took. Any context. */
uint64_t kr_pages_lock_waits(uint64_t *ret_ns);

/* Compares all summaries with the bitmaps; for tests. True: consistent. */
bool kr_pages_check(void);

#endif /* KR_MEM_PAGES_H */
