/* ctl - what seamd and seamctl agree on: one JSON object a line in, one a line out.
 *
 * Request  {"v":1,"cmd":"flows kill","flow":17}
 * Answer   {"v":1,"ok":true,"data":...} or {"v":1,"ok":false,"error":"..."}
 *
 * A request may carry an "id", a number or a string, which its answer repeats. Requests are answered in
 * their order. Commands and arguments are listed by the command "help"; unknown ones are refused.
 *
 * interfaces answers an array, an object each: name, index, kind (of a virtual one), type, up, running,
 * mtu, default4, default6 (the routes to the internet lead there), addresses ("10.0.0.1/24").
 *
 * flows watch answers {"watching":true} and then tells of every flow that begins to relay and every one
 * that ends, one line each, until either side closes: the members of flows list after "event" ("open",
 * "close"), and "reason". {"event":"lost","count":N} stands for events that came too fast.
 */
#pragma once

#define SEAM_CTL_VERSION     1
#define SEAM_CTL_SOCKET      "/run/seam/ctl.sock"
#define SEAM_CTL_REQUEST_MAX 65536U /* bytes of one request line, with its end */
