#include "ctl/outbounds.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "base/names.h"
#include "ctl/verdict.h"
#include "dial/group.h"

#define TAGS_SHOWN 16

int outbounds_find(struct call *call, const char *word, size_t *ret)
{
	const struct flow_config *config = call->context->config;
	const char *tags[TAGS_SHOWN];
	size_t count = 0;

	for (size_t i = 0; i < config->outbound_count; i++) {
		if (!strcmp(config->outbounds[i].tag, word)) {
			*ret = i;
			return 0;
		}
		if (count < TAGS_SHOWN)
			tags[count++] = config->outbounds[i].tag;
	}
	return call_no_such(call, "outbound", word, tags, count);
}

static unsigned delay_of(const struct ctl_context *context, size_t outbound, size_t member)
{
	return context->delay_ms ? context->delay_ms(context->delay_owner, outbound, member) : 0;
}

static json_t *describe_member(const struct ctl_context *context, size_t outbound, size_t member)
{
	const struct config_outbound *c = &context->config->config->outbounds[outbound];
	const char *tag = context->config->outbounds[c->group.members.list[member]].tag;
	unsigned delay;

	if (c->type != OUTBOUND_URLTEST)
		return json_pack("{s:s}", "tag", tag);
	delay = delay_of(context, outbound, member);
	return json_pack("{s:s, s:s, s:o}", "tag", tag, "test",
			 !delay              ? "none"
			 : delay == UINT_MAX ? "failed"
					     : "ok",
			 "delay_ms",
			 delay && delay != UINT_MAX ? json_integer(delay) : json_null());
}

static json_t *describe_group(const struct ctl_context *context, size_t outbound,
			      const struct group_dialer *group)
{
	const struct flow_config *config = context->config;
	const struct config_group *c = &config->config->outbounds[outbound].group;
	json_t *list = json_array();

	for (size_t i = 0; i < c->members.count; i++)
		if (json_array_append_new(list, describe_member(context, outbound, i))) {
			json_decref(list);
			return NULL;
		}
	return json_pack("{s:s, s:o}", "selected",
			 config->outbounds[c->members.list[group_selected(group)]].tag, "members",
			 list);
}

/* NULL: out of memory. The names of the members are frozen: scripts read them. */
static json_t *describe_outbound(const struct ctl_context *context, size_t i)
{
	const struct flow_config *config = context->config;
	const struct group_dialer *group = dialers_group(config->dialers, i);
	json_t *object = json_pack("{s:s, s:s, s:o}", "tag", config->outbounds[i].tag, "type",
				   outbound_type_names[config->config->outbounds[i].type], "chain",
				   verdict_chain(config, i));
	json_t *members;

	if (!group)
		return object;
	members = describe_group(context, i, group);
	if (!members || json_object_update(object, members)) {
		json_decref(object);
		object = NULL;
	}
	json_decref(members);
	return object;
}

int outbounds_list(struct call *call, struct out *out)
{
	out_put(out, "[", 1);
	for (size_t i = 0; i < call->context->config->outbound_count; i++) {
		json_t *outbound = describe_outbound(call->context, i);

		if (i)
			out_put(out, ",", 1);
		out_json(out, outbound);
		json_decref(outbound);
	}
	out_put(out, "]", 1);
	return 0;
}

static int find_member(struct call *call, const struct config_group *group, const char *tag,
		       size_t *ret)
{
	const struct flow_config *config = call->context->config;
	const char *tags[TAGS_SHOWN];
	size_t count = 0;

	for (size_t i = 0; i < group->members.count; i++) {
		const char *member = config->outbounds[group->members.list[i]].tag;

		if (!strcmp(member, tag)) {
			*ret = i;
			return 0;
		}
		if (count < TAGS_SHOWN)
			tags[count++] = member;
	}
	return call_no_such(call, "member", tag, tags, count);
}

int outbounds_select(struct call *call, struct out *out)
{
	const struct flow_config *config = call->context->config;
	const char *tag = call_string(call, "tag"), *was;
	const struct config_outbound *c;
	struct group_dialer *group;
	size_t outbound = 0, member = 0;
	json_t *answer;

	if (outbounds_find(call, call_string(call, "group"), &outbound))
		return -EINVAL;
	c = &config->config->outbounds[outbound];
	if (c->type != OUTBOUND_SELECTOR)
		return call_fail(call, "outbound \"%.64s\" is of type %s: only a selector is set",
				 config->outbounds[outbound].tag, outbound_type_names[c->type]);
	if (find_member(call, &c->group, tag, &member))
		return -EINVAL;
	group = dialers_group(config->dialers, outbound);
	was = config->outbounds[c->group.members.list[group_selected(group)]].tag;
	group_select(group, member);
	answer = json_pack("{s:s, s:s, s:s}", "group", config->outbounds[outbound].tag, "selected",
			   tag, "was", was);
	out_json(out, answer);
	json_decref(answer);
	return 0;
}
