// 1,000 connections one after the other, closed first by the client, then by the server, then by reset.
#include "t.h"

enum { COUNT = 1000 };

void server(void)
{
    int listening = listener(0, 128), ended = 0, reset = 0;
    step("listening");
    for (int i = 0; i < COUNT; i++) {
        int fd = accept_one(listening);
        char byte;
        if (i % 3 == 1) {
            receive_all(fd, &byte, 1);
            close(fd);
            continue;
        }
        ssize_t now = recv(fd, &byte, 1, 0);
        if (now == 1 && byte == 'x')
            now = recv(fd, &byte, 1, 0);
        ended += now == 0;
        reset += now < 0 && errno == ECONNRESET;
        close(fd);
    }
    say("ended %d, reset %d", ended, reset);
}

void client(void)
{
    step("listening");
    int ended = 0;
    for (int i = 0; i < COUNT; i++) {
        int fd = connect_to(0);
        char byte;
        send_all(fd, "x", 1);
        if (i % 3 == 1)
            ended += recv(fd, &byte, 1, 0) == 0;
        if (i % 3 == 2) {
            struct linger linger = {.l_onoff = 1};
            MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        }
        close(fd);
    }
    say("ended by the server %d", ended);
}
