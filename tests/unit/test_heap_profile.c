// SPDX-License-Identifier: GPL-2.0-only
/*
 * The heap profile: what it says is what was allocated and is in use, by whom,
 * and pprof can read it.
 *
 * If it is broken: numbers that are wrong by more than chance allows, call
 * chains of others, or a file that pprof refuses.
 */
#include "utest.h"

#define KB 1024UL

/* ---- a decoder of what we need: fields of a protocol buffer ---- */

struct bytes {
	const unsigned char *p, *end;
};

static uint64_t varint(struct bytes *b)
{
	uint64_t value = 0;

	for (int shift = 0; b->p < b->end && shift < 64; shift += 7) {
		unsigned char c = *b->p++;

		value |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return value;
	}
	CHECK(!"a number is cut short");
	return 0;
}

/* The next field: its number, and a value or its bytes. 0: the end. */
static unsigned int field(struct bytes *b, uint64_t *value, struct bytes *inner)
{
	uint64_t tag, len;

	if (b->p >= b->end)
		return 0;
	tag = varint(b);
	if (!(tag & 7)) {
		*value = varint(b);
	} else if (CHECK_EQ(2, tag & 7)) {
		len = varint(b);
		if (!CHECK(len <= (size_t)(b->end - b->p)))
			return 0;
		*inner = (struct bytes){ b->p, b->p + len };
		b->p += len;
	} else {
		return 0;
	}
	return (unsigned int)(tag >> 3);
}

#define MAX_LOCATIONS 20000
#define MAX_STRINGS 1000
#define MAX_MAPPINGS 1000

static struct profile {
	uint64_t types[8], units[8];
	unsigned int nr_types, nr_samples, nr_strings, nr_mappings;
	uint64_t addrs[MAX_LOCATIONS], mapping_ids[MAX_LOCATIONS];
	struct bytes strings[MAX_STRINGS];
	uint64_t starts[MAX_MAPPINGS], limits[MAX_MAPPINGS];
	uint64_t names[MAX_MAPPINGS];
	uint64_t period, drop_frames, default_type;
	/* Of samples with @wanted in their chain. */
	uint64_t values[4];
} prof;

static unsigned char *text;
static size_t text_len;

static void read_profile(void)
{
	FILE *f = tmpfile();
	long len;

	CHECK_EQ(0, kaus_heap_profile_write(fileno(f)));
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	rewind(f);
	free(text);
	text = malloc((size_t)len);
	text_len = fread(text, 1, (size_t)len, f);
	CHECK_EQ(len, text_len);
	fclose(f);
}

static void parse_location(struct bytes b)
{
	uint64_t id = 0, mapping = 0, addr = 0, value;
	struct bytes inner;
	unsigned int nr;

	while ((nr = field(&b, &value, &inner))) {
		if (nr == 1)
			id = value;
		else if (nr == 2)
			mapping = value;
		else if (nr == 3)
			addr = value;
	}
	if (CHECK(id && id < MAX_LOCATIONS) && CHECK(!prof.addrs[id])) {
		prof.addrs[id] = addr;
		prof.mapping_ids[id] = mapping;
	}
}

static void parse_mapping(struct bytes b)
{
	uint64_t v[6] = { 0 }, value;
	struct bytes inner;
	unsigned int nr;

	while ((nr = field(&b, &value, &inner)))
		if (CHECK(nr < 6))
			v[nr] = value;
	if (CHECK(v[1] && v[1] < MAX_MAPPINGS) && CHECK(v[2] < v[3])) {
		prof.starts[v[1]] = v[2];
		prof.limits[v[1]] = v[3];
		prof.names[v[1]] = v[5];
		prof.nr_mappings++;
	}
}

static void parse_sample(struct bytes b, uint64_t wanted)
{
	uint64_t values[4] = { 0 }, value;
	bool found = false;
	struct bytes inner;
	unsigned int nr, nr_values = 0;

	while ((nr = field(&b, &value, &inner))) {
		if (nr == 1 && CHECK(value && value < MAX_LOCATIONS))
			found = found || prof.addrs[value] == wanted;
		else if (nr == 2 && CHECK(nr_values < 4))
			values[nr_values++] = value;
	}
	CHECK_EQ(4, nr_values);
	CHECK(values[2] <= values[0] && values[3] <= values[1]);
	prof.nr_samples++;
	for (int i = 0; found && i < 4; i++)
		prof.values[i] += values[i];
}

static void parse_type(struct bytes b)
{
	uint64_t value;
	struct bytes inner;
	unsigned int nr;

	while ((nr = field(&b, &value, &inner)))
		(nr == 1 ? prof.types : prof.units)[prof.nr_types] = value;
	prof.nr_types++;
}

/* Twice: a sample may come before its locations. */
static void parse(uint64_t wanted)
{
	struct bytes b = { text, text + text_len }, inner;
	uint64_t value;
	unsigned int nr;

	memset(&prof, 0, sizeof(prof));
	while ((nr = field(&b, &value, &inner))) {
		if (nr == 1)
			parse_type(inner);
		else if (nr == 3)
			parse_mapping(inner);
		else if (nr == 4)
			parse_location(inner);
		else if (nr == 6 && CHECK(prof.nr_strings < MAX_STRINGS))
			prof.strings[prof.nr_strings++] = inner;
		else if (nr == 7)
			prof.drop_frames = value;
		else if (nr == 12)
			prof.period = value;
		else if (nr == 14)
			prof.default_type = value;
	}
	b = (struct bytes){ text, text + text_len };
	while ((nr = field(&b, &value, &inner)))
		if (nr == 2)
			parse_sample(inner, wanted);
}

static bool is_string(uint64_t nr, const char *s)
{
	const struct bytes *b = &prof.strings[nr];

	return nr < prof.nr_strings &&
	       (size_t)(b->end - b->p) == strlen(s) &&
	       !memcmp(b->p, s, strlen(s));
}

/* ---- what is allocated ---- */

static void *kept[4096];
static uint64_t caller;		/* the address of the call of these */

/* The caller's call, as a profile has it: the byte before the return address. */
__attribute__((noinline)) static void alloc_some(size_t nr, size_t size)
{
	caller = (uintptr_t)__builtin_return_address(0) - 1;
	for (size_t i = 0; i < nr; i++)
		kept[i] = kaus_alloc(size);
	__asm__ volatile("" : : : "memory");
}

static void *alloc_here(void *arg)
{
	alloc_some(1000, 100);
	__asm__ volatile("" : : : "memory");
	return NULL;
}

static void elsewhere(void *(*fn)(void *), void *arg)
{
	CHECK_EQ(0, kaus_join(ut_spawn(fn, arg), NULL));
}

static void *free_half(void *arg)
{
	for (int i = 0; i < 500; i++) {
		kaus_free(kept[i]);
		kept[i] = NULL;
	}
	return NULL;
}

static void *drop_all(void *arg)
{
	memset(kept, 0, sizeof(kept));
	return NULL;
}

static void expect(uint64_t nr_allocs, uint64_t nr_inuse)
{
	uint64_t size = 112;	/* the class of 100 */

	read_profile();
	parse(caller);
	CHECK_EQ(nr_allocs, prof.values[0]);
	CHECK_EQ(nr_allocs * size, prof.values[1]);
	CHECK_EQ(nr_inuse, prof.values[2]);
	CHECK_EQ(nr_inuse * size, prof.values[3]);
}

/* Each object is a sample: the numbers are exact. */
static int exact(void *arg)
{
	uint64_t id = 0;

	CHECK_EQ(-EINVAL, kaus_heap_profile_set_rate(1ULL << 62));
	CHECK_EQ(0, kaus_heap_profile_set_rate(1));
	elsewhere(alloc_here, NULL);
	expect(1000, 1000);
	CHECK_EQ(4, prof.nr_types);
	CHECK(is_string(0, ""));
	CHECK(is_string(prof.types[0], "alloc_objects"));
	CHECK(is_string(prof.types[1], "alloc_space"));
	CHECK(is_string(prof.types[2], "inuse_objects"));
	CHECK(is_string(prof.types[3], "inuse_space"));
	CHECK(is_string(prof.units[0], "count"));
	CHECK(is_string(prof.units[3], "bytes"));
	CHECK(is_string(prof.default_type, "inuse_space"));
	CHECK_EQ(1, prof.period);
	/* The call is in this program's own mapping. */
	while (++id < MAX_LOCATIONS && prof.addrs[id] != caller)
		;
	if (CHECK(id < MAX_LOCATIONS)) {
		uint64_t m = prof.mapping_ids[id];

		CHECK(m && prof.starts[m] <= caller && caller < prof.limits[m]);
		CHECK(prof.names[m] && prof.names[m] < prof.nr_strings);
	}
	elsewhere(free_half, NULL);
	expect(1000, 500);
	elsewhere(drop_all, NULL);
	CHECK_EQ(0, kaus_gc());
	expect(1000, 0);
	/* Off: nothing more, and nothing less. */
	CHECK_EQ(0, kaus_heap_profile_set_rate(0));
	elsewhere(alloc_here, NULL);
	expect(1000, 0);
	return 0;
}

TEST(exact_with_each_object)
{
	RUN(exact, NULL);
}

/*
 * Estimates: of 64 MiB there are 128 samples at the usual rate. That they are
 * off by more than half happens once in a hundred million runs.
 */
static void *alloc_much(void *arg)
{
	size_t size = (uintptr_t)arg;

	for (size_t i = 0; i < 64 * KB * KB / size / 1024; i++)
		alloc_some(1024, size);
	return NULL;
}

static bool is_about(uint64_t expected, uint64_t seen)
{
	return seen > expected / 2 && seen < expected + expected / 2;
}

static int estimated(void *arg)
{
	static const size_t sizes[] = { 16, 512, 8 * KB, 64 * KB };
	uint64_t total = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i] == 16 && UT_TSAN)
			continue;
		elsewhere(alloc_much, (void *)sizes[i]);
		read_profile();
		/* All of them are called from the same place. */
		parse(caller);
		total += 64 * KB * KB;
		CHECK(is_about(total, prof.values[1]));
		if (sizes[i] == 16)
			CHECK(is_about(total / 16, prof.values[0]));
	}
	return 0;
}

TEST(estimates)
{
	unsetenv("KAUS_HEAP_PROFILE_RATE");
	RUN(estimated, NULL);
}

/* Many goroutines and a thread sample at once, while others read. */
static struct kaus_waitgroup wg;

static void worker(void *arg)
{
	for (int i = 0; i < (UT_TSAN ? 200 : 2000); i++) {
		void *obj = kaus_alloc(16 + (size_t)i % 2000);

		CHECK(obj);
		if (i % 3)
			kaus_free(obj);
		if (!(i % 64))
			kaus_yield();
	}
	kaus_waitgroup_done(&wg);
}

static void *plain(void *arg)
{
	/* What a thread that is not registered holds may be collected. */
	if (!UT_TSAN)
		CHECK_EQ(0, kaus_gc_thread_register());
	for (int i = 0; i < 200; i++) {
		void *obj = kaus_alloc(100);

		CHECK(obj);
		if (!UT_TSAN)
			kaus_free(obj);
	}
	if (!UT_TSAN)
		CHECK_EQ(0, kaus_gc_thread_unregister());
	return NULL;
}

static int together(void *arg)
{
	pthread_t thread;

	CHECK_EQ(0, kaus_heap_profile_set_rate(300));
	CHECK_EQ(0, pthread_create(&thread, NULL, plain, NULL));
	for (int i = 0; i < 20; i++) {
		kaus_waitgroup_add(&wg, 1);
		ut_go(worker, NULL);
	}
	for (int i = 0; i < 5; i++) {
		read_profile();
		parse(0);
		CHECK_EQ(0, kaus_gc());
		CHECK_EQ(0, kaus_heap_profile_set_rate(100 + (uint64_t)i));
	}
	kaus_waitgroup_wait(&wg);
	CHECK_EQ(0, pthread_join(thread, NULL));
	CHECK_EQ(0, kaus_gc());
	read_profile();
	parse(0);
	CHECK(prof.nr_samples > 0);
	return 0;
}

TEST(sampled_by_many)
{
	RUN(together, NULL);
}

static int environment(void *arg)
{
	read_profile();
	parse(0);
	CHECK_EQ(12345, prof.period);
	CHECK_EQ(-EBADF, kaus_heap_profile_write(-1));
	return 0;
}

TEST(rate_from_the_environment)
{
	setenv("KAUS_HEAP_PROFILE_RATE", "12345", 1);
	RUN(environment, NULL);
}

static int bad_environment(void *arg)
{
	return 0;
}

TEST(a_wrong_rate_is_refused)
{
	setenv("KAUS_HEAP_PROFILE_RATE", "many", 1);
	EXPECT_EQ(-EINVAL, kaus_run(bad_environment, NULL));
}

/* Go's tool, where it is there, has the same numbers. */
static char path[] = "/tmp/kaus-heap-XXXXXX";

static int for_pprof(void *arg)
{
	int fd = mkstemp(path);

	CHECK_EQ(0, kaus_heap_profile_set_rate(1));
	elsewhere(alloc_here, NULL);
	CHECK_EQ(0, kaus_heap_profile_write(fd));
	close(fd);
	return 0;
}

TEST(go_tool_pprof)
{
	char command[256], line[512];
	bool types = false, sample = false, mapping = false;
	FILE *f;

	if (system("go tool pprof -help >/dev/null 2>&1"))
		SKIP(return, "no Go here");
	RUN(for_pprof, NULL);
	snprintf(command, sizeof(command),
		 "go tool pprof -raw -symbolize=none %s 2>&1", path);
	f = popen(command, "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		types = types || strstr(line, "alloc_objects/count "
					"alloc_space/bytes inuse_objects/count "
					"inuse_space/bytes[dflt]");
		sample = sample || strstr(line, "1000     112000       1000"
						"     112000:");
		mapping = mapping || strstr(line, "test_heap_profile");
	}
	EXPECT_EQ(0, pclose(f));
	EXPECT_TRUE(types);
	EXPECT_TRUE(sample);
	EXPECT_TRUE(mapping);
	unlink(path);
}

TEST_HARNESS_MAIN
