/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The heap profile, for programs. */
#include <errno.h>
#include <kaus/profile.h>

#include "gc/enter.h"
#include "gc/profile.h"
#include "obs/pprof.h"

KR_API int kaus_heap_profile_write(int fd)
{
	return kr_pprof_write_heap(fd);
}

KR_API int kaus_heap_profile_set_rate(uint64_t bytes)
{
	struct m *mp;

	if (bytes >> 62)
		return -EINVAL;
	mp = kr_enter();
	kr_profile_set_rate(bytes);
	kr_exit_any(mp);
	return 0;
}
