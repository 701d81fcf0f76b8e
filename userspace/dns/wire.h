/* wire - numbers in network order, of any alignment; and the bits of a header's second pair of bytes. */
#pragma once
#include <stdint.h>

#define WIRE_QR     0x8000U
#define WIRE_OPCODE 0x7800U
#define WIRE_TC     0x0200U
#define WIRE_RD     0x0100U
#define WIRE_RA     0x0080U
#define WIRE_AD     0x0020U
#define WIRE_CD     0x0010U
#define WIRE_RCODE  0x000fU

static inline uint16_t wire_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t wire_get32(const uint8_t *at)
{
	return (uint32_t)wire_get16(at) << 16 | wire_get16(at + 2);
}

static inline void wire_put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void wire_put32(uint8_t *at, uint32_t value)
{
	wire_put16(at, value >> 16);
	wire_put16(at + 2, value);
}

/* The length of a label is below every letter, so a whole name may go through this. */
static inline uint8_t wire_lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
}
