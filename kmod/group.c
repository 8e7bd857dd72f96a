// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups: the pinned region and what hangs on it.
 *
 * DOC: A group is made by KAUS_IOC_SETUP and belongs to the process that made
 * it: to that mm *and* that thread group, because a vfork child shares the
 * first and a program after exec keeps the second. It ends in two steps:
 *
 * - Shutdown, when the owner closes the descriptor (or the file goes away
 *   otherwise): nothing is granted or parked any more, parked threads return,
 *   and every worker detaches itself at its next context switch or return to
 *   user mode. Threads are only ever detached by themselves.
 * - Free, with the last reference (the file's and one of each worker), always
 *   in process context.
 *
 * The memory belongs to user space: unmapping it there leaves the module with
 * pages nobody else sees. It is charged like mlock() memory meanwhile.
 */
#include <linux/bitmap.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/user_namespace.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "group.h"
#include "handoff.h"
#include "park.h"
#include "preempt.h"
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
 * give it a meaning. What races with this check hurts the process only.
 */
static int check_region(struct kaus_group *g)
{
	const struct kaus_header *hdr = g->hdr;
	u32 i;

	if (!is_zero(hdr->reserved0, sizeof(hdr->reserved0)) ||
	    !is_zero(&hdr->shutdown, sizeof(*hdr) -
				     offsetof(struct kaus_header, shutdown)))
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
		    !is_zero(&w->on_cpu, sizeof(*w) -
					 offsetof(struct kaus_worker, on_cpu)))
			return -EINVAL;
	}
	return 0;
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

static struct kaus_group *alloc_tables(const struct kaus_setup *setup)
{
	struct kaus_group *g;

	g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);
	if (!g)
		return NULL;
	kref_init(&g->ref);
	raw_spin_lock_init(&g->lock);
	INIT_LIST_HEAD(&g->service);
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
}

/**
 * kaus_group_create() - Make the group of the calling process.
 * @setup: Arguments of KAUS_IOC_SETUP; size and flags were checked.
 *
 * Context: Process context; sleeps.
 * Return: The group with one reference, or an error of KAUS_IOC_SETUP.
 */
struct kaus_group *kaus_group_create(const struct kaus_setup *setup)
{
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

	err = account_locked_vm(current->mm, g->nr_pages, true);
	if (err) {
		err = err == -ENOMEM ? -EMFILE : err;
		goto err_free;
	}
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
	err = check_region(g);
	if (err)
		goto err_unmap;

	g->mm = current->mm;
	mmgrab(g->mm);
	g->tgid = get_pid(task_tgid(current));
	return g;

err_unmap:
	vunmap(g->hdr);
err_unpin:
	unpin_user_pages(g->pages, g->nr_pages);
err_account:
	account_locked_vm(current->mm, g->nr_pages, false);
err_free:
	free_tables(g);
	return ERR_PTR(err);
}

static void group_free(struct kref *ref)
{
	struct kaus_group *g = container_of(ref, struct kaus_group, ref);
	u32 i;

	/* No worker is left to start one of these again. */
	for (i = 0; i < g->nr_procs; i++)
		kaus_handoff_fini(&g->ps[i]);
	vunmap(g->hdr);
	unpin_user_pages_dirty_lock(g->pages, g->nr_pages, true);
	account_locked_vm(g->mm, g->nr_pages, false);
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
 * @g: The group. The caller holds a reference.
 *
 * Context: Process context. May be called more than once.
 */
void kaus_group_shutdown(struct kaus_group *g)
{
	unsigned long flags;
	struct kaus_m *m;
	u32 i, end;

	raw_spin_lock_irqsave(&g->lock, flags);
	WRITE_ONCE(g->shutdown, true);
	WRITE_ONCE(g->hdr->shutdown, 1);
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
			kaus_park_end(m);
			kaus_preempt_poke(m);
		}
		rcu_read_unlock();
	}
}
