// bind conflicts: EADDRINUSE with and without SO_REUSEADDR, wildcard against address, after close, SO_REUSEPORT.
// Not accelerated: client (it only keeps the steps and one connection of a plain kind)
#include "t.h"

static int bind_to(struct sockaddr_in address, int option)
{
    int fd = tcp_socket();
    if (option)
        set_option(fd, SOL_SOCKET, option, 1);
    CALL(bind(fd, SA(address), sizeof address));
    return fd;
}

void server(void)
{
    struct sockaddr_in address = server_at(0), any = at("0.0.0.0", port(0)), loopback = at("127.0.0.1", port(0));
    int first = bind_to(address, 0);
    close(bind_to(address, 0));
    close(bind_to(any, 0));
    close(bind_to(address, SO_REUSEADDR));
    int other_address = bind_to(loopback, 0);
    CALL(listen(other_address, 1));
    CALL(listen(first, 1));
    close(bind_to(address, 0));
    CALL(close(first));
    first = bind_to(address, 0);
    CALL(close(first));

    // Bound twice with SO_REUSEADDR, but only one may listen.
    int a = bind_to(address, SO_REUSEADDR), b = bind_to(address, SO_REUSEADDR);
    CALL(listen(a, 1));
    CALL(listen(b, 1));
    close(bind_to(address, SO_REUSEADDR));
    CALL(close(a));
    CALL(listen(b, 4));

    int c = bind_to(server_at(1), SO_REUSEPORT), d = bind_to(server_at(1), SO_REUSEPORT);
    CALL(listen(c, 1));
    CALL(listen(d, 1));
    close(bind_to(server_at(1), 0));
    close(bind_to(server_at(1), SO_REUSEADDR));

    // A connection keeps the port busy for those who do not ask for reuse, also in TIME_WAIT.
    step("listening");
    int fd = accept_one(b);
    CALL(close(b));
    close(bind_to(address, 0));
    int again = bind_to(address, SO_REUSEADDR);
    CALL(listen(again, 1));
    CALL(close(again));
    CALL(close(fd));
    step("closed");
    step("closed there");
    settle();
    close(bind_to(address, 0));
    again = bind_to(address, SO_REUSEADDR);
    CALL(listen(again, 1));
    step("listening again");
    GOT(recv(accept_one(again), &address, 1, 0), &address);
}

void client(void)
{
    step("listening");
    int fd = connect_to(0);
    step("closed");
    char byte;
    CALL(recv(fd, &byte, 1, 0));
    CALL(close(fd));
    step("closed there");
    step("listening again");
    CALL(send(connect_to(0), "x", 1, 0));
}
