// SO_REUSEPORT: two processes listen on one port; each connection goes to one of them, both get some, and when one leaves
// the other serves alone.
#include "t.h"

enum { ROUNDS = 40 };

static int shared_listener(void)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0);
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    MUST(bind(fd, SA(address), sizeof address));
    MUST(listen(fd, 64));
    return fd;
}

// Serves until a client says so, who is answered when the listener is gone; answers how many it were before.
static int serve(int listening)
{
    for (int served = 0;; served++) {
        int fd = (int)MUST(accept(listening, NULL, NULL));
        char text[4];
        receive_all(fd, text, 4);
        bool is_last = memcmp(text, "stop", 4) == 0;
        if (is_last)
            close(listening);
        send_all(fd, "done", 4);
        close(fd);
        if (is_last)
            return served;
    }
}

void server(void)
{
    int first = shared_listener(), count[2], theirs;
    char ready;
    MUST(pipe(count));
    // One without the option is not let in.
    int other = tcp_socket();
    struct sockaddr_in address = server_at(0);
    CALL(bind(other, SA(address), sizeof address));
    close(other);
    pid_t child = t_fork();
    if (child == 0) {
        close(first);
        int second = shared_listener();
        MUST(write(count[1], "r", 1));
        int served = serve(second);
        MUST(write(count[1], &served, sizeof served));
        _exit(0);
    }
    MUST(read(count[0], &ready, 1));
    step("both listen");
    int ours = serve(first);
    MUST(read(count[0], &theirs, sizeof theirs));
    reap("the second", child);
    say("all: %s, both: %s", ours + theirs == 2 * ROUNDS ? "yes" : "no", ours > 3 && theirs > 3 ? "yes" : "no");
}

static void ask(const char *what)
{
    int fd = connect_to(0);
    char text[4];
    send_all(fd, what, 4);
    receive_all(fd, text, 4);
    close(fd);
}

void client(void)
{
    step("both listen");
    for (int gone = 0; gone < 2; gone++) {
        for (int i = 0; i < ROUNDS; i++)
            ask("work");
        ask("stop");
    }
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(0);
    CALL(connect(fd, SA(address), sizeof address));
}
