/*
 * loader -- batches, the next ones gathered while the caller works on this one
 *
 * A ring of buffers and one thread.  The caller holds one buffer; the thread fills the
 * others, and parks when all are full until half of them are free: where CPUs are busy,
 * waking it takes longer than gathering a small batch.  The order of an epoch is a
 * permutation keyed by (seed, "shuffle", epoch), so a pass can begin at any batch.
 */
#include <pthread.h>
#include <stdlib.h>

#include "datasets/dataset.h"
#include "engine/rng.h"

enum { LEAST_BUFFERS = 2, MOST_BUFFERS = 8 };
static const size_t most_bytes = 4 << 20;	/* of more than the least buffers */

struct buffer {
	void *field[VQ_MAX_FIELDS];
	int64_t samples;
	bool full;
};

struct vq_loader {
	const struct vq_dataset *data;
	int64_t batch, batches;		/* samples in a batch, batches in a pass */
	bool shuffle, augment;
	uint64_t seed;
	uint32_t *order;		/* of the pass at hand; the filler's alone */
	bool ordered;
	double waited;

	pthread_t thread;
	bool threaded;			/* false: no thread to be had, the caller fills */
	pthread_mutex_t lock;
	pthread_cond_t changed;

	/* Under the lock. */
	struct buffer buffer[MOST_BUFFERS];
	int buffers;
	int fill, take;			/* buffer to be filled next, to be taken next */
	int full;			/* how many are */
	bool resting;			/* all were full: nothing is filled until half of them are free */
	int64_t to_fill, to_take;	/* batches of the pass */
	bool held;			/* the caller still has the buffer before take */
	bool filling;
	bool quit;
	uint64_t epoch;
};

/* The samples of a batch, without the lock: nobody else touches that buffer. */
static void
gather(struct vq_loader *l, struct buffer *b, int64_t batch)
{
	const struct vq_dataset *d = l->data;
	int64_t from = batch * l->batch;

	if (!l->ordered) {
		const struct vq_rng_key key = { l->seed, vq_hash_str("shuffle"), l->epoch };

		if (l->shuffle)
			vq_rng_permutation(&key, l->order, (uint32_t)d->count);
		l->ordered = true;
	}
	b->samples = d->count - from < l->batch ? d->count - from : l->batch;
	for (int f = 0; f < d->fields; f++) {
		const struct vq_pass pass = { l->seed, l->epoch };

		if (l->augment)
			d->kind->augmented(d, f, l->order + from, b->samples, &pass, b->field[f]);
		else
			d->kind->gather(d, f, l->order + from, b->samples, b->field[f]);
	}
}

static bool
can_fill(const struct vq_loader *l)
{
	bool is_held = l->held && (l->fill + 1) % l->buffers == l->take;

	return l->to_fill < l->batches && !l->buffer[l->fill].full && !is_held && !l->resting;
}

/* With the lock held, which it gives away while it gathers. */
static void
fill_next(struct vq_loader *l)
{
	struct buffer *b = &l->buffer[l->fill];
	int64_t batch = l->to_fill++;

	l->fill = (l->fill + 1) % l->buffers;
	l->filling = true;
	pthread_mutex_unlock(&l->lock);
	gather(l, b, batch);
	pthread_mutex_lock(&l->lock);
	l->filling = false;
	b->full = true;
	l->full++;
	l->resting = l->full + l->held >= l->buffers;
	pthread_cond_broadcast(&l->changed);
}

static void *
work(void *arg)
{
	struct vq_loader *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!l->quit) {
		if (can_fill(l))
			fill_next(l);
		else
			pthread_cond_wait(&l->changed, &l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* Memory for so many buffers as fit well, of so many samples each. */
static void
make_buffers(struct vq_loader *l, int64_t samples)
{
	const struct vq_dataset *d = l->data;
	size_t bytes = 1;

	for (int f = 0; f < d->fields; f++)
		bytes += (size_t)samples * vq_type_bytes(&d->field[f].type);
	size_t fit = most_bytes / bytes;
	l->buffers = fit < LEAST_BUFFERS ? LEAST_BUFFERS : fit > MOST_BUFFERS ? MOST_BUFFERS : (int)fit;
	for (int i = 0; i < l->buffers; i++)
		for (int f = 0; f < d->fields; f++)
			l->buffer[i].field[f] = vq_alloc_array((size_t)samples, vq_type_bytes(&d->field[f].type));
}

struct vq_loader *
vq_loader_new(const struct vq_dataset *d, int64_t batch, bool shuffle, bool keep_rest, uint64_t seed)
{
	struct vq_loader *l = vq_alloc(sizeof(*l));

	vq_assert(batch > 0 && d->count > 0 && d->count <= UINT32_MAX);
	l->data = d;
	l->batch = batch;
	l->batches = d->count / batch + (keep_rest && d->count % batch > 0);
	l->shuffle = shuffle;
	l->seed = seed;
	l->to_fill = l->to_take = l->batches;		/* parked until vq_loader_start */
	l->order = vq_alloc_array((size_t)d->count, sizeof(*l->order));
	for (int64_t i = 0; i < d->count; i++)
		l->order[i] = (uint32_t)i;
	make_buffers(l, batch < d->count ? batch : d->count);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->threaded = pthread_create(&l->thread, NULL, work, l) == 0;
	return l;
}

void
vq_loader_augment(struct vq_loader *l)
{
	l->augment = l->data->kind->augmented != NULL;
}

void
vq_loader_start(struct vq_loader *l, uint64_t epoch, int64_t first_batch)
{
	vq_assert(first_batch >= 0);
	pthread_mutex_lock(&l->lock);
	l->to_fill = l->batches;
	while (l->filling)
		pthread_cond_wait(&l->changed, &l->lock);
	if (l->shuffle && epoch != l->epoch)
		l->ordered = false;
	l->epoch = epoch;
	l->to_fill = l->to_take = first_batch < l->batches ? first_batch : l->batches;
	l->fill = l->take = l->full = 0;
	l->held = l->resting = false;
	for (int i = 0; i < l->buffers; i++)
		l->buffer[i].full = false;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

int64_t
vq_loader_next(struct vq_loader *l, const void *field[VQ_MAX_FIELDS])
{
	int64_t samples = 0;

	pthread_mutex_lock(&l->lock);
	l->held = false;
	if (l->to_take < l->batches) {
		struct buffer *b = &l->buffer[l->take];
		double t = vq_now();

		l->resting = l->resting && l->full > l->buffers / 2;
		if (!l->resting)
			pthread_cond_broadcast(&l->changed);
		if (!l->threaded)
			fill_next(l);
		while (!b->full)
			pthread_cond_wait(&l->changed, &l->lock);
		l->waited += vq_now() - t;
		samples = b->samples;
		for (int f = 0; f < VQ_MAX_FIELDS; f++)
			field[f] = b->field[f];
		b->full = false;
		l->full--;
		l->held = true;
		l->take = (l->take + 1) % l->buffers;
		l->to_take++;
	}
	pthread_mutex_unlock(&l->lock);
	return samples;
}

int64_t
vq_loader_batches(const struct vq_loader *l)
{
	return l->batches;
}

double
vq_loader_waited(const struct vq_loader *l)
{
	return l->waited;
}

void
vq_loader_free(struct vq_loader *l)
{
	if (l == NULL)
		return;
	pthread_mutex_lock(&l->lock);
	l->quit = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	if (l->threaded)
		pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	for (int i = 0; i < l->buffers; i++)
		for (int f = 0; f < VQ_MAX_FIELDS; f++)
			free(l->buffer[i].field[f]);
	free(l->order);
	free(l);
}
