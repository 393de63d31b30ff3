// connect(AF_UNSPEC) in each state: which error is pending, who is told of it, and what ends it.
#include "t.h"

enum { TIMES = 9 };

void server(void)
{
    int listening = listener(0, 5);
    step("listening");
    for (int i = 0; i < TIMES; i++) {
        int fd = accept_one(listening);
        step("accepted");
        if (i == 1 || i == 2)
            CALL(shutdown(fd, SHUT_WR));
        step("prepared");
        step("dissolved");
        char byte;
        await(fd, POLLIN);
        CALL(recv(fd, &byte, 1, 0));
        close(fd);
    }
    // Nobody else has come.
    struct pollfd one = {.fd = listening, .events = POLLIN};
    settle();
    CALL(poll(&one, 1, 0));
    step("end");
}

static void say_ready(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    CALL(poll(&one, 1, 0));
    say("%s", poll_bits(one.revents));
}

static void say_error(int fd)
{
    say("pending: %s", error_name(get_option(fd, SOL_SOCKET, SO_ERROR)));
}

// A connection to the server, in a state of its own, that is dissolved.
static int dissolved(int variant)
{
    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    int fd = connect_to(0);
    step("accepted");
    if (variant == 3)
        CALL(shutdown(fd, SHUT_WR));
    step("prepared");
    if (variant == 1 || variant == 2)
        await(fd, POLLRDHUP);
    if (variant == 2) {
        CALL(shutdown(fd, SHUT_WR));
        settle();
    }
    if (variant == 3)
        settle();
    CALL(connect(fd, &unspecified, sizeof unspecified));
    step("dissolved");
    return fd;
}

void client(void)
{
    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    struct sockaddr_in nowhere = nobody_at(port(1));
    char byte;
    step("listening");
    for (int variant = 0; variant < 4; variant++) {
        say("variant %d", variant);
        int fd = dissolved(variant);
        say_ready(fd);
        say_error(fd);
        say_ready(fd);
        say_error(fd);
        close(fd);
    }

    int fd = dissolved(4);
    CALL(recv(fd, &byte, 1, 0));
    CALL(recv(fd, &byte, 1, 0));
    close(fd);

    fd = dissolved(5);
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    close(fd);

    say("the options stay");
    fd = dissolved(6);
    say("%d", get_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT));
    CALL(connect(fd, &unspecified, sizeof unspecified));
    say_error(fd);
    close(fd);

    // What is not asked for is forgotten with the next connect().
    fd = dissolved(7);
    set_nonblocking(fd, true);
    CALL(connect(fd, SA(nowhere), sizeof nowhere));
    say_error(fd);
    CALL(connect(fd, &unspecified, sizeof unspecified));
    say_ready(fd);
    say_error(fd);
    close(fd);

    fd = dissolved(8);
    CALL(dup2(fd, fd));
    int copy = OPEN(dup(fd));
    say_error(copy);
    say_error(fd);
    step("end");
}
