/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Requests that sleep in the kernel. Plain blocking calls, as any library
 * makes them; what EINTR and short counts they meet is counted and repaired.
 */
#define _GNU_SOURCE
#include "sleep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service.h"
#include "util.h"

#define BLOCK_BYTES	4096U
#define RECORD_BYTES	512U
#define REPLY_MS	10000

static char block_path[4200], log_path[4200];
static int block_fd = -1, log_fd = -1;
static struct sleep_counts *counts;

static void count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* True if the call is to be repeated. */
static bool was_interrupted(ssize_t rc)
{
	if (rc >= 0 || errno != EINTR)
		return false;
	count(&counts->nr_eintr);
	return true;
}

static uint64_t block_word(uint32_t block, unsigned int i)
{
	return mix64((uint64_t)block << 32 | i);
}

static void fill_block(uint64_t *words, uint32_t block)
{
	unsigned int i;

	for (i = 0; i < BLOCK_BYTES / sizeof(*words); i++)
		words[i] = block_word(block, i);
}

void sleep_prepare(const char *dir)
{
	uint64_t words[BLOCK_BYTES / sizeof(uint64_t)];
	uint32_t block;
	FILE *file;

	snprintf(block_path, sizeof(block_path), "%s/qserver.blocks", dir);
	snprintf(log_path, sizeof(log_path), "%s/qserver.log", dir);
	file = fopen(block_path, "we");
	if (!file)
		die("cannot make %s: %m", block_path);
	for (block = 0; block < SLEEP_NR_BLOCKS; block++) {
		fill_block(words, block);
		if (fwrite(words, sizeof(words), 1, file) != 1)
			die("cannot write %s: %m", block_path);
	}
	if (fflush(file) || fsync(fileno(file)) || fclose(file))
		die("cannot write %s: %m", block_path);
}

void sleep_cleanup(void)
{
	unlink(block_path);
	unlink(log_path);
}

void sleep_open(struct sleep_counts *where)
{
	counts = where;
	block_fd = open(block_path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (block_fd < 0 && errno == EINVAL) {
		warn("no O_DIRECT in this directory: reads will not sleep;"
		     " choose a disk with --dir");
		block_fd = open(block_path, O_RDONLY | O_CLOEXEC);
	}
	if (block_fd < 0)
		die("cannot open %s: %m", block_path);
	log_fd = open(log_path,
		      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
		      0600);
	if (log_fd < 0)
		die("cannot make %s: %m", log_path);
	service_start();
}

/* pread() of all or nothing. */
static bool read_at(int fd, char *buf, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t rc = pread(fd, buf, len, at);

		if (was_interrupted(rc))
			continue;
		if (rc <= 0)
			return false;
		if ((size_t)rc < len)
			count(&counts->nr_short);
		buf += rc;
		at += rc;
		len -= (size_t)rc;
	}
	return true;
}

bool sleep_read(uint32_t block)
{
	uint64_t *words;
	unsigned int i;
	bool ok;

	/* O_DIRECT wants it aligned to the block. */
	if (posix_memalign((void **)&words, BLOCK_BYTES, BLOCK_BYTES))
		return false;
	ok = read_at(block_fd, (char *)words, BLOCK_BYTES,
		     (off_t)block * BLOCK_BYTES);
	for (i = 0; ok && i < BLOCK_BYTES / sizeof(*words); i++)
		ok = words[i] == block_word(block, i);
	free(words);
	return ok;
}

bool sleep_fsync(void)
{
	char record[RECORD_BYTES];
	ssize_t rc;
	int err;

	memset(record, 'x', sizeof(record));
	do {
		rc = write(log_fd, record, sizeof(record));
	} while (was_interrupted(rc));
	if (rc >= 0 && rc < (ssize_t)sizeof(record))
		count(&counts->nr_short);
	do {
		err = fsync(log_fd);
	} while (was_interrupted(err));
	return rc == (ssize_t)sizeof(record) && err == 0;
}

/* Wait for the reply as a client with a time-out does. */
static bool await_reply(int fd, uint32_t *ret_reply)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char *buf = (char *)ret_reply;
	size_t got = 0;

	while (got < sizeof(*ret_reply)) {
		ssize_t rc = poll(&pfd, 1, REPLY_MS);

		if (was_interrupted(rc))
			continue;
		if (rc <= 0)
			return false;
		rc = read(fd, buf + got, sizeof(*ret_reply) - got);
		if (was_interrupted(rc))
			continue;
		if (rc <= 0)
			return false;
		got += (size_t)rc;
		if (got < sizeof(*ret_reply))
			count(&counts->nr_short);
	}
	return true;
}

bool sleep_pipe(uint32_t token)
{
	struct service_call call;
	uint32_t reply;
	ssize_t rc;
	bool ok;

	if (!service_begin(&call, token))
		return false;
	do {
		rc = write(service_fd(), &call, sizeof(call));
	} while (was_interrupted(rc));
	ok = rc == (ssize_t)sizeof(call) &&
	     await_reply(service_reply_fd(&call), &reply) &&
	     reply == service_answer(token);
	/* A slot with a reply still to come must not be used again. */
	if (ok)
		service_end(&call);
	return ok;
}

static bool resolve(void)
{
	const struct addrinfo hints = {
		.ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	struct addrinfo *list;
	struct sockaddr_in *sin;
	bool ok;
	int rc;

	do {
		rc = getaddrinfo("localhost", "80", &hints, &list);
	} while (rc == EAI_SYSTEM && counts && was_interrupted(-1));
	if (rc)
		return false;
	sin = (struct sockaddr_in *)list->ai_addr;
	ok = list->ai_family == AF_INET && sin->sin_port == htons(80) &&
	     sin->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
	freeaddrinfo(list);
	return ok;
}

bool sleep_can_resolve(void)
{
	return resolve();
}

bool sleep_resolve(void)
{
	return resolve();
}
