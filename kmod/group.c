// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups: the pinned region and what hangs on it.
 *
 * DOC: A group is made by KAUS_IOC_SETUP and belongs to the process that made
 * it: to that mm *and* that thread group, because a vfork child shares the
 * first and a program after exec keeps the second. It ends in two steps:
 *
 * - Shutdown, when the owner closes the descriptor (or the file goes away
 *   otherwise) or when the module is drained: nothing is granted or parked any
 *   more, parked threads return, and every worker detaches itself at its next
 *   context switch or return to user mode. Threads are only ever detached by
 *   themselves.
 * - Free, with the last reference (the file's and one of each worker), always
 *   in process context.
 *
 * The memory belongs to user space: unmapping it there leaves the module with
 * pages nobody else sees. It counts as pinned meanwhile, under the limit that
 * mlock() is under.
 */
#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/user_namespace.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "debugfs.h"
#include "drain.h"
#include "group.h"
#include "handoff.h"
#include "pages.h"
#include "park.h"
#include "preempt.h"
#include "trace.h"
#include "worker.h"

static uint max_procs = KAUS_MAX_PROCS;
module_param(max_procs, uint, 0644);
MODULE_PARM_DESC(max_procs, "Most procs of a group");

static uint max_workers = 4096;
module_param(max_workers, uint, 0644);
MODULE_PARM_DESC(max_workers, "Most workers of a group");

/*
 * Shorter slices let one thread spend more of a CPU's time in timer
 * interrupts; 50 us bounds that to a few percent.
 */
static uint min_slice_ns = 50 * NSEC_PER_USEC;
module_param(min_slice_ns, uint, 0644);
MODULE_PARM_DESC(min_slice_ns, "Shortest slice of an ordinary user");

static uint min_slice_nice_ns = 20 * NSEC_PER_USEC;
module_param(min_slice_nice_ns, uint, 0644);
MODULE_PARM_DESC(min_slice_nice_ns, "Shortest slice with CAP_SYS_NICE");

/*
 * A kick interrupts another CPU, whose thread of the same process it disturbs,
 * and nobody else; what the limit bounds is the time spent in interrupts.
 */
static uint max_kicks = 100000;
module_param(max_kicks, uint, 0644);
MODULE_PARM_DESC(max_kicks, "Kicks of a group per second, 0 for any number");

/* So much of a second's allowance may be used at once. */
#define KICK_BURST_NS	(100 * NSEC_PER_MSEC)

/* Looks at sleepers, of a group per second: a thousandth of a CPU at most. */
#define MAX_LOOKS	1000
#define LOOK_BURST_NS	(100 * NSEC_PER_MSEC)

/* Whatever the administrator says: less would be an interrupt storm. */
#define MIN_SLICE_FLOOR_NS	(10 * NSEC_PER_USEC)

void kaus_group_limits(struct kaus_info *info)
{
	bool nice = ns_capable_noaudit(&init_user_ns, CAP_SYS_NICE);

	info->max_procs = min_t(u32, READ_ONCE(max_procs), KAUS_MAX_PROCS);
	info->max_workers = min_t(u32, READ_ONCE(max_workers), KAUS_MAX_WORKERS);
	info->min_slice_ns = clamp_t(u64, nice ? READ_ONCE(min_slice_nice_ns) :
					  READ_ONCE(min_slice_ns),
				     MIN_SLICE_FLOOR_NS, KAUS_MAX_SLICE_NS);
	info->max_slice_ns = KAUS_MAX_SLICE_NS;
	info->default_slice_ns = clamp_t(u64, KAUS_DEFAULT_SLICE_NS,
					 info->min_slice_ns, KAUS_MAX_SLICE_NS);
}

static int check_setup(const struct kaus_setup *setup)
{
	struct kaus_info info;

	kaus_group_limits(&info);
	if (!setup->nr_procs || setup->nr_procs > info.max_procs ||
	    !setup->nr_workers || setup->nr_workers > info.max_workers)
		return -EINVAL;
	if (setup->len != KAUS_REGION_SIZE(setup->nr_procs, setup->nr_workers))
		return -EINVAL;
	if (!PAGE_ALIGNED(setup->addr) ||
	    setup->addr >= TASK_SIZE_MAX ||
	    setup->len > TASK_SIZE_MAX - setup->addr)
		return -EINVAL;
	if (setup->tramp_lo >= setup->tramp_hi ||
	    setup->tramp_hi > TASK_SIZE_MAX || !setup->tramp_lo)
		return -EINVAL;
	if ((current->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER)) ||
	    kaus_task_has_shstk(current))
		return -EOPNOTSUPP;
	return 0;
}

/*
 * Only anonymous and shared memory may be pinned for long: a page of a file
 * system that writes back would be dirtied behind its back.
 */
static int check_vmas(unsigned long addr, unsigned long end)
{
	struct vm_area_struct *vma;
	unsigned long magic;

	mmap_assert_locked(current->mm);
	for (; addr < end; addr = vma->vm_end) {
		vma = find_vma(current->mm, addr);
		if (!vma || vma->vm_start > addr || !(vma->vm_flags & VM_WRITE))
			return -EFAULT;
		if (!vma->vm_file)
			continue;
		magic = file_inode(vma->vm_file)->i_sb->s_magic;
		if (magic != TMPFS_MAGIC && magic != HUGETLBFS_MAGIC)
			return -EOPNOTSUPP;
	}
	return 0;
}

/*
 * In pinned_vm, as RDMA does, and not in locked_vm by account_locked_vm(): that
 * wants the mmap_lock for writing, and who frees a group (the last worker's
 * reaper, one for all) must not wait for what another process does with its own.
 */
static int charge(struct kaus_group *g)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	u64 pages = atomic64_add_return(g->nr_pages, &g->mm->pinned_vm);

	if (pages + READ_ONCE(g->mm->locked_vm) <= limit ||
	    ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK))
		return 0;
	atomic64_sub(g->nr_pages, &g->mm->pinned_vm);
	return -EMFILE;
}

static void uncharge(struct kaus_group *g)
{
	atomic64_sub(g->nr_pages, &g->mm->pinned_vm);
}

static int pin_region(struct kaus_group *g, unsigned long addr)
{
	unsigned long done = 0;
	long n;
	int err;

	mmap_read_lock(current->mm);
	err = check_vmas(addr, addr + (g->nr_pages << PAGE_SHIFT));
	while (!err && done < g->nr_pages) {
		n = pin_user_pages(addr + (done << PAGE_SHIFT),
				   g->nr_pages - done,
				   FOLL_WRITE | FOLL_LONGTERM, g->pages + done);
		if (n > 0)
			done += n;
		else
			err = n ? n : -EFAULT;
	}
	mmap_read_unlock(current->mm);
	if (err)
		unpin_user_pages(g->pages, done);
	return err;
}

static bool is_zero(const void *p, size_t len)
{
	return !memchr_inv(p, 0, len);
}

/*
 * Reserved space must be zero at first, so that a later minor version can
 * give it a meaning, and so must what the module writes, unless it has written
 * there before. What races with this check hurts the process only.
 */
static int check_region(struct kaus_group *g, bool reuse)
{
	const struct kaus_header *hdr = g->hdr;
	u32 i;

	if (!is_zero(hdr->reserved0, sizeof(hdr->reserved0)) ||
	    !is_zero(hdr->reserved1, sizeof(hdr->reserved1)) ||
	    !is_zero(hdr->reserved2, sizeof(hdr->reserved2)) ||
	    !is_zero(hdr->reserved3, sizeof(hdr->reserved3)) ||
	    !is_zero(hdr->reserved4, sizeof(hdr->reserved4)))
		return -EINVAL;
	if (!reuse && (READ_ONCE(hdr->shutdown) || READ_ONCE(hdr->wanted) ||
		       READ_ONCE(hdr->wanted_why) ||
		       !is_zero(hdr->sleeping, sizeof(hdr->sleeping))))
		return -EINVAL;
	for (i = 0; i < g->nr_procs; i++) {
		const struct kaus_proc *p = g->ps[i].slot;

		if (!is_zero(p->reserved0, sizeof(p->reserved0)) ||
		    !is_zero(p->reserved1, sizeof(p->reserved1)))
			return -EINVAL;
	}
	for (i = 0; i < g->nr_workers; i++) {
		const struct kaus_worker *w = &g->slots[i];

		if (!is_zero(w->reserved0, sizeof(w->reserved0)) ||
		    !is_zero(w->reserved1, sizeof(w->reserved1)))
			return -EINVAL;
		if (!reuse && !is_zero(&w->on_cpu,
				       offsetof(struct kaus_worker, reserved1) -
				       offsetof(struct kaus_worker, on_cpu)))
			return -EINVAL;
	}
	return 0;
}

/* An earlier group has left its end in the region. */
static void clear_region(struct kaus_group *g)
{
	u32 i;

	WRITE_ONCE(g->hdr->shutdown, 0);
	WRITE_ONCE(g->hdr->wanted, 0);
	WRITE_ONCE(g->hdr->wanted_why, 0);
	for (i = 0; i < g->nr_workers; i++)
		WRITE_ONCE(g->slots[i].on_cpu, 0);
}

static void free_tables(struct kaus_group *g)
{
	bitmap_free(g->starved);
	bitmap_free(g->pool_map);
	kvfree(g->pools);
	kvfree(g->ms);
	kvfree(g->ps);
	kvfree(g->pages);
	kfree(g);
}

/*
 * Whose groups are counted: who makes himself a user namespace, and users in it
 * as many as he likes, is one user all the same. Those that root has mapped for
 * a container are users of their own.
 */
static kuid_t payer(void)
{
	const struct user_namespace *ns = current_user_ns();
	kuid_t uid = current_uid();

	for (; ns != &init_user_ns; ns = ns->parent)
		if (!uid_eq(ns->owner, GLOBAL_ROOT_UID))
			uid = ns->owner;
	return uid;
}

static struct kaus_group *alloc_tables(const struct kaus_setup *setup)
{
	struct kaus_group *g;

	g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);
	if (!g)
		return NULL;
	kref_init(&g->ref);
	raw_spin_lock_init(&g->lock);
	INIT_LIST_HEAD(&g->service);
	INIT_LIST_HEAD(&g->in_drain);
	g->uid = payer();
	g->nr_procs = setup->nr_procs;
	g->nr_workers = setup->nr_workers;
	g->nr_pages = setup->len >> PAGE_SHIFT;
	g->tramp_lo = setup->tramp_lo;
	g->tramp_hi = setup->tramp_hi;

	g->pages = kvcalloc(g->nr_pages, sizeof(*g->pages), GFP_KERNEL_ACCOUNT);
	g->ps = kvcalloc(g->nr_procs, sizeof(*g->ps), GFP_KERNEL_ACCOUNT);
	g->ms = kvcalloc(g->nr_workers, sizeof(*g->ms), GFP_KERNEL_ACCOUNT);
	g->pools = kvcalloc(g->nr_procs + 1, sizeof(*g->pools),
			    GFP_KERNEL_ACCOUNT);
	g->pool_map = bitmap_zalloc(g->nr_procs + 1, GFP_KERNEL_ACCOUNT);
	g->starved = bitmap_zalloc(g->nr_procs, GFP_KERNEL_ACCOUNT);
	if (!g->pages || !g->ps || !g->ms || !g->pools || !g->pool_map ||
	    !g->starved) {
		free_tables(g);
		return NULL;
	}
	return g;
}

static void init_ps(struct kaus_group *g)
{
	struct kaus_proc *slots = (void *)g->hdr + KAUS_PROCS_OFFSET;
	u32 i;

	for (i = 0; i < g->nr_procs; i++) {
		g->ps[i].group = g;
		g->ps[i].slot = &slots[i];
		g->ps[i].index = i;
		kaus_handoff_init(&g->ps[i]);
	}
	for (i = 0; i <= g->nr_procs; i++)
		INIT_LIST_HEAD(&g->pools[i]);
	kaus_park_group_init(g);
}

/**
 * kaus_group_create() - Make the group of the calling process.
 * @setup: Arguments of KAUS_IOC_SETUP; the size was checked.
 *
 * Context: Process context; sleeps.
 * Return: The group with one reference, or an error of KAUS_IOC_SETUP.
 */
struct kaus_group *kaus_group_create(const struct kaus_setup *setup)
{
	bool reuse = setup->flags & KAUS_SETUP_REUSE;
	struct kaus_group *g;
	struct kaus_info info;
	int err;

	err = check_setup(setup);
	if (err)
		return ERR_PTR(err);
	g = alloc_tables(setup);
	if (!g)
		return ERR_PTR(-ENOMEM);
	kaus_group_limits(&info);
	g->min_slice_ns = info.min_slice_ns;
	g->mm = current->mm;
	mmgrab(g->mm);
	g->tgid = get_pid(task_tgid(current));

	err = charge(g);
	if (err)
		goto err_free;
	err = pin_region(g, setup->addr);
	if (err)
		goto err_account;
	g->hdr = vmap(g->pages, g->nr_pages, VM_MAP, PAGE_KERNEL);
	if (!g->hdr) {
		err = -ENOMEM;
		goto err_unpin;
	}
	g->slots = (void *)g->hdr + KAUS_WORKERS_OFFSET(g->nr_procs);
	init_ps(g);
	err = check_region(g, reuse);
	if (err)
		goto err_unmap;
	if (reuse)
		clear_region(g);
	/* Tracepoints tell its number. */
	kaus_debugfs_add(g);
	/* From here on it may be shut down at any time. */
	err = kaus_drain_add(g);
	if (err)
		goto err_debugfs;
	kaus_pages_add(g);
	return g;

err_debugfs:
	kaus_debugfs_del(g);
err_unmap:
	vunmap(g->hdr);
err_unpin:
	unpin_user_pages(g->pages, g->nr_pages);
err_account:
	uncharge(g);
err_free:
	mmdrop(g->mm);
	put_pid(g->tgid);
	free_tables(g);
	return ERR_PTR(err);
}

static void group_free(struct kref *ref)
{
	struct kaus_group *g = container_of(ref, struct kaus_group, ref);
	u32 i;

	kaus_pages_del(g);
	kaus_debugfs_del(g);
	kaus_drain_remove(g);
	/* No worker is left to start one of these again; the first starts others. */
	kaus_park_group_fini(g);
	for (i = 0; i < g->nr_procs; i++)
		kaus_handoff_fini(&g->ps[i]);
	vunmap(g->hdr);
	unpin_user_pages_dirty_lock(g->pages, g->nr_pages, true);
	uncharge(g);
	mmdrop(g->mm);
	put_pid(g->tgid);
	free_tables(g);
}

/* Context: Process context; sleeps if this was the last reference. */
void kaus_group_put(struct kaus_group *g)
{
	kref_put(&g->ref, group_free);
}

bool kaus_group_is_owner(const struct kaus_group *g)
{
	return current->mm == g->mm && task_tgid(current) == g->tgid;
}

/**
 * kaus_group_shutdown() - End the group; the first of two steps.
 * @g: The group. The caller holds a reference, or the lock of drain.c.
 * @why: KAUS_SHUTDOWN_CLOSED or _DRAIN.
 *
 * Context: Process context; may sleep. May be called more than once.
 */
void kaus_group_shutdown(struct kaus_group *g, u32 why)
{
	unsigned long flags;
	struct kaus_m *m;
	u32 i, end, nr = 0;

	raw_spin_lock_irqsave(&g->lock, flags);
	/* Once only: after a drain the region may have a new group. */
	if (!g->shutdown)
		WRITE_ONCE(g->hdr->shutdown, why);
	WRITE_ONCE(g->shutdown, true);
	if (why == KAUS_SHUTDOWN_DRAIN)
		WRITE_ONCE(g->drained, true);
	else
		WRITE_ONCE(g->closed, true);
	end = g->ms_end;
	raw_spin_unlock_irqrestore(&g->lock, flags);

	/*
	 * Who registers, parks or falls asleep from here on sees the flag:
	 * it is checked under the lock. The others are told one by one.
	 */
	for (i = 0; i < end; i++) {
		rcu_read_lock();
		m = rcu_dereference(g->ms[i]);
		if (m) {
			nr++;
			kaus_park_end(m);
			kaus_preempt_poke(m);
			if (READ_ONCE(g->drained))
				kaus_worker_nudge(m);
		}
		rcu_read_unlock();
		cond_resched();
	}
	if (why == KAUS_SHUTDOWN_DRAIN)
		trace_kaus_drain(g, nr);
}

/**
 * kaus_group_may_interrupt() - May a kick interrupt a CPU now?
 * @g: The group.
 *
 * Each costs its share of a second. The account may be overdrawn by the burst.
 *
 * Return: false if max_kicks is exceeded.
 */
bool kaus_group_may_interrupt(struct kaus_group *g)
{
	u64 now = ktime_get_ns();
	uint max = READ_ONCE(max_kicks);
	s64 old, new;

	if (!max)
		return true;
	old = atomic64_read(&g->kick_ns);
	do {
		if (old > (s64)(now + KICK_BURST_NS))
			return false;
		new = max_t(s64, old, now) + NSEC_PER_SEC / max;
	} while (!atomic64_try_cmpxchg(&g->kick_ns, &old, new));
	return true;
}

/**
 * kaus_group_next_look() - When may a timer look at a sleeper's P once more?
 * @g: The group.
 *
 * A look interrupts whoever has the CPU by then, so a program that moves its
 * deadlines on and on, with a thousand Ps in hundreds of groups, must not have
 * them as often as it likes. Each is due when those before it are paid for, but
 * for a burst: a group with many Ps has them later, and none is dropped.
 *
 * Return: Not before that.
 */
u64 kaus_group_next_look(struct kaus_group *g)
{
	u64 now = ktime_get_ns();
	s64 old = atomic64_read(&g->look_ns), new;

	do {
		new = max_t(s64, old, now) + NSEC_PER_SEC / MAX_LOOKS;
	} while (!atomic64_try_cmpxchg(&g->look_ns, &old, new));
	return new - LOOK_BURST_NS;
}
