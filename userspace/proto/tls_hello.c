/* tls_hello - two passes: whether the message is whole, then what it says.
 *
 * The second needs no care for records that end early, only for lengths inside the message.
 */
#include "proto/tls_hello.h"
#include <stdbool.h>
#include <string.h>
#include "proto/tls_records.h"

#define TYPE_CLIENT_HELLO     1
#define MESSAGE_MAX           16384
#define RANDOM_BYTES          32
#define SESSION_MAX           32
#define EXTENSION_SERVER_NAME 0
#define NAME_HOST             0

/* A part of the message that is known to be there. */
struct part {
	struct tls_records records;
	size_t left;
	bool bad; /* a length leads out of it; sticks */
};

static void take(struct part *part, size_t bytes, uint8_t *to)
{
	if (part->bad || bytes > part->left ||
	    tls_records_take(&part->records, bytes, to) != SNIFF_YES) {
		part->bad = true;
		part->left = 0;
		return;
	}
	part->left -= bytes;
}

static size_t get(struct part *part, size_t bytes)
{
	uint8_t raw[2] = { 0 };

	take(part, bytes, raw);
	return bytes == 1 ? raw[0] : (size_t)raw[0] << 8 | raw[1];
}

/* The next @bytes as a part of their own, which are passed. */
static struct part inner(struct part *part, size_t bytes)
{
	struct part ret = *part;

	take(part, bytes, NULL);
	ret.bad = part->bad;
	ret.left = ret.bad ? 0 : bytes;
	return ret;
}

static void read_name(struct part name, struct tls_hello *hello)
{
	uint8_t text[SNIFF_DOMAIN_MAX]; /* with a trailing dot */
	size_t len = name.left;
	bool fits = len <= sizeof(text);

	if (!len || tls_records_seek(&name.records) != SNIFF_YES)
		return;
	hello->sni_offset = name.records.at;
	take(&name, len, fits ? text : NULL);
	hello->sni_len = name.records.at - hello->sni_offset;
	if (fits)
		(void)sniff_domain(text, len, hello->domain);
}

/* An empty extension is what a server says; from a client it is no name. The first of names counts. */
static bool read_names(struct part extension, struct tls_hello *hello)
{
	if (!extension.left)
		return true;
	if (get(&extension, 2) != extension.left)
		return false;
	while (extension.left) {
		size_t type = get(&extension, 1);
		struct part name = inner(&extension, get(&extension, 2));

		if (type == NAME_HOST && !name.bad && !hello->sni_offset)
			read_name(name, hello);
	}
	return !extension.bad;
}

static bool read_extensions(struct part all, struct tls_hello *hello)
{
	while (all.left) {
		size_t type = get(&all, 2);
		struct part extension = inner(&all, get(&all, 2));

		if (extension.bad ||
		    (type == EXTENSION_SERVER_NAME && !read_names(extension, hello)))
			return false;
	}
	return !all.bad;
}

static bool read_message(struct part message, struct tls_hello *hello)
{
	size_t size;

	if (get(&message, 2) >> 8 != 3)
		return false;
	take(&message, RANDOM_BYTES, NULL);
	size = get(&message, 1); /* of the session id */
	if (size > SESSION_MAX)
		return false;
	take(&message, size, NULL);
	size = get(&message, 2); /* of the cipher suites */
	if (!size || size % 2)
		return false;
	take(&message, size, NULL);
	size = get(&message, 1); /* of the compression methods */
	if (!size)
		return false;
	take(&message, size, NULL);
	if (!message.left) /* before TLS 1.3 there need not be extensions */
		return !message.bad;
	return get(&message, 2) == message.left && !message.bad && read_extensions(message, hello);
}

static enum sniff_result read_head(struct tls_records *records, size_t *ret_size)
{
	uint8_t type, size[3];
	enum sniff_result result = tls_records_take(records, 1, &type);

	if (result != SNIFF_YES)
		return result;
	if (type != TYPE_CLIENT_HELLO)
		return SNIFF_NO;
	result = tls_records_take(records, sizeof(size), size);
	if (result != SNIFF_YES)
		return result;
	*ret_size = (size_t)size[0] << 16 | (size_t)size[1] << 8 | size[2];
	return *ret_size <= MESSAGE_MAX ? SNIFF_YES : SNIFF_NO;
}

enum sniff_result tls_hello_parse(const uint8_t *data, size_t len, struct tls_hello *ret)
{
	struct tls_records records = { .data = data, .len = len };
	struct tls_hello hello = { 0 };
	struct part message = { 0 };
	enum sniff_result result = read_head(&records, &message.left);

	if (result != SNIFF_YES)
		return result;
	message.records = records;
	result = tls_records_take(&records, message.left, NULL);
	if (result == SNIFF_YES)
		result = tls_records_take(&records, records.left, NULL);
	if (result != SNIFF_YES)
		return result;
	hello.bytes = records.at;
	hello.records = records.count;
	if (!read_message(message, &hello))
		return SNIFF_NO;
	*ret = hello;
	return SNIFF_YES;
}

enum sniff_result tls_hello_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct tls_hello hello;
	enum sniff_result result = tls_hello_parse(data, len, &hello);

	if (result != SNIFF_YES)
		return result;
	*ret = (struct sniff){ .protocol = PROTOCOL_TLS };
	memcpy(ret->domain, hello.domain, sizeof(ret->domain));
	return SNIFF_YES;
}
