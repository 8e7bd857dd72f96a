// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is not there. The kernel counts the allocations of a thread, and
 * its copies from and to user memory, and lets the n-th fail (fail-nth of
 * Documentation/fault-injection). Each call is made with its first, its second
 * ... failing, until it has no more of them. It then either says -ENOMEM (or
 * -EFAULT) or did without; nothing is left of what failed, and the same call
 * works at once when there is memory. A bug shows as memory, pages or a
 * reference that stays, as an error that means something else, as a group
 * that is half there, or as a report of the kernel.
 *
 * What is called under injection is a system call and no more: libc's malloc()
 * and files would come in between.
 */
#include "kw_test.h"

#define NR_PROCS	3
#define NR_WORKERS	20
#define DRAIN		"/sys/module/kaus/parameters/drain"
#define INJECT		"/sys/kernel/debug/"

/* Calls have well below a hundred. */
#define MAX_NTH		1000
/* In a row without a failure: one fewer may have been needed by chance. */
#define ENOUGH		3

/* --- fault injection ------------------------------------------------------ */

static const char * const injectors[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

static const struct {
	const char *name;
	const char *value;
} settings[] = {
	{ "probability", "0" },		/* for those not in fail-nth */
	{ "task-filter", "Y" },
	{ "verbose", "0" },		/* or each is a trace in the log */
	{ "interval", "1" },
	{ "times", "-1" },
	{ "ignore-gfp-wait", "N" },
	{ "ignore-gfp-highmem", "N" },
	{ "min-order", "0" },
};

#define NR_INJECTORS	(sizeof(injectors) / sizeof(injectors[0]))
#define NR_SETTINGS	(sizeof(settings) / sizeof(settings[0]))

static char old_value[NR_INJECTORS][NR_SETTINGS][24];
static int nth_fd;

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static void get(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t ret = fd < 0 ? 0 : read(fd, buf, len - 1);

	buf[ret > 0 ? ret : 0] = 0;
	if (fd >= 0)
		close(fd);
}

static void set_all(bool restore)
{
	char path[80];

	for (size_t i = 0; i < NR_INJECTORS; i++) {
		for (size_t k = 0; k < NR_SETTINGS; k++) {
			snprintf(path, sizeof(path), INJECT "%s/%s",
				 injectors[i], settings[k].name);
			if (restore) {
				put(path, old_value[i][k]);
				continue;
			}
			get(path, old_value[i][k], sizeof(old_value[i][k]));
			put(path, settings[k].value);
		}
	}
}

static void write_nth(unsigned int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", n);

	(void)!pwrite(nth_fd, buf, len, 0);
}

/* What a call sees, and what it answers. */
struct call {
	struct kw *k;
	int fd;
	union {
		struct kaus_info info;
		struct kaus_setup setup;
		struct kaus_register reg;
		struct kaus_park park;
		struct kaus_wake wake;
		struct kaus_handoff handoff;
		struct kaus_kick kick;
		struct kaus_regs regs;
	};
	int ret;
	/* Of each_nth() */
	unsigned int n;
	unsigned int in_a_row;
	unsigned int nr_failed;
	unsigned int nr_nomem;
};

/* Make the call with its next one failing. False: there is none any more. */
static bool each_nth(struct call *c, int (*fn)(struct call *c))
{
	char left[16] = { 0 };
	ssize_t len;

	if (c->in_a_row == ENOUGH || c->n == MAX_NTH)
		return false;
	write_nth(++c->n);
	c->ret = fn(c);
	/* Reading is a copy itself, and may be what fails. */
	len = pread(nth_fd, left, sizeof(left) - 1, 0);
	write_nth(0);
	c->in_a_row = len > 0 && !atoi(left) ? 0 : c->in_a_row + 1;
	c->nr_failed += !c->in_a_row;
	c->nr_nomem += c->ret == -ENOMEM;
	return true;
}

static bool is_allowed(const struct call *c)
{
	return c->ret >= 0 ||
	       (!c->in_a_row && (c->ret == -ENOMEM || c->ret == -EFAULT));
}

/* --- what would have leaked ----------------------------------------------- */

static long refs(void)
{
	char buf[24];

	get("/sys/module/kaus/refcnt", buf, sizeof(buf));
	return buf[0] ? atol(buf) : -1;
}

/* Pages pinned in the whole machine, which only a guest has for itself. */
static long pins(void)
{
	long n, sum = 0;
	char line[128];
	FILE *f;

	if (!getenv("KAUS_VM"))
		return 0;
	put("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/vmstat", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "nr_foll_pin_acquired %ld", &n) == 1)
			sum += n;
		if (sscanf(line, "nr_foll_pin_released %ld", &n) == 1)
			sum -= n;
	}
	if (f)
		fclose(f);
	return sum;
}

/* --- tests ---------------------------------------------------------------- */

FIXTURE(nomem) {
	struct call c;
	struct kw k;
	long refs;
	long pins;
};

FIXTURE_SETUP(nomem)
{
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0)
		SKIP(return, "kernel without FAULT_INJECTION, or not root");
	if (access(INJECT "failslab/ignore-gfp-wait", W_OK))
		SKIP(return, "kernel without FAILSLAB, or not root");
	set_all(false);
	self->c.k = &self->k;
	self->c.fd = -1;
	self->k.fd = -1;
	self->refs = refs();
	self->pins = pins();
}

FIXTURE_TEARDOWN(nomem)
{
	if (nth_fd < 0)
		return;
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(refs() == self->refs))
		TH_LOG("references: %ld, before %ld", refs(), self->refs);
	EXPECT_EQ(0, kw_pinned_bytes());
	EXPECT_TRUE(KW_WAIT(pins() == self->pins))
		TH_LOG("pinned: %ld, before %ld", pins(), self->pins);
	set_all(true);
	close(nth_fd);
}

static int call_open(struct call *c)
{
	return c->fd = kw_syscall(SYS_openat, AT_FDCWD, (long)KW_DEV,
				  O_RDWR | O_CLOEXEC, 0, 0, 0);
}

TEST_F(nomem, at_open)
{
	struct call *c = &self->c;

	while (each_nth(c, call_open)) {
		ASSERT_TRUE(is_allowed(c)) TH_LOG("%u: %d", c->n, c->ret);
		if (c->fd < 0)
			ASSERT_LE(0, call_open(c)) TH_LOG("after %u", c->n);
		ASSERT_EQ(0, close(c->fd));
		ASSERT_EQ(self->refs, refs());
	}
	EXPECT_LE(2, c->nr_nomem);
}

static int call_setup(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_SETUP, &c->setup);
}

static void setups(struct __test_metadata *_metadata, struct call *c, bool fresh)
{
	struct kw *k = c->k;

	do {
		ASSERT_EQ(0, kw_open(k, NR_PROCS, NR_WORKERS));
		/* Its pages have been touched, or have to be found now. */
		if (fresh)
			ASSERT_EQ(0, madvise(k->hdr, k->len, MADV_REMOVE));
		kw_setup_args(k, &c->setup);
		if (!each_nth(c, call_setup))
			break;
		ASSERT_TRUE(is_allowed(c)) TH_LOG("%u: %d", c->n, c->ret);
		if (c->ret) {
			ASSERT_EQ(0, kw_pinned_bytes())
				TH_LOG("after %u", c->n);
			ASSERT_EQ(0, call_setup(c)) TH_LOG("after %u", c->n);
		}
		ASSERT_EQ(k->len, kw_pinned_bytes()) TH_LOG("after %u", c->n);
		kw_close(k);
		ASSERT_EQ(0, kw_pinned_bytes()) TH_LOG("after %u", c->n);
		munmap(k->hdr, k->len);
		munmap(k->stat, NR_WORKERS * sizeof(*k->stat));
	} while (1);
	/* The group and its seven tables; vmap() has at least two. */
	EXPECT_LE(9, c->nr_nomem);
}

TEST_F(nomem, at_setup)
{
	setups(_metadata, &self->c, false);
}

TEST_F(nomem, setup_of_memory_not_touched)
{
	setups(_metadata, &self->c, true);
}

static int call_register(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_REGISTER, &c->reg);
}

static int call_unregister(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_UNREGISTER, &c->reg);
}

TEST_F(nomem, at_register)
{
	struct call *c = &self->c;

	ASSERT_EQ(0, kw_group(&self->k, NR_PROCS, NR_WORKERS));
	c->reg.size = sizeof(c->reg);
	while (each_nth(c, call_register)) {
		ASSERT_TRUE(is_allowed(c)) TH_LOG("%u: %d", c->n, c->ret);
		if (c->ret) {
			/* The slot is free: there was no worker on it. */
			ASSERT_EQ(-ESRCH, call_unregister(c));
			ASSERT_EQ(0, call_register(c)) TH_LOG("after %u", c->n);
		}
		ASSERT_EQ(0, call_unregister(c)) TH_LOG("after %u", c->n);
	}
	EXPECT_LE(1, c->nr_nomem);
}

static int call_info(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_INFO, &c->info);
}

static int call_park(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_PARK, &c->park);
}

static int call_wake(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_WAKE, &c->wake);
}

static int call_handoff(struct call *c)
{
	c->handoff.woken = 0;
	return kw_ioctl(c->k->fd, KAUS_IOC_HANDOFF, &c->handoff);
}

static int call_kick(struct call *c)
{
	c->kick.kicked = 0;
	return kw_ioctl(c->k->fd, KAUS_IOC_KICK, &c->kick);
}

static int call_regs(struct call *c)
{
	return kw_ioctl(c->k->fd, KAUS_IOC_REGS, &c->regs);
}

/* They have nowhere to put an error once they have begun. */
static void no_memory_needed(struct __test_metadata *_metadata, struct call *c,
			     const char *what, int (*fn)(struct call *c),
			     int usual)
{
	c->n = 0;
	c->in_a_row = 0;
	c->nr_nomem = 0;
	while (each_nth(c, fn)) {
		ASSERT_TRUE(c->ret == usual ||
			    (!c->in_a_row && c->ret == -EFAULT))
			TH_LOG("%s, %u: %d", what, c->n, c->ret);
		ASSERT_EQ(usual, fn(c)) TH_LOG("%s after %u", what, c->n);
	}
}

static void park_on(struct kw_thread *t)
{
	int ret;

	do {
		ret = kw_park(t->kw, 0, KAUS_NONE, KAUS_FOREVER, NULL);
		KW_ADD(t->count, 1);
	} while (!ret || ret == -EINTR);
	t->value = -ret;
}

TEST_F(nomem, others_need_none)
{
	struct call *c = &self->c;
	struct kw_thread t = { 0 };

	ASSERT_EQ(0, kw_group(&self->k, NR_PROCS, NR_WORKERS));
	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, park_on, NULL));
	ASSERT_EQ(0, kw_register(&self->k, 0));

	c->info = (struct kaus_info){ .size = sizeof(c->info) };
	no_memory_needed(_metadata, c, "info", call_info, 0);
	c->kick = (struct kaus_kick){ .size = sizeof(c->kick), .worker = 1 };
	no_memory_needed(_metadata, c, "kick", call_kick, 0);
	c->wake = (struct kaus_wake){ .size = sizeof(c->wake), .worker = 1,
				      .proc = KAUS_NONE };
	no_memory_needed(_metadata, c, "wake", call_wake, 0);
	c->regs = (struct kaus_regs){ .size = sizeof(c->regs), .worker = 2 };
	no_memory_needed(_metadata, c, "regs", call_regs, -ESRCH);
	/* Sleeps, and wakes by a timer. */
	c->park = (struct kaus_park){ .size = sizeof(c->park), .worker = 0,
				      .home = KAUS_NONE,
				      .deadline_ns = kw_now() + 1000000 };
	no_memory_needed(_metadata, c, "park", call_park, -ETIMEDOUT);
	c->handoff = (struct kaus_handoff){ .size = sizeof(c->handoff),
					    .worker = 0, .home = KAUS_NONE,
					    .deadline_ns = 1, .target = 1,
					    .target_proc = KAUS_NONE };
	no_memory_needed(_metadata, c, "handoff", call_handoff, -ETIMEDOUT);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(t.count) > 0));
	ASSERT_EQ(0, kw_unregister(&self->k));
	/* In the kernel, or its next call finds no descriptor any more. */
	ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
	kw_close(&self->k);
	ASSERT_EQ(0, kw_thread_join(&t));
	EXPECT_EQ(ESHUTDOWN, t.value);
}

static int call_close(struct call *c)
{
	return kw_syscall(SYS_close, c->k->fd, 0, 0, 0, 0, 0);
}

/* The end of a group cannot fail; there is nobody to try again. */
TEST_F(nomem, at_close)
{
	struct call *c = &self->c;
	struct kw_thread t;

	do {
		memset(&t, 0, sizeof(t));
		ASSERT_EQ(0, kw_group(&self->k, NR_PROCS, NR_WORKERS));
		ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, park_on, NULL));
		ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
		if (!each_nth(c, call_close))
			break;
		ASSERT_EQ(0, c->ret) TH_LOG("%u", c->n);
		ASSERT_EQ(0, kw_thread_join(&t));
		ASSERT_EQ(ESHUTDOWN, t.value) TH_LOG("after %u", c->n);
		self->k.fd = -1;
		ASSERT_TRUE(KW_WAIT(kw_pinned_bytes() == 0))
			TH_LOG("after %u: %ld", c->n, kw_pinned_bytes());
		munmap(self->k.hdr, self->k.len);
	} while (1);
	kw_close(&self->k);
	ASSERT_EQ(0, kw_thread_join(&t));
	EXPECT_TRUE(KW_WAIT(kw_pinned_bytes() == 0));
}

static int call_undrain(struct call *c)
{
	return kw_syscall(SYS_pwrite64, c->fd, (long)"0", 1, 0, 0, 0);
}

static bool device_is_there(void)
{
	int fd = open(KW_DEV, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The device that does not come back stays drained until it does. */
TEST_F(nomem, device_after_a_drain)
{
	struct call *c = &self->c;
	char is_drained[8];

	c->fd = open(DRAIN, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		SKIP(return, "may not drain");
	do {
		ASSERT_EQ(1, pwrite(c->fd, "1", 1, 0));
		ASSERT_FALSE(device_is_there());
		if (!each_nth(c, call_undrain))
			break;
		if (!is_allowed(c))
			TH_LOG("%u: %d", c->n, c->ret);
		EXPECT_TRUE(is_allowed(c));
		get(DRAIN, is_drained, sizeof(is_drained));
		EXPECT_EQ(c->ret < 0, is_drained[0] == 'Y');
		EXPECT_TRUE(KW_WAIT(device_is_there() == (c->ret > 0)));
		EXPECT_EQ(1, call_undrain(c)) TH_LOG("after %u", c->n);
	} while (1);
	ASSERT_EQ(1, call_undrain(c));
	EXPECT_TRUE(KW_WAIT(device_is_there()));
	EXPECT_LE(4, c->nr_nomem);
	close(c->fd);
}

/* --- at random ------------------------------------------------------------ */

#define LIVES	40

/* Try until it works; what an attempt may say meanwhile is known. */
static int insist(struct call *c, int (*fn)(struct call *c))
{
	for (int i = 0; i < 10000; i++) {
		c->ret = fn(c);
		if (c->ret >= 0)
			return 0;
		c->nr_nomem += c->ret == -ENOMEM;
		if (c->ret != -ENOMEM && c->ret != -EFAULT)
			break;
	}
	return c->ret;
}

/* Also those who try that may be its victims. */
static bool put_surely(const char *path, const char *text)
{
	for (int i = 0; i < 10000; i++)
		if (!put(path, text))
			return true;
	return false;
}

static bool one_in(const char *percent)
{
	return put_surely(INJECT "failslab/probability", percent) &&
	       put_surely(INJECT "fail_page_alloc/probability", percent);
}

/* Whole lives, in which what undoes a failed step fails itself. */
TEST_F(nomem, one_in_five)
{
	struct call *c = &self->c;
	struct kw *k = &self->k;
	static const char mine[] = "/proc/thread-self/make-it-fail";

	for (int i = 0; i < LIVES; i++) {
		ASSERT_EQ(0, kw_map(k, NR_PROCS, NR_WORKERS));
		kw_setup_args(k, &c->setup);
		ASSERT_TRUE(one_in("20") && put_surely(mine, "1"));
		c->ret = insist(c, call_open);
		k->fd = c->fd;
		c->ret = c->ret ?: insist(c, call_setup);
		c->reg = (struct kaus_register){ .size = sizeof(c->reg) };
		c->ret = c->ret ?: insist(c, call_register);
		c->ret = c->ret ?: insist(c, call_unregister);
		c->ret = c->ret ?: call_close(c);
		ASSERT_TRUE(put_surely(mine, "0") && one_in("0"));
		ASSERT_EQ(0, c->ret);
		k->fd = -1;
		ASSERT_TRUE(KW_WAIT(kw_pinned_bytes() == 0));
		munmap(k->hdr, k->len);
	}
	EXPECT_LT(0, c->nr_nomem);
}

KW_TEST_MAIN
