// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 64-bit thread may jump into a 32-bit code segment. There the trampoline is
 * not even the same instructions: no redirect until it is back. A bug shows as
 * SIGSEGV or SIGILL.
 */
#include "kw_test.h"

/* Below 4 GiB: code, a flag and a stack. */
struct low {
	unsigned char code[64];
	unsigned int flag;
	unsigned int rounds;
	unsigned int to32[2];	/* far pointers: offset, segment */
	unsigned int to64[2];
	char stack[128 * 1024] __attribute__((aligned(16)));
};

#define USER32_CS	0x23
#define USER_CS		0x33

/*
 * void compat_spin(unsigned int *to32, void *sp): far jump to where @to32
 * points, in the 32-bit segment, with @sp as the stack; comes back at
 * compat_back. Not by lret: QEMU 7.2 gets that wrong.
 */
void compat_spin(unsigned int *to32, void *sp);
extern const char compat_back[];

__asm__(
"	.text\n"
"	.type compat_spin, @function\n"
"compat_spin:\n"
"	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n"
"	pushq %r14\n	pushq %r15\n"
"	movq %rsp, -16(%rsi)\n"		/* the low stack keeps it */
"	leaq -16(%rsi), %rsp\n"
"	ljmpl *(%rdi)\n"
"compat_back:\n"
"	movq (%rsp), %rsp\n"
"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n"
"	popq %rbp\n	popq %rbx\n"
"	ret\n"
"	.size compat_spin, . - compat_spin\n");

/* 1: incl rounds; pause; cmpl $0, flag; je 1b; ljmp *back (0x33 segment) */
static size_t assemble(struct low *low, uint32_t back_ptr)
{
	unsigned char *c = low->code;
	uint32_t flag = (uint32_t)(uintptr_t)&low->flag;
	uint32_t rounds = (uint32_t)(uintptr_t)&low->rounds;

	*c++ = 0xff, *c++ = 0x05;		/* incl rounds */
	memcpy(c, &rounds, 4), c += 4;
	*c++ = 0xf3, *c++ = 0x90;		/* pause */
	*c++ = 0x83, *c++ = 0x3d;		/* cmpl $0, flag */
	memcpy(c, &flag, 4), c += 4;
	*c++ = 0;
	*c++ = 0x74;				/* je */
	*c = (unsigned char)(low->code - (c + 1));
	c++;
	*c++ = 0xff, *c++ = 0x2d;		/* ljmp *back_ptr */
	memcpy(c, &back_ptr, 4), c += 4;
	return c - low->code;
}

struct watcher {
	struct kaus_worker *slot;
	struct low *low;
	bool refused;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	uint64_t start;

	KW_WAIT(KW_LOAD(w->low->rounds) > 1000);
	start = KW_LOAD(w->slot->nr_refused);
	w->refused = KW_WAIT(KW_LOAD(w->slot->nr_refused) >= start + 10);
	KW_STORE(w->low->flag, 1);
	return NULL;
}


TEST(no_redirect_in_32_bit_code)
{
	struct watcher w = { 0 };
	unsigned char *thunk;
	pthread_t thread;
	struct low *low;
	struct kw k;

	low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, low);
	/*
	 * compat_back may lie above 4 GiB, where ljmp cannot point: a stub in
	 * the low page, in 64-bit code, jumps there.
	 */
	thunk = low->code + 40;
	thunk[0] = 0x49, thunk[1] = 0xbb;	/* movabs $compat_back, %r11 */
	memcpy(thunk + 2, &(uint64_t){ (uint64_t)compat_back }, 8);
	thunk[10] = 0x41, thunk[11] = 0xff, thunk[12] = 0xe3; /* jmp *%r11 */
	low->to64[0] = (uint32_t)(uintptr_t)thunk;
	low->to64[1] = USER_CS;
	low->to32[0] = (uint32_t)(uintptr_t)low->code;
	low->to32[1] = USER32_CS;
	ASSERT_GE(40, assemble(low, (uint32_t)(uintptr_t)low->to64));

	ASSERT_EQ(0, kw_group(&k, 1, 1));
	ASSERT_EQ(0, kw_register(&k, 0));
	kw_carry(&k, 0);
	/* The low stack is the goroutine's: only the segment is in the way. */
	KW_STORE(kw_self.slot->stack_hi, (uint64_t)low->stack +
		 sizeof(low->stack));
	KW_STORE(kw_self.slot->stack_lo, (uint64_t)low->stack + KW_HEADROOM);
	kw_waiters(&k, 0, 1);
	w.slot = kw_self.slot;
	w.low = low;
	ASSERT_EQ(0, pthread_create(&thread, NULL, watch, &w));
	compat_spin(low->to32, low->stack + sizeof(low->stack));
	pthread_join(thread, NULL);
	EXPECT_TRUE(w.refused) TH_LOG("no redirect was put off");
	EXPECT_LT(1000, low->rounds);
	kw_stack_here(kw_self.slot);
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 3))
		TH_LOG("not tried again");
	kw_unregister(&k);
	kw_close(&k);
}

KW_TEST_MAIN
