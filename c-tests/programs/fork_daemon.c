// daemon() after listen: the socket lives on in the new process, the old one's exit ends nothing.
#include "t.h"

void server(void)
{
    int listening = listener(0, 8), done[2];
    char byte;
    MUST(pipe(done));
    pid_t child = t_fork();
    if (child == 0) {
        MUST(daemon(1, 1));
        alarm(20);
        for (int i = 0; i < 2; i++) {
            int fd = accept_one(listening);
            char text[8];
            receive_all(fd, text, 4);
            send_all(fd, "done", 4);
            close(fd);
        }
        MUST(write(done[1], "x", 1));
        _exit(0);
    }
    close(listening);
    close(done[1]);
    reap("the one that forked", child);
    step("daemon runs");
    step("served");
    CALL(read(done[0], &byte, 1));
    CALL(read(done[0], &byte, 1));
    step("daemon gone");
}

static void ask(void)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0);
    char text[8];
    if (CALL(connect(fd, SA(address), sizeof address)) == 0) {
        send_all(fd, "work", 4);
        GOT(recv(fd, text, 4, MSG_WAITALL), text);
        CALL(recv(fd, text, 1, 0));
    }
    close(fd);
}

void client(void)
{
    step("daemon runs");
    ask();
    ask();
    step("served");
    step("daemon gone");
    settle();
    ask();
}
