/*
 * The fast way of the overlay's packets, around bridges, routing, netfilter and the VXLAN device. Three programs at
 * ingress: of each container's veth, of the VXLAN device, and of the underlay.
 *
 * They decide nothing that the plain kernel below them does not decide too. What they do not understand, do not know, or
 * must not let through they leave to it: nothing here drops a packet because of what it is. docs/packet-paths.md shows
 * the ways, docs/decisions/0041 and 0042 say why.
 */
#include "count.h"

#define ETHERNET sizeof(struct ethhdr)
/* Ethernet, IPv4, UDP, VXLAN: what is put before an inner Ethernet frame. */
#define OVERHEAD (ETHERNET + sizeof(struct iphdr) + sizeof(struct udphdr) + sizeof(struct vxlan))
#define OUTER_TTL 64
#define IP_LENGTH_MAX 65535

struct vxlan {
	__u32 flags, vni;
};
#define VXLAN_HAS_VNI htonl(0x08000000)

/* A frame for this host that is no VLAN's. */
INLINE int is_plain_frame(struct __sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST && !skb->vlan_present;
}

INLINE int leave_unread(struct __sk_buff *skb, __u32 why)
{
	count_path(packets_of(skb), why, skb->len - ETHERNET);
	return TO_KERNEL;
}

/* Straight into the container's namespace, as if it came by its veth: no queue and no second softirq between. */
INLINE int deliver(struct __sk_buff *skb, int family, struct ethhdr *frame, const struct local *to,
		   const struct settings *s)
{
	take_hop(skb, family, frame + 1);
	copy(frame->h_dest, to->mac, ETH_ALEN);
	copy(frame->h_source, s->gateway_mac, ETH_ALEN);
	return bpf_redirect_peer(to->ifindex, 0);
}

/* ---- from a container ------------------------------------------------------------------------------------------- */

/* Level 1: the VXLAN device encapsulates; its neighbour entry says for whom. */
INLINE int by_tunnel(int family, const struct peer *peer, const struct settings *s)
{
	struct bpf_redir_neigh neighbor = {.nh_family = family == 4 ? 2 /* AF_INET */ : 10 /* AF_INET6 */};

	if (family == 4)
		neighbor.ipv4_nh = peer->neighbor.word[0];
	else
		copy(neighbor.ipv6_nh, &peer->neighbor, sizeof(neighbor.ipv6_nh));
	return bpf_redirect_neigh(s->tunnel, &neighbor, sizeof(neighbor), 0);
}

INLINE __u16 checksum_of(const __u16 *words, int count)
{
	__u32 sum = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < count; i++)
		sum += words[i];
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	return ~sum;
}

/*
 * Level 2. The flags of adjust_room: the three ENCAP make the packet a UDP tunnel's with an inner Ethernet frame, which a
 * device that knows these splits as it is, and the kernel for one that does not; FIXED_GSO leaves the length of segments
 * alone, which would otherwise shrink by the header and grow again where it is taken off (and UDP segmentation is refused).
 *
 * The kernel refuses what is a tunnel's already and has yet to be split or summed up, as a container's own VXLAN sends it.
 */
INLINE int make_room(struct __sk_buff *skb)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
			    BPF_F_ADJ_ROOM_ENCAP_L2(ETHERNET) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;

	return !bpf_skb_adjust_room(skb, OVERHEAD, BPF_ADJ_ROOM_MAC, flags);
}

/* Writes the header where there is room for it. `hash`: of the inner connection. */
INLINE int encapsulate(struct __sk_buff *skb, int family, const struct headers *h, __u32 hash, const struct peer *peer,
		       const struct settings *s)
{
	struct bpf_redir_neigh next = {.nh_family = 2 /* AF_INET */, .ipv4_nh = peer->node};
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *outer = data, *inner;
	struct iphdr *ip = data + ETHERNET;
	struct udphdr *udp = (void *)(ip + 1);
	struct vxlan *vxlan = (void *)(udp + 1);
	__u16 length = skb->len - ETHERNET;

	inner = (void *)(vxlan + 1);
	if ((void *)(inner + 1) + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > end)
		return DISCARD;
	outer->h_proto = htons(ETH_P_IP);
	*(__u8 *)ip = 0x45;
	/* The inner class stays inside. That congestion may be marked is told outside, a mark itself stays (RFC 3168 §9.1.1). */
	ip->tos = h->ecn == ECN_CONGESTED ? ECT_0 : h->ecn;
	ip->tot_len = htons(length);
	ip->id = 0;
	ip->frag_off = htons(0x4000); /* it fits: the peer is on the link, and the size was compared */
	ip->ttl = OUTER_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = s->node;
	ip->daddr = peer->node;
	ip->check = checksum_of((__u16 *)ip, sizeof(*ip) / 2);
	/* Another source port for each inner connection, so that several paths and queues are used. */
	udp->source = htons(49152 | ((hash ^ hash >> 16) & 0x3fff));
	udp->dest = htons(TUNNEL_PORT);
	udp->len = htons(length - sizeof(*ip));
	udp->check = 0; /* the inner checksums stay (RFC 7348 §5) */
	vxlan->flags = VXLAN_HAS_VNI;
	vxlan->vni = s->vni;
	copy(inner->h_dest, peer->mac, ETH_ALEN);
	copy(inner->h_source, s->tunnel_mac, ETH_ALEN);
	inner->h_proto = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
	take_hop(skb, family, inner + 1);
	return bpf_redirect_neigh(s->underlay, &next, sizeof(next), 0);
}

/* How a packet of this container's goes on: an enum path. One of `to` and `peer` is set where it is not the kernel's. */
INLINE __u32 decide(int family, const struct headers *h, const struct settings *s, const struct local *from,
		    const struct local *to, const struct peer *peer)
{
	if (from->kernel)
		return from->kernel;
	if (is_forbidden(family, h))
		return FORBIDDEN_PORT;
	if (!to && !peer)
		return OUTSIDE;
	if (to && to->kernel)
		return to->kernel;
	if (is_guarded(family, h, s))
		return GUARDED;
	if (is_translated(family, h, s))
		return TRANSLATED;
	if (!may_talk(from->group, to ? to->group : peer->group))
		return BETWEEN_NETWORKS;
	if (h->size > (to ? to->mtu : s->mtu) || h->length + OVERHEAD > IP_LENGTH_MAX)
		return TOO_BIG;
	return to ? PATH_SAME_HOST : peer->level < 2 ? PATH_TUNNEL : PATH_ENCAPSULATED;
}

/* As a number of its own: of two pointers the compiler would ask at once, by bits, which no verifier lets it. */
INLINE int is_there(const void *found)
{
	int yes = found != 0;

	asm volatile("" : "+r"(yes));
	return yes;
}

INLINE int from_container(struct __sk_buff *skb, int family, const struct settings *s)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct headers h = {.length = skb->len - ETHERNET, .packets = packets_of(skb)};
	struct ethhdr *frame = data;
	const struct local *from, *to;
	const struct peer *peer;
	__u32 path, hash = 0;
	int is_known;

	if ((void *)(frame + 1) > end)
		return leave_unread(skb, NOT_PLAIN);
	path = read_packet(skb, family, frame + 1, end, &h);
	from = local_of(family, &h.source);
	if (!from || from->ifindex != skb->ifindex || !same_mac(frame->h_source, from->mac))
		return leave_unread(skb, NOT_OWN_SOURCE);
	to = local_of(family, &h.destination);
	peer = to ? 0 : peer_of(family, &h.destination, s);
	is_known = peer ? 1 : is_there(to);
	if (!path)
		path = decide(family, &h, s, from, to, peer);
	if (path == PATH_ENCAPSULATED) {
		hash = bpf_get_hash_recalc(skb);
		if (!make_room(skb))
			path = NOT_PLAIN;
	}
	count(skb, family, &h, s, path, 1, is_known);
	if (path == OUTSIDE)
		remember_if_special(family, &h, s);
	if (path == PATH_SAME_HOST && to)
		return deliver(skb, family, frame, to, s);
	if (path > PATH_ENCAPSULATED || !peer)
		return TO_KERNEL;
	if (path == PATH_ENCAPSULATED)
		return encapsulate(skb, family, &h, hash, peer, s);
	take_hop(skb, family, frame + 1);
	return by_tunnel(family, peer, s);
}

SECTION("program/container") int container(struct __sk_buff *skb)
{
	const struct settings *s = read_settings();

	if (!s || !is_plain_frame(skb))
		return leave_unread(skb, NOT_IP);
	if (skb->protocol == htons(ETH_P_IP))
		return from_container(skb, 4, s);
	if (skb->protocol == htons(ETH_P_IPV6))
		return from_container(skb, 6, s);
	return leave_unread(skb, NOT_IP);
}

/* ---- from other hosts ------------------------------------------------------------------------------------------- */

/* Why a packet from another host is the kernel's, or 0. `node`: who sent it, where that is known. */
INLINE __u32 refusal(int family, const struct headers *h, const struct settings *s, const struct local *to,
		     const struct peer *peer, __u32 node)
{
	if (!to || !peer)
		return OUTSIDE;
	if (node && peer->node != node)
		return STRANGER;
	if (to->kernel)
		return to->kernel;
	if (is_forbidden(family, h))
		return FORBIDDEN_PORT;
	if (is_guarded(family, h, s))
		return GUARDED;
	if (is_translated(family, h, s))
		return TRANSLATED;
	if (!may_talk(peer->group, to->group))
		return BETWEEN_NETWORKS;
	return h->size > to->mtu ? TOO_BIG : 0;
}

/*
 * A driver may have left all but the Ethernet header in pages; then direct reads need it copied. `needed` is read of every
 * packet, of TCP twelve bytes more. No more is asked for: what is left in pages by itself is what is carried, and costs.
 */
INLINE int has_linear(struct __sk_buff *skb, __u32 needed)
{
	__u32 all = needed + sizeof(struct tcphdr) - sizeof(struct udphdr);

	if ((void *)(long)skb->data + needed <= (void *)(long)skb->data_end)
		return 1;
	return !bpf_skb_pull_data(skb, skb->len < all ? skb->len : all);
}

INLINE __u32 headers_of(int family)
{
	return ETHERNET + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + sizeof(struct udphdr);
}

/* Level 1: the kernel has taken the header off, and looked at who sent it (the chain `tunnel` of ip weft). */
INLINE int from_tunnel(struct __sk_buff *skb, int family, const struct settings *s)
{
	struct headers h = {.length = skb->len - ETHERNET, .packets = packets_of(skb)};
	const struct peer *peer;
	const struct local *to;
	struct ethhdr *frame;
	void *end;
	__u32 why;

	if (!has_linear(skb, headers_of(family)))
		return leave_unread(skb, NOT_PLAIN);
	frame = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if ((void *)(frame + 1) > end)
		return leave_unread(skb, NOT_PLAIN);
	why = read_packet(skb, family, frame + 1, end, &h);
	to = local_of(family, &h.destination);
	peer = peer_of(family, &h.source, s);
	if (!why)
		why = refusal(family, &h, s, to, peer, 0);
	count(skb, family, &h, s, why ? why : PATH_TUNNEL, is_there(peer), is_there(to));
	if (why == OUTSIDE)
		remember_if_special(family, &h, s);
	return why || !to ? TO_KERNEL : deliver(skb, family, frame, to, s);
}

SECTION("program/tunnel") int tunnel(struct __sk_buff *skb)
{
	const struct settings *s = read_settings();

	if (!s || !is_plain_frame(skb))
		return leave_unread(skb, NOT_IP);
	if (skb->protocol == htons(ETH_P_IP))
		return from_tunnel(skb, 4, s);
	if (skb->protocol == htons(ETH_P_IPV6))
		return from_tunnel(skb, 6, s);
	return leave_unread(skb, NOT_IP);
}

/* What the underlay said by a mark must get inside (RFC 6040): the kernel writes it there. */
INLINE int leave_marked(struct __sk_buff *skb)
{
	count_path(packets_of(skb), CONGESTED, skb->len - OVERHEAD - ETHERNET);
	return TO_KERNEL;
}

/*
 * Level 2: takes the tunnel's header off. What is not delivered here goes on unchanged to the kernel's VXLAN device, where
 * it is counted, so that here only the reasons are counted that nobody sees there.
 *
 * The flags of adjust_room: FIXED_GSO as above; NO_CSUM_RESET, because one level of what the network card verified is taken
 * off by itself (bpf_csum_level), and the inner checksum may be verified too; DECAP_L3_IPV6 makes the packet IPv6.
 */
INLINE int from_underlay(struct __sk_buff *skb, int family, const struct settings *s, __u32 node, __u8 ecn)
{
	struct headers h = {.length = skb->len - OVERHEAD - ETHERNET, .packets = packets_of(skb)};
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	const struct local *to;
	struct ethhdr *frame;
	void *end;
	__u32 why;

	if (!has_linear(skb, OVERHEAD + headers_of(family)))
		return TO_KERNEL;
	frame = (void *)(long)skb->data + OVERHEAD;
	end = (void *)(long)skb->data_end;
	if ((void *)(frame + 1) > end || read_packet(skb, family, frame + 1, end, &h))
		return TO_KERNEL;
	to = local_of(family, &h.destination);
	why = refusal(family, &h, s, to, to ? peer_of(family, &h.source, s) : 0, node);
	if (why == STRANGER)
		count_path(h.packets, STRANGER, h.length);
	if (why || !to)
		return TO_KERNEL;
	if (ecn == ECT_1 && h.ecn == ECT_0)
		return leave_marked(skb);
	/* Datagrams as one are split at the socket, where the kernel must not take them for a tunnel's any more. */
	if (skb->gso_size && h.protocol == IPPROTO_UDP)
		return TO_KERNEL;
	if (family == 6)
		flags |= BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
	/* A packet that stands for many is not always one that this can be done to; then it is as it was. */
	if (bpf_skb_adjust_room(skb, -(__s32)OVERHEAD, BPF_ADJ_ROOM_MAC, flags))
		return TO_KERNEL;
	count(skb, family, &h, s, PATH_ENCAPSULATED, 1, 1);
	bpf_csum_level(skb, BPF_CSUM_LEVEL_DEC);
	frame = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if ((void *)(frame + 1) + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > end)
		return DISCARD;
	frame->h_proto = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
	return deliver(skb, family, frame, to, s);
}

/* UDP for the tunnel's port of this host. Whatever else is odd about it the kernel judges. */
INLINE int is_tunnel_packet(struct __sk_buff *skb, const struct settings *s)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETHERNET;
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end)
		return 0;
	return *(__u8 *)ip == 0x45 && ip->protocol == IPPROTO_UDP && udp->dest == htons(TUNNEL_PORT) &&
	       ip->daddr == s->node && !(ip->frag_off & htons(0x3fff)) && ntohs(ip->tot_len) == skb->len - ETHERNET &&
	       ntohs(udp->len) == skb->len - ETHERNET - sizeof(*ip);
}

SECTION("program/underlay") int underlay(struct __sk_buff *skb)
{
	const struct settings *s = read_settings();

	if (!s || skb->protocol != htons(ETH_P_IP) || !is_plain_frame(skb) || !has_linear(skb, headers_of(4)) ||
	    !is_tunnel_packet(skb, s))
		return TO_KERNEL;
	if (!has_linear(skb, OVERHEAD + headers_of(4)))
		return TO_KERNEL;

	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETHERNET;
	struct vxlan *vxlan = data + headers_of(4);
	struct ethhdr *frame = (void *)(vxlan + 1);

	if ((void *)(frame + 1) > end || vxlan->flags != VXLAN_HAS_VNI || vxlan->vni != s->vni ||
	    !same_mac(frame->h_dest, s->tunnel_mac))
		return TO_KERNEL;
	if ((ip->tos & ECN_MASK) == ECN_CONGESTED)
		return leave_marked(skb);
	if (frame->h_proto == htons(ETH_P_IP))
		return from_underlay(skb, 4, s, ip->saddr, ip->tos & ECN_MASK);
	if (frame->h_proto == htons(ETH_P_IPV6) && s->has & DECAPSULATES_IPV6)
		return from_underlay(skb, 6, s, ip->saddr, ip->tos & ECN_MASK);
	return TO_KERNEL;
}
