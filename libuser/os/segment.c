/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Where the variables of the program and its libraries are. The loader's list
 * is walked as a debugger does it: dl_iterate_phdr() takes a lock that a
 * stopped goroutine may hold. Entries are put at the end of that list when they
 * are complete, and the caller has stopped the program.
 */
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/compiler.h"
#include "os/os.h"

/* Sanitizers keep tables there that would take minutes to read. */
static bool is_skipped(const char *name)
{
	return (KR_TSAN && strstr(name, "libtsan")) ||
	       (KR_ASAN && strstr(name, "libasan"));
}

/* Nothing is stored any more in what is read-only after relocation. */
static void segments(uintptr_t bias, const Elf64_Phdr *ph, size_t nr,
		     kr_segment_fn fn, void *arg)
{
	const char *relro = NULL, *relro_end = NULL;

	for (size_t i = 0; i < nr; i++) {
		if (ph[i].p_type == PT_GNU_RELRO) {
			relro = (const char *)bias + ph[i].p_vaddr;
			relro_end = relro + ph[i].p_memsz;
		}
	}
	for (size_t i = 0; i < nr; i++) {
		const char *lo = (const char *)bias + ph[i].p_vaddr;
		const char *hi = lo + ph[i].p_memsz;

		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_W))
			continue;
		if (relro && relro >= lo && relro_end <= hi) {
			if (relro > lo)
				fn(arg, lo, relro);
			lo = relro_end;
		}
		if (lo < hi)
			fn(arg, lo, hi);
	}
}

void kr_segments_for_each(kr_segment_fn fn, void *arg)
{
	const struct link_map *map = _r_debug.r_map;

	if (!map)
		return;
	/* The program itself comes first. */
	segments(map->l_addr, (const Elf64_Phdr *)getauxval(AT_PHDR),
		 getauxval(AT_PHNUM), fn, arg);
	while ((map = map->l_next)) {
		struct dl_find_object obj;
		const Elf64_Ehdr *eh;

		if (!map->l_ld || is_skipped(map->l_name) ||
		    _dl_find_object(map->l_ld, &obj))
			continue;
		eh = obj.dlfo_map_start;
		if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
			continue;
		segments(map->l_addr, (const Elf64_Phdr *)
			 ((const char *)eh + eh->e_phoff), eh->e_phnum, fn,
			 arg);
	}
}
