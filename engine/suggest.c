/*
 * suggest -- the name that was meant
 *
 * Distance: Damerau-Levenshtein with adjacent transpositions (optimal string
 * alignment), letters compared without case and '-' as '_'.
 */
#include "engine/suggest.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64, EXACT = -1 };

static int
allowed(size_t length)
{
	if (length <= 2)
		return 0;
	if (length <= 5)
		return 1;
	return length <= 8 ? 2 : 3;
}

static int
fold(char c)
{
	return c == '-' ? '_' : tolower((unsigned char)c);
}

static int
least(int a, int b)
{
	return a < b ? a : b;
}

/* The distance of two names of at most LONGEST characters. */
static int
distance_of(const char *a, size_t na, const char *b, size_t nb)
{
	int row[3][LONGEST + 1];	/* rows i - 2, i - 1, i of the table, by turns */

	for (size_t j = 0; j <= nb; j++)
		row[0][j] = (int)j;
	for (size_t i = 1; i <= na; i++) {
		int *now = row[i % 3], *before = row[(i + 2) % 3], *second = row[(i + 1) % 3];

		now[0] = (int)i;
		for (size_t j = 1; j <= nb; j++) {
			bool same = fold(a[i - 1]) == fold(b[j - 1]);

			now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + !same);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]))
				now[j] = least(now[j], second[j - 2] + 1);
		}
	}
	return row[na % 3][nb];
}

void
vq_suggest_start(struct vq_suggest *s, const char *wrong)
{
	*s = (struct vq_suggest){ .wrong = wrong, .distance = allowed(strlen(wrong)) + 1 };
}

void
vq_suggest_try(struct vq_suggest *s, const char *candidate)
{
	size_t n = strlen(s->wrong), m = strlen(candidate);
	int distance;

	if (n > LONGEST || m > LONGEST || m == 0)
		return;
	/* The distance is at least the difference of the lengths. */
	if ((int)(n > m ? n - m : m - n) >= s->distance)
		return;
	distance = distance_of(s->wrong, n, candidate, m);
	/* As much of the candidate must be right as is wrong, or it is a guess. */
	if (distance < s->distance && 2 * (size_t)distance <= m) {
		s->best = candidate;
		s->distance = distance;
	}
}

void
vq_suggest_also(struct vq_suggest *s, const char *candidate, const char *const *also)
{
	for (; also && *also; also++)
		if (s->distance > EXACT && strcmp(*also, s->wrong) == 0) {
			s->best = candidate;
			s->distance = EXACT;
		}
}
