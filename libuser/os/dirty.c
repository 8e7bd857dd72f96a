/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Which pages have been written: what the kernel can tell of it.
 *
 * DOC: Two ways, each a table of operations; what counts is what works when it
 * is tried, for a filter may refuse what the kernel has.
 *
 *	scan	Linux 6.7. A userfaultfd of our own has pages protected, and the
 *		fault of a write is resolved by the kernel at once. PAGEMAP_SCAN
 *		reads what was written and protects it again, in one step and
 *		range by range. All that is not protected counts as written:
 *		new pages, and those that were dropped (MADV_DONTNEED) and are
 *		there again. Writes of the kernel for us are faults like ours.
 *		User-mode-only, which needs no privilege, is enough: the faults
 *		never get as far as to a handler.
 *	soft	CONFIG_MEM_SOFT_DIRTY. A bit for each page in /proc/self/pagemap,
 *		cleared for the whole process by clear_refs, which others may
 *		use as well: a checkpoint, a debugger. So a page is written just
 *		after it was cleared, and if that one's bit is gone at the end
 *		no other bit means anything. Reading and clearing is not one
 *		step here: who wants both needs a stop.
 *
 * Descriptors are kept no longer than needed, and never written to: a program
 * that closes all it does not know would have us write to its own files. The
 * userfaultfd has to stay open. If it is closed the pages are protected no more
 * and a scan says so. A child of fork() inherits neither protection nor what the
 * descriptors stand for, which is the parent's memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "os/os.h"

/* Newer than the headers that are there. */
#define WP_FAULTS		(1ULL << 0)
#define WP_UNPOPULATED		(1ULL << 13)
#define WP_ASYNC		(1ULL << 15)
#define USER_MODE_ONLY		1

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask;
	uint64_t return_mask;
};

struct page_region {
	uint64_t start, end, categories;
};

#define SCAN			_IOWR('f', 16, struct scan_arg)
#define SCAN_WP			1ULL
#define SCAN_CHECK_WP		2ULL
#define IS_WRITTEN		2ULL

#define SOFT_DIRTY		(1ULL << 55)

#define NR_REGIONS		64
#define NR_ENTRIES		512

struct way {
	const char *name;
	bool takes;
	int (*open)(void);
	int (*add)(void *addr, size_t size);
	int (*begin)(void);
	int (*clean)(void *addr, size_t size);
	int (*each)(const char *lo, const char *hi, bool take,
		    kr_dirty_fn fn, void *arg);
	bool (*intact)(void);
	void (*release)(void *addr, size_t size);
};

static const struct way *way;
static int uffd = -1;		/* scan */
static int pagemap = -1;	/* from begin to end */
static char *canary;		/* soft */

static int open_pagemap(void)
{
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return pagemap < 0 ? -errno : 0;
}

/* ---- scan ---- */

static int scan_open(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = WP_FAULTS | WP_UNPOPULATED | WP_ASYNC,
	};
	int err;

	uffd = (int)syscall(SYS_userfaultfd,
			    O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
	if (uffd < 0)
		return -errno;
	if (!ioctl(uffd, UFFDIO_API, &api))
		return 0;
	err = -errno;
	close(uffd);
	uffd = -1;
	return err;
}

static int scan_add(void *addr, size_t size)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static int scan_clean(void *addr, size_t size)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = SCAN_WP | SCAN_CHECK_WP,
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + size,
		.category_mask = IS_WRITTEN,
	};

	while (arg.start < arg.end) {
		if (ioctl(pagemap, SCAN, &arg) < 0)
			return -errno;
		if (arg.walk_end <= arg.start)
			return -EIO;
		arg.start = arg.walk_end;
	}
	return 0;
}

static int scan_each(const char *lo, const char *hi, bool take,
		     kr_dirty_fn fn, void *arg_of_fn)
{
	struct page_region regions[NR_REGIONS];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = SCAN_CHECK_WP | (take ? SCAN_WP : 0),
		.start = (uintptr_t)lo,
		.end = (uintptr_t)hi,
		.vec = (uintptr_t)regions,
		.vec_len = NR_REGIONS,
		.category_mask = IS_WRITTEN,
		.return_mask = IS_WRITTEN,
	};

	while (arg.start < arg.end) {
		int nr = ioctl(pagemap, SCAN, &arg);

		if (nr < 0)
			return -errno;
		for (int i = 0; i < nr; i++)
			fn(arg_of_fn, (char *)(uintptr_t)regions[i].start,
			   (char *)(uintptr_t)regions[i].end);
		if (arg.walk_end <= arg.start)
			return -EIO;
		arg.start = arg.walk_end;
	}
	return 0;
}

static bool scan_intact(void)
{
	return true;
}

/* Makes them writable at once, which a fault for each would cost far more. */
static void scan_release(void *addr, size_t size)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)addr, .len = size },
	};

	(void)ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* ---- soft ---- */

static int soft_open(void)
{
	canary = mmap(NULL, KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return canary == MAP_FAILED ? -errno : 0;
}

static int soft_add(void *addr, size_t size)
{
	(void)addr;
	(void)size;
	return 0;
}

static int soft_begin(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, "4", 1) != 1)
		err = -errno;
	close(fd);
	*(volatile char *)canary = 1;
	return err;
}

static int soft_each(const char *lo, const char *hi, bool take,
		     kr_dirty_fn fn, void *arg)
{
	uint64_t entries[NR_ENTRIES];
	const char *run = NULL;

	if (take)
		return -EOPNOTSUPP;
	while (lo < hi) {
		size_t nr = (size_t)(hi - lo) / KR_PAGE_SIZE;
		ssize_t len;

		if (nr > NR_ENTRIES)
			nr = NR_ENTRIES;
		len = pread(pagemap, entries, nr * sizeof(*entries),
			    (off_t)((uintptr_t)lo / KR_PAGE_SIZE *
				    sizeof(*entries)));
		if (len != (ssize_t)(nr * sizeof(*entries)))
			return len < 0 ? -errno : -EIO;
		for (size_t i = 0; i < nr; i++, lo += KR_PAGE_SIZE) {
			if (entries[i] & SOFT_DIRTY) {
				run = run ? run : lo;
			} else if (run) {
				fn(arg, run, lo);
				run = NULL;
			}
		}
	}
	if (run)
		fn(arg, run, lo);
	return 0;
}

static void note(void *arg, const char *lo, const char *hi)
{
	(void)lo;
	(void)hi;
	*(bool *)arg = true;
}

static bool soft_intact(void)
{
	bool written = false;

	return !soft_each(canary, canary + KR_PAGE_SIZE, false, note,
			  &written) && written;
}

/* Nothing but a write does. */
static void soft_release(void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

/* ---- for all ---- */

static int nothing(void)
{
	return 0;
}

static const struct way ways[] = {
	{
		.name = "scan",
		.takes = true,
		.open = scan_open,
		.add = scan_add,
		.begin = nothing,
		.clean = scan_clean,
		.each = scan_each,
		.intact = scan_intact,
		.release = scan_release,
	}, {
		.name = "soft",
		.open = soft_open,
		.add = soft_add,
		.begin = soft_begin,
		.clean = soft_add,
		.each = soft_each,
		.intact = soft_intact,
		.release = soft_release,
	},
};

/* Of two pages that are there the second one alone is written. */
static bool try_pages(volatile char *mem)
{
	bool first = false, second = false;

	mem[0] = mem[KR_PAGE_SIZE] = 1;
	if (way->add((char *)mem, 2 * KR_PAGE_SIZE) || kr_dirty_begin() ||
	    way->clean((char *)mem, 2 * KR_PAGE_SIZE))
		return false;
	mem[KR_PAGE_SIZE] = 2;
	return !way->each((char *)mem, (char *)mem + KR_PAGE_SIZE, way->takes,
			  note, &first) &&
	       !way->each((char *)mem + KR_PAGE_SIZE,
			  (char *)mem + 2 * KR_PAGE_SIZE, way->takes, note,
			  &second) &&
	       !first && second && way->intact();
}

static bool works(void)
{
	void *mem = mmap(NULL, 2 * KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool ok;

	if (mem == MAP_FAILED)
		return false;
	ok = try_pages(mem);
	kr_dirty_end();
	munmap(mem, 2 * KR_PAGE_SIZE);
	return ok;
}

const char *kr_dirty_open(const char *wanted)
{
	int saved_errno = errno;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && !way; i++) {
		if (wanted && strcmp(wanted, ways[i].name))
			continue;
		way = &ways[i];
		if (way->open() || !works())
			way = NULL;
	}
	errno = saved_errno;
	return way ? way->name : NULL;
}

void kr_dirty_forked(void)
{
	/* Numbers may be others' by now: left open, nobody uses them. */
	uffd = pagemap = -1;
	way = NULL;
}

bool kr_dirty_takes(void)
{
	return way->takes;
}

int kr_dirty_add(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = way->add(addr, size);

	errno = saved_errno;
	return err;
}

int kr_dirty_begin(void)
{
	int saved_errno = errno;
	int err = open_pagemap();

	if (!err)
		err = way->begin();
	errno = saved_errno;
	return err;
}

void kr_dirty_end(void)
{
	int saved_errno = errno;

	if (pagemap >= 0)
		close(pagemap);
	pagemap = -1;
	errno = saved_errno;
}

int kr_dirty_clean(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = way->clean(addr, size);

	errno = saved_errno;
	return err;
}

int kr_dirty_each(const char *lo, const char *hi, bool take, kr_dirty_fn fn,
		  void *arg)
{
	int saved_errno = errno;
	int err = way->each(lo, hi, take, fn, arg);

	errno = saved_errno;
	return err;
}

bool kr_dirty_intact(void)
{
	int saved_errno = errno;
	bool intact = way->intact();

	errno = saved_errno;
	return intact;
}

void kr_dirty_release(void *addr, size_t size)
{
	int saved_errno = errno;

	way->release(addr, size);
	errno = saved_errno;
}
