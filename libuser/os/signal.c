/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Signals: the fallback's, and one for stack overflows. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "os/os.h"

int kr_signal_install(int sig, void (*fn)(int sig, siginfo_t *info, void *uc))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = fn;
	sa.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
	sigfillset(&sa.sa_mask);
	return sigaction(sig, &sa, NULL) ? -errno : 0;
}

int kr_signal_altstack(void *stack, size_t size)
{
	stack_t old, ss = { .ss_sp = stack, .ss_size = size };

	if (sigaltstack(NULL, &old))
		return -errno;
	if (!(old.ss_flags & SS_DISABLE))
		return -EEXIST;
	return sigaltstack(&ss, NULL) ? -errno : 0;
}

void kr_signal_no_altstack(void)
{
	static const stack_t none = { .ss_flags = SS_DISABLE };

	sigaltstack(&none, NULL);
}

void kr_signal_unblock(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool kr_signal_is_default(int sig)
{
	struct sigaction sa;

	return !sigaction(sig, NULL, &sa) && !(sa.sa_flags & SA_SIGINFO) &&
	       sa.sa_handler == SIG_DFL;
}

void kr_signal_default(int sig)
{
	signal(sig, SIG_DFL);
}
