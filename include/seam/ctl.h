/* ctl - what seamd and seamctl agree on: one JSON object a line in, one a line out.
 *
 * Request  {"v":1,"cmd":"flows list", ...arguments}
 * Answer   {"v":1,"ok":true,"data":...} or {"v":1,"ok":false,"error":"..."}
 * A watch answers with one line an event until either side closes.
 */
#pragma once

#define SEAM_CTL_VERSION 1
#define SEAM_CTL_SOCKET "/run/seam/ctl.sock"
#define SEAM_CTL_REQUEST_MAX (64 * 1024)	/* bytes of one request line */
