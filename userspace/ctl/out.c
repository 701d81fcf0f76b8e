#include "ctl/out.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_FIRST 1024U
#define SIZE_KEEP  (64U << 10) /* a larger buffer is given back once it is empty */

void out_deinit(struct out *out)
{
	free(out->data);
	*out = (struct out){ 0 };
}

static bool grow(struct out *out, size_t bytes)
{
	size_t size = out->size ? out->size : SIZE_FIRST;
	char *data;

	if (out->failed)
		return false;
	if (out->at && out->size - out->len < bytes) {
		memmove(out->data, out->data + out->at, out_waits(out));
		out->len -= out->at;
		out->at = 0;
	}
	while (size - out->len < bytes)
		size *= 2;
	if (size == out->size)
		return true;
	data = realloc(out->data, size);
	if (!data) {
		out->failed = true;
		return false;
	}
	out->data = data;
	out->size = size;
	return true;
}

void out_put(struct out *out, const void *data, size_t bytes)
{
	if (!grow(out, bytes))
		return;
	memcpy(out->data + out->len, data, bytes);
	out->len += bytes;
}

void out_print(struct out *out, const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		out->failed = true;
	else
		out_put(out, text, (size_t)n);
}

static int put_piece(const char *data, size_t bytes, void *out)
{
	out_put(out, data, bytes);
	return ((struct out *)out)->failed ? -1 : 0;
}

void out_json(struct out *out, const json_t *value)
{
	if (!value || json_dump_callback(value, put_piece, out, JSON_COMPACT | JSON_ENCODE_ANY))
		out->failed = true;
}

bool out_element(struct out *out, json_t *value, bool first)
{
	if (!first)
		out_put(out, ",", 1);
	out_json(out, value);
	json_decref(value);
	return false;
}

void out_cut(struct out *out, size_t len)
{
	out->len = len;
}

void out_eat(struct out *out, size_t bytes)
{
	out->at += bytes;
	if (out->at < out->len)
		return;
	out->at = out->len = 0;
	if (out->size > SIZE_KEEP)
		out_deinit(out);
}
