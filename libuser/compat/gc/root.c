/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Roots, variables that are none, and objects that are not collected. */
#include <kaus/gc.h>
#include <link.h>
#include <stdlib.h>

#include "compat/gc/kgc.h"

/* ---- ranges ---- */

struct range {
	struct range *next;
	const char *lo, *hi;
	struct kaus_gc_root root;
};

static struct {
	struct range *roots;	/* what the program has added */
	struct range *excluded;	/* variables that do not count */
	struct range *removed;	/* whole segments in these do not count */
} ranges;

static struct range *put(struct range **list, void *lo, void *hi)
{
	struct range *r;

	if (lo >= hi)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		kg_abort("no memory for a root");
	r->lo = lo;
	r->hi = hi;
	kg_lock();
	r->next = *list;
	*list = r;
	kg_unlock();
	return r;
}

/* Those of roots that lie in a range. */
static void del_roots(const char *lo, const char *hi)
{
	struct range **at, *r, *gone = NULL;

	kg_lock();
	for (at = &ranges.roots; (r = *at);) {
		if (r->lo < lo || r->hi > hi) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->next = gone;
		gone = r;
	}
	kg_unlock();
	/* Without the lock: a goroutine may be stopped in this. */
	while ((r = gone)) {
		gone = r->next;
		kaus_gc_root_del(&r->root);
		free(r);
	}
}

KG_API void GC_add_roots(void *lo, void *hi)
{
	struct range *r;

	GC_init();
	r = put(&ranges.roots, lo, hi);
	if (r)
		kaus_gc_root_add(&r->root, lo, (size_t)(r->hi - r->lo));
}

KG_API void GC_remove_roots(void *lo, void *hi)
{
	GC_init();
	if (lo >= hi)
		return;
	del_roots(lo, hi);
	put(&ranges.removed, lo, hi);
}

KG_API void GC_clear_roots(void)
{
	GC_init();
	del_roots(NULL, (const char *)UINTPTR_MAX);
	kaus_gc_set(KAUS_GC_DATA, 0);
}

KG_API void GC_exclude_static_roots(void *lo, void *hi)
{
	GC_init();
	put(&ranges.excluded, lo, hi);
}

KG_API void GC_clear_exclusion_table(void)
{
	struct range *r, *gone;

	kg_lock();
	gone = ranges.excluded;
	ranges.excluded = NULL;
	kg_unlock();
	while ((r = gone)) {
		gone = r->next;
		free(r);
	}
}

/* The first excluded range that begins before @hi and ends behind @lo. */
static const struct range *next_hole(const char *lo, const char *hi)
{
	const struct range *r, *best = NULL;

	for (r = ranges.excluded; r; r = r->next)
		if (r->hi > lo && r->lo < hi && (!best || r->lo < best->lo))
			best = r;
	return best;
}

void kg_segment(struct kr_marker *mk, const char *lo, const char *hi)
{
	const struct range *r;

	for (r = ranges.removed; r; r = r->next)
		if (lo >= r->lo && hi <= r->hi)
			return;
	while (lo < hi) {
		r = next_hole(lo, hi);
		kg.ops->mark(mk, lo, r ? r->lo : hi);
		lo = r ? r->hi : hi;
	}
}

/* ---- where is it? ---- */

struct search {
	const char *p;
	bool found;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *lo = (const char *)(info->dlpi_addr + ph->p_vaddr);

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_W &&
		    s->p >= lo && s->p < lo + ph->p_memsz)
			s->found = true;
	}
	return s->found;
}

bool kg_is_root(const char *p)
{
	const char *here = __builtin_frame_address(0);
	struct search s = { .p = p };
	const struct range *r;
	uintptr_t end;

	if (!kg.ops->stack_end(&end) && p >= here && p < (const char *)end)
		return true;
	kg_lock();
	for (r = ranges.roots; r && !s.found; r = r->next)
		s.found = p >= r->lo && p < r->hi;
	kg_unlock();
	if (!s.found && kaus_gc_get(KAUS_GC_DATA))
		dl_iterate_phdr(look, &s);
	return s.found;
}

/* ---- objects that are not collected ---- */

/*
 * A hash table of their addresses, open; a cycle takes each word for a pointer.
 * Entries of those that were freed are GONE until the table is made anew.
 */
#define GONE	((void *)1)
#define MIN_SEATS 64

static struct {
	void **seats;
	size_t nr_seats, nr_taken;	/* a power of two; with those GONE */
	size_t nr;
} table;

static void **seat_of(void *obj)
{
	size_t i = kg_hash(obj, table.nr_seats);

	while (table.seats[i] && table.seats[i] != obj)
		i = (i + 1) & (table.nr_seats - 1);
	return &table.seats[i];
}

static bool make_room(void)
{
	size_t old_nr = table.nr_seats, nr = MIN_SEATS;
	void **old = table.seats, **seats;

	if (table.nr_taken * 2 < table.nr_seats)
		return true;
	while (nr < table.nr * 4)
		nr *= 2;
	seats = calloc(nr, sizeof(*seats));
	if (!seats)
		return false;
	table.seats = seats;
	table.nr_seats = nr;
	table.nr_taken = table.nr;
	for (size_t i = 0; i < old_nr; i++)
		if (old[i] && old[i] != GONE)
			*seat_of(old[i]) = old[i];
	free(old);
	return true;
}

bool kg_uncollectable_add(void *obj)
{
	bool ok;

	kg_lock();
	ok = make_room();
	if (ok) {
		*seat_of(obj) = obj;
		table.nr_taken++;
		table.nr++;
	}
	kg_unlock();
	return ok;
}

bool kg_uncollectable_has(void *obj)
{
	bool found;

	if (!READ_ONCE(table.nr))
		return false;
	kg_lock();
	found = table.nr && *seat_of(obj);
	kg_unlock();
	return found;
}

bool kg_uncollectable_del(void *obj)
{
	void **seat;
	bool found;

	if (!READ_ONCE(table.nr))
		return false;
	kg_lock();
	seat = table.nr ? seat_of(obj) : NULL;
	found = seat && *seat;
	if (found) {
		*seat = GONE;
		table.nr--;
	}
	kg_unlock();
	return found;
}

void kg_uncollectable_mark(struct kr_marker *mk)
{
	kg.ops->mark(mk, table.seats, table.seats + table.nr_seats);
}
