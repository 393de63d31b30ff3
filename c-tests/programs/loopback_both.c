// Two sockets of the same program or of parent and child, over 127.0.0.1 and over the machine's own address.
// Not accelerated: both (over loopback)
#include "t.h"

static void over(struct sockaddr_in address)
{
    int listening = OPEN(socket(AF_INET, SOCK_STREAM, 0));
    set_option(listening, SOL_SOCKET, SO_REUSEADDR, 1);
    CALL(bind(listening, SA(address), sizeof address));
    CALL(listen(listening, 4));
    int fd = OPEN(socket(AF_INET, SOCK_STREAM, 0));
    CALL(connect(fd, SA(address), sizeof address));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int accepted = OPEN(accept(listening, SA(peer), &length));
    say("peer %s", inet_ntoa(peer.sin_addr));
    char text[8];
    CALL(send(fd, "to", 2, 0));
    GOT(recv(accepted, text, sizeof text, 0), text);
    CALL(send(accepted, "fro", 3, 0));
    GOT(recv(fd, text, sizeof text, 0), text);
    pid_t child = t_fork();
    if (child == 0) {
        close(accepted);
        send_pattern(fd, 2000000, 12345);
        _exit(0);
    }
    close(fd);
    receive_pattern(accepted, 2000000, 54321);
    CALL(recv(accepted, text, 1, 0));
    reap("child", child);
    CALL(close(accepted));
    CALL(close(listening));
    fd = tcp_socket();
    CALL(connect(fd, SA(address), sizeof address));
    close(fd);
}

void server(void)
{
    over(at("127.0.0.1", port(0)));
    over(server_at(1));
}

void client(void)
{
    over(at("127.0.0.1", port(0)));
    over(client_at(1));
}
