/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What is to happen when an object dies: records of it. Protocol: special.c. */
#ifndef KR_GC_SPECIAL_H
#define KR_GC_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "gc/work.h"
#include "mem/heap.h"

/* The marker reads it at any time: see kr_special_mark_some(). */
enum kr_special_kind {
	KR_SPECIAL_FREE,		/* no record */
	/* In the table. */
	KR_SPECIAL_FINALIZER,
	KR_SPECIAL_CLEANUP,
	KR_SPECIAL_WEAK,		/* arg: the slot, weak.c */
	KR_SPECIAL_SAMPLE,		/* arg: the call chain, profile.c */
	/* In the queue, to be called: final.c. */
	KR_SPECIAL_QUEUED,
};

struct kr_special {
	struct kr_special *next;	/* in the table, the queue, a list */
	uintptr_t obj;			/* its beginning; 0: the object is gone */
	void *arg;
	union {
		void (*finalizer)(void *obj, void *arg);
		void (*cleanup)(void *arg);
		uint64_t weight;	/* of a sample */
	};
	uint8_t kind;
	uint8_t shard;
};

/* ---- special.c ---- */

void kr_special_init(void);

/**
 * kr_special_lock() - Look up an object, to change its records.
 * @ptr: In it.
 * @ret_span: Its span, which is swept.
 * @ret_index: Its number there.
 *
 * Context: preemption off, or a plain thread in kr_plain_enter().
 *
 * Return: true, and the records of all objects of the span are locked; or false
 * if no object is there.
 */
bool kr_special_lock(const void *ptr, struct kr_span **ret_span,
		     uint32_t *ret_index);
void kr_special_unlock(struct kr_span *s);
/* The same for a span that is known, and not swept here. */
void kr_special_lock_span(struct kr_span *s);

/* The span's lock is held for all of these. */

/* The first record of an object, and those after it. NULL: none. */
struct kr_special *kr_special_first(struct kr_span *s, uintptr_t obj);
struct kr_special *kr_special_next(const struct kr_special *sp);
/* One more; NULL: no memory. */
struct kr_special *kr_special_add(struct kr_span *s, uintptr_t obj,
				  enum kr_special_kind kind);
/* Out of the table, and free. */
void kr_special_del(struct kr_span *s, struct kr_special *sp);

/* One that has come off the queue: read it and free it. No lock. */
void kr_special_take(struct kr_special *sp, struct kr_special *ret_copy);

/**
 * kr_special_mark_some() - What some of the records refer to.
 * @mk: The marker.
 *
 * Arguments, what is in objects that have a finalizer, though not these
 * themselves, and objects that wait for theirs to be called. Whoever adds a
 * record while marking goes on shades that himself.
 *
 * Context: any number of threads, between kr_work_enter() and kr_work_leave()
 * unless the world is stopped.
 *
 * Return: how much that was; 0: nobody has left any.
 */
uint32_t kr_special_mark_some(struct kr_marker *mk);
/* All are left. The world is stopped. */
void kr_special_begin(void);
bool kr_special_is_left(void);
/* In a child of fork(). */
void kr_special_forked(void);

/* ---- final.c ---- */

void kr_final_init(void);
/* Is something left that nobody will call? Preemption off, or a plain thread. */
void kr_final_look(void);
/* A record of an object that has died, out of the table: to be called. */
void kr_final_put(struct kr_special *sp);
int kr_final_set(void *obj, void (*fn)(void *obj, void *arg), void *arg);
int kr_cleanup_add(const void *ptr, void (*fn)(void *arg), void *arg);
int kr_cleanup_del(const void *ptr, void (*fn)(void *arg), void *arg);
/* Not called yet; and called so far. */
void kr_final_read_stats(uint64_t *ret_waiting, uint64_t *ret_called);

/* ---- weak.c ---- */

uint64_t kr_weak_make(const void *ptr);
void *kr_weak_get(uint64_t id);
int kr_weak_drop(uint64_t id);
/* The object of a slot has died. Its span's lock is held. */
void kr_weak_clear(void *slot);

#endif /* KR_GC_SPECIAL_H */
