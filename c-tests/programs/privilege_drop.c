// A server that listens as root and serves as nobody, as web servers do: accept, transfer and a connection of its own.
#include "t.h"

static void become_nobody(void)
{
    if (setgid(65534) < 0 || setuid(65534) < 0)
        die("setuid: %s", error_name(errno));
}

void server(void)
{
    int listening = listener(0, 8);
    pid_t worker = t_fork();
    if (worker == 0) {
        become_nobody();
        for (int i = 0; i < 3; i++) {
            int fd = accept_one(listening);
            receive_pattern(fd, 300000, 10000);
            send_pattern(fd, 300000, 10000);
            close(fd);
        }
        // A connection that this user opens himself, from a port that anybody may have.
        int own = tcp_socket();
        struct sockaddr_in address = client_at(2);
        CALL(connect(own, SA(address), sizeof address));
        send_pattern(own, 1000, 100);
        _exit(0);
    }
    step("listening");
    reap("worker", worker);
}

void client(void)
{
    int back = tcp_socket();
    struct sockaddr_in address = client_at(2);
    set_option(back, SOL_SOCKET, SO_REUSEADDR, 1);
    MUST(bind(back, SA(address), sizeof address));
    MUST(listen(back, 1));
    step("listening");
    for (int i = 0; i < 3; i++) {
        int fd = connect_to(0);
        send_pattern(fd, 300000, 10000);
        receive_pattern(fd, 300000, 10000);
        close(fd);
    }
    receive_pattern(accept_one(back), 1000, 100);
}
