/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Profiles in the format of pprof. */
#ifndef KR_OBS_PPROF_H
#define KR_OBS_PPROF_H

/* Preemption on, no lock held. Return: 0, or an error of write(2) or mmap(2). */
int kr_pprof_write_heap(int fd);

#endif /* KR_OBS_PPROF_H */
