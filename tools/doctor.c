/*
 * doctor -- `vqgraph doctor`: the machine, the libraries, and known traps
 */
#include <cblas.h>
#include <gif_lib.h>
#include <math.h>
#include <openssl/crypto.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <yaml.h>
#include <zlib.h>

#include "config.h"
#include "datasets/dataset.h"
#include "datasets/http.h"
#include "datasets/kept.h"
#include "engine/memory.h"
#include "engine/threads.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/kernels.h"
#include "tools/tool.h"

struct options {
	bool measure;
};

/* What was found, as text for people and as JSON. */
struct findings {
	struct vq_text text;
	json_t *json, *group, *warnings;
	bool color;
};

static void
group(struct findings *f, const char *key, const char *title)
{
	f->group = json_object();
	json_object_set_new(f->json, key, f->group);
	vq_text_add(&f->text, "%s%s%s%s\n", f->text.len ? "\n" : "", f->color ? "\033[1m" : "", title,
	    f->color ? "\033[0m" : "");
}

static void VQ_PRINTF(3, 4)
fact(struct findings *f, const char *key, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	json_object_set_new(f->group, key, vq_json_text(t.s));
	vq_text_add(&f->text, "  %-13s ", key);
	vq_wrap(&f->text, t.s, 16, 100);
	vq_text_add(&f->text, "\n");
	vq_text_free(&t);
}

static void VQ_PRINTF(2, 3)
warning(struct findings *f, const char *fmt, ...)
{
	struct vq_text t = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vq_text_vadd(&t, fmt, ap);
	va_end(ap);
	json_array_append_new(f->warnings, vq_json_text(t.s));
	vq_text_free(&t);
}

/* --- the processor --------------------------------------------------------- */

static void
find_model_name(char *buf, size_t size)
{
	FILE *in = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(buf, size, "unknown");
	while (in && fgets(line, sizeof(line), in))
		if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(buf, size, "%.200s", strchr(line, ':') + 2);
			break;
		}
	if (in)
		fclose(in);
}

/* Whether /proc/cpuinfo has the flag, as the kernel lets programs use it. */
static bool
cpu_flag(const char *flag)
{
	FILE *in = fopen("/proc/cpuinfo", "re");
	char *line = NULL, word[40];
	size_t cap = 0;
	bool found = false;

	snprintf(word, sizeof(word), " %s ", flag);
	while (in && !found && getline(&line, &cap, in) > 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		line[strcspn(line, "\n")] = ' ';
		found = strstr(line, word) != NULL;
		break;
	}
	free(line);
	if (in)
		fclose(in);
	return found;
}

static void
examine_cpu(struct findings *f)
{
	static const char *const flags[] = { "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw",
	    "avx512dq", "avx512vl", "avx512_bf16", "amx_tile", "amx_bf16" };
	const char *forced = getenv("VQGRAPH_ISA");
	struct vq_text has = { 0 };
	char name[256];

	find_model_name(name, sizeof(name));
	for (size_t i = 0; i < VQ_COUNT(flags); i++)
		if (cpu_flag(flags[i]))
			vq_text_add(&has, "%s%s", has.len ? " " : "", flags[i]);
	group(f, "cpu", "processor");
	fact(f, "model", "%s", name);
	fact(f, "features", "%s", has.len ? has.s : "none that vqgraph looks for");
	fact(f, "kernels", "%s: %s", vq_kernels()->name, forced && *forced ? "asked for with VQGRAPH_ISA" :
	    "the best this processor has");
	if (vq_kernels_complaint())
		warning(f, "%s", vq_kernels_complaint());
	vq_text_free(&has);
}

static void
examine_threads(struct findings *f)
{
	double quota = vq_cpu_quota("");
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	group(f, "threads", "threads");
	fact(f, "used", "%d: %s", vq_threads(), vq_threads_why());
	fact(f, "online", "%ld", online);
	if (quota > 0)
		fact(f, "quota", "%.4g CPUs (control group)", quota);
	else
		fact(f, "quota", "none");
	if (quota > 0 && vq_threads() > (int)ceil(quota))
		warning(f,
		    "%d threads on a quota of %.4g CPUs: all of them are stopped for most of every period; "
		    "use -t %d", vq_threads(), quota, (int)ceil(quota));
	if (vq_threads() > online && online > 0)
		warning(f, "%d threads on %ld processors will wait for each other", vq_threads(), online);
	if (getenv("OMP_WAIT_POLICY") && strcasecmp(getenv("OMP_WAIT_POLICY"), "active") == 0)
		warning(f, "OMP_WAIT_POLICY=active: waiting threads burn processors that others could use");
}

/* --- libraries ------------------------------------------------------------- */

static void
examine_blas(struct findings *f, bool measure)
{
	static const char *const kind[] = { "no threads", "pthreads", "OpenMP" };
	int parallel = openblas_get_parallel();

	group(f, "blas", "matrix products");
	fact(f, "library", "%s", openblas_get_config());
	fact(f, "core", "%s", openblas_get_corename());
	fact(f, "threading", "%s", parallel >= 0 && parallel <= 2 ? kind[parallel] : "unknown");
	if (measure)
		fact(f, "speed", "%.1f GFLOP/s, f32, %d threads", vq_gemm_roof(vq_threads()), vq_threads());
	if (parallel == 1)
		warning(f,
		    "OpenBLAS is the pthread variant, which next to OpenMP loops can be 30 times slower or "
		    "hang: install libopenblas0-openmp (Debian, Ubuntu)");
	if (parallel == 0)
		warning(f,
		    "OpenBLAS is the variant without threads: install libopenblas0-openmp (Debian, Ubuntu)");
}

static void
examine_libraries(struct findings *f)
{
	int major, minor, patch;

	yaml_get_version(&major, &minor, &patch);
	group(f, "libraries", "versions");
	fact(f, "vqgraph", "%s", PACKAGE_VERSION);
#ifdef VQ_SANITIZED
	fact(f, "build", "with AddressSanitizer and UBSan: slow");
#endif
	fact(f, "compiler", "%s", __VERSION__);
	fact(f, "libyaml", "%d.%d.%d", major, minor, patch);
	fact(f, "zlib", "%s", zlibVersion());
	fact(f, "libpng", "%s", png_get_libpng_ver(NULL));
	fact(f, "giflib", "%d.%d.%d", GIFLIB_MAJOR, GIFLIB_MINOR, GIFLIB_RELEASE);
	fact(f, "jansson", "%s", jansson_version_str());
	fact(f, "curl", "%s", vq_http_version() ? vq_http_version() : "libcurl.so.4 cannot be loaded: nothing can be downloaded");
	fact(f, "crypto", "%s", OpenSSL_version(OPENSSL_VERSION));
}

static void
examine_memory(struct findings *f)
{
	long pages = sysconf(_SC_PHYS_PAGES), free_pages = sysconf(_SC_AVPHYS_PAGES),
	    size = sysconf(_SC_PAGESIZE);
	char buf[VQ_NUM_STR], huge[128] = "unknown";
	struct vq_memory m;
	struct rlimit limit;
	FILE *in = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

	group(f, "memory", "memory");
	fact(f, "total", "%s", vq_bytes_str((double)pages * (double)size, buf));
	fact(f, "free", "%s", vq_bytes_str((double)free_pages * (double)size, buf));
	vq_memory_find("", &m);
	if (m.from[0])
		fact(f, "limit", "%s (%s)", vq_bytes_str((double)m.limit, buf), m.from);
	else
		fact(f, "limit", "none");
	if (in && fgets(huge, sizeof(huge), in))
		huge[strcspn(huge, "\n")] = '\0';
	if (in)
		fclose(in);
	fact(f, "large pages", "%s", huge);
	if (strstr(huge, "[never]"))
		warning(f, "large pages are off (transparent_hugepage is never): large models run slower");
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		warning(f, "memory is limited to %s (ulimit -v)", vq_bytes_str((double)limit.rlim_cur, buf));
}

/* --- data ------------------------------------------------------------------ */

static void
examine_data(struct findings *f)
{
	const struct vq_source_kind *const *k = vq_source_kinds();
	struct vq_arena a = { 0 };
	char size[VQ_NUM_STR];
	int files;
	int64_t bytes = vq_kept_bytes(&files);

	group(f, "data", "datasets");
	fact(f, "VQGRAPH_DATA", "%s", getenv("VQGRAPH_DATA") ? getenv("VQGRAPH_DATA") : "not set");
	if (vq_kept_folder(&a) != NULL)
		fact(f, "cache", "%s: %s of decoded pictures in %d file%s", vq_kept_folder(&a), vq_bytes_str((double)bytes, size), files,
		    files == 1 ? "" : "s");
	else
		fact(f, "cache", "none: decoded sets are not kept");
	for (; *k; k++) {
		const char *where = (*k)->folder ? vq_data_find(*k, "train", &a) : "built in";
		struct vq_text places = { 0 };

		for (const char *const *p = (*k)->folder ? vq_data_places(*k, &a) : NULL; p && *p; p++)
			vq_text_add(&places, "%s%s", places.len ? ", " : "", *p);
		if (where)
			fact(f, (*k)->name, "%s", where);
		else
			fact(f, (*k)->name, "not found in %s%s%s", places.s ? places.s : "any place",
			    (*k)->fetch ? "; to get it: vqgraph data fetch " : "",
			    (*k)->fetch ? (*k)->name : "");
		vq_text_free(&places);
	}
	vq_arena_free(&a);
}

static void
add_warnings(struct findings *f)
{
	size_t n = json_array_size(f->warnings);

	vq_text_add(&f->text, "\n");
	for (size_t i = 0; i < n; i++) {
		vq_text_add(&f->text, "%swarning:%s ", f->color ? "\033[1;33m" : "",
		    f->color ? "\033[0m" : "");
		vq_wrap(&f->text, json_string_value(json_array_get(f->warnings, i)), 9, 100);
		vq_text_add(&f->text, "\n");
	}
	if (n == 0)
		vq_text_add(&f->text, "no known trap found\n");
}

static int
run(struct vq_cli *c, void *options)
{
	const struct options *o = options;
	struct findings f = { .json = json_object(), .warnings = json_array(), .color = c->color_out };

	examine_libraries(&f);
	examine_cpu(&f);
	examine_threads(&f);
	examine_blas(&f, o->measure);
	examine_memory(&f);
	examine_data(&f);
	add_warnings(&f);
	json_object_set_new(f.json, "warnings", f.warnings);
	if (c->json)
		vq_tool_json(c, f.json, c->color_out);
	else {
		fwrite(f.text.s, 1, f.text.len, stdout);
		json_decref(f.json);
	}
	vq_text_free(&f.text);
	return VQ_OK;
}

#define AT(k, field) .kind = k, .offset = offsetof(struct options, field)
static const struct vq_opt opts[] = {
	{ "measure", 0, AT(VQ_O_FLAG, measure), .doc = "times a matrix product, too" },
	{ 0 }
};
static const char *const also[] = { "info", "env", "system", "diagnose", "version", NULL };
extern const struct vq_command vq_command_doctor;
const struct vq_command vq_command_doctor = {
	.name = "doctor",
	.doc = "the machine, libraries, threads and why, where data is, known traps",
	.uses = VQ_C_THREADS | VQ_C_JSON,
	.opts = opts,
	.size = sizeof(struct options),
	.also = also,
	.run = run,
};
