/*
 * What is counted of each packet: by path, and by source, destination and path. Each count is the processor's own.
 */
#ifndef WEFT_COUNT_H
#define WEFT_COUNT_H

#include "lookups.h"

INLINE void add(struct count *count, __u32 packets, __u32 length)
{
	count->packets += packets;
	count->bytes += length;
}

INLINE void count_path(__u32 packets, __u32 path, __u32 length)
{
	struct count *count = lookup(counts, &path);

	if (count)
		add(count, packets, length);
}

#define COUNT_PAIR(map, key) \
	do { \
		struct count *count = lookup(map, key), fresh = {}; \
		if (count) { \
			add(count, h->packets, h->length); \
		} else { \
			add(&fresh, h->packets, h->length); \
			/* If another processor was faster, this one's count is there, and zero. */ \
			bpf_map_update_elem(&map, key, &fresh, BPF_ANY); \
		} \
	} while (0)

/*
 * What is in no prefix of the overlay has many addresses, and is one here: a container that looks for somebody must not
 * fill the map.
 */
INLINE void count_pair(int family, const struct headers *h, __u32 path, int knows_source, int knows_destination)
{
	if (family == 4) {
		struct pair4 pair = {knows_source ? h->source.word[0] : 0, knows_destination ? h->destination.word[0] : 0, path};

		COUNT_PAIR(pairs4, &pair);
	} else {
		struct pair6 pair = {.path = path};

		if (knows_source)
			pair.source = h->source;
		if (knows_destination)
			pair.destination = h->destination;
		COUNT_PAIR(pairs6, &pair);
	}
}

INLINE void tell_sample(struct __sk_buff *skb, int family, const struct headers *h, __u32 path)
{
	struct sample sample = {
		.source = h->source,
		.destination = h->destination,
		.source_port = h->source_port,
		.destination_port = h->destination_port,
		.family = family,
		.protocol = h->protocol,
		.path = path,
		.ifindex = skb->ifindex,
		.length = h->length,
	};

	bpf_ringbuf_output(&samples, &sample, sizeof(sample), 0);
}

/* Of a packet whose addresses were read, and whose source is whose it says; `knows_…`: it is in the overlay. */
INLINE void count(struct __sk_buff *skb, int family, const struct headers *h, const struct settings *s, __u32 path,
		  int knows_source, int knows_destination)
{
	count_path(h->packets, path, h->length);
	count_pair(family, h, path, knows_source, knows_destination);
	if (s->sample && bpf_get_prandom_u32() % s->sample == 0)
		tell_sample(skb, family, h, path);
}

#endif
