/*
 * rows_avx512 -- the kernels of rows.h for AVX-512
 */
#ifdef __x86_64__
#include <math.h>
#include <string.h>

#include "ops/kernels/rows.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#pragma GCC optimize("O3,no-trapping-math")

#define VECTOR_BYTES 64
#define TABLE vq_rows_avx512
#include "ops/kernels/rows_body.h"
#define PANELS vq_panels_avx512
#include "ops/kernels/panels_body.h"
#define WINOGRAD vq_winograd_avx512
#include "ops/kernels/winograd_body.h"
#define STEPS vq_steps_avx512
#define STEP_ROWS 12
#include "ops/kernels/steps_body.h"
#else
typedef int rows_avx512_is_empty;	/* a file with nothing in it is not C */
#endif

#ifdef __clang__
#pragma clang attribute pop
#endif
