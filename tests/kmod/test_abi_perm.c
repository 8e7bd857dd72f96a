// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may call what: every ioctl but INFO is -EPERM for a process other than
 * the one that called SETUP, however it came by the descriptor. A bug lets a
 * foreign process redirect, wake or take Ps from threads that are not its own,
 * or lets a thread act as a worker that it is not.
 */
#include "kw_test.h"

#include <sys/socket.h>

#define NR_IOCTLS	6

/* All but SETUP; what each of them answers goes to ret[]. */
static void try_all(int fd, int *ret)
{
	struct kaus_register reg = { .size = sizeof(reg), .worker = 1 };
	struct kaus_park park = {
		.size = sizeof(park), .worker = 1, .home = KAUS_NONE,
	};
	struct kaus_wake wake = { .size = sizeof(wake), .proc = KAUS_NONE };
	struct kaus_handoff handoff = {
		.size = sizeof(handoff), .worker = 1, .home = KAUS_NONE,
		.target_proc = KAUS_NONE,
	};
	struct kaus_kick kick = { .size = sizeof(kick) };

	ret[0] = kw_ioctl(fd, KAUS_IOC_REGISTER, &reg);
	ret[1] = kw_ioctl(fd, KAUS_IOC_UNREGISTER, &reg);
	ret[2] = kw_ioctl(fd, KAUS_IOC_PARK, &park);
	ret[3] = kw_ioctl(fd, KAUS_IOC_WAKE, &wake);
	ret[4] = kw_ioctl(fd, KAUS_IOC_HANDOFF, &handoff);
	ret[5] = kw_ioctl(fd, KAUS_IOC_KICK, &kick);
}

FIXTURE(perm) {
	struct kw k;
	int *ret;		/* shared with children */
	int *setup_ret;
};

FIXTURE_SETUP(perm)
{
	ASSERT_EQ(0, kw_group(&self->k, 1, 4));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	self->ret = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ret);
	self->setup_ret = self->ret + NR_IOCTLS;
}

FIXTURE_TEARDOWN(perm)
{
	kw_close(&self->k);
}

static void try_setup(int fd, int *ret)
{
	struct kaus_setup arg;
	struct kw k;

	if (kw_map(&k, 1, 1)) {
		*ret = 1;
		return;
	}
	kw_setup_args(&k, &arg);
	*ret = kw_ioctl(fd, KAUS_IOC_SETUP, &arg);
}

static void expect_eperm(struct __test_metadata *_metadata,
			 FIXTURE_DATA(perm) *self)
{
	for (int i = 0; i < NR_IOCTLS; i++) {
		EXPECT_EQ(-EPERM, self->ret[i]) TH_LOG("ioctl %d", i);
	}
}

TEST_F(perm, forked_child)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		try_all(self->k.fd, self->ret);
		try_setup(self->k.fd, self->setup_ret);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	expect_eperm(_metadata, self);
	EXPECT_TRUE(*self->setup_ret == -EPERM || *self->setup_ret == -EBUSY)
		TH_LOG("SETUP: %d", *self->setup_ret);
	/* The owner is not affected. */
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
}

/* The same memory, another process: checking the mm alone is not enough. */
TEST_F(perm, vforked_child)
{
	int status;
	pid_t pid;

	pid = vfork();
	if (!pid) {
		try_all(self->k.fd, self->ret);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	expect_eperm(_metadata, self);
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
}

/* A descriptor that went through a socket to a process born before it. */
TEST_F(perm, passed_descriptor)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &ctl, .msg_controllen = sizeof(ctl),
	};
	int sock[2], status;
	struct kw k;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	if (!pid) {
		int fd;

		if (recvmsg(sock[1], &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
			_exit(1);
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		try_all(fd, self->ret);
		_exit(0);
	}
	ASSERT_EQ(0, kw_group(&k, 1, 4));
	ctl.hdr.cmsg_level = SOL_SOCKET;
	ctl.hdr.cmsg_type = SCM_RIGHTS;
	ctl.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&ctl.hdr), &k.fd, sizeof(int));
	ASSERT_EQ(1, sendmsg(sock[0], &msg, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	expect_eperm(_metadata, self);
	/* The receiver's exit is not the end of the group. */
	EXPECT_EQ(0, KW_LOAD(k.hdr->shutdown));
	EXPECT_EQ(-ESRCH, kw_wake(&k, 3, KAUS_NONE, 0));
	kw_close(&k);
}

static void *other_thread(void *arg)
{
	FIXTURE_DATA(perm) *self = arg;

	struct kaus_register reg = { .size = sizeof(reg), .worker = 0 };
	struct kaus_park park = {
		.size = sizeof(park), .worker = 0, .home = KAUS_NONE,
	};
	struct kaus_handoff handoff = {
		.size = sizeof(handoff), .worker = 0, .home = KAUS_NONE,
		.target = 1, .target_proc = KAUS_NONE,
	};

	self->ret[0] = kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, &reg);
	self->ret[1] = kw_ioctl(self->k.fd, KAUS_IOC_PARK, &park);
	self->ret[2] = kw_ioctl(self->k.fd, KAUS_IOC_HANDOFF, &handoff);
	return NULL;
}

/* A thread of the same process that uses somebody else's index. */
TEST_F(perm, another_threads_index)
{
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, other_thread, self));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(-ESRCH, self->ret[i]) TH_LOG("ioctl %d", i);
	}
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL))
		TH_LOG("worker 0 is gone");
}

KW_TEST_MAIN
