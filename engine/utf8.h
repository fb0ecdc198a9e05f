/*
 * utf8 -- characters of a text, and the columns a terminal gives them
 */
#ifndef VQ_ENGINE_UTF8_H
#define VQ_ENGINE_UTF8_H

#include "engine/base.h"

/* The character at s (n bytes are there): its length, 0 when it is not UTF-8
 * (overlong, surrogate, cut off) or n is 0. */
size_t vq_utf8_next(const char *s, size_t n, uint32_t *c);
/* false for control characters and for those that turn the writing direction. */
bool vq_utf8_printable(uint32_t c);
/* Columns of a character: 0 combining, 2 wide (East Asian, emoji), 1 otherwise. */
int vq_utf8_width(uint32_t c);
/* Columns of a string's last line; bytes that are not UTF-8 count one each. */
int vq_utf8_columns(const char *s);

#endif
