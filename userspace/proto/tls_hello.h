/* tls_hello - the ClientHello (RFC 8446 4.1.2) at the head of a stream, also in several records. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "proto/sniff.h"

struct tls_hello {
	size_t bytes;      /* of the stream, up to the end of the record that ends the hello */
	size_t sni_offset; /* of the server name in the stream, 0: none; */
	size_t sni_len;    /* counted in the stream: with the headers of records that cut it */
	size_t records;
	char domain[SNIFF_DOMAIN_MAX]; /* the name, as by sniff_domain(); "" */
};

/* SNIFF_MORE while it is not whole; SNIFF_NO: not one. */
enum sniff_result tls_hello_parse(const uint8_t *data, size_t len, struct tls_hello *ret);
