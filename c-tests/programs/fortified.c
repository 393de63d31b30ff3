// The checked variants that _FORTIFY_SOURCE turns read, recv, recvfrom, poll and ppoll into work as the plain ones.
#define _FORTIFY_SOURCE 2
#include "t.h"

// A length that the compiler does not know keeps the check in.
static volatile size_t four = 4;
static volatile nfds_t one_descriptor = 1;

static void active(int fd)
{
    char text[16];
    struct pollfd one[2] = {{.fd = fd, .events = POLLIN}};
    CALL(poll(one, one_descriptor, 10000));
    await_queued(fd, 12);
    GOT(read(fd, text, four), text);
    GOT(recv(fd, text, four, 0), text);
    CALL(ppoll(one, one_descriptor, NULL, NULL));
    GOT(recvfrom(fd, text, four, 0, NULL, NULL), text);
    CALL(poll(one, one_descriptor, 0));
    CALL(recv(fd, text, four, MSG_DONTWAIT));
}

static void passive(int fd) { send_all(fd, "abcdefghijkl", 12); }

EACH_SIDE(active, passive)
