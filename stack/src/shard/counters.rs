//! What a shard counts. One table: the status page and the docs come from it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Name, meaning and value of each.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Frames taken from the card.
    rx_frames,
    /// Bytes of these.
    rx_bytes,
    /// Frames given to the card.
    tx_frames,
    /// Bytes of these.
    tx_bytes,
    /// Packets between two sockets of this region.
    loopback_frames,
    /// Descriptors of a ring that named no frame of ours.
    ring_bad_descriptor,
    /// Frames dropped because none was free for a reply or a copy.
    no_frame,
    /// Frames too short for what they claim, or not IPv4.
    ip_malformed,
    /// IPv4 header checksums that were wrong.
    ip_bad_checksum,
    /// Packets to an address that is not ours.
    ip_not_ours,
    /// Fragments, which we do not put together.
    ip_fragments,
    /// Packets of a protocol that we do not speak.
    ip_other_protocol,
    /// ICMP errors about one of our flows.
    icmp_errors,
    /// ICMP errors that quote what is not outstanding.
    icmp_out_of_window,
    /// Times that a router's word has lowered the MTU of a path.
    path_mtu_lowered,
    /// Segments that tried whether a larger MTU passes.
    path_mtu_probes,
    /// Times that large packets seemed to get lost without a word.
    path_mtu_black_holes,
    /// Packets that waited for the address of a neighbour.
    neighbour_missing,
    /// TCP segments received.
    tcp_segments_in,
    /// TCP segments sent.
    tcp_segments_out,
    /// Segments whose header contradicts itself.
    tcp_malformed,
    /// TCP checksums that were wrong.
    tcp_bad_checksum,
    /// Segments for which there is no socket.
    tcp_no_socket,
    /// Resets sent.
    tcp_resets_out,
    /// Resets received and believed.
    tcp_resets_in,
    /// Segments outside the receive window.
    tcp_out_of_window,
    /// Segments dropped because their timestamp was old (PAWS).
    tcp_old_timestamp,
    /// Segments queued beyond a hole.
    tcp_out_of_order,
    /// Segments beyond a hole that were given up, or not taken, for want of memory.
    tcp_pruned,
    /// ACKs of segments beyond a hole that one at the end of the burst stood for.
    tcp_acks_held,
    /// Segments that brought nothing new.
    tcp_duplicates,
    /// Times that a peer was told of what it had sent twice (D-SACK).
    tcp_duplicates_reported,
    /// Segments sent again.
    tcp_retransmissions,
    /// Times that losses were found out before a timeout.
    tcp_fast_recoveries,
    /// Retransmission timeouts.
    tcp_timeouts,
    /// Of these, those that F-RTO found needless.
    tcp_spurious_timeouts,
    /// Tail loss probes sent.
    tcp_tail_probes,
    /// Reductions of the window that were taken back.
    tcp_undone,
    /// Times that a peer threw away what it had selectively acknowledged.
    tcp_reneged,
    /// Blocks of selective acknowledgements that cannot be meant.
    tcp_bad_sack_blocks,
    /// Probes of a closed window.
    tcp_window_probes,
    /// Keep-alive probes sent.
    tcp_keep_alive_probes,
    /// Challenge ACKs (RFC 5961).
    tcp_challenge_acks,
    /// Segments dropped because nobody read what came before them.
    tcp_receive_full,
    /// Urgent pointers that told something new.
    tcp_urgent,
    /// Segments that came through a congested queue (ECN).
    tcp_congestion_marks,
    /// Connections that we opened.
    connections_opened_active,
    /// Connections that peers opened to us.
    connections_opened_passive,
    /// Connections ended by a reset or a timeout.
    connections_aborted,
    /// Connections given up because the peer did not answer.
    connections_timed_out,
    /// Connections that no program held, ended because there were too many.
    orphans_ended,
    /// TIME_WAIT entries for which there was no room.
    time_wait_overflows,
    /// SYNs dropped because the SYN queue was full.
    syn_queue_overflows,
    /// Final ACKs dropped because the accept queue was full.
    accept_queue_overflows,
    /// SYNs answered by a SYN cookie.
    syn_cookies_sent,
    /// Connections made of a SYN cookie that came back.
    syn_cookies_received,
    /// ACKs to a flooded listener that held no SYN cookie of ours.
    syn_cookies_failed,
    /// Final ACKs put off because of TCP_DEFER_ACCEPT.
    deferred_accepts,
    /// Requests for a Fast Open cookie.
    fast_open_cookies_asked,
    /// Connections made of a SYN by Fast Open.
    fast_open_passive,
    /// SYNs whose Fast Open cookie was wrong, or for whose connection there was no room.
    fast_open_passive_failed,
    /// SYNs by Fast Open while the listener had too many connections of the kind.
    fast_open_overflows,
    /// Connections whose peer took the data of our SYN.
    fast_open_active,
    /// Connections whose peer did not, so that it was sent again.
    fast_open_active_failed,
    /// Calls refused because a table of the region was full.
    table_full,
    /// Bytes that programs handed to us.
    bytes_sent,
    /// Bytes that programs took from us.
    bytes_received,
    /// Times that a dead owner of the lock was replaced.
    recoveries,
    /// Walks that were cut short because links of the region lead nowhere: somebody has written over them.
    region_damaged,
    /// Times that the tables were made anew because of that.
    region_mended,
    /// Work on others' connections that its driver did not live to finish: taken back, the connection goes on.
    turns_taken_back,
    /// Connections reset because their own program died in the middle of changing them.
    connections_lost_by_death,
}
