/*
 * test_fiber_image.c - saved stacks: every word comes back, whatever it looks like, and nothing but
 * these words is touched; what the images share and what they cost.
 */
#include "base/base.h"
#include "fiber/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scarce.h"

#include <cmocka.h>

#define WORDS (IMAGE_MOST / sizeof(uint64_t))
#define CANARY 0xdeadbeefcafef00dU
#define MARGIN 16 /* words of canaries on both sides */

/* A stack: its top is above the last word. */
struct pile {
	uint64_t below[MARGIN];
	uint64_t words[WORDS];
	uint64_t above[MARGIN];
};

static char *top_of(struct pile *pile)
{
	return (char *)(pile->words + WORDS);
}

static char *live_of(struct pile *pile, size_t count)
{
	return (char *)(pile->words + WORDS - count);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* A word as it may stand on a stack; some are made to be mistaken for others. */
static uint64_t some_word(uint64_t *seed, struct pile *pile, size_t count)
{
	uint64_t r = next_random(seed) >> 8;
	uint64_t top = (uintptr_t)top_of(pile), live = (uintptr_t)live_of(pile, count);

	switch (next_random(seed) % 12) {
	case 0:
	case 1:
	case 2:
		return 0;
	case 3:
	case 4:
		return 0x400000 + r % 64 * 16; /* a return address: many have it */
	case 5:
	case 6:
		return live + (count ? r % (count * 8) : 0); /* its own, odd ones too */
	case 7:
		return top;
	case 8:
		return live - 1 - r % 64;
	case 9:
		return top + 1 + r % 64;
	case 10:
		return r % 2 ? UINT64_MAX : 1;
	default:
		return next_random(seed);
	}
}

static void fill(uint64_t *seed, struct pile *pile, size_t count)
{
	memset(pile, 0xdd, sizeof *pile);
	for (size_t i = 0; i < MARGIN; i++)
		pile->below[i] = pile->above[i] = CANARY;
	for (size_t i = 0; i < count; i++)
		pile->words[WORDS - 1 - i] = some_word(seed, pile, count);
}

/* Save, spoil, restore, and compare all of it: also what was not to be touched. */
struct held {
	struct pile pile, copy;
	struct image *image;
	size_t count;
};

static void save(struct image_models *models, struct held *held)
{
	memcpy(&held->copy, &held->pile, sizeof held->pile);
	held->image = image_save(models, live_of(&held->pile, held->count), top_of(&held->pile));
	assert_memory_equal(&held->pile, &held->copy, sizeof held->pile);
	if (held->image)
		memset(live_of(&held->pile, held->count), 0x5a, held->count * 8);
}

static void restore(struct image_models *models, struct held *held)
{
	image_restore(models, held->image, top_of(&held->pile));
	held->image = NULL;
	assert_memory_equal(&held->pile, &held->copy, sizeof held->pile);
}

static struct held *held_new(size_t number)
{
	struct held *held = calloc(number, sizeof *held);

	assert_non_null(held);
	return held;
}

static size_t some_depth(uint64_t *seed)
{
	static const size_t depths[] = {0, 1, 2, 3, 4, 5, 63, 64, 65, 100, WORDS - 1, WORDS};

	if (next_random(seed) % 4)
		return depths[next_random(seed) % ARRAY_LEN(depths)];
	return next_random(seed) % (WORDS + 1);
}

static void any_stack_comes_back_word_for_word(void **state)
{
	struct image_models models = {0};
	struct held *held = held_new(16);
	uint64_t seed = 88172645463325252U;

	(void)state;
	for (int round = 0; round < 4000; round++) {
		struct held *it = &held[next_random(&seed) % 16];

		if (it->image) {
			restore(&models, it);
			continue;
		}
		it->count = some_depth(&seed);
		fill(&seed, &it->pile, it->count);
		save(&models, it);
		assert_non_null(it->image);
	}
	for (int i = 0; i < 16; i++)
		if (held[i].image)
			restore(&models, &held[i]);
	image_models_finish(&models);
	free(held);
}

/* The same words at the same depth, but each in another place: pointers into the own stack differ.
 */
static void stacks_that_look_alike_share_their_model(void **state)
{
	enum { NUMBER = 64, DEPTH = 128 };
	struct image_models models = {0};
	struct held *held = held_new(NUMBER);
	size_t first, each;

	(void)state;
	for (size_t n = 0; n < NUMBER; n++) {
		held[n].count = DEPTH;
		memset(&held[n].pile, 0, sizeof held[n].pile);
		for (size_t i = 0; i < DEPTH; i++)
			held[n].pile.words[WORDS - 1 - i] =
			    i % 4 == 0   ? 0
			    : i % 4 == 1 ? (uintptr_t)top_of(&held[n].pile) - i
					 : 0x1234567800000000U + i;
	}
	save(&models, &held[0]);
	first = models.bytes; /* with the model, of which it differs in nothing */
	assert_true(first >= DEPTH * 8);
	save(&models, &held[1]);
	each = models.bytes - first;
	/* Two bits a word, two bytes a pointer, and a head. */
	assert_true(each <= DEPTH / 4 + DEPTH / 4 * 2 + 32);
	for (size_t n = 2; n < NUMBER; n++) {
		save(&models, &held[n]);
		assert_int_equal(models.bytes, first + n * each);
	}
	for (size_t n = 0; n < NUMBER; n++)
		restore(&models, &held[n]);
	assert_in_range(models.bytes, DEPTH * 8, first - 1);
	image_models_finish(&models);
	free(held);
}

static void each_depth_has_its_model_while_there_is_room(void **state)
{
	struct image_models models = {0};
	struct held *held = held_new(IMAGE_MODELS + 2);
	uint64_t seed = 42;
	size_t before;

	(void)state;
	for (size_t n = 0; n <= IMAGE_MODELS; n++) {
		held[n].count = 20 + n;
		fill(&seed, &held[n].pile, held[n].count);
		save(&models, &held[n]);
		assert_non_null(held[n].image);
	}
	/* All are in use: the last one went without, and its like do. */
	for (size_t i = 0; i < IMAGE_MODELS; i++) {
		assert_non_null(models.items[i]);
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(models.items[i], models.items[j]);
	}
	before = models.bytes;
	restore(&models, &held[2]);
	/* Nobody uses that one any more: it makes room, and the images of the others stay good. */
	held[2].count = 1000;
	fill(&seed, &held[2].pile, held[2].count);
	save(&models, &held[2]);
	assert_non_null(held[2].image);
	assert_true(models.bytes > before);
	held[IMAGE_MODELS + 1].count = 1000;
	held[IMAGE_MODELS + 1].pile = held[2].copy;
	before = models.bytes;
	save(&models, &held[IMAGE_MODELS + 1]);
	/* Like its model in every word: two bits are all. */
	assert_in_range(models.bytes - before, 1, 1000 / 4 + 32);
	for (size_t n = 0; n < IMAGE_MODELS + 2; n++)
		restore(&models, &held[n]);
	image_models_finish(&models);
	free(held);
}

static void what_goes_is_not_counted_any_more(void **state)
{
	struct image_models models = {0};
	struct held *held = held_new(1);
	uint64_t seed = 7;

	(void)state;
	assert_int_equal(models.bytes, 0);
	for (int round = 0; round < 1000; round++) {
		held->count = 1 + next_random(&seed) % 200;
		fill(&seed, &held->pile, held->count);
		save(&models, held);
		restore(&models, held);
		/* Only models that nobody uses are left, each at most so large. */
		assert_true(models.bytes <= (size_t)IMAGE_MODELS * (200 * 8 + 64));
	}
	image_models_finish(&models);
	free(held);
}

static void what_is_too_large_is_not_saved(void **state)
{
	struct image_models models = {0};
	uint64_t *area = calloc(WORDS + 2, sizeof *area);
	char *top = (char *)(area + WORDS + 1);
	struct image *image;

	(void)state;
	assert_non_null(area);
	assert_null(image_save(&models, (char *)area, top));
	assert_null(image_save(&models, top, (char *)area));
	assert_int_equal(models.bytes, 0);
	image = image_save(&models, top - IMAGE_MOST, top);
	assert_non_null(image);
	image_restore(&models, image, top);
	image = image_save(&models, top, top);
	assert_non_null(image);
	image_restore(&models, image, top);
	image_models_finish(&models);
	free(area);
}

/* All words whole, or all pointers: the largest there can be. */
static void the_worst_of_the_largest_fit(void **state)
{
	struct image_models models = {0};
	struct held *held = held_new(3);
	uint64_t seed = 99;

	(void)state;
	for (size_t n = 0; n < 3; n++) {
		held[n].count = WORDS;
		memset(&held[n].pile, 0, sizeof held[n].pile);
		for (size_t i = 0; i < WORDS; i++)
			held[n].pile.words[i] = n < 2 ? next_random(&seed) | 1
						      : (uintptr_t)live_of(&held[n].pile, WORDS);
		save(&models, &held[n]);
		assert_non_null(held[n].image);
	}
	for (size_t n = 0; n < 3; n++)
		restore(&models, &held[n]);
	image_models_finish(&models);
	free(held);
}

/* The pages below and above belong to nobody: who looks there dies. */
static void nothing_beside_it_is_looked_at(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *area =
	    mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct image_models models = {0};
	char *live = area + page, *top = area + 2 * page;
	struct image *image;

	(void)state;
	assert_ptr_not_equal(area, MAP_FAILED);
	assert_int_equal(mprotect(area, page, PROT_NONE), 0);
	assert_int_equal(mprotect(top, page, PROT_NONE), 0);
	memset(live, 0xa5, page);
	image = image_save(&models, live, top);
	assert_non_null(image);
	memset(live, 0, page);
	image_restore(&models, image, top);
	for (size_t i = 0; i < page; i++)
		assert_int_equal((unsigned char)live[i], 0xa5);
	image_models_finish(&models);
	munmap(area, 3 * page);
}

static void without_memory_nothing_is_saved_or_without_a_model(void **state)
{
	struct held *held = held_new(1);
	uint64_t seed = 5;
	bool spared = false;
	int refused = 0;

	(void)state;
	for (long n = 0; !spared; n++) {
		struct image_models models = {0};

		held->count = 300;
		fill(&seed, &held->pile, held->count);
		scarce_from(n);
		save(&models, held);
		spared = scarce_over();
		if (held->image) {
			assert_true(models.bytes > 0);
			restore(&models, held);
		} else {
			refused++;
		}
		image_models_finish(&models);
		assert_true(n < 10);
	}
	assert_true(refused > 0);
	free(held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_stack_comes_back_word_for_word),
	    cmocka_unit_test(stacks_that_look_alike_share_their_model),
	    cmocka_unit_test(each_depth_has_its_model_while_there_is_room),
	    cmocka_unit_test(what_goes_is_not_counted_any_more),
	    cmocka_unit_test(what_is_too_large_is_not_saved),
	    cmocka_unit_test(the_worst_of_the_largest_fit),
	    cmocka_unit_test(nothing_beside_it_is_looked_at),
	    cmocka_unit_test(without_memory_nothing_is_saved_or_without_a_model),
	};

	return cmocka_run_group_tests_name("fiber_image", tests, NULL, NULL);
}
