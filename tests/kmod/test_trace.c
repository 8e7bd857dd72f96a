// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator sees: each tracepoint fires for what it is named after
 * and tells who it was, and the counters in debugfs say the same. A bug shows
 * as an event that is missing, that names another worker or P, or that is
 * recorded though it is switched off.
 */
#include "kw_test.h"

#include <stdarg.h>
#include <sys/stat.h>

#define TRACEFS	"/sys/kernel/tracing"
/* A buffer of its own: other users of tracefs are not disturbed. */
#define MINE	TRACEFS "/instances/kaus-test"
#define DEBUGFS	"/sys/kernel/debug/kaus"
#define DRAIN	"/sys/module/kaus/parameters/drain"

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/*
 * Events switch jumps in the kernel's code. An emulated machine with several
 * CPUs may run the old code (see tests/vm/run.sh), so there is but one then.
 */
static void other_cpus(const char *on)
{
	char path[64];

	if (!getenv("KAUS_VM"))
		return;
	for (int cpu = 1; cpu < 64; cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", cpu);
		put(path, on);
	}
}

static bool switch_events(const char *on)
{
	bool ok;

	other_cpus("0");
	ok = put(MINE "/events/kaus/enable", on);
	other_cpus("1");
	return ok;
}

/* All of a file, for the caller to free. */
static char *slurp(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;

	if (!f)
		return strdup("");
	if (getdelim(&text, &len, 0, f) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(f);
	return text;
}

/* Does an event say that? */
__attribute__((format(printf, 1, 2)))
static bool traced(const char *fmt, ...)
{
	char want[160], *text = slurp(MINE "/trace");
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	ok = strstr(text, want);
	free(text);
	return ok;
}

/* Column @name of the line of @path whose column @key is @value; or -1. */
static long column(const char *path, const char *key, long value,
		   const char *name)
{
	char *text = slurp(path), *save, *save2;
	char *line = strtok_r(text, "\n", &save);
	int at_key = -1, at_name = -1, i = 0;
	long found = -1;

	if (!line)
		goto out;
	for (char *s = strtok_r(line, " ", &save2); s;
	     s = strtok_r(NULL, " ", &save2), i++) {
		if (!strcmp(s, key))
			at_key = i;
		if (!strcmp(s, name))
			at_name = i;
	}
	while (found < 0 && (line = strtok_r(NULL, "\n", &save))) {
		long here = -1, v = -1;

		i = 0;
		for (char *s = strtok_r(line, " ", &save2); s;
		     s = strtok_r(NULL, " ", &save2), i++) {
			if (i == at_key)
				v = atol(s);
			if (i == at_name)
				here = atol(s);
		}
		if (v == value)
			found = here;
	}
out:
	free(text);
	return found;
}

FIXTURE(trace) {
	struct kw k;
	long g;			/* number of the group */
};

FIXTURE_SETUP(trace)
{
	if (geteuid())
		SKIP(return, "not root");
	if (access(TRACEFS "/events/kaus", F_OK))
		SKIP(return, "no tracefs in " TRACEFS);
	if (access(DEBUGFS, F_OK))
		SKIP(return, "no debugfs in /sys/kernel/debug");
	rmdir(MINE);
	ASSERT_EQ(0, mkdir(MINE, 0700));
	ASSERT_TRUE(switch_events("1"));
	ASSERT_EQ(0, kw_group(&self->k, 2, 4));
	self->g = column(DEBUGFS "/groups", "tgid", getpid(), "group");
	ASSERT_LT(0, self->g);
}

FIXTURE_TEARDOWN(trace)
{
	kw_close(&self->k);
	switch_events("0");
	rmdir(MINE);
}

TEST_F(trace, redirect)
{
	long n = kw_on_cpus("redirects"), looks = kw_on_cpus("looks");

	ASSERT_EQ(0, kw_register(&self->k, 3));
	kw_carry(&self->k, 1);
	kw_waiters(&self->k, 1, 1);
	ASSERT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt)));
	kw_waiters(&self->k, 1, 0);
	EXPECT_TRUE(traced("kaus_redirect: group=%ld worker=3 proc=1 events=preempt ip=0x",
			   self->g));
	EXPECT_LT(n, kw_on_cpus("redirects"));
	EXPECT_LT(looks, kw_on_cpus("looks"));
	EXPECT_LT(0, column(DEBUGFS "/groups", "group", self->g, "redirects"));
	EXPECT_EQ(1, column(DEBUGFS "/groups", "group", self->g, "workers"));
	EXPECT_EQ(0, column(DEBUGFS "/groups", "group", self->g, "parked"));
}

static long refused(const char *reason)
{
	char *text = slurp(DEBUGFS "/refused"), *p = strstr(text, reason);
	long n = p ? atol(p + strlen(reason)) : -1;

	free(text);
	return n;
}

/* Each reason that a test can bring about without a debugger. */
TEST_F(trace, refuse)
{
	static const char * const reasons[] = { "defer", "busy", "stack" };
	struct kaus_worker *slot = &self->k.workers[1];

	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
	for (int i = 0; i < 3; i++) {
		uint64_t n = KW_LOAD(slot->nr_refused);
		long before = refused(reasons[i]);

		ASSERT_LE(0, before);
		if (i == 0)
			KW_STORE(slot->defer, 1);
		else if (i == 1)
			KW_STORE(slot->busy, 1);
		else
			kw_stack_none(slot);
		kw_waiters(&self->k, 0, 1);
		EXPECT_TRUE(KW_SPIN(KW_LOAD(slot->nr_refused) > n + 2));
		kw_waiters(&self->k, 0, 0);
		KW_STORE(slot->defer, 0);
		KW_STORE(slot->busy, 0);
		kw_stack_here(slot);
		EXPECT_TRUE(traced("kaus_refuse: group=%ld worker=1 events=preempt reason=%s ip=0x",
				   self->g, reasons[i])) {
			TH_LOG("%s", reasons[i]);
		}
		EXPECT_LT(before, refused(reasons[i]));
	}
}

TEST_F(trace, sleep_and_wake)
{
	long sleeps = kw_on_cpus("sleeps"), wakes = kw_on_cpus("wakes");

	ASSERT_EQ(0, kw_register(&self->k, 2));
	kw_carry(&self->k, 1);
	kw_nap();
	EXPECT_TRUE(traced("kaus_sleep: group=%ld worker=2 proc=1\n", self->g));
	EXPECT_TRUE(traced("kaus_wake: group=%ld worker=2 proc=1\n", self->g));
	EXPECT_FALSE(traced("kaus_lost: group=%ld", self->g));
	EXPECT_LT(sleeps, kw_on_cpus("sleeps"));
	EXPECT_LT(wakes, kw_on_cpus("wakes"));
}

static void keep(struct kw_thread *t, uint32_t proc)
{
	(void)proc;
	kw_waiters(t->kw, 0, 0);
	kw_drop(t->kw);
}

TEST_F(trace, handoff_and_lost)
{
	long handoffs = kw_on_cpus("handoffs"), lost = kw_on_cpus("lost");
	struct kw_pool pool = { .given = keep, .home = KAUS_NONE };
	struct kw_thread t = { 0 };

	ASSERT_EQ(0, kw_pool_start(&pool, &self->k, &t, 3, 1));
	EXPECT_TRUE(traced("kaus_park: group=%ld worker=3 flags=pool\n",
			   self->g));
	EXPECT_EQ(1, column(DEBUGFS "/groups", "group", self->g, "parked"));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
	/* Looking at t.count is a system call or two: no P to lose then. */
	while (!kw_owner_is(&self->k, 0, KAUS_P_IDLE, 0))
		usleep(1000);
	kw_pool_stop(&pool, &t, 1);
	EXPECT_TRUE(traced("kaus_handoff: group=%ld proc=0 from=0 to=3 pid=%d\n",
			   self->g, t.tid));
	EXPECT_TRUE(traced("kaus_lost: group=%ld worker=0 proc=0\n", self->g));
	EXPECT_TRUE(traced("kaus_unpark: group=%ld worker=3 proc=-1 pid=%d\n",
			   self->g, t.tid));
	EXPECT_LT(handoffs, kw_on_cpus("handoffs"));
	EXPECT_LT(lost, kw_on_cpus("lost"));
}

TEST_F(trace, starve)
{
	long starved = kw_on_cpus("starved");

	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 1);
	kw_waiters(&self->k, 1, 1);
	usleep(2000);
	kw_waiters(&self->k, 1, 0);
	EXPECT_TRUE(traced("kaus_starve: group=%ld proc=1\n", self->g));
	EXPECT_LT(starved, kw_on_cpus("starved"));
}

static bool redirected(long g)
{
	return traced("kaus_redirect: group=%ld worker=2 proc=-1 events=kick ip=0x",
		      g);
}

TEST_F(trace, kick)
{
	long kicks = kw_on_cpus("kicks");
	uint32_t kicked = 0;

	ASSERT_EQ(0, kw_register(&self->k, 2));
	ASSERT_EQ(0, kw_kick(&self->k, 2, &kicked));
	EXPECT_EQ(1, kicked);
	EXPECT_TRUE(traced("kaus_kick: group=%ld worker=2 pid=%d cpu=",
			   self->g, getpid()));
	/* Where the kernel tells nobody on its way out: by a later interrupt. */
	for (int i = 0; i < 5000 && !redirected(self->g); i++)
		usleep(1000);
	EXPECT_TRUE(redirected(self->g));
	EXPECT_LT(kicks, kw_on_cpus("kicks"));
}

TEST_F(trace, drain)
{
	if (access(DRAIN, W_OK))
		SKIP(return, "may not drain");
	ASSERT_EQ(0, kw_register(&self->k, 2));
	/* The device goes and comes with it: what it was may be refused now. */
	EXPECT_TRUE(put(DRAIN, "1"));
	EXPECT_TRUE(put(DRAIN, "0"));
	EXPECT_TRUE(traced("kaus_drain: group=%ld tgid=%d workers=1\n",
			   self->g, getpid()));
}

TEST_F(trace, switched_off)
{
	ASSERT_TRUE(switch_events("0"));
	ASSERT_TRUE(put(MINE "/trace", ""));
	ASSERT_EQ(0, kw_register(&self->k, 2));
	kw_carry(&self->k, 1);
	kw_nap();
	EXPECT_FALSE(traced("kaus_"));
}

/* A group is listed from SETUP to its end, and to nobody but root. */
TEST_F(trace, counters)
{
	static const char * const files[] = { "cpus", "refused", "groups" };
	char path[64];
	struct stat st;

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s", files[i]);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(0400, st.st_mode & 0777) TH_LOG("%s", path);
		EXPECT_EQ(0, st.st_uid);
	}
	EXPECT_EQ(2, column(DEBUGFS "/groups", "group", self->g, "procs"));
	EXPECT_EQ(4, column(DEBUGFS "/groups", "group", self->g, "slots"));
	EXPECT_EQ(0, column(DEBUGFS "/groups", "group", self->g, "workers"));
	EXPECT_EQ(KW_SLICE_NS,
		  column(DEBUGFS "/groups", "group", self->g, "slice_ns"));
	kw_close(&self->k);
	EXPECT_EQ(-1, column(DEBUGFS "/groups", "group", self->g, "procs"));
	ASSERT_EQ(0, kw_group(&self->k, 1, 1));
	EXPECT_EQ(-1, column(DEBUGFS "/groups", "group", self->g, "procs"));
}

KW_TEST_MAIN
