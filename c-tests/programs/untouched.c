// What shunt leaves to the kernel works as ever: UDP over the device, AF_UNIX with descriptors, socketpair, pipes, IPv6.
// Not accelerated: both (no TCP over the device)
#include "t.h"

static void unix_descriptors(void)
{
    int pair[2], pipes[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    MUST(pipe(pipes));
    char control[CMSG_SPACE(sizeof(int))] = {0}, text[8];
    struct iovec piece = {"fd", 2};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(header), &pipes[1], sizeof(int));
    CALL(sendmsg(pair[0], &message, 0));
    piece = (struct iovec){text, sizeof text};
    CALL(recvmsg(pair[1], &message, 0));
    int passed;
    memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
    CALL(write(passed, "via pipe", 8));
    GOT(read(pipes[0], text, sizeof text), text);
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    CALL(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &credentials, &length));
    say("peer is me: %s", credentials.pid == getpid() ? "yes" : "no");
    CALL(shutdown(pair[0], SHUT_WR));
    CALL(read(pair[1], text, sizeof text));
}

static void unix_listener(void)
{
    struct sockaddr abstract = {.sa_family = AF_UNIX};
    snprintf(abstract.sa_data, sizeof abstract.sa_data, "%ct%d", 0, port(0));
    int listening = (int)MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0)), fd = (int)MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    CALL(bind(listening, &abstract, sizeof abstract));
    CALL(listen(listening, 3));
    CALL(connect(fd, &abstract, sizeof abstract));
    int accepted = OPEN(accept(listening, NULL, NULL));
    char text[8];
    CALL(send(fd, "packet", 6, MSG_EOR));
    GOT(recv(accepted, text, sizeof text, 0), text);
}

static void ipv6_loopback(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(port(4))};
    int listening = OPEN(socket(AF_INET6, SOCK_STREAM, 0)), fd = OPEN(socket(AF_INET6, SOCK_STREAM, 0));
    CALL(bind(listening, SA(address), sizeof address));
    CALL(listen(listening, 3));
    CALL(connect(fd, SA(address), sizeof address));
    int accepted = OPEN(accept(listening, NULL, NULL));
    char text[8];
    CALL(send(fd, "six", 3, 0));
    GOT(recv(accepted, text, sizeof text, 0), text);
}

void server(void)
{
    int udp = OPEN(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in address = server_at(0), from;
    socklen_t length = sizeof from;
    CALL(bind(udp, SA(address), sizeof address));
    step("bound");
    char text[16];
    GOT(recvfrom(udp, text, sizeof text, 0, SA(from), &length), text);
    say("from %s", inet_ntoa(from.sin_addr));
    GOT(recvfrom(udp, text, 3, MSG_TRUNC, NULL, NULL), text);
    CALL(sendto(udp, "answer", 6, 0, SA(from), length));
    unix_descriptors();
    unix_listener();
    ipv6_loopback();
}

void client(void)
{
    step("bound");
    int udp = OPEN(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in address = server_at(0);
    CALL(connect(udp, SA(address), sizeof address));
    CALL(send(udp, "datagram", 8, 0));
    CALL(send(udp, "truncated", 9, 0));
    char text[16];
    GOT(recv(udp, text, sizeof text, 0), text);
    unix_descriptors();
    unix_listener();
    ipv6_loopback();
}
