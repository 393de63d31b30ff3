// Nobody listens: ECONNREFUSED, blocking and not, what poll and SO_ERROR say, and the socket connects afterwards.
#include "t.h"

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    for (int i = 0; i < 2; i++) {
        int fd = accept_one(listening);
        char text[8];
        GOT(read(fd, text, sizeof text), text);
        close(fd);
    }
    step("spoken");
}

void client(void)
{
    step("listening");
    struct sockaddr_in closed = server_at(1), open = server_at(0);

    int fd = tcp_socket();
    CALL(connect(fd, SA(closed), sizeof closed));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    char byte;
    CALL(recv(fd, &byte, 1, MSG_DONTWAIT));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    CALL(connect(fd, SA(closed), sizeof closed));
    CALL(connect(fd, SA(open), sizeof open));
    CALL(send(fd, "first", 5, 0));
    close(fd);

    fd = tcp_socket();
    set_nonblocking(fd, true);
    CALL(connect(fd, SA(closed), sizeof closed));
    say("then: %s", poll_bits(await(fd, POLLIN | POLLOUT | POLLRDHUP)));
    say("SO_ERROR %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    say("SO_ERROR again %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
    CALL(connect(fd, SA(closed), sizeof closed));
    await(fd, POLLOUT);
    CALL(recv(fd, &byte, 1, 0));
    CALL(recv(fd, &byte, 1, 0));

    int again = tcp_socket();
    set_nonblocking(again, true);
    CALL(connect(again, SA(closed), sizeof closed));
    await(again, POLLOUT);
    CALL(connect(again, SA(open), sizeof open));
    CALL(connect(again, SA(open), sizeof open));
    await(again, POLLOUT);
    CALL(send(again, "second", 6, 0));
    close(again);
    close(fd);
    step("spoken");
}
