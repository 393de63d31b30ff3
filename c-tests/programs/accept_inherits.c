// What an accepted socket takes over from its listener: options yes, O_NONBLOCK no.
#include "t.h"

void server(void)
{
    int listening = listener(0, 8);
    set_option(listening, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(listening, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(listening, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    struct linger linger = {.l_onoff = 1, .l_linger = 7};
    MUST(setsockopt(listening, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    set_option(listening, SOL_SOCKET, SO_RCVBUF, 100000);
    set_nonblocking(listening, true);
    step("listening");
    await(listening, POLLIN);
    int fd = accept_one(listening);
    say("O_NONBLOCK %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    say("TCP_NODELAY %d", !!get_option(fd, IPPROTO_TCP, TCP_NODELAY));
    say("SO_KEEPALIVE %d", get_option(fd, SOL_SOCKET, SO_KEEPALIVE));
    say("TCP_KEEPIDLE %d", get_option(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    say("SO_REUSEADDR %d", get_option(fd, SOL_SOCKET, SO_REUSEADDR));
    say("SO_ACCEPTCONN %d", get_option(fd, SOL_SOCKET, SO_ACCEPTCONN));
    say("SO_RCVBUF %d", get_option(fd, SOL_SOCKET, SO_RCVBUF));
    socklen_t length = sizeof linger;
    CALL(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length));
    say("linger %d %d", linger.l_onoff, linger.l_linger);
    step("done");
}

void client(void)
{
    step("listening");
    connect_to(0);
    step("done");
}
