/* domain - names as the network writes them. */
#include "proto/sniff.h"
