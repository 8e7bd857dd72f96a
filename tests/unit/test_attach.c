// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module comes and goes, at moments that chance would hardly hit: a thread
 * that makes itself a worker when the group it thinks of is not there any more,
 * and a program that has no descriptor left when the module is to go.
 *
 * If it is broken: a worker that nobody knows is refused when it registers again,
 * and the program goes on without the module until that is loaded anew; or the
 * module cannot be unloaded, and all Ps are stopped again and again meanwhile.
 *
 * Needs the module; the second part root as well.
 */
#include <fcntl.h>

#include "utest.h"

#include "sched/attach.h"
#include "sched/sched.h"

#define DRAIN "/sys/module/kaus/parameters/drain"

static bool has_module(void)
{
	return !access("/dev/kaus", R_OK | W_OK);
}

static bool was_used;

static void *late(void *arg)
{
	static struct m m;
	uint32_t epoch = kr_epoch();

	(void)arg;
	m.id = sched.max_ms - 1;
	m.slot = (struct kaus_worker *)
		((char *)sched.hdr + KAUS_WORKERS_OFFSET(sched.max_procs)) +
		m.id;
	CHECK(!kr_attach_join(&m, epoch - 2, NULL));
	CHECK_EQ(0, m.epoch);
	/* It is no worker, and may become one. */
	CHECK_EQ(0, READ_ONCE(m.slot->on_cpu));
	CHECK(kr_attach_join(&m, epoch, NULL));
	CHECK(kr_is_joined(&m, epoch));
	CHECK(READ_ONCE(m.slot->on_cpu) != 0);
	CHECK_EQ(epoch, kr_epoch());
	kr_attach_leave(&m);
	CHECK_EQ(0, READ_ONCE(m.slot->on_cpu));
	return NULL;
}

static int joins_late(void *arg)
{
	pthread_t thread;

	(void)arg;
	was_used = ut_has_module();
	if (!was_used)
		return 0;
	CHECK_EQ(0, pthread_create(&thread, NULL, late, NULL));
	CHECK_EQ(0, pthread_join(thread, NULL));
	CHECK(ut_has_module());
	return 0;
}

TEST(a_thread_that_joins_too_late)
{
	if (!has_module())
		SKIP(return, "no module");
	RUN(joins_late, NULL);
	EXPECT_TRUE(was_used);
}

/* The descriptor of the device, -1: there is none. */
static int device(void)
{
	char path[32], to[32];
	ssize_t len;

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, to, sizeof(to));
		if (len == strlen("/dev/kaus") &&
		    !memcmp(to, "/dev/kaus", (size_t)len))
			return fd;
	}
	return -1;
}

static int no_descriptor(void *arg)
{
	int drain = *(int *)arg, fds[64], nr = 0;

	was_used = ut_has_module();
	if (!was_used)
		return 0;
	CHECK(device() >= 0);
	while (nr < 64 && (fds[nr] = dup(0)) >= 0)
		nr++;
	CHECK(nr < 64);
	CHECK_EQ(1, write(drain, "1", 1));
	/* One after the other. */
	while (device() >= 0 || ut_has_module())
		kaus_sleep(1 * MSEC);
	while (nr)
		close(fds[--nr]);
	CHECK_EQ(1, pwrite(drain, "0", 1, 0));
	/* And it comes back. */
	while (!ut_has_module())
		kaus_sleep(1 * MSEC);
	CHECK(device() >= 0);
	return 0;
}

TEST(the_module_goes_without_a_descriptor)
{
	static const struct rlimit few = { 48, 48 };
	int fd = open(DRAIN, O_WRONLY | O_CLOEXEC);

	if (!has_module() || fd < 0)
		SKIP(return, "no module, or not its administrator");
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
	RUN(no_descriptor, &fd);
	EXPECT_TRUE(was_used);
	close(fd);
}

TEST_HARNESS_MAIN
