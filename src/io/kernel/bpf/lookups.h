/*
 * What the maps say of an address, by family.
 */
#ifndef WEFT_LOOKUPS_H
#define WEFT_LOOKUPS_H

#include "packet.h"

#define BY_FAMILY(map, address) (family == 4 ? lookup(map##4, (address)->word) : lookup(map##6, address))

INLINE struct local *local_of(int family, const struct address6 *address)
{
	return BY_FAMILY(locals, address);
}

/* The longest prefix that holds the address: one lookup for each length that there is, mostly one. */
INLINE struct peer *peer_of(int family, const struct address6 *address, const struct settings *s)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < LENGTHS; i++) {
		struct peer *found;

		if (family == 4) {
			struct prefix4 key = {s->length4[i], address->word[0] & s->mask4[i]};

			if (key.length == 0)
				return 0;
			found = lookup(peers4, &key);
		} else {
			struct prefix6 key = {.length = s->length6[i]};

			if (key.length == 0)
				return 0;
			for (int w = 0; w < 4; w++)
				key.address.word[w] = address->word[w] & s->mask6[i].word[w];
			found = lookup(peers6, &key);
		}
		if (found)
			return found;
	}
	return 0;
}

INLINE int may_talk(__u32 from, __u32 to)
{
	struct groups key = {from, to};

	return from == to || lookup(talk, &key);
}

INLINE int is_guarded(int family, const struct headers *h, const struct settings *s)
{
	return s->has & HAS_GUARDED && (BY_FAMILY(guarded, &h->source) || BY_FAMILY(guarded, &h->destination));
}

/* To a container's end of a connection whose other end may have been translated. */
INLINE int is_translated(int family, const struct headers *h, const struct settings *s)
{
	if (!(s->has & HAS_SPECIAL))
		return 0;
	if (family == 4) {
		struct end4 end = {h->destination.word[0], h->destination_port, h->protocol};

		return lookup(translated4, &end) != 0;
	}
	struct end6 end = {h->destination, h->destination_port, h->protocol};

	return lookup(translated6, &end) != 0;
}

/* Whoever speaks to a special address may get the answer from another one (docs/decisions/0041). */
INLINE void remember_if_special(int family, const struct headers *h, const struct settings *s)
{
	__u8 yes = 1;

	if (!(s->has & HAS_SPECIAL) || !BY_FAMILY(special, &h->destination))
		return;
	if (family == 4) {
		struct end4 end = {h->source.word[0], h->source_port, h->protocol};

		if (!lookup(translated4, &end))
			bpf_map_update_elem(&translated4, &end, &yes, BPF_ANY);
	} else {
		struct end6 end = {h->source, h->source_port, h->protocol};

		if (!lookup(translated6, &end))
			bpf_map_update_elem(&translated6, &end, &yes, BPF_ANY);
	}
}

#endif
