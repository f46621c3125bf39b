/*
 * image.h - what is left of a stack while nobody uses it. Fibers that wait in the same place look
 * alike: what they have in common is kept once, in a model; an image holds the rest.
 *
 * Not locked: of one thread.
 */
#ifndef FIBER_IMAGE_H
#define FIBER_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct image;
struct image_model;

#define IMAGE_MODELS 4   /* kinds of places to wait in that are told apart */
#define IMAGE_MOST 16384 /* bytes of a stack that can be saved */

struct image_models {
	struct image_model *items[IMAGE_MODELS];
	size_t bytes; /* of all images and models */
};

/* All images are gone. */
void image_models_finish(struct image_models *models);

/* Save the words of [live, top), both aligned to 8. NULL: too many, or no memory. */
struct image *image_save(struct image_models *models, const char *live, const char *top);

/* Put them back to where they were, and free the image. */
void image_restore(struct image_models *models, struct image *image, char *top);

#endif
