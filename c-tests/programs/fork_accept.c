// Forked children all block in accept on one listener: each connection is served once, by one of them.
#include "t.h"

enum { CHILDREN = 4, CONNECTIONS = 40 };

static _Noreturn void serve(int listening)
{
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        if (fd < 0)
            die("accept: %s", error_name(errno));
        char text[16];
        receive_all(fd, text, 4);
        if (memcmp(text, "quit", 4) == 0)
            _exit(0);
        send_all(fd, text, 4);
        close(fd);
    }
}

void server(void)
{
    int listening = listener(0, 64);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        if ((children[i] = t_fork()) == 0)
            serve(listening);
    close(listening);
    step("serving");
    for (int i = 0; i < CHILDREN; i++)
        reap("child", children[i]);
    step("all gone");
}

void client(void)
{
    step("serving");
    int right = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = connect_to(0);
        char text[16], byte;
        snprintf(text, sizeof text, "%04d", i);
        char back[4];
        send_all(fd, text, 4);
        receive_all(fd, back, 4);
        right += memcmp(text, back, 4) == 0 && recv(fd, &byte, 1, 0) == 0;
        close(fd);
    }
    say("served %d of %d", right, CONNECTIONS);
    for (int i = 0; i < CHILDREN; i++) {
        int fd = connect_to(0);
        send_all(fd, "quit", 4);
        char byte;
        // The child goes with everything read: an orderly end.
        CALL(recv(fd, &byte, 1, 0));
        close(fd);
    }
    step("all gone");
    settle();
    int late = tcp_socket();
    struct sockaddr_in address = server_at(0);
    CALL(connect(late, SA(address), sizeof address));
}
