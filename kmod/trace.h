/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, events/kaus in tracefs.
 *
 * DOC: One event for each thing that the module does to a worker or its P; the
 * manual page kaus(4) lists them. All name the group by the number it has in
 * debugfs. Switched off, an event is a jump that is not taken, and what it
 * would record is not computed.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kaus

#if !defined(_KAUS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _KAUS_TRACE_H

#include <linux/pid.h>
#include <linux/tracepoint.h>

#include "group.h"
#include "redirect.h"
#include "worker.h"

TRACE_DEFINE_ENUM(KAUS_REFUSED_PROGRAM);
TRACE_DEFINE_ENUM(KAUS_REFUSED_MODE);
TRACE_DEFINE_ENUM(KAUS_REFUSED_STEP);
TRACE_DEFINE_ENUM(KAUS_REFUSED_TRAMP);
TRACE_DEFINE_ENUM(KAUS_REFUSED_STACK);
TRACE_DEFINE_ENUM(KAUS_REFUSED_DEFER);
TRACE_DEFINE_ENUM(KAUS_REFUSED_BUSY);
TRACE_DEFINE_ENUM(KAUS_REFUSED_RESTART);
TRACE_DEFINE_ENUM(KAUS_REFUSED_RSEQ);

#define show_kaus_events(events)			\
	__print_flags(events, "|",			\
		      { KAUS_EV_PREEMPT, "preempt" },	\
		      { KAUS_EV_LOST,	 "lost" },	\
		      { KAUS_EV_KICK,	 "kick" })

#define show_kaus_refused(reason)				\
	__print_symbolic(reason,				\
			 { KAUS_REFUSED_PROGRAM, "program" },	\
			 { KAUS_REFUSED_MODE,	 "mode" },	\
			 { KAUS_REFUSED_STEP,	 "step" },	\
			 { KAUS_REFUSED_TRAMP,	 "tramp" },	\
			 { KAUS_REFUSED_STACK,	 "stack" },	\
			 { KAUS_REFUSED_DEFER,	 "defer" },	\
			 { KAUS_REFUSED_BUSY,	 "busy" },	\
			 { KAUS_REFUSED_RESTART, "restart" },	\
			 { KAUS_REFUSED_RSEQ,	 "rseq" })

/* The thread was sent from @ip to the trampoline. */
TRACE_EVENT(kaus_redirect,
	TP_PROTO(const struct kaus_m *m, unsigned long ip),
	TP_ARGS(m, ip),
	TP_STRUCT__entry(
		__field(unsigned long, ip)
		__field(u32, group)
		__field(u32, worker)
		__field(u32, proc)
		__field(u32, events)
	),
	TP_fast_assign(
		__entry->ip = ip;
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->proc = READ_ONCE(m->slot->proc);
		__entry->events = READ_ONCE(m->slot->events);
	),
	TP_printk("group=%u worker=%u proc=%d events=%s ip=%#lx",
		  __entry->group, __entry->worker, (int)__entry->proc,
		  show_kaus_events(__entry->events), __entry->ip)
);

/* It was not, and will be tried again. */
TRACE_EVENT(kaus_refuse,
	TP_PROTO(const struct kaus_m *m, unsigned long ip,
		 enum kaus_refused reason),
	TP_ARGS(m, ip, reason),
	TP_STRUCT__entry(
		__field(unsigned long, ip)
		__field(u32, group)
		__field(u32, worker)
		__field(u32, events)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->ip = ip;
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->events = READ_ONCE(m->slot->events);
		__entry->reason = reason;
	),
	TP_printk("group=%u worker=%u events=%s reason=%s ip=%#lx",
		  __entry->group, __entry->worker,
		  show_kaus_events(__entry->events),
		  show_kaus_refused(__entry->reason), __entry->ip)
);

DECLARE_EVENT_CLASS(kaus_sleeper,
	TP_PROTO(const struct kaus_m *m, const struct kaus_p *p),
	TP_ARGS(m, p),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, worker)
		__field(u32, proc)
	),
	TP_fast_assign(
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->proc = p->index;
	),
	TP_printk("group=%u worker=%u proc=%u",
		  __entry->group, __entry->worker, __entry->proc)
);

/* The thread falls asleep in the kernel and leaves its P SLEEPING. */
DEFINE_EVENT(kaus_sleeper, kaus_sleep,
	TP_PROTO(const struct kaus_m *m, const struct kaus_p *p),
	TP_ARGS(m, p));

/* It runs again and has its P still. */
DEFINE_EVENT(kaus_sleeper, kaus_wake,
	TP_PROTO(const struct kaus_m *m, const struct kaus_p *p),
	TP_ARGS(m, p));

/* It runs again and has it no longer. */
DEFINE_EVENT(kaus_sleeper, kaus_lost,
	TP_PROTO(const struct kaus_m *m, const struct kaus_p *p),
	TP_ARGS(m, p));

/* The P of the sleeper @from is given to @m. */
TRACE_EVENT(kaus_handoff,
	TP_PROTO(const struct kaus_p *p, u32 from, const struct kaus_m *m),
	TP_ARGS(p, from, m),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, proc)
		__field(u32, from)
		__field(u32, to)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		__entry->group = p->group->id;
		__entry->proc = p->index;
		__entry->from = from;
		__entry->to = m->index;
		__entry->pid = m->task->pid;
	),
	TP_printk("group=%u proc=%u from=%u to=%u pid=%d", __entry->group,
		  __entry->proc, __entry->from, __entry->to, __entry->pid)
);

/* It is not: nobody is in the pool. */
TRACE_EVENT(kaus_starve,
	TP_PROTO(const struct kaus_p *p),
	TP_ARGS(p),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, proc)
	),
	TP_fast_assign(
		__entry->group = p->group->id;
		__entry->proc = p->index;
	),
	TP_printk("group=%u proc=%u", __entry->group, __entry->proc)
);

/* The thread waits in KAUS_IOC_PARK or KAUS_IOC_HANDOFF. */
TRACE_EVENT(kaus_park,
	TP_PROTO(const struct kaus_m *m, u32 flags),
	TP_ARGS(m, flags),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, worker)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->flags = flags;
	),
	TP_printk("group=%u worker=%u flags=%s", __entry->group,
		  __entry->worker,
		  __print_flags(__entry->flags, "|",
				{ KAUS_PARK_POOL, "pool" },
				{ KAUS_PARK_SERVICE, "service" }))
);

/* @m is woken by KAUS_IOC_WAKE or KAUS_IOC_HANDOFF, with @proc or KAUS_NONE. */
TRACE_EVENT(kaus_unpark,
	TP_PROTO(const struct kaus_m *m, u32 proc),
	TP_ARGS(m, proc),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, worker)
		__field(u32, proc)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->proc = proc;
		__entry->pid = m->task->pid;
	),
	TP_printk("group=%u worker=%u proc=%d pid=%d", __entry->group,
		  __entry->worker, (int)__entry->proc, __entry->pid)
);

/* KAUS_IOC_KICK reaches @m, which runs on @cpu or, if negative, not. */
TRACE_EVENT(kaus_kick,
	TP_PROTO(const struct kaus_m *m),
	TP_ARGS(m),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(u32, worker)
		__field(pid_t, pid)
		__field(int, cpu)
	),
	TP_fast_assign(
		__entry->group = m->group->id;
		__entry->worker = m->index;
		__entry->pid = m->task->pid;
		__entry->cpu = READ_ONCE(m->cpu);
	),
	TP_printk("group=%u worker=%u pid=%d cpu=%d", __entry->group,
		  __entry->worker, __entry->pid, __entry->cpu)
);

/* The group is ended by a drain; recorded for the thread that drains. */
TRACE_EVENT(kaus_drain,
	TP_PROTO(const struct kaus_group *g, u32 workers),
	TP_ARGS(g, workers),
	TP_STRUCT__entry(
		__field(u32, group)
		__field(pid_t, tgid)
		__field(u32, workers)
	),
	TP_fast_assign(
		__entry->group = g->id;
		__entry->tgid = pid_nr(g->tgid);
		__entry->workers = workers;
	),
	TP_printk("group=%u tgid=%d workers=%u", __entry->group,
		  __entry->tgid, __entry->workers)
);

/* The kernel wants @want of the @count pages that the group could return. */
TRACE_EVENT(kaus_pages,
	TP_PROTO(const struct kaus_group *g, u64 count, u64 want, u32 why,
		 bool woken),
	TP_ARGS(g, count, want, why, woken),
	TP_STRUCT__entry(
		__field(u64, count)
		__field(u64, want)
		__field(u32, group)
		__field(u32, why)
		__field(bool, woken)
	),
	TP_fast_assign(
		__entry->count = count;
		__entry->want = want;
		__entry->group = g->id;
		__entry->why = why;
		__entry->woken = woken;
	),
	TP_printk("group=%u returnable=%llu want=%llu why=%s woken=%d",
		  __entry->group, __entry->count, __entry->want,
		  __print_flags(__entry->why, "|",
				{ KAUS_WANTED_DIRECT, "direct" },
				{ KAUS_WANTED_KSWAPD, "kswapd" }),
		  __entry->woken)
);

#endif /* _KAUS_TRACE_H */

/* Found by -I$(src)/kmod, which Kbuild gives to trace.c alone. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
