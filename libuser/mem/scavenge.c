/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The scavenger: a thread that returns free pages of the heap.
 *
 * DOC: To return a page and to need it again costs as much as a page fault and
 * clearing it, so pages that will be used again soon should stay, and nobody
 * knows which. What is known is how many free pages were not used at all of
 * late: the least number that was free at any moment since the last look. Of
 * these, beyond a reserve in proportion to what is in use, a part goes back at
 * each look, so that half of what a program has dropped is gone after a few
 * looks, and one that drops and takes in turn keeps what it takes. When there
 * is no more than the reserve the thread sleeps until the page heap tells it
 * that there is, without a timeout: an idle process does not wake up.
 *
 * To return a page takes the kernel 0.3 us, so two gigabytes are a sixth of a
 * second. The thread has an account of CPU time for that: it gains a fixed
 * share of the time that passes, up to a burst that is enough for a gigabyte,
 * and loses what the thread's clock says that it has run. When it is overdrawn
 * what is left waits. In no ten seconds is it more than a hundredth of one CPU;
 * memory that is short is no time to save CPU time, and costs the account none.
 *
 * What stays is freed lazily: the kernel may take it without asking, and does so
 * before it kills for want of memory, also where it does not tell before
 * (memory.max is lowered). Until then it is as good as any free page: to use it
 * again costs a miss of the TLB. So it is no reason to keep less, and there is
 * no limit on how much is freed so. It costs two thirds of returning a page that
 * is going to be returned anyway, so what waits for the account is freed lazily
 * only if there is a limit that may be lowered; then even if it overdraws.
 *
 * Pages inside of spans that hold a few objects yet (trim.c) go back when a heap
 * has come to rest: a second after the last cycle, if there are many of them at
 * all, and once. They could not be used for anything else meanwhile, but a
 * program that allocates would soon use them again. If there is a limit that may be
 * lowered then that, too, does not wait for the account.
 *
 * So do, when there is nothing else to be done, structures of spans that are no
 * more (heap.c).
 *
 * When the kernel says that memory is short, by one of the ways in
 * os/pressure.c, all of it goes back, at once, and what else is not used: see
 * kr_scavenge_ops. When it says, by way of the module, that it reclaims memory
 * and wants so much, that is what it gets, in whole huge pages. It asks in
 * parts, and only once in a while wakes somebody, so the next look is not left
 * out then.
 *
 * Whole huge pages go first, then long runs, then what is left; high addresses
 * before low ones, as allocation prefers low ones and so the high ones are
 * those that were not used for longest. No goroutine ever waits for a page to
 * be returned: the pages are taken out of the heap meanwhile (pages.c), at most
 * BATCH_PAGES at a time, so that little is missing from it.
 *
 * Rejected: returning at the place where memory is freed, or where the heap
 * grows over a limit (Go does the latter, its issue 57069 tells the result).
 */
#include "mem/scavenge.h"

#include "base/barrier.h"
#include "mem/heap.h"
#include "mem/trim.h"
#include "os/os.h"

#define HUGE_PAGES	256U		/* 2 MiB */
#define LONG_PAGES	8U		/* 64 KiB */
#define BATCH_PAGES	(8U * HUGE_PAGES)
#define BATCH_RUNS	64U
#define LOOK_MS		100
#define POOR_MS		500		/* the account is overdrawn */
#define CPU_PART	500		/* of the time of one CPU: 0.2 % */
#define CPU_BURST_NS	80000000LL
#define REST_NS		1000000000ULL	/* since the last cycle */
#define RESERVE_PART	10		/* of what is in use */
#define LOOK_PART	2		/* of what is too much, at each look */

static struct kr_pressure pressure;
static const struct kr_scavenge_ops *ops;
uint32_t kr_scavenge_nr_threads;
static bool running;		/* pressure is open */
static bool limited;		/* the control group has a limit */

/* The thread's own. */
static struct {
	int64_t left_ns;
	uint64_t now_ns, cpu_ns;	/* of the last settlement */
} account;

static struct {
	uint64_t cpu_ns, bytes;
} spent;

/* Pages in spans. */
static struct {
	uint32_t gen;			/* of sweeping, when it was last looked */
	uint64_t since_ns;		/* it has been that */
	uint32_t done_gen;		/* in which all spans were trimmed, */
	int64_t done_live;		/* and what was live then */
	uint32_t cursor;		/* where to go on; 0: at the beginning */
} spans;

/* What has passed is its gain; its loss what it has run, or @free: nothing. */
static void settle(bool free)
{
	uint64_t now = kr_clock_now_ns(), cpu;

	if (kr_clock_thread_cpu_ns(0, &cpu))
		return;
	account.left_ns += (int64_t)((now - account.now_ns) / CPU_PART);
	if (!free)
		account.left_ns -= (int64_t)(cpu - account.cpu_ns);
	if (account.left_ns > CPU_BURST_NS)
		account.left_ns = CPU_BURST_NS;
	account.now_ns = now;
	account.cpu_ns = cpu;
	WRITE_ONCE(spent.cpu_ns, cpu);
}

static bool is_poor(void)
{
	return account.left_ns <= 0;
}

static uint64_t reserve(const struct kr_page_stats *st)
{
	uint64_t in_use = st->committed_pages - st->free_pages;

	return KR_SCAVENGE_MIN_PAGES / 2 + in_use / RESERVE_PART;
}

static void count_bytes(uint64_t bytes)
{
	__atomic_fetch_add(&spent.bytes, bytes, __ATOMIC_RELAXED);
}

static char *addr_of(uint32_t page)
{
	return kr_pages.base + ((size_t)page << KR_HPAGE_SHIFT);
}

/* Runs come by falling address: neighbours are joined. */
static unsigned int join(const struct kr_run *runs, uint32_t nr,
			 struct kr_vm_range *ranges)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < nr; i++) {
		char *addr = addr_of(runs[i].page);
		size_t size = (size_t)runs[i].nr << KR_HPAGE_SHIFT;

		if (n && addr + size == ranges[n - 1].addr) {
			ranges[n - 1].addr = addr;
			ranges[n - 1].size += size;
		} else {
			ranges[n++] = (struct kr_vm_range){ addr, size };
		}
	}
	return n;
}

/* Return: what they are now. */
static enum kr_page_state give(const struct kr_run *runs, uint32_t nr,
			       bool lazy)
{
	struct kr_vm_range ranges[BATCH_RUNS];
	unsigned int n = join(runs, nr, ranges);

	if (lazy)
		return kr_vm_free_lazily(ranges, n) ? KR_PAGE_DIRTY :
						      KR_PAGE_LAZY;
	return kr_vm_return(ranges, n) ? KR_PAGE_DIRTY : KR_PAGE_CLEAN;
}

/*
 * One pass over the heap for runs of a length and alignment; @paced: as long as
 * the account has something left.
 */
static uint64_t pass(const struct kr_page_wish *wish, uint64_t max_pages,
		     bool paced)
{
	struct kr_run runs[BATCH_RUNS];
	uint32_t cursor = UINT32_MAX;
	uint64_t done = 0;

	while (cursor && done < max_pages) {
		uint64_t left = max_pages - done;
		enum kr_page_state state;

		uint32_t nr = kr_pages_take_returnable(wish, &cursor,
			left < BATCH_PAGES ? (uint32_t)left : BATCH_PAGES,
			runs, BATCH_RUNS);
		if (!nr)
			continue;
		state = give(runs, nr, wish->lazy);
		kr_pages_put_returned(runs, nr, state);
		if (state == KR_PAGE_DIRTY)
			break;
		for (uint32_t i = 0; i < nr; i++)
			done += runs[i].nr;
		if (paced) {
			settle(false);
			if (is_poor())
				break;
		}
	}
	return done;
}

static uint64_t passes(uint64_t max_pages, bool lazy, bool paced)
{
	static const uint32_t lengths[] = { HUGE_PAGES, LONG_PAGES, 1 };
	uint64_t done = 0;

	for (int i = 0; i < 3 && done < max_pages; i++) {
		if (paced && is_poor())
			break;
		done += pass(&(struct kr_page_wish){
			.min_pages = lengths[i],
			.align_pages = i ? 1 : HUGE_PAGES,
			.lazy = lazy,
		}, max_pages - done, paced);
	}
	if (!lazy)
		count_bytes(done << KR_HPAGE_SHIFT);
	return done;
}

uint64_t kr_scavenge(uint64_t max_pages)
{
	return passes(max_pages, false, false);
}

uint64_t kr_scavenge_lazily(uint64_t max_pages)
{
	return passes(max_pages, true, false);
}

uint64_t kr_scavenge_spans(uint64_t max_bytes)
{
	uint32_t cursor = UINT32_MAX, nr;
	uint64_t done = 0;

	while (cursor && done < max_bytes && !kr_trim_some(&cursor, &nr))
		done += nr * KR_PAGE_SIZE;
	count_bytes(done);
	return done;
}

/* The most that there can be: what spans have beyond their objects. */
static int64_t slack(const struct kr_page_stats *st)
{
	uint64_t in_use = st->committed_pages - st->free_pages;

	return (int64_t)(in_use << KR_HPAGE_SHIFT) -
	       READ_ONCE(kr_heap.live_bytes);
}

static bool is_slack(const struct kr_page_stats *st)
{
	return slack(st) > (int64_t)(reserve(st) << KR_HPAGE_SHIFT);
}

void kr_scavenge_swept(void)
{
	struct kr_page_stats st;

	kr_pages_read_stats(&st);
	if (is_slack(&st))
		kr_pages_ring();
}

void kr_scavenge_set_limited(bool on)
{
	WRITE_ONCE(limited, on);
}

void kr_scavenge_read_stats(uint64_t *ret_bytes, uint64_t *ret_cpu_ns)
{
	*ret_bytes = READ_ONCE(spent.bytes);
	*ret_cpu_ns = READ_ONCE(spent.cpu_ns);
}

static void wake(void)
{
	kr_pressure_wake(&pressure);
}

bool kr_scavenge_wake(void)
{
	/* Acquire: pressure is open then. */
	if (!smp_load_acquire(&running))
		return false;
	wake();
	return true;
}

/* What the kernel has asked for. True if anything. */
static bool give_wanted(void)
{
	bool any = false;
	uint64_t nr;

	while ((nr = ops->take_wanted())) {
		any = true;
		nr = (nr + KR_HPAGE_KERNEL - 1) / KR_HPAGE_KERNEL;
		nr = (nr + HUGE_PAGES - 1) & ~(HUGE_PAGES - 1ULL);
		nr -= kr_scavenge(nr);
		if (nr && !kr_scavenge_spans(nr << KR_HPAGE_SHIFT))
			break;
	}
	return any;
}

/*
 * Of what nobody has needed, @low, the rest, if it is going to stay for a while;
 * all, before there is no next look.
 */
static void look_lazily(uint64_t low, bool idle)
{
	struct kr_page_stats st;

	if (idle) {
		kr_scavenge_lazily(UINT64_MAX);
		return;
	}
	if (!is_poor() || !READ_ONCE(limited))
		return;
	kr_pages_read_stats(&st);
	if (low > st.lazy_pages)
		kr_scavenge_lazily(low - st.lazy_pages);
}

/* True if there are pages in spans that are still to be returned. */
static bool look_at_spans(const struct kr_page_stats *st)
{
	uint32_t gen = READ_ONCE(kr_heap.sweepgen), nr;
	int64_t live = READ_ONCE(kr_heap.live_bytes);
	bool waits = !READ_ONCE(limited);	/* for the account */

	if (!is_slack(st))
		return false;
	if (gen == spans.done_gen && live + ((int64_t)KR_SCAVENGE_MIN_PAGES <<
					     KR_HPAGE_SHIFT) > spans.done_live)
		return false;
	if (gen != spans.gen) {
		spans.gen = gen;
		spans.since_ns = kr_clock_now_ns();
		spans.cursor = 0;
	}
	if (kr_clock_now_ns() - spans.since_ns < REST_NS ||
	    !kr_heap_is_swept())
		return true;
	if (!spans.cursor)
		spans.cursor = UINT32_MAX;
	while (spans.cursor && !(waits && is_poor())) {
		/* Memory that is locked is refused. */
		if (kr_trim_some(&spans.cursor, &nr))
			break;
		count_bytes(nr * KR_PAGE_SIZE);
		settle(false);
	}
	if (spans.cursor && waits && is_poor())
		return true;
	spans.cursor = 0;
	spans.done_gen = gen;
	spans.done_live = live;
	return false;
}

/*
 * What nobody has needed since the last look. True if there is no more to do
 * until the page heap says so; @idle: it was so before.
 */
static bool look(bool idle)
{
	struct kr_page_stats st;
	uint64_t low, keep, nr;

	kr_pages_read_stats(&st);
	keep = reserve(&st);
	low = kr_pages_low_water();
	/* What was free at the last look says nothing if that was long ago. */
	if (idle) {
		low = 0;
		idle = st.returnable_pages <= keep;
	} else if (low > keep) {
		nr = passes((low - keep) / LOOK_PART + HUGE_PAGES, false, true);
		/* The kernel may refuse: memory that is locked. */
		idle = !nr && !is_poor();
		low -= nr < low ? nr : low;
	} else {
		idle = st.returnable_pages <= keep;
	}
	look_lazily(low, idle);
	/* Last: what is free is had for less. */
	if (look_at_spans(&st))
		idle = false;
	if (idle) {
		count_bytes(kr_heap_return_dead());
		kr_pages_set_alarm(keep + KR_SCAVENGE_MIN_PAGES / 2, wake);
	}
	return idle;
}

/* Until the next look, if nothing happens before. */
static int pause_ms(bool idle, bool wanted)
{
	if (wanted)
		return LOOK_MS;
	return idle ? -1 : is_poor() ? POOR_MS : LOOK_MS;
}

void *kr_scavenge_main(void *arg)
{
	bool idle = false, wanted = false;

	ops = arg;
	if (kr_pressure_open(&pressure)) {
		WRITE_ONCE(kr_scavenge_nr_threads, 0);
		return NULL;
	}
	kr_vm_batch_init();
	/* Release: with kr_scavenge_wake(). */
	smp_store_release(&running, true);
	kr_pages_low_water();
	account.left_ns = CPU_BURST_NS;
	account.now_ns = kr_clock_now_ns();
	for (;;) {
		bool pressed = kr_pressure_wait(&pressure,
						pause_ms(idle, wanted));

		settle(false);
		wanted = give_wanted();
		if (pressed) {
			kr_scavenge(UINT64_MAX);
			kr_scavenge_spans(UINT64_MAX);
			count_bytes(kr_heap_return_dead());
			ops->pressed();
		}
		if (wanted || pressed)
			settle(true);
		idle = look(idle) && !wanted;
		settle(false);
	}
}
