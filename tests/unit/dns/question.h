/* question - a question as a client would send it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ASK_RD = 0x0100, ASK_AD = 0x0020, ASK_CD = 0x0010 };
enum { NO_EDNS, EDNS, EDNS_DO };

struct asking {
	const char *name; /* with or without a dot at the end */
	unsigned type, id, flags;
	int edns;
};

/* @ret: 512 bytes. */
static size_t write_question(uint8_t *ret, const struct asking *a)
{
	const uint8_t head[12] = { (uint8_t)(a->id >> 8),
				   (uint8_t)a->id,
				   (uint8_t)(a->flags >> 8),
				   (uint8_t)a->flags,
				   0,
				   1,
				   [11] = a->edns != NO_EDNS };
	const uint8_t rest[] = { 0, (uint8_t)(a->type >> 8), (uint8_t)a->type, 0, 1 };
	/* with an option of three bytes */
	const uint8_t opt[] = { 0, 0,  41, 16, 0, 0, 0, a->edns == EDNS_DO ? 0x80 : 0, 0, 0, 7,
				0, 10, 0,  3,  1, 2, 3 };
	size_t size = sizeof(head);
	const char *at = a->name;

	memcpy(ret, head, sizeof(head));
	while (*at) {
		size_t label = strcspn(at, ".");

		ret[size++] = (uint8_t)label;
		memcpy(ret + size, at, label);
		size += label;
		at += label + (at[label] == '.');
	}
	memcpy(ret + size, rest, sizeof(rest));
	size += sizeof(rest);
	if (a->edns == NO_EDNS)
		return size;
	memcpy(ret + size, opt, sizeof(opt));
	return size + sizeof(opt);
}
