/* form - what strings of some kinds must look like. Each says what is wrong with @text, or NULL. */
#pragma once

const char *form_tag(const char *text);
const char *form_interface(const char *text);
const char *form_socket(const char *text); /* the path of one */
const char *form_netns(const char *text);  /* a name below /run/netns, or an absolute path */
const char *form_host(const char *text);   /* an IP address or a domain name */
