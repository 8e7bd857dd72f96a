// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters for the administrator: /sys/kernel/debug/kaus, for root only.
 *
 *	cpus	what the module did, a line for each CPU
 *	refused	redirects put off, a line for each reason
 *	groups	a line for each group; the last columns are sums over the
 *		workers' slots, which the program may scribble over
 *	pages	a line for each group: pages that it says it could return, that
 *		are wanted and not yet taken notice of, and how many have been
 *		asked for, with how many wake-ups
 *
 * Nothing here stops anybody: numbers of one line need not be of one moment.
 */
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "debugfs.h"
#include "group.h"
#include "stats.h"
#include "worker.h"

DEFINE_PER_CPU(struct kaus_stats, kaus_stats);

static struct dentry *dir;
static LIST_HEAD(groups);
static DEFINE_MUTEX(groups_lock);
static u32 last_id;

/* Context: Process context, here and in the next; the group is whole. */
void kaus_debugfs_add(struct kaus_group *g)
{
	mutex_lock(&groups_lock);
	g->id = ++last_id;
	list_add_tail(&g->all, &groups);
	mutex_unlock(&groups_lock);
}

void kaus_debugfs_del(struct kaus_group *g)
{
	mutex_lock(&groups_lock);
	list_del(&g->all);
	mutex_unlock(&groups_lock);
}

static u64 sum_refused(const struct kaus_stats *s)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < KAUS_NR_REFUSED; i++)
		sum += READ_ONCE(s->refused[i]);
	return sum;
}

static int cpus_show(struct seq_file *f, void *unused)
{
	const struct kaus_stats *s;
	int cpu;

	seq_puts(f, "cpu looks returns pokes redirects refused sleeps wakes lost handoffs starved parks unparks kicks again\n");
	for_each_possible_cpu(cpu) {
		s = per_cpu_ptr(&kaus_stats, cpu);
		seq_printf(f, "%d %llu %llu %llu %llu %llu ", cpu,
			   READ_ONCE(s->looks), READ_ONCE(s->returns),
			   READ_ONCE(s->pokes), READ_ONCE(s->redirects),
			   sum_refused(s));
		seq_printf(f, "%llu %llu %llu %llu %llu %llu %llu %llu %llu\n",
			   READ_ONCE(s->sleeps), READ_ONCE(s->wakes),
			   READ_ONCE(s->lost), READ_ONCE(s->handoffs),
			   READ_ONCE(s->starved), READ_ONCE(s->parks),
			   READ_ONCE(s->unparks), READ_ONCE(s->kicks),
			   READ_ONCE(s->again));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cpus);

static int refused_show(struct seq_file *f, void *unused)
{
	static const char * const names[KAUS_NR_REFUSED] = {
		[KAUS_REFUSED_PROGRAM] = "program",
		[KAUS_REFUSED_MODE] = "mode",
		[KAUS_REFUSED_STEP] = "step",
		[KAUS_REFUSED_TRAMP] = "tramp",
		[KAUS_REFUSED_STACK] = "stack",
		[KAUS_REFUSED_DEFER] = "defer",
		[KAUS_REFUSED_BUSY] = "busy",
		[KAUS_REFUSED_RESTART] = "restart",
		[KAUS_REFUSED_RSEQ] = "rseq",
	};
	u64 sum;
	int cpu, i;

	for (i = KAUS_REFUSED_NOT + 1; i < KAUS_NR_REFUSED; i++) {
		sum = 0;
		for_each_possible_cpu(cpu)
			sum += READ_ONCE(per_cpu(kaus_stats.refused[i], cpu));
		seq_printf(f, "%s %llu\n", names[i], sum);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(refused);

static void group_show(struct seq_file *f, struct kaus_group *g)
{
	u64 redirects = 0, refused = 0, sleeps = 0, handoffs = 0, lost = 0;
	u32 registered = 0, parked = 0, i;
	const struct kaus_worker *w;
	const struct kaus_m *m;

	for (i = 0; i < READ_ONCE(g->ms_end); i++) {
		rcu_read_lock();
		m = rcu_dereference(g->ms[i]);
		if (m && !READ_ONCE(m->gone)) {
			registered++;
			/* without the lock: old by the time it is read */
			parked += READ_ONCE(m->parked);
		}
		rcu_read_unlock();
		cond_resched();
		w = &g->slots[i];
		redirects += READ_ONCE(w->nr_redirects);
		refused += READ_ONCE(w->nr_refused);
		sleeps += READ_ONCE(w->nr_sleeps);
		handoffs += READ_ONCE(w->nr_handoffs);
		lost += READ_ONCE(w->nr_lost);
	}
	seq_printf(f, "%u %d %u %u %u %u %lu %llu %d ", g->id, pid_nr(g->tgid),
		   g->nr_procs, g->nr_workers, registered, parked, g->nr_pages,
		   kaus_group_slice(g), kaus_group_is_shutdown(g));
	seq_printf(f, "%llu %llu %llu %llu %llu\n", redirects, refused, sleeps,
		   handoffs, lost);
}

static int groups_show(struct seq_file *f, void *unused)
{
	struct kaus_group *g;

	seq_puts(f, "group tgid procs slots workers parked pages slice_ns shutdown redirects refused sleeps handoffs lost\n");
	mutex_lock(&groups_lock);
	list_for_each_entry(g, &groups, all) {
		group_show(f, g);
		cond_resched();
	}
	mutex_unlock(&groups_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(groups);

static int pages_show(struct seq_file *f, void *unused)
{
	const struct kaus_group *g;

	seq_puts(f, "group tgid returnable wanted asked wakes\n");
	mutex_lock(&groups_lock);
	list_for_each_entry(g, &groups, all) {
		seq_printf(f, "%u %d %llu %llu %llu %llu\n", g->id,
			   pid_nr(g->tgid), READ_ONCE(g->hdr->returnable),
			   READ_ONCE(g->hdr->wanted),
			   READ_ONCE(g->nr_pages_asked),
			   READ_ONCE(g->nr_pages_wakes));
		cond_resched();
	}
	mutex_unlock(&groups_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pages);

/* Without debugfs the module works as well, so nothing is checked. */
void kaus_debugfs_init(void)
{
	dir = debugfs_create_dir("kaus", NULL);
	debugfs_create_file("cpus", 0400, dir, NULL, &cpus_fops);
	debugfs_create_file("refused", 0400, dir, NULL, &refused_fops);
	debugfs_create_file("groups", 0400, dir, NULL, &groups_fops);
	debugfs_create_file("pages", 0400, dir, NULL, &pages_fops);
}

void kaus_debugfs_exit(void)
{
	debugfs_remove(dir);
}
