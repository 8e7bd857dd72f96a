/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Struct offsets that the assembly needs. Every one is asserted from C, in
 * libuser/sched/m.h.
 */
#ifndef KAUS_ASM_OFFSETS_H
#define KAUS_ASM_OFFSETS_H

/* struct m */
#define M_SLOT		0
#define M_XSAVE		8
#define M_XSAVE_KIND	16
#define M_TOLD		24
#define M_G0_SP		32

/* m.xsave_kind: which instruction saves the extended state. */
#define XSAVE_FX	0
#define XSAVE_STD	1
#define XSAVE_COMPACT	2

/* struct kaus_worker */
#define KW_DEFER	4
#define KW_SAVED_IP	24
#define KW_BUSY		32

/* Room that the trampoline needs below the interrupted stack pointer: red
 * zone, return address, flags and 15 registers, rounded up.
 */
#define TRAMP_FRAME	512

/* So many stores of an M are told before they are looked at. */
#ifdef KAUS_TINY
#define TOLD_MAX	2
#else
#define TOLD_MAX	255
#endif

#endif /* KAUS_ASM_OFFSETS_H */
