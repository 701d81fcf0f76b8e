#include "ctl/facts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"

#define TAGS_SHOWN 8

static int take_network(struct call *call, struct facts *facts)
{
	static const char *const words[] = { "tcp", "udp" };
	const char *word = call_string(call, "network");
	int network = names_find(words, ARRAY_SIZE(words), word);

	if (network < 0)
		return call_no_such(call, "network", word, words, ARRAY_SIZE(words));
	facts->network = network ? CONFIG_NETWORK_UDP : CONFIG_NETWORK_TCP;
	return 0;
}

/* Where the port begins in "1.2.3.4:80" and "[::1]:80"; NULL: there is none. */
static const char *find_port(const char *text)
{
	const char *colon = strrchr(text, ':');

	if (!colon || (*text == '[' ? colon[-1] != ']' : strchr(text, ':') != colon))
		return NULL;
	return colon + 1;
}

static int parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

/* IP address with or without a port. */
static int parse_end(const char *text, uint16_t port, struct addr *ret)
{
	const char *colon = find_port(text);
	size_t len = colon ? (size_t)(colon - text) - 1 : strlen(text);
	char address[ADDR_STRLEN];

	if (colon && parse_port(colon, &port))
		return -EINVAL;
	if (*text == '[' && len > 1 && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(address))
		return -EINVAL;
	snprintf(address, sizeof(address), "%.*s", (int)len, text);
	return addr_parse(address, port, ret);
}

static int take_end(struct call *call, const char *name, uint16_t port, struct addr *ret)
{
	const char *text = call_string(call, name);

	if (parse_end(text, port, ret))
		return call_fail(call, "\"%s\": not an IP address, with a port or without: %.64s",
				 name, text);
	return 0;
}

static int take_inbound(struct call *call, struct facts *facts)
{
	const struct flow_config *config = call->context->config;
	const char *word = call_string(call, "inbound"), *tags[TAGS_SHOWN];
	size_t count = 0;

	for (size_t i = 0; word && i < config->inbound_count; i++) {
		facts->inbound = i;
		if (!strcmp(config->inbounds[i].tag, word))
			return 0;
		if (count < TAGS_SHOWN)
			tags[count++] = config->inbounds[i].tag;
	}
	facts->inbound = 0;
	return word ? call_no_such(call, "inbound", word, tags, count) : 0;
}

static int take_protocol(struct call *call, struct facts *facts)
{
	const char *word = call_string(call, "protocol");
	int protocol;

	if (!word)
		return 0;
	protocol = names_find(protocol_names + 1, PROTOCOL_COUNT - 1, word); /* not "unknown" */
	if (protocol < 0)
		return call_no_such(call, "protocol", word, protocol_names + 1, PROTOCOL_COUNT - 1);
	facts->protocol = (enum protocol)(protocol + 1);
	return 0;
}

/* As sniffing tells it. */
static int take_domain(struct call *call, struct facts *facts)
{
	const char *word = call_string(call, "domain");
	size_t len = word ? strlen(word) : 0;
	struct addr addr;

	if (!word)
		return 0;
	if (len && word[len - 1] == '.')
		len--;
	if (!len || len >= SNIFF_DOMAIN_MAX || word[0] == '.' || !addr_parse(word, 0, &addr))
		return call_fail(call, "\"domain\": not a name: %.64s", word);
	for (size_t i = 0; i < len; i++) {
		char c = word[i];

		if (c <= ' ' || c == '/' || c == ':')
			return call_fail(call, "\"domain\": not a name: %.64s", word);
		facts->domain[i] = (char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
	}
	return 0;
}

static int take_numbers(struct call *call, struct facts *facts)
{
	json_int_t mark = call_number(call, "mark"), dscp = call_number(call, "dscp");

	if (mark < 0 || mark > UINT32_MAX)
		return call_fail(call, "\"mark\": not from 0 to 0xffffffff");
	if (dscp < 0 || dscp > 63)
		return call_fail(call, "\"dscp\": not from 0 to 63");
	facts->mark = (uint32_t)mark;
	facts->dscp = (uint8_t)dscp;
	return 0;
}

static int take_interface(struct call *call, struct facts *facts)
{
	const char *word = call_string(call, "interface");

	if (!word)
		return 0;
	if (!*word || strlen(word) >= sizeof(facts->interface))
		return call_fail(call, "\"interface\": no name of an interface: %.64s", word);
	snprintf(facts->interface, sizeof(facts->interface), "%s", word);
	return 0;
}

int facts_take(struct call *call, struct facts *ret)
{
	struct facts facts = { 0 };

	if (take_network(call, &facts) || take_end(call, "source", 0, &facts.source) ||
	    take_end(call, "destination", FACTS_PORT, &facts.destination) ||
	    take_inbound(call, &facts) || take_protocol(call, &facts) ||
	    take_domain(call, &facts) || take_interface(call, &facts) || take_numbers(call, &facts))
		return -EINVAL;
	*ret = facts;
	return 0;
}
