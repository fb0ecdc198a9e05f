/*
 * threads -- how many threads to use, and why
 */
#ifndef VQ_ENGINE_THREADS_H
#define VQ_ENGINE_THREADS_H

/* Threads to use: --threads, OMP_NUM_THREADS, affinity mask, container quota. */
int vq_threads(void);
void vq_threads_set(int n);		/* 0: choose */
const char *vq_threads_why(void);
/* CPUs that this process's cgroups (v1 and v2) under root ("": the real one) may
 * use together; 0: no limit. */
double vq_cpu_quota(const char *root);

#endif
