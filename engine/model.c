/*
 * model -- what a loaded model says about itself
 */
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"

void
vq_model_free(struct vq_model *m)
{
	if (m == NULL)
		return;
	for (int i = 0; i < m->files; i++)
		vq_names_free(&m->file[i]->let_names);
	free(m->file);
	vq_arena_free(m->arena);
	free(m->arena);
	free(m);
}

const char *
vq_model_path(const struct vq_model *m)
{
	return m->path;
}

const char *
vq_model_place(const struct vq_model *m)
{
	return m->place ? m->place : m->path;
}

void
vq_model_set_place(struct vq_model *m, const char *path)
{
	m->place = vq_arena_strdup(m->arena, path);
}

int
vq_model_graphs(const struct vq_model *m)
{
	return m->file[0]->graphs;
}

const char *
vq_model_graph_name(const struct vq_model *m, int i)
{
	return m->file[0]->graph[i].name;
}

int
vq_model_free_sizes(const struct vq_model *m, const char *graph, const char **names, int max)
{
	const struct body *b = vq_find_graph(m->file[0], graph);
	int n = b ? b->sizes : 0;

	for (int i = 0; i < n && i < max; i++)
		names[i] = b->size[i].name;
	return n;
}

const char *
vq_model_input(const struct vq_model *m, const char *graph, int i, int *rank, const char *size[VQ_MAX_RANK])
{
	const struct body *b = vq_find_graph(m->file[0], graph);
	const struct pattern *p;

	if (b == NULL || i < 0 || i >= b->ports)
		return NULL;
	p = &b->port[i].pattern;
	*rank = p->rank;
	for (int k = 0; k < p->rank; k++)
		size[k] = p->dim[k].kind == DIM_NAME ? b->size[p->dim[k].name].name : NULL;
	return b->port[i].name;
}
