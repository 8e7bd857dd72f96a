// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker that runs a virtual machine. KVM keeps a register of the guest's
 * (TSC_AUX here, the system call entry elsewhere) until a user-return notifier
 * of its own puts back the host's, in a list that it changes with interrupts on.
 * A bug shows as a thread that goes on with what is the guest's, as a kick that
 * nothing but a timer delivers any more, or as an oops.
 *
 * Needs /dev/kvm; an emulated machine has AMD's kind (tests/vm/run.sh --load
 * kvm-amd).
 */
#include "kw_test.h"

#include <linux/kvm.h>

#define NR_RUNS		3000
#define GUEST_AUX	0x12345678U
#define TSC_AUX		0xc0000103U

/* out %al, $0x10; jmp .-2 */
static const uint8_t guest_code[] = { 0xe6, 0x10, 0xeb, 0xfc };

static uint32_t tsc_aux(void)
{
	uint32_t lo, hi, aux;

	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	return aux;
}

FIXTURE(kvm) {
	struct kw k;
	int vcpu;
	struct kvm_run *run;
	uint32_t nr_runs;
	uint32_t nr_leaks;
	uint32_t in_user;	/* the worker stays in its own code */
	uint32_t stop;
	int err;
};

static int make_guest(FIXTURE_DATA(kvm) *self, int dev)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { { .nmsrs = 1 }, { .index = TSC_AUX, .data = GUEST_AUX } };
	struct kvm_userspace_memory_region mem = { .memory_size = 4096 };
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	int vm = ioctl(dev, KVM_CREATE_VM, 0);
	long size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *code;

	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (vm < 0 || size < 0 || code == MAP_FAILED)
		return -1;
	memcpy(code, guest_code, sizeof(guest_code));
	mem.userspace_addr = (uint64_t)(uintptr_t)code;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &mem))
		return -2;
	self->vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (self->vcpu < 0 || ioctl(self->vcpu, KVM_GET_SREGS, &sregs))
		return -3;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(self->vcpu, KVM_SET_SREGS, &sregs) ||
	    ioctl(self->vcpu, KVM_SET_REGS, &regs) ||
	    ioctl(self->vcpu, KVM_SET_MSRS, &msrs) != 1)
		return -4;
	self->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->vcpu, 0);
	return self->run == MAP_FAILED ? -5 : 0;
}

FIXTURE_SETUP(kvm)
{
	int dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		SKIP(return, "no /dev/kvm");
	ASSERT_EQ(0, make_guest(self, dev));
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
}

FIXTURE_TEARDOWN(kvm)
{
	if (self->run)
		kw_close(&self->k);
}

static void run_guest(struct kw_thread *t)
{
	FIXTURE_DATA(kvm) *self = t->arg;

	kw_carry(t->kw, 0);
	/* Somebody waits: the timer looks, and redirects, once a slice. */
	kw_waiters(t->kw, 0, 1);
	while (!KW_LOAD(self->stop)) {
		if (KW_LOAD(self->in_user)) {
			kw_sum(1000);
			continue;
		}
		if (ioctl(self->vcpu, KVM_RUN, 0) ||
		    self->run->exit_reason != KVM_EXIT_IO) {
			self->err = (int)self->run->exit_reason;
			break;
		}
		if (tsc_aux() == GUEST_AUX)
			KW_ADD(self->nr_leaks, 1);
		KW_ADD(self->nr_runs, 1);
	}
}

TEST_F(kvm, a_worker_runs_a_guest)
{
	struct kw_thread t = { 0 };
	struct kaus_info info;
	uint64_t nr_kicks;
	long before;

	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	KW_STORE(self->k.hdr->slice_ns, 50000);
	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 0, run_guest, self));
	while (KW_LOAD(self->nr_runs) < NR_RUNS && !KW_LOAD(t.done))
		ASSERT_EQ(0, kw_kick(&self->k, 0, NULL));
	EXPECT_EQ(0, self->err);
	EXPECT_EQ(0, self->nr_leaks) TH_LOG("the guest's register");

	/* A kick still comes at once, by the notifier and not by the timer. */
	KW_STORE(self->in_user, 1);
	KW_STORE(self->k.hdr->slice_ns, 1000000000);
	kw_waiters(&self->k, 0, 0);
	before = kw_on_cpus("returns");
	for (int i = 0; i < 10; i++) {
		nr_kicks = KW_LOAD(self->k.stat[0].nr_kick);
		ASSERT_EQ(0, kw_kick(&self->k, 0, NULL));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[0].nr_kick) >
				    nr_kicks));
	}
	/* Where there are such notifiers. */
	if (info.features & KAUS_FEAT_REGS)
		EXPECT_LE(before + 10, kw_on_cpus("returns"));
	KW_STORE(self->stop, 1);
	kw_thread_join(&t);
}

KW_TEST_MAIN
