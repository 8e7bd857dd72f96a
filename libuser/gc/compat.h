/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What a library with the interface of another collector needs beyond the public
 * functions. It is exported in a version of its own, KAUS_PRIVATE, for
 * libkausgc alone, which is built with it and of the same version: no program
 * may use it, and it changes without notice.
 */
#ifndef KR_GC_COMPAT_H
#define KR_GC_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kr_marker;

/*
 * Called by whoever makes a cycle. Between lock() and unlock() the world is
 * stopped, or about to be: nothing of the C library that takes a lock.
 */
struct kr_gc_hooks {
	/* No goroutine runs, threads do: take what marked() needs. */
	void (*lock)(void);
	void (*unlock)(void);
	/* Before marking: more that counts, by kr_gc_compat.mark(). */
	void (*roots)(struct kr_marker *mk);
	/* All is marked that something refers to. May mark more, and drain. */
	void (*marked)(struct kr_marker *mk);
	/* A variable: mark all or a part of it. NULL: all. */
	void (*segment)(struct kr_marker *mk, const char *lo, const char *hi);
	/* The world runs again. */
	void (*done)(void);
};

struct kr_gc_object {
	char *base;
	size_t bytes;		/* that may be used */
	bool noscan;
	bool typed;
	bool marked;		/* for hooks */
};

struct kr_gc_usage {
	uint64_t heap_bytes;		/* pages that may be touched */
	uint64_t free_bytes;		/* of these, not in use */
	uint64_t returned_bytes;	/* of these, given back to the system */
	uint64_t total_bytes;		/* allocated since the program began */
	uint64_t freed_bytes;		/* by kaus_free() */
	uint64_t since_bytes;		/* allocated since the last cycle */
};

struct kr_gc_compat {
	/* ---- for hooks ---- */

	/* Words from @lo to before @hi may be references. */
	void (*mark)(struct kr_marker *mk, const void *lo, const void *hi);
	/* What @obj refers to; @but_self: pointers into itself do not count. */
	void (*mark_contents)(struct kr_marker *mk, const void *obj,
			      bool but_self);
	/* Until nothing is left to do. */
	void (*drain)(struct kr_marker *mk);

	/* ---- for all ---- */

	/* The object that @addr, any value, points to or into. */
	bool (*find)(const void *addr, struct kr_gc_object *ret_obj);
	/* This thread makes no cycle by itself until the same with -1. */
	void (*hold)(int by);
	void (*read_usage)(struct kr_gc_usage *ret_usage);
	/* Of the calling thread: 0 or -errno. */
	int (*stack_end)(uintptr_t *ret_end);
};

/**
 * kaus_gc_compat() - Hook in.
 * @hooks: Once, for good; NULL: only ask.
 *
 * The collector is on afterwards, with or without a runtime.
 *
 * Return: the functions, or NULL if there is no memory, the environment is
 * wrong, or others have hooked in.
 */
const struct kr_gc_compat *kaus_gc_compat(const struct kr_gc_hooks *hooks);

/* ---- within the library ---- */

/* NULL: none. cycle.c. */
extern const struct kr_gc_hooks *kr_gc_hooks
	__attribute__((visibility("hidden")));

#endif /* KR_GC_COMPAT_H */
