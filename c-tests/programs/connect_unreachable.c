// No route: ENETUNREACH at once. No such neighbour: EALREADY meanwhile, EHOSTUNREACH in the end.
// Not accelerated: both (no TCP segment ever arrives)
#include "t.h"

void server(void) {}

void client(void)
{
    struct sockaddr_in nowhere = at("192.0.2.1", 80), nobody = nobody_at(80);
    int fd = tcp_socket();
    CALL(connect(fd, SA(nowhere), sizeof nowhere));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    set_nonblocking(fd, true);
    CALL(connect(fd, SA(nowhere), sizeof nowhere));
    CALL(connect(fd, SA(nobody), sizeof nobody));
    CALL(connect(fd, SA(nobody), sizeof nobody));
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    CALL(poll(&one, 1, 0));
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    CALL(send(fd, "x", 1, 0));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));

    int blocking = tcp_socket();
    CALL(connect(blocking, SA(nobody), sizeof nobody));
    say("the other: %s", poll_bits(await(fd, POLLOUT)));
    CALL(connect(fd, SA(nobody), sizeof nobody));
}
