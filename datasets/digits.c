/*
 * digits -- labelled handwritten-looking digits, drawn when the set is opened
 *
 * Needs no files: for trying things, for tests, and where there is no network.  A
 * digit is one of a few ways of writing it (strokes as splines through points), the
 * points shaken, the whole slanted, turned, stretched, and drawn with a pen of
 * some thickness, 28x28 grey with smooth edges.  Sample i of a split is always
 * the same picture: every draw is keyed by split and i.
 */
#include <math.h>
#include <string.h>

#include "datasets/images.h"
#include "engine/threads.h"
#include "engine/rng.h"

enum {
	SIDE = 28,
	TRAIN = 60000, TEST = 10000,
	MAX_POINTS = 24,		/* of a glyph */
	PIECES = 6,			/* straight pieces between two points of a smooth stroke */
	MAX_SEGMENTS = MAX_POINTS * PIECES,
	SPREADS = 8,			/* normal draws for a whole digit; two more for each point */
};

/* A point in the unit square, y downwards. */
struct point {
	enum { END, MOVE, SMOOTH, CORNER } kind;
	float x, y;
};

struct segment {
	float ax, ay, bx, by;
};

#define M(x, y) { MOVE, x, y }
#define S(x, y) { SMOOTH, x, y }
#define C(x, y) { CORNER, x, y }

/* Ways of writing each digit, in MAX_POINTS points at most, the last one END. */
enum { STYLES = 3 };
static const struct point glyphs[10][STYLES][MAX_POINTS] = {
	[0] = {
		{ M(.55, .05), S(.25, .15), S(.12, .5), S(.25, .87), S(.5, .96), S(.77, .85),
		  S(.88, .5), S(.75, .14), S(.5, .04) },
		{ M(.62, .1), S(.35, .06), S(.14, .35), S(.16, .75), S(.45, .97), S(.78, .8),
		  S(.86, .4), S(.68, .1), S(.42, .08) },
		{ M(.4, .06), S(.7, .08), S(.88, .4), S(.8, .8), S(.5, .97), S(.2, .82), S(.12, .45),
		  S(.28, .12), S(.52, .04) },
	},
	[1] = {
		{ M(.5, .03), S(.5, .5), S(.5, .97) },
		{ M(.3, .27), C(.53, .04), S(.53, .5), S(.52, .97) },
		{ M(.32, .22), C(.52, .04), C(.52, .96), M(.27, .97), S(.5, .95), S(.76, .96) },
	},
	[2] = {
		{ M(.18, .25), S(.35, .06), S(.65, .06), S(.8, .28), S(.65, .55), S(.35, .8),
		  C(.15, .95), S(.5, .93), S(.87, .95) },
		{ M(.2, .2), S(.45, .04), S(.75, .15), S(.72, .42), S(.45, .72), S(.2, .93),
		  S(.13, .84), S(.3, .78), S(.55, .9), S(.88, .93) },
		{ M(.2, .14), S(.48, .03), S(.76, .2), S(.68, .5), S(.42, .74), C(.16, .93),
		  S(.5, .9), S(.82, .97) },
	},
	[3] = {
		{ M(.2, .12), S(.45, .04), S(.74, .15), S(.68, .37), C(.42, .47), S(.72, .55),
		  S(.8, .78), S(.55, .97), S(.18, .9) },
		{ M(.2, .06), C(.77, .06), C(.45, .4), S(.75, .5), S(.8, .78), S(.52, .97),
		  S(.18, .88) },
		{ M(.22, .2), S(.42, .03), S(.72, .1), S(.72, .34), S(.5, .46), S(.76, .6),
		  S(.78, .82), S(.5, .97), S(.2, .82) },
	},
	[4] = {
		{ M(.28, .05), S(.22, .3), C(.17, .55), S(.5, .57), S(.85, .54), M(.68, .05),
		  S(.66, .5), S(.64, .97) },
		{ M(.64, .03), C(.12, .66), S(.5, .66), S(.88, .64), M(.64, .04), S(.65, .5),
		  S(.63, .97) },
		{ M(.2, .06), S(.18, .36), S(.34, .52), S(.62, .46), M(.76, .05), S(.72, .45),
		  S(.66, .97) },
	},
	[5] = {
		{ M(.78, .06), C(.3, .06), C(.25, .42), S(.5, .36), S(.78, .52), S(.76, .82),
		  S(.48, .97), S(.17, .87) },
		{ M(.3, .06), C(.25, .45), S(.52, .38), S(.8, .58), S(.7, .88), S(.42, .97),
		  S(.17, .88), M(.3, .07), S(.55, .05), S(.82, .04) },
		{ M(.82, .04), S(.58, .06), C(.32, .1), C(.24, .46), S(.58, .46), S(.76, .66),
		  S(.62, .92), S(.16, .96) },
	},
	[6] = {
		{ M(.7, .05), S(.38, .2), S(.18, .6), S(.28, .92), S(.58, .95), S(.8, .76),
		  S(.68, .55), S(.42, .56), S(.22, .75) },
		{ M(.55, .03), S(.27, .42), S(.17, .75), S(.4, .97), S(.75, .87), S(.77, .64),
		  S(.5, .55), S(.2, .74) },
		{ M(.6, .04), S(.3, .3), S(.2, .7), S(.42, .96), S(.66, .86), S(.62, .64), S(.4, .62),
		  S(.24, .82) },
	},
	[7] = {
		{ M(.14, .08), S(.5, .09), C(.85, .07), S(.6, .45), S(.42, .97) },
		{ M(.14, .08), S(.5, .07), C(.85, .08), S(.62, .48), S(.45, .97), M(.33, .5),
		  S(.55, .49), S(.78, .47) },
		{ M(.15, .24), C(.17, .08), S(.5, .1), C(.86, .07), S(.6, .5), S(.5, .97) },
	},
	[8] = {
		{ M(.72, .15), S(.48, .04), S(.25, .18), S(.35, .4), S(.65, .57), S(.8, .78),
		  S(.52, .97), S(.2, .8), S(.35, .55), S(.65, .4), S(.76, .2), S(.6, .05) },
		{ M(.5, .47), S(.27, .3), S(.35, .08), S(.65, .08), S(.74, .28), S(.5, .47),
		  S(.22, .68), S(.28, .92), S(.55, .98), S(.8, .85), S(.76, .63), S(.5, .47) },
		{ M(.74, .06), S(.42, .05), S(.3, .26), S(.5, .46), S(.72, .66), S(.68, .9),
		  S(.44, .97), S(.28, .8), S(.42, .56), S(.72, .3), S(.78, .08) },
	},
	[9] = {
		{ M(.78, .2), S(.5, .04), S(.22, .2), S(.28, .45), S(.55, .48), C(.79, .2),
		  S(.76, .6), S(.7, .97) },
		{ M(.76, .18), S(.48, .04), S(.22, .22), S(.3, .46), S(.58, .45), C(.78, .16),
		  S(.78, .6), S(.62, .92), S(.28, .95) },
		{ M(.7, .12), S(.4, .06), S(.24, .26), S(.4, .44), S(.66, .34), C(.74, .14),
		  S(.62, .55), S(.46, .97) },
	},
};

#undef M
#undef S
#undef C

static float
clamp(float x, float lo, float hi)
{
	return x < lo ? lo : x > hi ? hi : x;
}

/* The glyph's points shaken, slanted, turned, stretched: in pixels around the centre. */
static int
shape_points(const struct point *glyph, const float *normal, struct point *out)
{
	float height = 19 * (1 + clamp(.07f * normal[0], -.15f, .12f));
	float width = 15.5f * (1 + clamp(.15f * normal[1], -.35f, .3f));
	float slant = clamp(.16f + .23f * normal[2], -.35f, .6f);
	float turn = clamp(.1f * normal[3], -.3f, .3f);
	float c = cosf(turn), s = sinf(turn);
	int n = 0;

	for (; n < MAX_POINTS && glyph[n].kind != END; n++) {
		float x = glyph[n].x + .035f * clamp(normal[SPREADS + 2 * n], -2, 2) - .5f;
		float y = glyph[n].y + .035f * clamp(normal[SPREADS + 2 * n + 1], -2, 2) - .5f;

		x = x * width - slant * y * height;
		y *= height;
		out[n] = (struct point){ glyph[n].kind, c * x - s * y, s * x + c * y };
	}
	return n;
}

/* A coordinate at t of the Catmull-Rom spline from b to c. */
static float
spline(float a, float b, float c, float d, float t)
{
	return b + .5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/* A stroke ends its bend at its ends and at corners. */
static int
flatten(const struct point *p, int n, struct segment *out)
{
	int count = 0;

	for (int i = 0; i + 1 < n; i++) {
		if (p[i + 1].kind == MOVE)
			continue;

		bool from = p[i].kind != SMOOTH;
		bool to = p[i + 1].kind != SMOOTH || i + 2 == n || p[i + 2].kind == MOVE;
		const struct point *a = from ? &p[i] : &p[i - 1], *d = to ? &p[i + 1] : &p[i + 2];
		float x = p[i].x, y = p[i].y;

		for (int k = 1; k <= PIECES; k++) {
			float t = (float)k / PIECES;
			float nx = spline(a->x, p[i].x, p[i + 1].x, d->x, t);
			float ny = spline(a->y, p[i].y, p[i + 1].y, d->y, t);

			out[count++] = (struct segment){ x, y, nx, ny };
			x = nx;
			y = ny;
		}
	}
	return count;
}

/* Moves and, when it would not fit, shrinks one axis into the picture. */
static void
fit_axis(float *from, float *to, int n, float margin, float shift)
{
	const int stride = sizeof(struct segment) / sizeof(float);
	float lo = 1e9f, hi = -1e9f, room = SIDE - 2 * margin;

	for (int i = 0; i < n; i++) {
		lo = fminf(lo, fminf(from[i * stride], to[i * stride]));
		hi = fmaxf(hi, fmaxf(from[i * stride], to[i * stride]));
	}

	float scale = hi - lo > room ? room / (hi - lo) : 1, half = (hi - lo) * scale / 2;
	float centre = clamp(SIDE / 2.f + shift, margin + half, SIDE - margin - half);

	for (int i = 0; i < n; i++) {
		from[i * stride] = (from[i * stride] - (lo + hi) / 2) * scale + centre;
		to[i * stride] = (to[i * stride] - (lo + hi) / 2) * scale + centre;
	}
}

/* x cut off below 0 and above 1.  As arithmetic, like the minimum below: comparisons
 * keep the compiler from vectorising a loop. */
static inline float
unit(float x)
{
	return .5f * (fabsf(x) - fabsf(x - 1) + 1);
}

/* Lowers the squared distances of the pixels around a segment, up to reach away. */
static void
near_segment(const struct segment *s, float reach, float *d2)
{
	int x0 = (int)clamp(fminf(s->ax, s->bx) - reach, 0, SIDE) & ~3;
	int x1 = ((int)clamp(fmaxf(s->ax, s->bx) + reach + 1, 0, SIDE) + 3) & ~3;
	int y0 = (int)clamp(fminf(s->ay, s->by) - reach, 0, SIDE);
	int y1 = (int)clamp(fmaxf(s->ay, s->by) + reach + 1, 0, SIDE);
	float ux = s->bx - s->ax, uy = s->by - s->ay;
	float inverse = 1 / (ux * ux + uy * uy + 1e-12f);

	for (int y = y0; y < y1; y++) {
		float *row = d2 + y * SIDE, py = y + .5f - s->ay;

#pragma omp simd
		for (int x = x0; x < x1; x++) {
			float px = x + .5f - s->ax;
			float t = unit((px * ux + py * uy) * inverse);
			float dx = px - t * ux, dy = py - t * uy, d = dx * dx + dy * dy;

			row[x] = .5f * (row[x] + d - fabsf(row[x] - d));
		}
	}
}

static void
draw(uint8_t *out, int digit, const struct vq_rng_key *key)
{
	const float soft = 1.3f;		/* width of the edge from white to black */
	float normal[SPREADS + 2 * MAX_POINTS], d2[SIDE * SIDE];
	struct point p[MAX_POINTS];
	struct segment s[MAX_SEGMENTS];
	const struct vq_rng_key style = { key->seed, vq_hash_str("style") ^ key->purpose, key->step };

	vq_rng_normals(key, 0, normal, VQ_COUNT(normal));

	int points = shape_points(glyphs[digit][vq_rng_below(&style, 0, STYLES)], normal, p);
	int n = flatten(p, points, s);
	float pen = 1.25f * expf(clamp(.28f * normal[4], -.55f, .55f));
	float reach = pen + soft / 2;

	fit_axis(&s->ax, &s->bx, n, 2 + reach, clamp(normal[5], -2, 2));
	fit_axis(&s->ay, &s->by, n, 2 + reach, clamp(normal[6], -2, 2));
	for (int i = 0; i < SIDE * SIDE; i++)
		d2[i] = (reach + 1) * (reach + 1);
	for (int i = 0; i < n; i++)
		near_segment(&s[i], reach, d2);

#pragma omp simd
	for (int i = 0; i < SIDE * SIDE; i++)
		out[i] = (uint8_t)(int)(255 * unit((reach - sqrtf(d2[i])) / soft) + .5f);
}

static int
open_digits(struct vq_dataset *d, const struct vq_data_spec *spec, const char *folder,
    struct vq_diags *diags)
{
	bool train = strcmp(d->split, "train") == 0;
	uint64_t purpose = vq_hash_str(train ? "digits/train" : "digits/test");
	const struct vq_rng_key labels = { 0, purpose, UINT64_MAX };
	struct vq_raw_images raw = { .h = SIDE, .w = SIDE, .c = 1, .classes = 10 };
	struct vq_data_spec whole = *spec;
	int64_t first;

	raw.n = vq_images_part(d, spec, train ? TRAIN : TEST, &first, diags);
	if (raw.n < 0)
		return -1;
	raw.pixels = vq_alloc_array((size_t)raw.n, SIDE * SIDE);
	raw.labels = vq_alloc_array((size_t)raw.n, sizeof(*raw.labels));

#pragma omp parallel for num_threads(vq_threads()) schedule(static)
	for (int64_t i = 0; i < raw.n; i++) {
		const struct vq_rng_key key = { 0, purpose, (uint64_t)(first + i) };

		raw.labels[i] = (int32_t)vq_rng_below(&labels, (uint64_t)(first + i), 10);
		draw(raw.pixels + i * SIDE * SIDE, raw.labels[i], &key);
	}
	/* Only the part was drawn. */
	whole.skip = whole.limit = 0;
	return vq_images_open(d, &whole, &raw, diags);
}

extern const struct vq_source_kind vq_source_digits;

const struct vq_source_kind vq_source_digits = {
	.name   = "digits",
	.doc    = "drawn digits, 28x28 grey, made on the spot; 60,000 to train, 10,000 to test",
	.layout = "no files",
	.open   = open_digits,
	VQ_IMAGES_KIND
};
