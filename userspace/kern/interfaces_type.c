#include "kern/interfaces_type.h"
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"

#define UNKNOWN     NETWORK_TYPE_COUNT
#define SYSFS_BYTES 4096 /* no attribute is longer */

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* The file as a string without its last newline, "" if there is none. */
static void read_attribute(int directory, const char *name, char buffer[SYSFS_BYTES])
{
	defer_close int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, SYSFS_BYTES - 1);

	buffer[n < 0 ? 0 : n] = '\0';
	if (n > 0 && buffer[n - 1] == '\n')
		buffer[n - 1] = '\0';
}

/* /sys shows the network namespace of whoever mounted it, which need not be ours. */
static bool is_ours(int directory, const struct netif_facts *facts)
{
	char hardware[3 * NETIF_HARDWARE_MAX + 1] = "", text[SYSFS_BYTES];

	read_attribute(directory, "ifindex", text);
	if (strtol(text, NULL, 10) != facts->index)
		return false;
	for (size_t i = 0; i < facts->hardware_length; i++)
		snprintf(hardware + (i ? 3 * i - 1 : 0), 4, i ? ":%02x" : "%02x",
			 facts->hardware[i]);
	read_attribute(directory, "address", text);
	return !strcmp(text, hardware);
}

/* DEVTYPE=wlan is set by cfg80211, DEVTYPE=wwan by modem drivers (qmi_wwan, cdc_mbim, the WWAN core). */
static enum network_type by_uevent(char *text)
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (!strcmp(line, "DEVTYPE=wlan"))
			return TYPE_WIFI;
		if (!strcmp(line, "DEVTYPE=wwan"))
			return TYPE_CELLULAR;
	}
	return UNKNOWN;
}

static enum network_type by_sysfs(const struct netif_facts *facts)
{
	char path[sizeof("/sys/class/net/") + IFNAMSIZ], text[SYSFS_BYTES];
	defer_close int directory = -1;
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/net/%s", facts->name);
	directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || !is_ours(directory, facts))
		return UNKNOWN;
	if (!fstatat(directory, "phy80211", &st, 0) || !fstatat(directory, "wireless", &st, 0))
		return TYPE_WIFI;
	read_attribute(directory, "uevent", text);
	return by_uevent(text);
}

static enum network_type by_kind(const struct netif_facts *facts)
{
	if (!strcmp(facts->kind, "wwan") || !strcmp(facts->kind, "rmnet"))
		return TYPE_CELLULAR;
	return facts->arphrd == ARPHRD_RAWIP ? TYPE_CELLULAR : UNKNOWN;
}

/* The prefixes of systemd.net-naming-scheme(7), which are also what drivers use; rmnet: Qualcomm's. */
static enum network_type by_name(const char *name)
{
	if (starts_with(name, "wl"))
		return TYPE_WIFI;
	return starts_with(name, "ww") || starts_with(name, "rmnet") ? TYPE_CELLULAR : UNKNOWN;
}

enum network_type netif_type(const struct netif_facts *facts,
			     const struct config_interface *overrides, size_t count)
{
	enum network_type type;

	for (size_t i = 0; i < count; i++)
		if (!strcmp(overrides[i].name, facts->name))
			return overrides[i].type;
	type = by_sysfs(facts);
	if (type == UNKNOWN)
		type = by_kind(facts);
	if (type == UNKNOWN)
		type = by_name(facts->name);
	if (type == UNKNOWN)
		type = facts->arphrd == ARPHRD_ETHER ? TYPE_ETHERNET : TYPE_OTHER;
	return type;
}
