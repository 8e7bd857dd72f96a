/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * How the kernel says that memory is short: triggers of pressure stall
 * information, for all of the system and for our control group, and the
 * counters of the group, which change when it is at its limit. The limit of a
 * group above ours shows in the stalls only. Each of them may be missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/os.h"

/*
 * A task waited for memory so long in a window of time, in microseconds. Those
 * without privileges may have windows of whole 2 s only, from 6.5 on.
 */
static int arm(int fd)
{
	static const char *const triggers[] = {
		"some 10000 500000", "some 40000 2000000",
	};

	for (int i = 0; fd >= 0 && i < 2; i++)
		if (write(fd, triggers[i], strlen(triggers[i]) + 1) > 0)
			return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* It is not reported again until it has been read. False: the group is gone. */
static bool read_cgroup_events(int fd)
{
	char buf[512];

	return fd < 0 || pread(fd, buf, sizeof(buf), 0) >= 0;
}

static void open_cgroup(struct kr_pressure *pr)
{
	pr->cgroup_psi_fd = arm(kr_cgroup_open("memory.pressure",
					       O_RDWR | O_NONBLOCK));
	pr->cgroup_fd = kr_cgroup_open("memory.events", O_RDONLY);
	(void)read_cgroup_events(pr->cgroup_fd);
}

/*
 * The process was moved to another group and the one before removed. The files
 * of that one would be ready for ever.
 */
static void reopen_cgroup(struct kr_pressure *pr)
{
	if (pr->cgroup_psi_fd >= 0)
		close(pr->cgroup_psi_fd);
	if (pr->cgroup_fd >= 0)
		close(pr->cgroup_fd);
	open_cgroup(pr);
}

int kr_pressure_open(struct kr_pressure *pr)
{
	int saved_errno = errno;
	int err;

	pr->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pr->wake_fd < 0) {
		err = -errno;
		errno = saved_errno;
		return err;
	}
	pr->psi_fd = arm(open("/proc/pressure/memory",
			      O_RDWR | O_NONBLOCK | O_CLOEXEC));
	open_cgroup(pr);
	errno = saved_errno;
	return 0;
}

bool kr_pressure_wait(struct kr_pressure *pr, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = pr->wake_fd, .events = POLLIN },
		{ .fd = pr->psi_fd, .events = POLLPRI },
		{ .fd = pr->cgroup_fd, .events = POLLPRI },
		{ .fd = pr->cgroup_psi_fd, .events = POLLPRI },
	};
	int saved_errno = errno;
	bool pressed = false;
	uint64_t nr;

	if (poll(fds, 4, timeout_ms) > 0) {
		if (fds[0].revents)
			(void)!read(pr->wake_fd, &nr, sizeof(nr));
		if (((fds[2].revents & POLLPRI) &&
		     !read_cgroup_events(pr->cgroup_fd)) ||
		    (fds[3].revents & POLLERR))
			reopen_cgroup(pr);
		pressed = (fds[1].revents | fds[2].revents | fds[3].revents) &
			  POLLPRI;
	}
	errno = saved_errno;
	return pressed;
}

void kr_pressure_wake(const struct kr_pressure *pr)
{
	int saved_errno = errno;
	uint64_t one = 1;

	(void)!write(pr->wake_fd, &one, sizeof(one));
	errno = saved_errno;
}
