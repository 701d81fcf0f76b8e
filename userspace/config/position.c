#include "config/position.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "base/names.h"
#include "config/tree.h"

struct cursor {
	const char *at, *end;
};

struct member {
	const char *key; /* its opening quote */
	size_t key_len;  /* with both quotes */
};

static char peek(const struct cursor *c)
{
	return c->at < c->end ? *c->at : 0;
}

static bool eat(struct cursor *c, char wanted)
{
	if (peek(c) != wanted)
		return false;
	c->at++;
	return true;
}

static void skip_space(struct cursor *c)
{
	while (peek(c) && strchr(" \t\r\n", *c->at))
		c->at++;
}

/* False: it does not end. */
static bool skip_string(struct cursor *c)
{
	for (c->at++; c->at < c->end; c->at++) {
		if (*c->at == '"') {
			c->at++;
			return true;
		}
		if (*c->at == '\\' && c->at + 1 < c->end)
			c->at++;
	}
	return false;
}

static bool skip_token(struct cursor *c)
{
	size_t left = (size_t)(c->end - c->at), len = text_word_len(c->at);

	if (*c->at == '"')
		return skip_string(c);
	if (!len)
		len = 1;
	c->at += len < left ? len : left;
	return true;
}

static void skip_value(struct cursor *c)
{
	unsigned depth = 0;

	do {
		char first;

		skip_space(c);
		first = peek(c);
		if (c->at == c->end || !skip_token(c))
			return;
		if (first == '{' || first == '[')
			depth++;
		else if ((first == '}' || first == ']') && depth)
			depth--;
	} while (depth);
}

/* From behind the bracket or the last value to the next value. */
static bool next_element(struct cursor *c)
{
	skip_space(c);
	if (eat(c, ','))
		skip_space(c);
	return c->at < c->end && *c->at != ']';
}

static bool next_member(struct cursor *c, struct member *ret)
{
	struct member member;

	skip_space(c);
	if (eat(c, ','))
		skip_space(c);
	member.key = c->at;
	if (peek(c) != '"' || !skip_string(c))
		return false;
	member.key_len = (size_t)(c->at - member.key);
	skip_space(c);
	if (!eat(c, ':'))
		return false;
	skip_space(c);
	*ret = member;
	return true;
}

/* The key as a string value; -EINVAL: not one that jansson takes. */
static int decode_key(const struct member *member, json_t **ret)
{
	return tree_parse(member->key, member->key_len, JSON_DECODE_ANY, ret, NULL);
}

/* 1: yes, 0: no. */
static int key_is(const struct member *member, const char *key)
{
	json_t *decoded;
	int r;

	if (!memchr(member->key, '\\', member->key_len))
		return strlen(key) == member->key_len - 2 &&
		       !memcmp(member->key + 1, key, member->key_len - 2);
	r = decode_key(member, &decoded);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = json_is_string(decoded) && !strcmp(json_string_value(decoded), key);
	json_decref(decoded);
	return r;
}

/* Whether @step found the member @key of the object at @c; then @c moves to its value. */
static int remember_member(struct cursor *c, const char *json, const struct position_step *step,
			   const char *key, struct member *ret)
{
	struct cursor scan = { json + step->key, c->end };
	int r;

	if (!step->value || step->bracket != (size_t)(c->at - json) || !next_member(&scan, ret))
		return 0;
	r = key_is(ret, key);
	if (r > 0)
		c->at = scan.at;
	return r;
}

static int find_member(struct cursor *c, const char *json, struct position_step *step,
		       const char *key, struct member *ret)
{
	struct cursor scan = *c;
	struct member member;
	int found = remember_member(c, json, step, key, ret);

	if (found || !eat(&scan, '{'))
		return found;
	while (next_member(&scan, &member)) {
		int r = key_is(&member, key);

		if (r < 0)
			return r;
		if (r) {
			found = 1;
			*step = (struct position_step){ .bracket = (size_t)(c->at - json),
							.key = (size_t)(member.key - json),
							.value = (size_t)(scan.at - json) };
			*ret = member;
		}
		skip_value(&scan);
	}
	if (found)
		c->at = json + step->value;
	return found;
}

static int find_element(struct cursor *c, const char *json, struct position_step *step,
			size_t index)
{
	size_t bracket = (size_t)(c->at - json), at = 0;
	bool resume = step->value && step->bracket == bracket && step->index <= index;
	struct cursor scan = *c;

	if (!eat(&scan, '['))
		return 0;
	if (resume) {
		scan.at = json + step->value;
		at = step->index;
	}
	for (; next_element(&scan); skip_value(&scan), at++) {
		size_t value = (size_t)(scan.at - json);

		if (at < index)
			continue;
		*step = (struct position_step){ bracket, index, value, value };
		*c = scan;
		return 1;
	}
	return 0;
}

struct descent {
	struct position_memo *memo;
	const char *json;
	size_t depth;
};

/* Moves @c to the value of @place and *@ret_key to its key. 1; 0: as near as there is; -ENOMEM. */
static int descend(struct descent *descent, struct cursor *c, const struct place *place,
		   const char **ret_key)
{
	struct position_step *step;
	struct member member;
	int r;

	if (!place->up) {
		skip_space(c);
		*ret_key = c->at;
		return 1;
	}
	r = descend(descent, c, place->up, ret_key);
	if (r <= 0 || descent->depth >= ARRAY_SIZE(descent->memo->steps))
		return r;
	step = &descent->memo->steps[descent->depth++];
	*ret_key = c->at;
	if (!place->key) {
		r = find_element(c, descent->json, step, place->index);
		if (r)
			*ret_key = c->at;
		return r;
	}
	r = find_member(c, descent->json, step, place->key, &member);
	if (r > 0)
		*ret_key = member.key;
	return r;
}

int position_find(const struct text *text, struct position_memo *memo, const struct place *place,
		  bool at_key, size_t *ret_offset)
{
	struct descent descent = { .memo = memo, .json = text->json };
	struct cursor c = { text->json, text->json + text->len };
	const char *key = c.at;
	int r = descend(&descent, &c, place, &key);

	if (r < 0)
		return r;
	*ret_offset = (size_t)((r && at_key ? key : c.at) - text->json);
	return 0;
}

struct search {
	const struct text *text;
	position_fn *found;
	void *arg;
	unsigned depth;
};

static int search_value(struct search *s, struct cursor *c, const struct place *place);

static int search_member(struct search *s, struct cursor *c, const struct place *place,
			 json_t *seen)
{
	struct place here = { .up = place };
	struct member member;
	json_t *name;
	int r;

	if (!next_member(c, &member))
		return 0;
	r = decode_key(&member, &name);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	here.key = json_string_value(name);
	if (json_object_get(seen, here.key))
		s->found(s->arg, &here, (size_t)(member.key - s->text->json));
	else if (json_object_set_new_nocheck(seen, here.key, json_true()) < 0)
		r = -ENOMEM;
	if (!r)
		r = search_value(s, c, &here);
	json_decref(name);
	return r < 0 ? r : 1;
}

static int search_object(struct search *s, struct cursor *c, const struct place *place)
{
	json_t *seen = json_object();
	int r;

	if (!seen)
		return -ENOMEM;
	do
		r = search_member(s, c, place, seen);
	while (r > 0);
	json_decref(seen);
	return r;
}

static int search_list(struct search *s, struct cursor *c, const struct place *place)
{
	struct place here = { .up = place };
	int r = 0;

	for (; !r && next_element(c); here.index++)
		r = search_value(s, c, &here);
	return r;
}

static int search_value(struct search *s, struct cursor *c, const struct place *place)
{
	int r = 0;

	/* brackets that do not match may nest deeper than text_blank() saw */
	if (s->depth == TEXT_DEPTH_MAX) {
		c->at = c->end;
		return 0;
	}
	s->depth++;
	if (eat(c, '{')) {
		r = search_object(s, c, place);
		(void)eat(c, '}');
	} else if (eat(c, '[')) {
		r = search_list(s, c, place);
		(void)eat(c, ']');
	} else {
		skip_value(c);
	}
	s->depth--;
	return r;
}

int position_duplicates(const struct text *text, position_fn *found, void *arg)
{
	struct search search = { .text = text, .found = found, .arg = arg };
	struct cursor c = { text->json, text->json + text->len };
	struct place root = { 0 };

	skip_space(&c);
	return search_value(&search, &c, &root);
}

size_t position_token(const struct text *text, size_t end)
{
	struct cursor c = { text->json, text->json + end };

	for (;;) {
		const char *start;

		skip_space(&c);
		start = c.at;
		if (start == c.end)
			return end;
		if (!skip_token(&c)) {
			/* in a string: a bad escape was read, a control character was not */
			bool read = end < text->len && (unsigned char)text->json[end] >= ' ';

			return read ? end - 1 : end;
		}
		if (c.at == c.end)
			return (size_t)(start - text->json);
	}
}
