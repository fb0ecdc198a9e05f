/*
 * groups -- the control groups that limit this process
 *
 * A process is in a group, and that in others up to the top, each of which may set
 * limits; so what holds is the tightest of all of them.
 */
#ifndef VQ_ENGINE_GROUPS_H
#define VQ_ENGINE_GROUPS_H

#include <stdbool.h>

/*
 * Calls each with the folder of every group that this process is in and where the
 * controller ("cpu", "memory") may set limits, innermost first, of v2 and v1: files of
 * the folder need not be there.  A folder may come twice.  root goes before /proc and
 * /sys; "": the real ones.
 */
void vq_groups_each(const char *root, const char *controller, void (*each)(void *arg, const char *dir, bool v2), void *arg);

#endif
