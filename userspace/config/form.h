/* form - what strings of some kinds must look like. Each says what is wrong with @text, or NULL. */
#pragma once

const char *form_tag(const char *text);
const char *form_interface(const char *text);
const char *form_socket(const char *text); /* the path of one */
const char *form_netns(const char *text);  /* a name below /run/netns, or an absolute path */
const char *form_host(const char *text);   /* an IP address or a domain name */
const char *form_domain(const char *text); /* a domain name */
const char *form_suffix(const char *text); /* one that may have a dot in front */
const char *form_keyword(const char *text);
const char *form_regex(const char *text); /* only that there is one */
const char *form_path(const char *text);
const char *form_login(const char *text);
const char *form_flow(const char *text);
const char *form_url(const char *text); /* http:// only */
const char *form_header_name(const char *text);
const char *form_header_value(const char *text);
