/*
 * optimizer -- from a loss to nodes that update parameters, and the learning
 * rate of each step
 */
#include "engine/optimizer.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/op.h"
#include "engine/suggest.h"

static const char *const lr_also[] = { "learning_rate", "learningrate", "rate", "alpha", "eta", NULL };
static const char *const warmup_also[] = { "warmup_steps", "warm_up", "num_warmup_steps", NULL };

#define O struct vq_optimizer_params
#define LR(d) { .name = "lr", .kind = VQ_P_REAL, .offset = offsetof(O, lr), .init = d, .min = 0, .max = 1e38, \
	.doc = "learning rate", .also = lr_also }
#define DECAY(d, text) VQ_REAL(O, weight_decay, d, 0, 1, text)

static const struct vq_param sgd_params[] = {
	LR("0.01"),
	VQ_REAL(O, momentum, "0", 0, 1, "share of the last step that is kept"),
	VQ_BOOLEAN(O, nesterov, "false", "look ahead along the momentum"),
	DECAY("0", "L2 penalty added to the gradient"),
	VQ_PARAMS_END
};

#define MOMENTS \
	VQ_REAL(O, beta1, "0.9", 0, 1, "decay of the first moment"), \
	VQ_REAL(O, beta2, "0.999", 0, 1, "decay of the second moment"), \
	VQ_REAL(O, eps, "1e-8", 0, 1, "added to the root of the second moment")

static const struct vq_param adam_params[] = {
	LR("1e-3"), MOMENTS, DECAY("0", "L2 penalty added to the gradient"), VQ_PARAMS_END
};
static const struct vq_param adamw_params[] = {
	LR("1e-3"), MOMENTS, DECAY("0.01", "share of lr by which weights shrink at each step"), VQ_PARAMS_END
};

const struct vq_optimizer vq_optimizers[] = {
	{ "sgd", "gradient descent with momentum", sgd_params, (const char *const[]){ "momentum", "SGD", NULL } },
	{ "adam", "Adam (Kingma and Ba 2014), weight decay as an L2 penalty", adam_params,
	    (const char *const[]){ "Adam", NULL } },
	{ "adamw", "Adam with decoupled weight decay (Loshchilov and Hutter 2017)", adamw_params,
	    (const char *const[]){ "AdamW", "adam_w", NULL } },
	{ NULL }
};

/* --- schedules ----------------------------------------------------------- */

#define S struct vq_schedule_params
#define WARMUP { .name = "warmup", .kind = VQ_P_INT, .offset = offsetof(S, warmup), .init = "0", .min = 0, .max = 1e12, \
	.doc = "steps of linear rise from 0 at the beginning", .also = warmup_also }
#define FINAL VQ_REAL(S, final, "0", 0, 1, "factor on the learning rate at the end")

static const struct vq_param constant_params[] = { WARMUP, VQ_PARAMS_END };
static const struct vq_param falling_params[] = { WARMUP, FINAL, VQ_PARAMS_END };
static const struct vq_param list_params[] = {
	WARMUP,
	VQ_INTS(S, at, NULL, 1, 1e9, 1, VQ_MAX_INTS, "epochs after which the learning rate falls"),
	VQ_REAL(S, factor, "0.1", 0, 1, "what it is multiplied with"),
	VQ_PARAMS_END
};
static const struct vq_param cycle_params[] = {
	VQ_REAL(S, peak, "0.3", 0, 1, "share of the steps until the peak"),
	VQ_REAL(S, start, "0.04", 0, 1, "factor at the first step"),
	VQ_REAL(S, final, "4e-6", 0, 1, "factor at the last step"),
	VQ_PARAMS_END
};
static const struct vq_param plateau_params[] = {
	WARMUP,
	VQ_REAL(S, factor, "0.1", 0, 1, "what the learning rate is multiplied with"),
	VQ_INT(S, patience, "2", 0, 1e6, "validations without improvement that are waited for"),
	VQ_REAL(S, final, "0", 0, 1, "smallest factor on the learning rate"),
	VQ_PARAMS_END
};

static double
warm(const struct vq_schedule_params *p, int64_t step)
{
	return step < p->warmup ? (double)(step + 1) / (double)p->warmup : 1;
}

/* How far after the warm-up, 0 to 1. */
static double
progress(const struct vq_schedule_params *p, int64_t step, int64_t steps)
{
	double n = (double)(steps - p->warmup);

	return n > 0 && step > p->warmup ? fmin(1, (double)(step - p->warmup) / n) : 0;
}

static double
constant(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t per_epoch)
{
	return warm(p, step);
}

static double
linear(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t per_epoch)
{
	return warm(p, step) * (1 + (p->final - 1) * progress(p, step, steps));
}

static double
cosine(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t per_epoch)
{
	double t = 0.5 * (1 + cos(M_PI * progress(p, step, steps)));

	return warm(p, step) * (p->final + (1 - p->final) * t);
}

static double
step_list(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t per_epoch)
{
	double f = warm(p, step);

	for (int i = 0; i < p->at.count; i++)
		if (per_epoch > 0 && step >= p->at.v[i] * per_epoch)
			f *= p->factor;
	return f;
}

/* Two half cosines: start to 1, then 1 to final (Smith and Topin 2017). */
static double
one_cycle(const struct vq_schedule_params *p, int64_t step, int64_t steps, int64_t per_epoch)
{
	double top = fmax(1, p->peak * (double)steps), x = (double)step;

	if (x < top)
		return 1 + (p->start - 1) * 0.5 * (1 + cos(M_PI * x / top));
	double t = fmin(1, (x - top) / fmax(1, (double)steps - 1 - top));
	return p->final + (1 - p->final) * 0.5 * (1 + cos(M_PI * t));
}

const struct vq_schedule vq_schedules[] = {
	{ "constant", "the base rate, after a warm-up", constant_params, constant },
	{ "linear", "falls in a straight line", falling_params, linear },
	{ "cosine", "falls along half a cosine", falling_params, cosine },
	{ "step", "falls by a factor after the listed epochs", list_params, step_list },
	{ "one_cycle", "rises to the base rate, then falls far below the start", cycle_params, one_cycle },
	{ "plateau", "falls by a factor when validation stops improving", plateau_params, constant },
	{ NULL }
};

/* --- building ------------------------------------------------------------ */

bool
vq_update_trains(const struct vq_update *u, const char *param)
{
	if (u->trains == 0)
		return true;
	for (int i = 0; i < u->trains; i++) {
		size_t n = strlen(u->train[i]);
		if (strncmp(param, u->train[i], n) == 0 && (param[n] == '.' || param[n] == '\0'))
			return true;
	}
	return false;
}

bool *
vq_reached(const struct vq_graph *g, vq_id y)
{
	bool *needed = vq_alloc_array((size_t)g->values + 1, sizeof(*needed));

	needed[y] = true;
	for (int i = g->nodes - 1; i >= 0; i--) {
		const struct vq_node *n = &g->node[i];
		bool live = false;
		for (int j = 0; j < n->nout; j++)
			live |= needed[n->out + j];
		for (int j = 0; live && !(n->op->flags & VQ_OP_STOPS) && j < n->nin; j++)
			needed[n->in[j]] = true;
	}
	return needed;
}

static vq_id *
trained_params(const struct vq_graph *g, const struct vq_update *u, vq_id loss, int *n)
{
	bool *needed = vq_reached(g, loss);
	vq_id *list = vq_alloc_array((size_t)g->values + 1, sizeof(*list));

	*n = 0;
	for (vq_id v = 0; v < g->values; v++)
		if (g->value[v].kind == VQ_PARAM && needed[v] && vq_update_trains(u, g->value[v].name))
			list[(*n)++] = v;
	free(needed);
	return list;
}

static vq_id
state_for(struct vq_graph *g, int k, const char *what, const struct vq_value *param)
{
	char *name = vq_asprintf("optimizer.%d.%s.%s", k, what, param->name);
	struct vq_type t = param->type;
	vq_id v = vq_graph_leaf(g, VQ_STATE, name, &t);

	free(name);
	return v;
}

static vq_id
scalar_input(struct vq_graph *g, const char *what, int k)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.%d", what, k);
	vq_id v = vq_graph_find(g, name);
	return v != VQ_NONE ? v : vq_graph_leaf(g, VQ_INPUT, name, &(struct vq_type){ VQ_F32, { 0 } });
}

/* Root of the sum of squares of all gradients. */
static vq_id
global_norm(struct vq_graph *g, const vq_id *grads, int n)
{
	vq_id total = VQ_NONE;

	for (int i = 0; i < n; i += VQ_MAX_IN) {
		int some = n - i < VQ_MAX_IN ? n - i : VQ_MAX_IN;
		vq_id part = vq_emit(g, "sum_squares", grads + i, some, " ");
		total = total == VQ_NONE ? part : vq_add(g, total, part);
	}
	return vq_unary(g, "sqrt", total);
}

static void
clip(struct vq_graph *g, const struct vq_update *u, int k, vq_id *grads, int n)
{
	char name[32];
	vq_id norm = global_norm(g, grads, n);
	vq_id scale = VQ_EMIT2(g, "minimum", vq_scalar_like(g, norm, 1),
	    vq_div(g, vq_scalar_like(g, norm, u->clip), vq_offset(g, norm, 1e-6)), " ");

	for (int i = 0; i < n; i++)
		grads[i] = vq_mul(g, grads[i], scale);
	snprintf(name, sizeof(name), "grad_norm.%d", k);
	vq_graph_output(g, name, norm);
}

/* Adds this batch's gradients to those of the batches before. */
static void
accumulate(struct vq_graph *g, const struct vq_update *u, int k, const vq_id *params, vq_id *grads, int n,
    bool apply)
{
	for (int i = 0; i < n; i++) {
		struct vq_value p = g->value[params[i]];
		vq_id acc = state_for(g, k, "sum", &p);
		vq_id sum = vq_add(g, acc, grads[i]);
		if (apply) {
			grads[i] = vq_scale(g, sum, 1.0 / (double)u->accumulate);
			vq_graph_store(g, acc, vq_fill(g, &p.type, 0));
		} else {
			vq_graph_store(g, acc, sum);
		}
	}
}

static double
decay_of(const struct vq_update *u, const char *param)
{
	for (int i = 0; i < u->no_decays; i++)
		if (fnmatch(u->no_decay[i], param, 0) == 0)
			return 0;
	return u->opt.weight_decay;
}

static void
update_param(struct vq_graph *g, const struct vq_update *u, int k, vq_id param, vq_id grad)
{
	struct vq_value p = g->value[param];
	const struct vq_optimizer_params *o = &u->opt;
	vq_id lr = scalar_input(g, "lr", k);
	double decay = decay_of(u, p.name);

	if (strcmp(u->optimizer->name, "sgd") == 0) {
		vq_id velocity = state_for(g, k, "velocity", &p);
		vq_id out = vq_emit(g, "sgd", (const vq_id[]){ param, grad, velocity, lr }, 4,
		    "momentum=%.17g nesterov=%s weight_decay=%.17g", o->momentum,
		    o->nesterov ? "true" : "false", decay);
		vq_graph_store(g, param, out);
		vq_graph_store(g, velocity, out + 1);
		return;
	}
	vq_id m = state_for(g, k, "m", &p), v = state_for(g, k, "v", &p);
	vq_id out = vq_emit(g, "adam", (const vq_id[]){ param, grad, m, v, lr, scalar_input(g, "count", k) }, 6,
	    "beta1=%.17g beta2=%.17g eps=%.17g weight_decay=%.17g decoupled=%s", o->beta1, o->beta2, o->eps,
	    decay, strcmp(u->optimizer->name, "adamw") == 0 ? "true" : "false");
	vq_graph_store(g, param, out);
	vq_graph_store(g, m, out + 1);
	vq_graph_store(g, v, out + 2);
}

static vq_id
find_loss(struct vq_graph *g, const struct vq_update *u, const char *name)
{
	vq_id loss = vq_graph_find_output(g, name);
	struct vq_suggest near;

	if (loss != VQ_NONE && vq_is_float(g->value[loss].type.dtype) &&
	    vq_shape_count(&g->value[loss].type.shape) == 1)
		return loss;
	if (loss != VQ_NONE) {
		char type[VQ_TYPE_STR];
		vq_error(g->diags, VQ_CONFIG, &u->at, "'%s' cannot be minimized: it is %s, not a single real number",
		    name, vq_type_str(&g->value[loss].type, type));
		return VQ_NONE;
	}
	struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, &u->at, "graph %s has no value '%s' to minimize",
	    g->name, name);
	vq_suggest_start(&near, name);
	for (int i = 0; i < g->outputs; i++)
		vq_suggest_try(&near, g->output[i].name);
	if (near.best)
		vq_help(e, "there is a value with a similar name: %s", near.best);
	return VQ_NONE;
}

/* Whether a step of the graph is in that module. */
static bool
is_called(const struct vq_graph *g, const char *module)
{
	size_t n = strlen(module);

	for (int i = 0; i < g->origins; i++) {
		const char *path = g->origin[i].path;
		if (path && strncmp(path, module, n) == 0 && (path[n] == '\0' || path[n] == '.' || path[n] == ':'))
			return true;
	}
	return false;
}

/* Every module that is to be trained must have parameters in this graph. */
static int
check_trained(struct vq_graph *g, const struct vq_update *u)
{
	int error = 0;

	for (int i = 0; i < u->trains; i++) {
		struct vq_update one = { .train = &u->train[i], .trains = 1 };
		struct vq_suggest near;
		bool found = false;
		vq_suggest_start(&near, u->train[i]);
		for (vq_id v = 0; v < g->values && !found; v++) {
			char module[64];
			if (g->value[v].kind != VQ_PARAM)
				continue;
			found = vq_update_trains(&one, g->value[v].name);
			snprintf(module, sizeof(module), "%.*s", (int)strcspn(g->value[v].name, "."), g->value[v].name);
			vq_suggest_try(&near, vq_arena_strdup(&g->arena, module));
		}
		if (found)
			continue;
		struct vq_diag *e = vq_error(g->diags, VQ_CONFIG, &u->at, "train: graph %s has no parameters of '%s'",
		    g->name, u->train[i]);
		if (is_called(g, u->train[i]))
			vq_help(e, "nothing in %s is trained by gradient (as in an ema_codebook, which moves its entries itself): "
			    "leave it out of train", u->train[i]);
		else if (near.best)
			vq_help(e, "there is a module with a similar name: %s", near.best);
		error = -1;
	}
	return error;
}

/* A step writes each parameter once. */
static int
check_alone(struct vq_graph *g, const struct vq_update *u, const vq_id *params, int n)
{
	for (int i = 0; i < n; i++)
		for (int k = 0; k < g->stores; k++)
			if (g->store[k].leaf == params[i]) {
				vq_help(vq_error(g->diags, VQ_CONFIG, &u->at, "an update before this one trains %s, too",
				    g->value[params[i]].name), "`train` says which modules an update trains, as in train: [net]; "
				    "without it, all that its loss depends on");
				return -1;
			}
	return 0;
}

int
vq_update_build(struct vq_graph *g, const struct vq_update *u, int k, int which, bool apply)
{
	const char *minimize = u->losses ? u->loss[which].name : u->minimize;
	vq_id loss = find_loss(g, u, minimize), *params, *grads;
	int n, error;

	if (loss == VQ_NONE || check_trained(g, u) < 0)
		return -1;
	params = trained_params(g, u, loss, &n);
	if (n == 0) {
		vq_error(g->diags, VQ_CONFIG, &u->at, "'%s' depends on no parameter that this update trains",
		    minimize);
		free(params);
		return -1;
	}
	if (check_alone(g, u, params, n) < 0) {
		free(params);
		return -1;
	}
	grads = vq_alloc_array((size_t)n, sizeof(*grads));
	error = vq_gradient(g, loss, VQ_NONE, params, n, grads);
	if (error == 0 && u->accumulate > 1)
		accumulate(g, u, k, params, grads, n, apply);
	if (error == 0 && apply && u->clip > 0)
		clip(g, u, k, grads, n);
	for (int i = 0; i < n && error == 0 && apply; i++)
		update_param(g, u, k, params[i], grads[i]);
	free(params);
	free(grads);
	return error;
}

void
vq_average_build(struct vq_graph *g, double decay)
{
	int stores = g->stores;

	for (int i = 0; i < stores; i++) {
		struct vq_store st = g->store[i];
		struct vq_value p = g->value[st.leaf];
		if (p.kind != VQ_PARAM)
			continue;
		char *name = vq_asprintf("average.%s", p.name);
		vq_id average = vq_graph_leaf(g, VQ_STATE, name, &p.type);
		g->value[average].init = (struct vq_init){ .kind = VQ_INIT_COPY, .of = p.name };
		vq_graph_store(g, average, VQ_EMIT2(g, "ema", average, st.value, "decay=%.17g", decay));
		free(name);
	}
}
