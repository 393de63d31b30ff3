// shutdown() in every state: fresh, listening, connected, both ways, again, and with a wrong direction.
#include "t.h"

static void active(int fd)
{
    CALL(shutdown(fd, 3));
    CALL(shutdown(fd, -1));
    CALL(shutdown(fd, SHUT_RDWR));
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    CALL(send(fd, &byte, 1, MSG_NOSIGNAL));
    CALL(shutdown(fd, SHUT_WR));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CALL(getpeername(fd, SA(peer), &length));
    step("both ways");
    step("peer too");
    say("poll: %s", poll_bits(await(fd, POLLHUP)));
    CALL(shutdown(fd, SHUT_RDWR));
    CALL(shutdown(fd, SHUT_RD));
    CALL(getpeername(fd, SA(peer), &length));
    CALL(recv(fd, &byte, 1, 0));

    int fresh = tcp_socket();
    CALL(shutdown(fresh, SHUT_RDWR));
    CALL(shutdown(fresh, SHUT_RD));
    CALL(shutdown(fresh, 7));
    struct pollfd one = {.fd = fresh, .events = POLLIN | POLLOUT | POLLRDHUP};
    CALL(poll(&one, 1, 0));
    say("fresh: %s", poll_bits(one.revents));
    CALL(shutdown(-1, SHUT_RD));

    int listening = tcp_socket();
    CALL(listen(listening, 5));
    CALL(shutdown(listening, SHUT_WR));
    set_nonblocking(listening, true);
    CALL(accept(listening, NULL, NULL));
    CALL(shutdown(listening, SHUT_RD));
    CALL(accept(listening, NULL, NULL));
    one.fd = listening;
    CALL(poll(&one, 1, 0));
    say("listener shut: %s", poll_bits(one.revents));
    CALL(listen(listening, 5));
    CALL(accept(listening, NULL, NULL));
}

static void passive(int fd)
{
    char byte;
    step("both ways");
    CALL(recv(fd, &byte, 1, 0));
    CALL(shutdown(fd, SHUT_WR));
    await_acknowledged(fd);
    settle();
    step("peer too");
    CALL(shutdown(fd, SHUT_RDWR));
}

EACH_SIDE(active, passive)
