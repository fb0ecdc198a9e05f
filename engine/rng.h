/*
 * rng -- counter-based random numbers (Philox 4x32-10, Salmon et al. 2011)
 *
 * A draw is a function of what it is for: seed, step, purpose and index.  So
 * neither the number nor the order of threads, nor a stop and a resume, changes it.
 */
#ifndef VQ_ENGINE_RNG_H
#define VQ_ENGINE_RNG_H

#include <stdint.h>

struct vq_rng_key {
	uint64_t seed;
	uint64_t purpose;	/* hash of a name: a node's path, "shuffle", ... */
	uint64_t step;
};

/* The cipher itself, for tests against known answers. */
void vq_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Four 32-bit words: draws 4*block .. 4*block+3 of this key. */
void vq_rng_words(const struct vq_rng_key *k, uint64_t block, uint32_t out[4]);
/* The words of n blocks from `block` on: 4 * n of them. */
void vq_rng_blocks(const struct vq_rng_key *k, uint64_t block, uint32_t *out, int64_t n);
/* Draw i: uniform in [0, 1) with 24 bits; standard normal (Box-Muller); integer below n. */
float vq_rng_uniform(const struct vq_rng_key *k, uint64_t i);
float vq_rng_normal(const struct vq_rng_key *k, uint64_t i);
uint64_t vq_rng_below(const struct vq_rng_key *k, uint64_t i, uint64_t n);
/* n draws from index first on; what the single forms give one by one. */
void vq_rng_uniforms(const struct vq_rng_key *k, uint64_t first, float *out, int64_t n);
void vq_rng_normals(const struct vq_rng_key *k, uint64_t first, float *out, int64_t n);
/* A permutation of 0..n-1 (Fisher-Yates). */
void vq_rng_permutation(const struct vq_rng_key *k, uint32_t *out, uint32_t n);

#endif
