/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The registry of all goroutines; the only file that knows RCU.
 *
 * Goroutine objects lie in slabs that are never unmapped (gpool.c), so the list
 * of slabs only grows. Readers (dumps) walk it while others append: an RCU list, with liburcu's
 * membarrier flavour because its readers need not announce quiescent states
 * and threads of any kind may read. A reader must not park: the flavour keeps
 * its state per thread. Publishing and finding an entry are our own acquire and
 * release: those of the list's macros are invisible to ThreadSanitizer.
 */
#include <urcu/urcu-memb.h>

#include "sched/gpool.h"
#include "sched/scan.h"
#include "sched/sched.h"

static CDS_LIST_HEAD(all_slabs);
static uint32_t all_slabs_lock;	/* appenders */

void kr_registry_add(struct g_slab *slab)
{
	kr_lock(&all_slabs_lock);
	slab->all_node.next = &all_slabs;
	slab->all_node.prev = all_slabs.prev;
	smp_store_release(&all_slabs.prev->next, &slab->all_node);
	all_slabs.prev = &slab->all_node;
	kr_unlock(&all_slabs_lock);
}

static int each_of(struct g_slab *slab, int (*fn)(struct g *gp, void *arg),
		   void *arg)
{
	int err = 0;

	/* Anew each time: it may be trimmed meanwhile. */
	for (uint32_t i = 0; !err && i < smp_load_acquire(&slab->nr_made); i++)
		if (READ_ONCE(slab->gs[i].state) != G_IDLE)
			err = fn(&slab->gs[i], arg);
	return err;
}

struct g_slab *kr_registry_next(struct g_slab *slab)
{
	struct cds_list_head *node = slab ? &slab->all_node : &all_slabs;

	node = smp_load_acquire(&node->next);
	return node == &all_slabs ? NULL :
	       container_of(node, struct g_slab, all_node);
}

int kr_registry_for_each(int (*fn)(struct g *gp, void *arg), void *arg)
{
	struct cds_list_head *node;
	int err = 0;

	urcu_memb_register_thread();
	urcu_memb_read_lock();
	for (node = &all_slabs; !err;) {
		node = smp_load_acquire(&node->next);
		if (node == &all_slabs)
			break;
		err = each_of(container_of(node, struct g_slab, all_node), fn,
			      arg);
	}
	urcu_memb_read_unlock();
	urcu_memb_unregister_thread();
	return err;
}
