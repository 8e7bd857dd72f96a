/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Messages and shared memory. */
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static void say(const char *fmt, va_list ap)
{
	char text[512];

	/* One write, so that lines of several threads do not mix. */
	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "qserver: %s\n", text);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	exit(2);
}

void warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void *shared_alloc(uint64_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		die("no memory for %llu bytes", (unsigned long long)bytes);
	return mem;
}
