/* limits - how many flows the process can hold. */
#pragma once
#include <stdint.h>

/* Raises the soft limit on open files to the hard one and returns how many flows fit, at most @wanted
 * (0: as many as fit). */
uint32_t limits_flows(uint32_t wanted);
