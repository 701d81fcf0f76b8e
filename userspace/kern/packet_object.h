/* packet_object - what the parts of packet share: the loaded programs, and where they are attached. */
#pragma once
#include <pthread.h>
#include "kern/packet.h"

#define PACKET_PATH_BYTES 192
#define PACKET_FOLDER     "packet_v" /* in pin_dir, with SEAM_ABI_VERSION; bpffs knows no dots */
#define PACKET_LINK       "tcx_"     /* name of a pinned link, with the index of the interface */

#define PACKET_WANTED_MAX 8

enum packet_point { PACKET_INGRESS, PACKET_EGRESS };

/* A program at the ingress of an interface, or at its egress, where it matters to the sockets of this process only:
 * it is not pinned. */
struct packet_hook {
	int interface;
	enum packet_point point;
	int err;     /* -errno: it could not be attached in the background */
	int link_fd; /* tcx; -1: a filter of clsact */
};

struct packet {
	pthread_mutex_t lock; /* of all that follows but what is constant after packet_load() */
	struct packet_bpf *skel;
	struct seam_pair *pairs; /* seam_pairs, mapped */
	size_t pairs_bytes;
	uint32_t count, used;
	uint32_t *free; /* ring of count indexes: the one that was free longest is used first */
	uint32_t free_first, free_count;
	int halves_fd, labels_fd, offers_fd;
	int raw4, raw6;              /* to send RST */
	char dir[PACKET_PATH_BYTES]; /* of the pins, "" for none */
	struct packet_hook *hooks;
	size_t hook_count;
	int dir_fd;  /* of the folder around @dir, locked: somebody has it; -1: none */
	bool no_tcx; /* the kernel says so */
	bool detached;
	struct {
		pthread_t thread;
		pthread_cond_t wake;
		bool runs, stops;
		int wanted[PACKET_WANTED_MAX]; /* interfaces */
		size_t count;
	} attacher; /* packet_attacher.c */
};

/* packet_pins.c */
/* Maps that are pinned become those of the object, which is not loaded yet: 1, or 0 if there are none fit. */
/* @pairs: as many are wanted, if none is taken. */
int packet_pins_adopt(struct packet *packet, const char *pin_dir, uint32_t pairs);
int packet_pins_make(struct packet *packet, char *reason);
void packet_pins_remove(const struct packet *packet);
/* All in @pin_dir, of any version and any namespace; what clsact has is left alone. */
void packet_pins_drop(const char *pin_dir);
int packet_failed(char *reason, const char *step, int err);

/* packet_attach.c; the lock is held */
int packet_hook_add(struct packet *packet, int interface, enum packet_point point);
/* NULL: nobody has tried. */
struct packet_hook *packet_hook_find(struct packet *packet, int interface, enum packet_point point);
/* Whether tc serves such an interface: 0 or -errno. */
int packet_hook_fits(const struct packet *packet, int interface);
/* So that nobody tries again in the background. */
void packet_hook_failed(struct packet *packet, int interface, int err);
/* Where an earlier process attached its programs, ours take their place. */
void packet_hooks_adopt(struct packet *packet);
/* @detach: those that are pinned too. */
void packet_hooks_free(struct packet *packet, bool detach);
/* What programs of other versions are attached to. */
void packet_hooks_remove(void);

/* packet_attacher.c; without the lock */
void packet_attacher_stop(struct packet *packet);
