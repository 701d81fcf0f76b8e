/* interfaces_type - what sort of network an interface leads to. The kernel does not know: it is pieced
 * together from sysfs, the driver's kind and the name. */
#pragma once
#include <stddef.h>
#include "config/config.h"

#define NETIF_HARDWARE_MAX 32 /* MAX_ADDR_LEN of the kernel */

struct netif_facts {
	int index;
	const char *name, *kind; /* kind "" for hardware */
	unsigned short arphrd;   /* ARPHRD_* */
	uint8_t hardware[NETIF_HARDWARE_MAX];
	size_t hardware_length;
};

/* @overrides: of the configuration, they come first. */
enum network_type netif_type(const struct netif_facts *facts,
			     const struct config_interface *overrides, size_t count);
