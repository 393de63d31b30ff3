// TIME_WAIT: the same pair of ports is taken again at once by a new connection, several times over.
#include "t.h"

enum { ROUNDS = 10 };

void server(void)
{
    int listening = listener(0, 8);
    step("listening");
    for (int i = 0; i < ROUNDS; i++) {
        int fd = accept_one(listening);
        char byte;
        // The server closes first, so it keeps the TIME_WAIT.
        send_all(fd, "x", 1);
        CALL(shutdown(fd, SHUT_WR));
        CALL(recv(fd, &byte, 1, 0));
        CALL(close(fd));
        step("closed");
    }
}

void client(void)
{
    step("listening");
    for (int i = 0; i < ROUNDS; i++) {
        int fd = tcp_socket();
        struct sockaddr_in from = client_at(5), address = server_at(0);
        char byte;
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        CALL(bind(fd, SA(from), sizeof from));
        CALL(connect(fd, SA(address), sizeof address));
        GOT(recv(fd, &byte, 1, 0), &byte);
        CALL(recv(fd, &byte, 1, 0));
        CALL(close(fd));
        step("closed");
    }
}
