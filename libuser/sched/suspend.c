/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Stopping a thread by a signal, for who cannot be stopped otherwise: plain
 * threads of the program, and without the module those Ms that are in an
 * announced sleep. The handler says where the registers are, which the kernel
 * has put into the signal's frame, and waits.
 *
 * The thread may be anywhere, in malloc() for example: whoever has suspended it
 * takes no lock of the C library. A thread that blocks the signal, or is in an
 * uninterruptible sleep, is waited for.
 *
 * A thread that is busy with what the one who suspends must not find half done
 * says so in a word of its own, which the handler looks at: no fence is needed
 * between the two, they are one thread. The handler then leaves a note, and the
 * thread sends itself the signal when it is done.
 *
 *	RUNS -> ASKED -> SUSPENDED -> RUNS
 *
 * The first and the last step are those of the one who suspends, by exchange;
 * the middle one is the handler's, by compare-and-swap: a signal that comes too
 * late finds RUNS.
 */
#include "sched/suspend.h"

#include <ucontext.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "os/os.h"

enum {
	RUNS,
	ASKED,
	SUSPENDED,
};

static __thread struct kr_suspend *kr_tls_suspend
	__attribute__((tls_model("initial-exec")));

/* Where the extended state ends: its size is in the part for software. */
static uintptr_t frame_end(const ucontext_t *uc)
{
	const char *fp = (const char *)uc->uc_mcontext.fpregs;
	const uint32_t *sw;

	if (KR_TSAN || !fp)
		return (uintptr_t)(uc + 1);
	/* Linux's struct _fpx_sw_bytes at byte 464: magic, size of all. */
	sw = (const uint32_t *)(fp + 464);
	return (uintptr_t)fp + (sw[0] == 0x46505853U ? sw[1] : 512);
}

static void on_suspend(int sig, siginfo_t *info, void *ucontext)
{
	struct kr_suspend *s = kr_tls_suspend;
	const ucontext_t *uc = ucontext;

	(void)sig;
	(void)info;
	if (!s || smp_load_acquire(&s->state) != ASKED)
		return;
	if (READ_ONCE(s->busy)) {
		WRITE_ONCE(s->late, true);
		return;
	}
	s->frame = uc;
	s->frame_end = frame_end(uc);
	/*
	 * ThreadSanitizer calls handlers later, with a copy of the frame, and on
	 * the same stack: what counts is above this function's frame.
	 */
	s->sp = KR_TSAN ? (uintptr_t)__builtin_frame_address(0) - 512 :
			  (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
	if (!kr_cas(&s->state, ASKED, SUSPENDED))
		return;
	while (READ_ONCE(s->state) == SUSPENDED)
		kr_futex_wait(&s->state, SUSPENDED, UINT64_MAX);
}

int kr_suspend_init(void)
{
	return kr_signal_install(KR_SUSPEND_SIGNAL, on_suspend);
}

void kr_suspend_register(struct kr_suspend *s)
{
	if (s) {
		s->tid = kr_thread_tid();
		kr_signal_unblock(KR_SUSPEND_SIGNAL);
	}
	kr_tls_suspend = s;
}

void kr_suspend_late(struct kr_suspend *s)
{
	WRITE_ONCE(s->late, false);
	kr_thread_kill(s->tid, KR_SUSPEND_SIGNAL);
}

void kr_suspend_ask(struct kr_suspend *s)
{
	if (kr_cas(&s->state, RUNS, ASKED))
		kr_thread_kill(s->tid, KR_SUSPEND_SIGNAL);
}

bool kr_suspend_is_done(const struct kr_suspend *s)
{
	return smp_load_acquire(&s->state) == SUSPENDED;
}

void kr_suspend_end(struct kr_suspend *s)
{
	if (kr_xchg(&s->state, RUNS) == SUSPENDED)
		kr_futex_wake(&s->state, 1);
}
