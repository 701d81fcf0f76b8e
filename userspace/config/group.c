#include "config/group.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "config/detour.h"

static const struct place document, outbounds = { .up = &document, .key = "outbounds" };

/* The index of outbound @owner's @i-th, which is written at @place. */
static size_t find_member(struct report *report, const struct config_group *group, size_t i,
			  const struct tags *tags, const struct place *place, size_t owner)
{
	const char *tag = group->tags.list[i];
	size_t member;

	if (!tag) /* refused */
		return CONFIG_NONE;
	for (size_t j = 0; j < i; j++) {
		if (!group->tags.list[j] || strcmp(group->tags.list[j], tag) != 0)
			continue;
		report_error(report, AT_VALUE(place), "\"%s\" is here twice", tag);
		return CONFIG_NONE;
	}
	member = tags_find(report, tags, tag, place);
	if (member != owner)
		return member;
	report_error(report, AT_VALUE(place), "a group cannot be one of its own outbounds");
	return CONFIG_NONE;
}

static void find_default(struct report *report, struct config_group *group,
			 const struct place *place)
{
	for (size_t i = 0; i < group->tags.count; i++) {
		if (!group->tags.list[i] || strcmp(group->tags.list[i], group->default_tag) != 0)
			continue;
		group->initial = i;
		return;
	}
	report_error(report, AT_VALUE(place), "\"%s\" is not one of outbounds", group->default_tag);
}

void group_check(struct report *report, const json_t *root, struct config *config,
		 const struct tags *tags, size_t index)
{
	struct config_outbound *outbound = &config->outbounds[index];
	struct config_group *group = &outbound->group;
	struct place element = { .up = &outbounds, .index = index };
	struct place list = { .up = &element, .key = "outbounds" };
	struct place initial = { .up = &element, .key = "default" };
	struct place interval = { .up = &element, .key = "interval" };
	struct place member = { .up = &list };
	const json_t *object = json_array_get(json_object_get(root, outbounds.key), index);
	bool is_list = json_is_array(json_object_get(object, list.key));

	if (!group->tags.count)
		return;
	group->members.list = calloc(group->tags.count, sizeof(*group->members.list));
	if (!group->members.list) {
		report->result = -ENOMEM;
		return;
	}
	group->members.count = group->tags.count;
	for (; member.index < group->members.count; member.index++) {
		const struct place *place = is_list ? &member : &list;
		size_t found = find_member(report, group, member.index, tags, place, index);

		group->members.list[member.index] = found;
		if (found != CONFIG_NONE)
			detour_check_override(report, &config->outbounds[found], place);
	}
	if (group->default_tag)
		find_default(report, group, &initial);
	if (outbound->type == OUTBOUND_URLTEST && group->interval_ms > group->idle_timeout_ms)
		report_error(report, AT_VALUE(&interval), "must not be longer than idle_timeout");
}

static bool is_ours(const char *name)
{
	return !strcasecmp(name, "Host") || !strcasecmp(name, "Proxy-Authorization");
}

void group_check_proxy(struct report *report, const struct config_outbound *outbound, size_t index)
{
	const struct config_proxy *proxy = &outbound->proxy;
	struct place element = { .up = &outbounds, .index = index };
	struct place password = { .up = &element, .key = "password" };
	struct place headers = { .up = &element, .key = "headers" };

	if (proxy->password && proxy->version != SOCKS_5)
		report_error(report, AT_KEY(&password), "version %s of SOCKS has no password",
			     socks_version_names[proxy->version]);
	for (size_t i = 0; proxy->username && i < proxy->headers.count; i++) {
		const char *name = proxy->headers.list[i].name;
		struct place header = { .up = &headers, .key = name };

		if (name && is_ours(name))
			report_error(report, AT_KEY(&header),
				     "cannot be used together with username");
	}
}
