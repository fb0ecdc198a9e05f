/*
 * kernels -- choosing the table of this machine
 */
#include "ops/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base.h"
#include "ops/kernels/gemm_micro.h"
#include "ops/kernels/tables.h"

#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const struct vq_kernels *chosen;
static char complaint[160];

#if defined(__x86_64__)
static bool
has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool amx;		/* set by choose() */

/* Whether there is AMX and the system lets this process have it: Linux keeps the 8 KB of the tiles
 * only for those that ask.  And whether what comes out is right. */
static bool
find_amx(void)
{
	enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };

	return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-tile") &&
	    __builtin_cpu_supports("amx-bf16") && syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0 &&
	    vq_gemm_check_tile(vq_gemm_amx_tile);
}
#endif

const struct vq_kernels *
vq_kernels_of(enum vq_isa isa)
{
#if defined(__x86_64__)
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

	if (isa == VQ_ISA_AMX)
		return amx ? &vq_kernels_amx : NULL;
	if (isa == VQ_ISA_AVX512BF16)
		return avx2 && has_avx512() && __builtin_cpu_supports("avx512bf16") ? &vq_kernels_avx512bf16 : NULL;
	if (isa == VQ_ISA_AVX512)
		return avx2 && has_avx512() ? &vq_kernels_avx512 : NULL;
	if (isa == VQ_ISA_AVX2)
		return avx2 ? &vq_kernels_avx2 : NULL;
#endif
	return isa == VQ_ISA_PORTABLE ? &vq_kernels_portable : NULL;
}

static const struct vq_kernels *
best(void)
{
	for (int isa = VQ_ISAS - 1; isa > VQ_ISA_PORTABLE; isa--)
		if (vq_kernels_of(isa) != NULL)
			return vq_kernels_of(isa);
	return &vq_kernels_portable;
}

static const struct vq_kernels *
asked_for(const char *name)
{
	static const char *const names[VQ_ISAS] = { "portable", "avx2", "avx512", "avx512bf16", "amx" };

	for (int isa = 0; isa < VQ_ISAS; isa++) {
		if (strcmp(name, names[isa]) != 0)
			continue;
		if (vq_kernels_of(isa) != NULL)
			return vq_kernels_of(isa);
		snprintf(complaint, sizeof(complaint),
		    "VQGRAPH_ISA=%s: this processor has no %s; portable is used", name, name);
		return &vq_kernels_portable;
	}
	snprintf(complaint, sizeof(complaint),
	    "VQGRAPH_ISA=%.40s: not one of portable, avx2, avx512, avx512bf16, amx; portable is used", name);
	return &vq_kernels_portable;
}

/* Before main, so that no two threads can race to it. */
__attribute__((constructor)) static void
choose(void)
{
	const char *name = getenv("VQGRAPH_ISA");

#if defined(__x86_64__)
	__builtin_cpu_init();
	amx = find_amx();
#endif
	chosen = name && *name ? asked_for(name) : best();
}

const struct vq_kernels *
vq_kernels(void)
{
	return chosen;
}

const char *
vq_kernels_complaint(void)
{
	return complaint[0] ? complaint : NULL;
}
