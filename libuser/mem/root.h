/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Memory outside of the heap that may hold pointers into it: what the program
 * has registered, and buffers of the runtime's own objects.
 */
#ifndef KR_MEM_ROOT_H
#define KR_MEM_ROOT_H

#include <stdint.h>

struct kr_root {
	struct kr_root *next, *prev;
	const void *lo, *hi;
};

/* Preemption off, or a plain thread. @root stays until it is removed. */
void kr_root_add(struct kr_root *root, const void *lo, const void *hi);
void kr_root_del(struct kr_root *root);

/* The collector: nobody adds or removes any between the two. */
void kr_roots_lock(void);
void kr_roots_unlock(void);
struct kr_root *kr_roots_next(struct kr_root *root);

#endif /* KR_MEM_ROOT_H */
