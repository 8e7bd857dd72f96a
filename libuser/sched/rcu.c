/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The registry of all goroutines; the only file that knows RCU.
 *
 * Goroutine objects are made, reused and never freed, so the list only grows.
 * Readers (dumps) walk it while others append: an RCU list, with liburcu's
 * membarrier flavour because its readers need not announce quiescent states
 * and threads of any kind may read. A reader must not park: the flavour keeps
 * its state per thread.
 */
#include <urcu/urcu-memb.h>

#include <urcu/rculist.h>

#include "sched/sched.h"

static CDS_LIST_HEAD(all_gs);
static uint32_t all_gs_lock;	/* appenders */

void kr_registry_add(struct g *gp)
{
	kr_lock(&all_gs_lock);
	cds_list_add_tail_rcu(&gp->all_node, &all_gs);
	kr_unlock(&all_gs_lock);
}

int kr_registry_for_each(int (*fn)(struct g *gp, void *arg), void *arg)
{
	struct g *gp;
	int err = 0;

	urcu_memb_register_thread();
	urcu_memb_read_lock();
	cds_list_for_each_entry_rcu(gp, &all_gs, all_node) {
		err = fn(gp, arg);
		if (err)
			break;
	}
	urcu_memb_read_unlock();
	urcu_memb_unregister_thread();
	return err;
}
