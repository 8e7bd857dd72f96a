/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * How much CPU time and memory the process may use: the limits of its control
 * group and of those above it, of version 2 or 1. Whatever cannot be read is no
 * limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

const char *kr_cgroup_proc = "/proc/self";

struct group {
	char mount[1024];	/* where the hierarchy is mounted ... */
	char root[512];		/* ... and which group that shows */
	char path[512];		/* the process's group */
	bool found_mount, found_path;
};

/* Is @word one of @list, separated by commas? */
static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (;;) {
		size_t n = strcspn(list, ",\n");

		if (n == len && !strncmp(list, word, len))
			return true;
		if (list[n] != ',')
			return false;
		list += n + 1;
	}
}

static FILE *open_at(const char *dir, const char *name)
{
	char path[2048];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >=
	    sizeof(path))
		return NULL;
	return fopen(path, "re");
}

/* proc_pid_mountinfo(5): ... root mount-point options ... - type source opts */
static void find_mounts(const char *controller, struct group *v1,
			struct group *v2)
{
	FILE *f = open_at(kr_cgroup_proc, "mountinfo");
	char line[4096];

	while (f && fgets(line, sizeof(line), f)) {
		char root[512], mount[1024], type[32], opts[512];
		const char *dash = strstr(line, " - ");
		struct group *to = NULL;

		if (!dash ||
		    sscanf(line, "%*s %*s %*s %511s %1023s", root, mount) != 2 ||
		    sscanf(dash, " - %31s %*s %511s", type, opts) != 2)
			continue;
		if (!strcmp(type, "cgroup2"))
			to = v2;
		else if (!strcmp(type, "cgroup") && has_word(opts, controller))
			to = v1;
		if (!to || to->found_mount)
			continue;
		strcpy(to->root, root);
		strcpy(to->mount, mount);
		to->found_mount = true;
	}
	if (f)
		fclose(f);
}

/* cgroups(7): hierarchy:controllers:path */
static void find_paths(const char *controller, struct group *v1,
		       struct group *v2)
{
	FILE *f = open_at(kr_cgroup_proc, "cgroup");
	char line[1024];

	while (f && fgets(line, sizeof(line), f)) {
		char *list = strchr(line, ':');
		char *path = list ? strchr(list + 1, ':') : NULL;
		struct group *to = NULL;

		if (!path)
			continue;
		*path++ = 0;
		path[strcspn(path, "\n")] = 0;
		list++;
		if (!*list)
			to = v2;
		else if (has_word(list, controller))
			to = v1;
		if (!to || strlen(path) >= sizeof(to->path))
			continue;
		strcpy(to->path, path);
		to->found_path = true;
	}
	if (f)
		fclose(f);
}

static bool read_line(const char *dir, const char *name, char *line,
		      int size)
{
	FILE *f = open_at(dir, name);
	bool ok = f && fgets(line, size, f);

	if (f)
		fclose(f);
	return ok;
}

/* Of one group: quota and period in microseconds. */
static bool read_quota(const char *dir, long long *quota, long long *period)
{
	char line[64];

	if (read_line(dir, "cpu.max", line, sizeof(line)))
		return sscanf(line, "%lld %lld", quota, period) == 2;
	if (!read_line(dir, "cpu.cfs_quota_us", line, sizeof(line)))
		return false;
	*quota = atoll(line);
	if (!read_line(dir, "cpu.cfs_period_us", line, sizeof(line)))
		return false;
	*period = atoll(line);
	return true;
}

/* Of one group: CPUs, rounded up. */
static uint64_t cpus_of(const char *dir)
{
	long long quota, period;

	if (!read_quota(dir, &quota, &period) || quota <= 0 || period <= 0)
		return UINT64_MAX;
	return (uint64_t)(quota / period + !!(quota % period));
}

/* Of one group: bytes. */
static uint64_t memory_of(const char *dir)
{
	static const char *const names[] = {
		"memory.max", "memory.high", "memory.limit_in_bytes",
	};
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 3; i++) {
		char line[64];
		uint64_t n;

		/* "max": no number. Version 1 has a very large one. */
		if (read_line(dir, names[i], line, sizeof(line)) &&
		    sscanf(line, "%" SCNu64, &n) == 1 && n < INT64_MAX / 2 &&
		    n < least)
			least = n;
	}
	return least;
}

/* The directory of the process's group, as far as the mount shows it. */
static bool dir_of(const struct group *g, char *dir, size_t size)
{
	size_t root_len = strlen(g->root);
	const char *path = g->path;

	if (!g->found_mount || !g->found_path)
		return false;
	if (root_len == 1)
		root_len = 0;
	/* A group that the mount does not show: what it does show counts. */
	if (strncmp(path, g->root, root_len) ||
	    (path[root_len] && path[root_len] != '/') || strstr(path, "/.."))
		path = "";
	else
		path += root_len;
	return (size_t)snprintf(dir, size, "%s%s", g->mount, path) < size;
}

/* From the process's group up to the one that is mounted. */
static uint64_t least_of(const struct group *g,
			 uint64_t (*limit_of)(const char *dir))
{
	size_t mount_len = strlen(g->mount);
	uint64_t least = UINT64_MAX;
	char dir[2048];

	if (!dir_of(g, dir, sizeof(dir)))
		return least;
	for (;;) {
		size_t len = strlen(dir);
		uint64_t n;
		char *slash;

		while (len > mount_len && dir[len - 1] == '/')
			dir[--len] = 0;
		n = limit_of(dir);
		if (n < least)
			least = n;
		slash = strrchr(dir, '/');
		if (len <= mount_len || !slash)
			return least;
		*slash = 0;
	}
}

static uint64_t least_of_all(const char *controller,
			     uint64_t (*limit_of)(const char *dir))
{
	struct group v1 = { .found_mount = false };
	struct group v2 = { .found_mount = false };
	int saved_errno = errno;
	uint64_t n1, n2;

	find_mounts(controller, &v1, &v2);
	find_paths(controller, &v1, &v2);
	n1 = least_of(&v1, limit_of);
	n2 = least_of(&v2, limit_of);
	errno = saved_errno;
	return n1 < n2 ? n1 : n2;
}

unsigned int kr_cgroup_cpus(void)
{
	uint64_t n = least_of_all("cpu", cpus_of);

	return n < UINT32_MAX ? (unsigned int)n : 0;
}

uint64_t kr_cgroup_memory(void)
{
	return least_of_all("memory", memory_of);
}

int kr_cgroup_open(const char *name, int flags)
{
	struct group v1 = { .found_mount = false };
	struct group v2 = { .found_mount = false };
	int saved_errno = errno, fd = -ENOENT;
	char dir[2048], path[2100];

	find_mounts("memory", &v1, &v2);
	find_paths("memory", &v1, &v2);
	if (dir_of(&v2, dir, sizeof(dir)) &&
	    (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) <
	    sizeof(path)) {
		fd = open(path, flags | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	errno = saved_errno;
	return fd;
}
