/* relay - how the relay for datagrams is dialed that a proxy has named. */
#pragma once
#include "dial/dial.h"

/* Makes of @request, which was for a target through the proxy, one for @relay. @proxy: where the proxy is, for a
 * relay that is there too; @stream: the connection that it has answered on. *@relay lives as long as the dial. */
void relay_request(struct dial_request *request, const struct handshake_relay *relay,
		   const struct target *proxy, int stream);
