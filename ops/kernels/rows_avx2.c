/*
 * rows_avx2 -- the kernels of rows.h for AVX2 with fused multiply-add
 */
#ifdef __x86_64__
#include <math.h>
#include <string.h>

#include "ops/kernels/rows.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#pragma GCC optimize("O3,no-trapping-math")

#define VECTOR_BYTES 32
#define TABLE vq_rows_avx2
#include "ops/kernels/rows_body.h"
#define PANELS vq_panels_avx2
#include "ops/kernels/panels_body.h"
#define WINOGRAD vq_winograd_avx2
#include "ops/kernels/winograd_body.h"
#define STEPS vq_steps_avx2
#define STEP_ROWS 6
#include "ops/kernels/steps_body.h"
#else
typedef int rows_avx2_is_empty;		/* a file with nothing in it is not C */
#endif

#ifdef __clang__
#pragma clang attribute pop
#endif
