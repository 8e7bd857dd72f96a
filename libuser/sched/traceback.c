/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Backtraces of goroutines.
 *
 * DOC: The unwinder of the compiler's run time (libgcc) walks the stack it is
 * called on. For a goroutine that has parked it is called on that one's stack,
 * below its last frame: kr_context_peek(). For one that has overflowed its
 * stack it is called in the handler of SIGSEGV, on the alternate stack, and
 * walks through the signal's frame.
 *
 * In a signal handler nothing may take a lock that the interrupted code, or a
 * preempted goroutine, may hold: neither does the unwinder (glibc 2.35 and
 * later have _dl_find_object() for it) nor what finds the names (os/elf.c).
 */
#include "sched/traceback.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unwind.h>

#include "sched/sched.h"

#define MAX_LINES	64

/* The unwinder needs so much stack, and the lines some. */
#define PEEK_BYTES	(12UL << 10)

struct trace {
	int fd;
	int nr;			/* frames so far */
	int nr_lines;
	int nr_skip;		/* of ours, at the top */
	uintptr_t last_ip;
	int nr_same;		/* frames like the last one, not printed */
};

static void KR_PRINTF(2, 3) print(int fd, const char *fmt, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len > (int)sizeof(line) - 1)
		len = sizeof(line) - 1;
	if (len > 0)
		kr_file_write_all(fd, line, (size_t)len);
}

static void print_frame(const struct trace *t, uintptr_t ip)
{
	struct kr_where w;

	/* Of a call: the instruction before. */
	if (!kr_elf_where(ip - 1, &w))
		print(t->fd, "\t#%d 0x%lx\n", t->nr, (long)ip);
	else if (w.name[0])
		print(t->fd, "\t#%d %s+0x%lx (%s+0x%lx)\n", t->nr, w.name,
		      (long)w.in_name + 1, w.file, (long)w.in_file + 1);
	else
		print(t->fd, "\t#%d (%s+0x%lx)\n", t->nr, w.file,
		      (long)w.in_file + 1);
}

static void print_same(struct trace *t)
{
	if (t->nr_same)
		print(t->fd, "\t... and %d like this\n", t->nr_same);
	t->nr_same = 0;
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
	struct trace *t = arg;
	uintptr_t ip = (uintptr_t)_Unwind_GetIP(context);

	if (!ip || t->nr_lines == MAX_LINES)
		return _URC_END_OF_STACK;
	if (t->nr_skip) {
		t->nr_skip--;
		return _URC_NO_REASON;
	}
	if (ip == t->last_ip) {
		t->nr_same++;
	} else {
		print_same(t);
		print_frame(t, ip);
		t->last_ip = ip;
		t->nr_lines++;
	}
	t->nr++;
	return _URC_NO_REASON;
}

static KR_NOINLINE void trace_here(void *arg)
{
	_Unwind_Backtrace(on_frame, arg);
	print_same(arg);
}

static void print_head(int fd, const struct g *gp, const char *what)
{
	print(fd, "\ngoroutine %llu%s%s%s [%s]:\n",
	      (unsigned long long)gp->goid, gp->name[0] ? " \"" : "", gp->name,
	      gp->name[0] ? "\"" : "", what);
}

void kr_traceback_parked(int fd, struct g *gp)
{
	/* trace_here() and kr_context_peek(). */
	struct trace t = { .fd = fd, .nr_skip = 2 };

	print_head(fd, gp, gp->wait_reason ? gp->wait_reason : "waiting");
	if ((char *)gp->ctx.saved.sp - gp->stack.lo < (long)PEEK_BYTES) {
		print(fd, "\tits stack is too full to look at\n");
		return;
	}
	kr_context_peek(&gp->ctx.saved, trace_here, &t);
}

/*
 * The instruction is tried again when the handler returns, and the process dies
 * as it would have without it.
 */
static void on_segv(int sig, siginfo_t *info, void *ucontext)
{
	struct m *mp = kr_self();
	struct g *gp = mp ? mp->curg : NULL;
	const char *addr = info->si_addr;
	struct trace t = { .fd = 2 };

	(void)ucontext;
	kr_signal_default(sig);
	if (!gp || addr >= gp->stack.lo || addr < gp->stack.lo - KR_PAGE_SIZE)
		return;
	print(2, "kaus: goroutine %llu has overflowed its stack of %zu KB\n",
	      (unsigned long long)gp->goid,
	      (size_t)(gp->stack.hi - gp->stack.lo + 1023) >> 10);
	print_head(2, gp, "running");
	trace_here(&t);
}

void kr_traceback_init(void)
{
	/* The program's own handler knows better. */
	if (kr_signal_is_default(SIGSEGV))
		(void)kr_signal_install(SIGSEGV, on_segv);
}
