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

/*
 * A variable of the runtime that holds no pointer into the heap, or none that
 * shall keep anything alive: the collector, which looks at all variables with
 * the world stopped, leaves it out. For large ones; at file level.
 */
#define KR_NOT_A_ROOT(var)                                                 \
	static const struct kr_not_root kr_not_root_##var                  \
		__attribute__((used, section("kr_not_roots"))) = {         \
			&(var), &(var) + 1,                                \
		}

struct kr_not_root {
	const void *lo, *hi;
};

/* All of them, in no order; the linker names both ends of the section. */
extern const struct kr_not_root __start_kr_not_roots[]
	__attribute__((weak, visibility("hidden")));
extern const struct kr_not_root __stop_kr_not_roots[]
	__attribute__((weak, visibility("hidden")));

/* Preemption off, or a plain thread. @root stays until it is removed. */
void kr_root_add(struct kr_root *root, const void *lo, const void *hi);
void kr_root_del(struct kr_root *root);

/* The collector: nobody adds or removes any between the two. */
void kr_roots_lock(void);
void kr_roots_unlock(void);
struct kr_root *kr_roots_next(struct kr_root *root);

#endif /* KR_MEM_ROOT_H */
