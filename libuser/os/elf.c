/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Names of functions, static ones included, out of the symbol tables of the
 * files that are loaded. Takes no lock and no memory, so that it works in a
 * signal handler in the midst of anything. A stripped file has but the table
 * that the loader needs.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"

struct image {
	const char *base;
	size_t size;
};

static bool map_file(const char *path, struct image *img)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *base;

	if (fd < 0)
		return false;
	base = MAP_FAILED;
	if (!fstat(fd, &st) && st.st_size > (off_t)sizeof(Elf64_Ehdr))
		base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE,
			    fd, 0);
	close(fd);
	if (base == MAP_FAILED)
		return false;
	img->base = base;
	img->size = (size_t)st.st_size;
	return true;
}

/* The file may be damaged, or another one by now: @nr items at @offset. */
static const void *part(const struct image *img, uint64_t offset, uint64_t nr,
			size_t item)
{
	if (offset > img->size || nr > (img->size - offset) / item)
		return NULL;
	return img->base + offset;
}

static const Elf64_Sym *find_in(const struct image *img,
				const Elf64_Shdr *table, uint64_t addr)
{
	uint64_t nr = table->sh_size / sizeof(Elf64_Sym);
	const Elf64_Sym *sym = part(img, table->sh_offset, nr, sizeof(*sym));

	for (uint64_t i = 0; sym && i < nr; i++)
		if (ELF64_ST_TYPE(sym[i].st_info) == STT_FUNC &&
		    addr - sym[i].st_value < sym[i].st_size)
			return &sym[i];
	return NULL;
}

static uint64_t find(const struct image *img, uint64_t addr, char *ret_name,
		     size_t size)
{
	const Elf64_Ehdr *eh = part(img, 0, 1, sizeof(*eh));
	const Elf64_Shdr *sh;
	const Elf64_Sym *sym;
	const char *name;

	if (!eh || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64)
		return 0;
	sh = part(img, eh->e_shoff, eh->e_shnum, sizeof(*sh));
	for (unsigned int i = 0; sh && i < eh->e_shnum; i++) {
		const Elf64_Shdr *strings;

		if ((sh[i].sh_type != SHT_SYMTAB &&
		     sh[i].sh_type != SHT_DYNSYM) || sh[i].sh_link >= eh->e_shnum)
			continue;
		sym = find_in(img, &sh[i], addr);
		if (!sym)
			continue;
		strings = &sh[sh[i].sh_link];
		if (sym->st_name >= strings->sh_size)
			continue;
		name = part(img, strings->sh_offset, strings->sh_size, 1);
		if (!name)
			continue;
		name += sym->st_name;
		for (size_t n = 0; n < size - 1 && name < img->base + img->size;
		     n++)
			if (!(*ret_name++ = *name++))
				return sym->st_value;
		*ret_name = 0;
		return sym->st_value;
	}
	return 0;
}

bool kr_elf_where(uintptr_t ip, struct kr_where *w)
{
	struct dl_find_object obj;
	struct image img;
	const char *path;

	w->name[0] = 0;
	/* Lock-free, by its manual (glibc 2.35). */
	if (_dl_find_object((void *)ip, &obj))
		return false;
	w->file = path = obj.dlfo_link_map->l_name;
	if (!*path) {
		w->file = program_invocation_name;
		path = "/proc/self/exe";
	}
	w->in_file = ip - obj.dlfo_link_map->l_addr;
	if (!map_file(path, &img))
		return true;
	w->in_name = w->in_file - find(&img, w->in_file, w->name,
				       sizeof(w->name));
	munmap((void *)(uintptr_t)img.base, img.size);
	return true;
}
