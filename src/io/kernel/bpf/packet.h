/*
 * A packet's headers, read once. Every function takes the family as a constant and is inlined, so that each program is
 * compiled for IPv4 and for IPv6 from the same lines.
 *
 * Only the plain case is understood: TCP or UDP, no fragment, no option, no extension header, lengths that agree. All
 * else is the kernel's, which answers with ICMP, puts together, refuses or drops as it does without programs.
 */
#ifndef WEFT_PACKET_H
#define WEFT_PACKET_H

#include "maps.h"

#define TUNNEL_PORT 64000
/* ECN, RFC 3168 */
#define ECN_MASK 3
#define ECT_1 1
#define ECT_0 2
#define ECN_CONGESTED 3

struct headers {
	struct address6 source, destination; /* of IPv4 only the first word */
	__u16 source_port, destination_port; /* network order */
	__u8 protocol, ecn;
	__u32 length;  /* of the whole packet from its IP header on */
	__u32 size;    /* of the longest packet that it becomes on the wire, if it is one of many */
	__u32 packets; /* how many; the kernel forgets it when it makes or takes room */
};

INLINE __u32 packets_of(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* In one unaligned pair of loads each. */
INLINE int same_mac(const __u8 *a, const __u8 *b)
{
	return *(__u32 *)a == *(__u32 *)b && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}

INLINE int read_transport(struct __sk_buff *skb, void *transport, void *end, __u32 before, struct headers *h)
{
	struct tcphdr *tcp = transport;
	struct udphdr *udp = transport;
	__u32 header = sizeof(*udp);

	if (h->protocol != IPPROTO_TCP && h->protocol != IPPROTO_UDP)
		return NOT_TCP_UDP;
	if (transport + sizeof(*udp) > end)
		return NOT_PLAIN;
	h->source_port = udp->source;
	h->destination_port = udp->dest;
	if (h->protocol == IPPROTO_TCP) {
		if (transport + sizeof(*tcp) > end)
			return NOT_PLAIN;
		header = tcp->doff * 4;
	}
	h->size = skb->gso_size ? before + header + skb->gso_size : h->length;
	return 0;
}

INLINE int read_ip4(struct __sk_buff *skb, void *network, void *end, struct headers *h)
{
	struct iphdr *ip = network;

	if (network + sizeof(*ip) > end)
		return NOT_PLAIN;
	h->source.word[0] = ip->saddr;
	h->destination.word[0] = ip->daddr;
	h->protocol = ip->protocol;
	h->ecn = ip->tos & ECN_MASK;
	/* Version 4 without options, neither a fragment nor the first of several, and not at the end of its way. */
	if (*(__u8 *)network != 0x45 || (ip->frag_off & htons(0x3fff)) || ip->ttl <= 1)
		return NOT_PLAIN;
	if (ntohs(ip->tot_len) != h->length)
		return NOT_PLAIN;
	return read_transport(skb, network + sizeof(*ip), end, sizeof(*ip), h);
}

INLINE int read_ip6(struct __sk_buff *skb, void *network, void *end, struct headers *h)
{
	struct ipv6hdr *ip = network;

	if (network + sizeof(*ip) > end)
		return NOT_PLAIN;
	copy(&h->source, &ip->saddr, sizeof(h->source));
	copy(&h->destination, &ip->daddr, sizeof(h->destination));
	h->protocol = ip->nexthdr;
	h->ecn = ip->flow_lbl[0] >> 4 & ECN_MASK;
	if (ip->version != 6 || ip->hop_limit <= 1 || ntohs(ip->payload_len) + sizeof(*ip) != h->length)
		return NOT_PLAIN;
	return read_transport(skb, network + sizeof(*ip), end, sizeof(*ip), h);
}

/* Reads what is at `network`; 0, or why it is the kernel's. `h->length` is what the packet has from there on. */
INLINE int read_packet(struct __sk_buff *skb, int family, void *network, void *end, struct headers *h)
{
	return family == 4 ? read_ip4(skb, network, end, h) : read_ip6(skb, network, end, h);
}

/*
 * One hop less, and IPv4's checksum with it (RFC 1624: the high byte of that word is one less). What a network card, or the
 * kernel for the tunnel, summed up of the whole packet stays right by that; IPv6 has none, so there that sum changes.
 */
INLINE void take_hop(struct __sk_buff *skb, int family, void *network)
{
	if (family == 4) {
		struct iphdr *ip = network;
		__u32 sum = ip->check + htons(0x0100);

		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		((struct ipv6hdr *)network)->hop_limit--;
		bpf_csum_update(skb, htons(0xfffe)); /* the low byte of its word is one less; nothing where there is no sum */
	}
}

/* Ports that a container would pose as a DHCP server or as a node by: the table at ingress drops them (ingress.ts). */
INLINE int is_forbidden(int family, const struct headers *h)
{
	if (h->protocol != IPPROTO_UDP)
		return 0;
	if (h->destination_port == htons(TUNNEL_PORT))
		return 1;
	return family == 4 ? h->source_port == htons(67) || h->destination_port == htons(68)
			   : h->source_port == htons(547) || h->destination_port == htons(546);
}

#endif
