/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Which files' code is mapped where: /proc/self/maps, see proc_pid_maps(5). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"

/* "lo-hi perms offset dev inode   path"; a path may have blanks. */
static bool parse(char *line, struct kr_code_map *map)
{
	char *at, *end, perms[5];

	map->lo = strtoull(line, &at, 16);
	if (*at++ != '-')
		return false;
	map->hi = strtoull(at, &at, 16);
	if (*at++ != ' ' || strlen(at) < sizeof(perms))
		return false;
	memcpy(perms, at, 4);
	at += 4;
	if (perms[2] != 'x')
		return false;
	map->offset = strtoull(at, &at, 16);
	end = strchr(at, '/');
	/* [vdso] has no file, but code. */
	if (!end)
		end = strchr(at, '[');
	map->path = end ? end : "";
	return true;
}

int kr_code_maps_for_each(kr_code_map_fn fn, void *arg)
{
	int saved_errno = errno, fd, err = 0;
	char buf[4608];		/* a path, and what is before it */
	size_t nr = 0;
	ssize_t got;

	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	while ((got = read(fd, buf + nr, sizeof(buf) - 1 - nr)) > 0 ||
	       (got < 0 && errno == EINTR)) {
		char *line = buf, *end;
		struct kr_code_map map;

		if (got < 0)
			continue;
		nr += (size_t)got;
		buf[nr] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			if (parse(line, &map))
				fn(arg, &map);
			line = end + 1;
		}
		/* A line that is longer than any path can be. */
		if (line == buf && nr == sizeof(buf) - 1)
			break;
		nr -= (size_t)(line - buf);
		memmove(buf, line, nr);
	}
	if (got < 0)
		err = -errno;
	close(fd);
out:
	errno = saved_errno;
	return err;
}
