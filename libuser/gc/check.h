/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The check mode: has every store been told? How: check.c. */
#ifndef KR_GC_CHECK_H
#define KR_GC_CHECK_H

/* All but those that say more: the world is stopped. */

/* A concurrent cycle begins: what is in objects is remembered. */
void kr_check_begin(void);
/* The word at @slot has been overwritten, and the barrier was told. No cycle
 * begins or ends meanwhile.
 */
void kr_check_stored(const void *slot);
/* Somebody is about to tell, and may be stopped before. Any context. */
int kr_check_enter(const void *slot);
void kr_check_leave(int nr);
/* All is marked. Reports what is wrong; keeps what would be lost by it. */
void kr_check_end(void);

#endif /* KR_GC_CHECK_H */
