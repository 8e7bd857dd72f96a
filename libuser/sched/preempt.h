/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What the trampoline leaves on the goroutine's stack. */
#ifndef KR_SCHED_PREEMPT_H
#define KR_SCHED_PREEMPT_H

#include <stdint.h>

struct kr_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t rflags, rip;
};

#endif /* KR_SCHED_PREEMPT_H */
