/*
 * suggest -- the name that was meant
 */
#ifndef VQ_ENGINE_SUGGEST_H
#define VQ_ENGINE_SUGGEST_H

#include "engine/diag.h"

/* Collects candidates for one misspelt name; best is NULL when none is near.
 * The allowed edit distance (Damerau-Levenshtein) grows with the length. */
struct vq_suggest {
	const char *wrong;
	const char *best;
	int distance;
};
void vq_suggest_start(struct vq_suggest *s, const char *wrong);
void vq_suggest_try(struct vq_suggest *s, const char *candidate);
/* A name people type instead of candidate: an exact hit wins over any distance. */
void vq_suggest_also(struct vq_suggest *s, const char *candidate, const char *const *also);

#endif
