/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The heap profile as pprof reads it: a protocol buffer of the type
 * perftools.profiles.Profile, not compressed (github.com/google/pprof,
 * proto/profile.proto). It has addresses, and which file is mapped where; pprof
 * finds names and lines in the files.
 *
 * A field is its number and kind, and then a number of 7 bits to a byte, or a
 * length and so many bytes: protobuf.dev/programming-guides/encoding.
 */
#include "obs/pprof.h"

#include <string.h>
#include <time.h>

#include "base/compiler.h"
#include "gc/enter.h"
#include "gc/profile.h"
#include "os/os.h"

#define MIN_BYTES	(64UL << 10)
#define SMALL_BYTES	1024U		/* the longest message within another */
#define VARINT_BYTES	10U

enum {
	/* Profile */
	SAMPLE_TYPE = 1, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING_TABLE,
	DROP_FRAMES, KEEP_FRAMES, TIME_NANOS, DURATION_NANOS, PERIOD_TYPE,
	PERIOD, COMMENT, DEFAULT_SAMPLE_TYPE,
	/* ValueType */
	VALUE_TYPE = 1, VALUE_UNIT,
	/* Sample */
	SAMPLE_LOCATION_ID = 1, SAMPLE_VALUE,
	/* Mapping */
	MAPPING_ID = 1, MAPPING_START, MAPPING_LIMIT, MAPPING_OFFSET,
	MAPPING_FILENAME,
	/* Location */
	LOCATION_ID = 1, LOCATION_MAPPING_ID, LOCATION_ADDRESS,
};

/* String 0 is the empty one. Those of files follow these. */
static const char *const strings[] = {
	"",
	"alloc_objects", "count",
	"alloc_space", "bytes",
	"inuse_objects", "inuse_space", "space",
	/* Of the runtime, at the top: see gc/profile.c. */
	("kr_.*|sample(d)?|find_chain|alloc_(any|slow|large|typed)|"
	 "kaus_alloc.*|kaus_new.*"),
};

enum {
	S_NONE, S_ALLOC_OBJECTS, S_COUNT, S_ALLOC_SPACE, S_BYTES,
	S_INUSE_OBJECTS, S_INUSE_SPACE, S_SPACE, S_DROP_FRAMES, NR_STRINGS,
};

_Static_assert(sizeof(strings) / sizeof(strings[0]) == NR_STRINGS, "strings");

/* ---- bytes ---- */

/* Grows, or is on the stack and long enough. */
struct out {
	char *buf;
	size_t len, size;
	int err;
};

static bool has_room(struct out *o, size_t len)
{
	size_t size = o->size ? o->size : MIN_BYTES;
	void *mem = o->buf;

	while (size - o->len < len)
		size *= 2;
	if (size > o->size && !o->err) {
		o->err = kr_vm_grow(o->size, size, &mem);
		if (!o->err) {
			o->buf = mem;
			o->size = size;
		}
	}
	return !o->err;
}

static void put_varint(struct out *o, uint64_t value)
{
	if (!has_room(o, VARINT_BYTES))
		return;
	while (value >= 0x80) {
		o->buf[o->len++] = (char)(value | 0x80);
		value >>= 7;
	}
	o->buf[o->len++] = (char)value;
}

static void put_number(struct out *o, unsigned int field, uint64_t value)
{
	put_varint(o, field << 3);
	put_varint(o, value);
}

static void put_bytes(struct out *o, unsigned int field, const void *bytes,
		      size_t len)
{
	put_varint(o, field << 3 | 2);
	put_varint(o, len);
	if (!has_room(o, len))
		return;
	memcpy(o->buf + o->len, bytes, len);
	o->len += len;
}

static void put_value_type(struct out *o, unsigned int field, unsigned int type,
			   unsigned int unit)
{
	char buf[SMALL_BYTES];
	struct out small = { .buf = buf, .size = sizeof(buf) };

	put_number(&small, VALUE_TYPE, type);
	put_number(&small, VALUE_UNIT, unit);
	put_bytes(o, field, buf, small.len);
}

/* ---- the profile ---- */

struct mapping {
	uint64_t lo, hi;
};

struct writer {
	struct out out;
	struct out mappings;		/* struct mapping; its number is the id */
	struct out addrs;		/* of locations, by id */
	uint32_t *table;		/* by address: location ids, 0: none */
	uint32_t nr_table;		/* a power of two */
	uint32_t nr_locations;
	uint32_t nr_strings;
	struct kr_profile_site site;
};

static void put_mapping(void *arg, const struct kr_code_map *map)
{
	struct mapping m = { .lo = map->lo, .hi = map->hi };
	struct writer *w = arg;
	char buf[SMALL_BYTES];
	struct out small = { .buf = buf, .size = sizeof(buf) };

	if (!has_room(&w->mappings, sizeof(m)))
		return;
	memcpy(w->mappings.buf + w->mappings.len, &m, sizeof(m));
	w->mappings.len += sizeof(m);
	put_bytes(&w->out, STRING_TABLE, map->path, strlen(map->path));
	put_number(&small, MAPPING_ID, w->mappings.len / sizeof(m));
	put_number(&small, MAPPING_START, map->lo);
	put_number(&small, MAPPING_LIMIT, map->hi);
	put_number(&small, MAPPING_OFFSET, map->offset);
	put_number(&small, MAPPING_FILENAME, w->nr_strings++);
	put_bytes(&w->out, MAPPING, buf, small.len);
}

static uint64_t mapping_of(const struct writer *w, uint64_t addr)
{
	const struct mapping *m = (const void *)w->mappings.buf;
	size_t nr = w->mappings.len / sizeof(*m);

	for (size_t i = 0; i < nr; i++)
		if (addr >= m[i].lo && addr < m[i].hi)
			return i + 1;
	return 0;
}

static uint64_t addr_of(const struct writer *w, uint32_t id)
{
	return ((const uint64_t *)(const void *)w->addrs.buf)[id - 1];
}

static uint32_t *seat_of(const struct writer *w, uint64_t addr)
{
	uint32_t at = (uint32_t)((addr * 0x9e3779b97f4a7c15ULL) >> 32);

	for (;; at++) {
		uint32_t *seat = &w->table[at & (w->nr_table - 1)];

		if (!*seat || addr_of(w, *seat) == addr)
			return seat;
	}
}

static int table_grow(struct writer *w)
{
	uint32_t nr = w->nr_table ? 2 * w->nr_table : KR_PAGE_SIZE;
	void *mem;
	int err;

	err = kr_vm_map(nr * sizeof(*w->table), false, &mem);
	if (err)
		return err;
	if (w->nr_table)
		kr_vm_unmap(w->table, w->nr_table * sizeof(*w->table));
	w->table = mem;
	w->nr_table = nr;
	for (uint32_t id = 1; id <= w->nr_locations; id++)
		*seat_of(w, addr_of(w, id)) = id;
	return 0;
}

static uint32_t location_of(struct writer *w, uint64_t addr)
{
	char buf[SMALL_BYTES];
	struct out small = { .buf = buf, .size = sizeof(buf) };
	uint32_t *seat;

	if (2 * w->nr_locations >= w->nr_table && !w->out.err)
		w->out.err = table_grow(w);
	if (w->out.err || !has_room(&w->addrs, sizeof(addr)))
		return 0;
	seat = seat_of(w, addr);
	if (*seat)
		return *seat;
	memcpy(w->addrs.buf + w->addrs.len, &addr, sizeof(addr));
	w->addrs.len += sizeof(addr);
	*seat = ++w->nr_locations;
	put_number(&small, LOCATION_ID, *seat);
	put_number(&small, LOCATION_MAPPING_ID, mapping_of(w, addr));
	put_number(&small, LOCATION_ADDRESS, addr);
	put_bytes(&w->out, LOCATION, buf, small.len);
	return *seat;
}

static void put_site(struct writer *w)
{
	const struct kr_profile_site *site = &w->site;
	char buf[SMALL_BYTES];
	struct out small = { .buf = buf, .size = sizeof(buf) };

	/* A return address is one behind its call. */
	for (uint32_t i = 0; i < site->nr_frames; i++)
		put_number(&small, SAMPLE_LOCATION_ID,
			   location_of(w, site->frames[i] - 1));
	put_number(&small, SAMPLE_VALUE, site->nr_allocs);
	put_number(&small, SAMPLE_VALUE, site->alloc_bytes);
	put_number(&small, SAMPLE_VALUE, site->nr_inuse);
	put_number(&small, SAMPLE_VALUE, site->inuse_bytes);
	put_bytes(&w->out, SAMPLE, buf, small.len);
}

_Static_assert((KR_PROFILE_FRAMES + 4) * (VARINT_BYTES + 1) + VARINT_BYTES <=
	       SMALL_BYTES, "SMALL_BYTES");

static struct kr_profile_bucket *next_site(struct kr_profile_bucket *b,
					   struct kr_profile_site *site)
{
	struct m *mp;

	if (!kr_gc_enter(&mp))
		return NULL;
	b = kr_profile_next(b, site);
	kr_gc_exit(mp);
	return b;
}

static void put_profile(struct writer *w)
{
	struct kr_profile_bucket *b = NULL;
	struct timespec now;
	int err;

	for (int i = 0; i < NR_STRINGS; i++)
		put_bytes(&w->out, STRING_TABLE, strings[i],
			  strlen(strings[i]));
	w->nr_strings = NR_STRINGS;
	put_value_type(&w->out, SAMPLE_TYPE, S_ALLOC_OBJECTS, S_COUNT);
	put_value_type(&w->out, SAMPLE_TYPE, S_ALLOC_SPACE, S_BYTES);
	put_value_type(&w->out, SAMPLE_TYPE, S_INUSE_OBJECTS, S_COUNT);
	put_value_type(&w->out, SAMPLE_TYPE, S_INUSE_SPACE, S_BYTES);
	put_number(&w->out, DEFAULT_SAMPLE_TYPE, S_INUSE_SPACE);
	put_number(&w->out, DROP_FRAMES, S_DROP_FRAMES);
	put_value_type(&w->out, PERIOD_TYPE, S_SPACE, S_BYTES);
	put_number(&w->out, PERIOD, kr_profile_rate());
	clock_gettime(CLOCK_REALTIME, &now);
	put_number(&w->out, TIME_NANOS, (uint64_t)now.tv_sec * 1000000000 +
					(uint64_t)now.tv_nsec);
	err = kr_code_maps_for_each(put_mapping, w);
	if (!w->out.err)
		w->out.err = err;
	while (!w->out.err && (b = next_site(b, &w->site)))
		put_site(w);
	if (!w->out.err)
		w->out.err = w->mappings.err ? w->mappings.err : w->addrs.err;
}

static void out_free(struct out *o)
{
	if (o->size)
		kr_vm_unmap(o->buf, o->size);
}

int kr_pprof_write_heap(int fd)
{
	struct writer w = { .nr_table = 0 };
	int err;

	put_profile(&w);
	err = w.out.err;
	if (!err)
		err = kr_file_write_all(fd, w.out.buf, w.out.len);
	out_free(&w.out);
	out_free(&w.mappings);
	out_free(&w.addrs);
	if (w.nr_table)
		kr_vm_unmap(w.table, w.nr_table * sizeof(*w.table));
	return err;
}
