/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The list of roots. It refers to them and never owns one. */
#include "mem/root.h"

#include <stddef.h>

#include "os/os.h"

static struct {
	uint32_t lock;
	struct kr_root head;		/* of a ring */
} roots = { .head = { &roots.head, &roots.head, NULL, NULL } };

void kr_root_add(struct kr_root *root, const void *lo, const void *hi)
{
	root->lo = lo;
	root->hi = hi;
	kr_lock(&roots.lock);
	root->next = &roots.head;
	root->prev = roots.head.prev;
	root->prev->next = root;
	roots.head.prev = root;
	kr_unlock(&roots.lock);
}

void kr_root_del(struct kr_root *root)
{
	kr_lock(&roots.lock);
	root->prev->next = root->next;
	root->next->prev = root->prev;
	kr_unlock(&roots.lock);
}

void kr_roots_lock(void)
{
	kr_lock(&roots.lock);
}

void kr_roots_unlock(void)
{
	kr_unlock(&roots.lock);
}

struct kr_root *kr_roots_next(struct kr_root *root)
{
	root = root ? root->next : roots.head.next;
	return root == &roots.head ? NULL : root;
}
