/*
 * image.c - saved stacks.
 *
 * A word of the stack is one of four things, told by two bits: zero; the same as the model's word
 * at this distance from the top (return addresses, what the handlers share); a pointer into this
 * part of the same stack, kept as its distance from the top; anything else, kept whole. The model
 * is the first stack of that depth that was saved. Failure modes: no memory: nothing is saved; no
 * model fits: more words are kept whole.
 */
#include "fiber/image.h"

#include "fiber/sanitizer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum kind { ZERO, AS_MODEL, OWN_POINTER, WHOLE };

#define KIND_BITS 2
#define KINDS_PER_BYTE 4

/* words[i] is the i-th word below the top. */
struct image_model {
	uint32_t count, users;
	uint64_t words[];
};

struct image {
	struct image_model *model; /* NULL: none */
	uint16_t count;            /* words */
	uint16_t own, whole;       /* how many there are of these kinds */
	uint16_t unused;
	uint64_t data[]; /* the whole ones, then distances of 16 bits, then kinds */
};

/* One pass over a stack. */
struct pass {
	const uint64_t *top; /* words are top[-1], top[-2] ... */
	const struct image_model *model;
	uint32_t count;
};

SANITIZER_BLIND static uint64_t word_at(const struct pass *pass, uint32_t i)
{
	return pass->top[-1 - (ptrdiff_t)i];
}

static enum kind kind_of(const struct pass *pass, uint32_t i, uint64_t word)
{
	uintptr_t top = (uintptr_t)pass->top;

	if (word == 0)
		return ZERO;
	if (pass->model && i < pass->model->count && pass->model->words[i] == word)
		return AS_MODEL;
	if (word <= top && word >= top - pass->count * sizeof word)
		return OWN_POINTER;
	return WHOLE;
}

static uint16_t *distances_of(struct image *image)
{
	return (uint16_t *)(void *)(image->data + image->whole);
}

static uint8_t *kinds_of(struct image *image)
{
	return (uint8_t *)(distances_of(image) + image->own);
}

static size_t size_of(const struct image *image)
{
	return sizeof *image + image->whole * sizeof image->data[0] +
	       image->own * sizeof(uint16_t) +
	       ((size_t)image->count + KINDS_PER_BYTE - 1) / KINDS_PER_BYTE;
}

/* The model for stacks of this depth; a new one where there is room for it. */
static struct image_model *choose_model(struct image_models *models, const struct pass *pass)
{
	struct image_model **free_place = NULL, *model;

	for (size_t i = 0; i < IMAGE_MODELS; i++) {
		if (models->items[i] && models->items[i]->count == pass->count)
			return models->items[i];
		if (!models->items[i] || models->items[i]->users == 0)
			free_place = &models->items[i];
	}
	if (!free_place)
		return models->items[0];
	model = malloc(sizeof *model + pass->count * sizeof model->words[0]);
	if (!model)
		return NULL;
	if (*free_place)
		models->bytes -= sizeof *model + (*free_place)->count * sizeof model->words[0];
	free(*free_place);
	model->count = pass->count;
	model->users = 0;
	for (uint32_t i = 0; i < pass->count; i++)
		model->words[i] = word_at(pass, i);
	models->bytes += sizeof *model + model->count * sizeof model->words[0];
	*free_place = model;
	return model;
}

static void pack(struct image *image, const struct pass *pass)
{
	uint64_t *whole = image->data;
	uint16_t *distance = distances_of(image);
	uint8_t *kinds = kinds_of(image);

	for (uint32_t i = 0; i < pass->count; i++) {
		uint64_t word = word_at(pass, i);
		enum kind kind = kind_of(pass, i, word);
		uint8_t *byte = &kinds[i / KINDS_PER_BYTE];
		unsigned shift = i % KINDS_PER_BYTE * KIND_BITS;

		*byte = (uint8_t)((shift ? *byte : 0) | (unsigned)kind << shift);
		if (kind == OWN_POINTER)
			*distance++ = (uint16_t)((uintptr_t)pass->top - word);
		else if (kind == WHOLE)
			*whole++ = word;
	}
}

struct image *image_save(struct image_models *models, const char *live, const char *top)
{
	struct pass pass = {.top = (const uint64_t *)(const void *)top};
	struct image head = {0}, *image;
	struct image_model *model;

	if (live > top || top - live > IMAGE_MOST)
		return NULL;
	pass.count = (uint32_t)((size_t)(top - live) / sizeof(uint64_t));
	sanitizer_define(live, (size_t)(top - live));
	model = choose_model(models, &pass);
	pass.model = model;
	head.model = model;
	head.count = (uint16_t)pass.count;
	for (uint32_t i = 0; i < pass.count; i++) {
		enum kind kind = kind_of(&pass, i, word_at(&pass, i));

		head.own = (uint16_t)(head.own + (kind == OWN_POINTER));
		head.whole = (uint16_t)(head.whole + (kind == WHOLE));
	}
	image = malloc(size_of(&head));
	if (!image)
		return NULL;
	*image = head;
	pack(image, &pass);
	if (model)
		model->users++;
	models->bytes += size_of(image);
	return image;
}

SANITIZER_BLIND static void put(uint64_t *top, uint32_t i, uint64_t word)
{
	top[-1 - (ptrdiff_t)i] = word;
}

void image_restore(struct image_models *models, struct image *image, char *top)
{
	const uint64_t *whole = image->data;
	const uint16_t *distance = distances_of(image);
	const uint8_t *kinds = kinds_of(image);
	uint64_t *words = (uint64_t *)(void *)top;

	for (uint32_t i = 0; i < image->count; i++) {
		unsigned shift = i % KINDS_PER_BYTE * KIND_BITS;
		uint64_t word = 0;

		switch ((enum kind)(kinds[i / KINDS_PER_BYTE] >> shift & ((1 << KIND_BITS) - 1))) {
		case ZERO:
			break;
		case AS_MODEL:
			word = image->model->words[i];
			break;
		case OWN_POINTER:
			word = (uintptr_t)top - *distance++;
			break;
		case WHOLE:
			word = *whole++;
			break;
		}
		put(words, i, word);
	}
	if (image->model)
		image->model->users--;
	models->bytes -= size_of(image);
	free(image);
}

void image_models_finish(struct image_models *models)
{
	for (size_t i = 0; i < IMAGE_MODELS; i++)
		free(models->items[i]);
}
