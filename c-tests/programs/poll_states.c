// poll with all bits asked for, in each state of a connection: quiet, data, half-closed, closed, reset.
#include "t.h"

enum { ALL = POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND };

static void look(const char *when, int fd)
{
    struct pollfd one[2] = {{.fd = fd, .events = ALL}, {.fd = fd, .events = 0}};
    int ready = poll(one, 2, 0);
    say("%s: %d ready, %s", when, ready, poll_bits(one[0].revents));
    say("  asking for nothing: %s", poll_bits(one[1].revents));
}

static void active(int fd)
{
    look("fresh", tcp_socket());
    look("quiet", fd);
    step("quiet");
    await(fd, POLLIN);
    look("data", fd);
    char byte;
    MUST(read(fd, &byte, 1));
    look("data taken", fd);
    step("taken");
    await(fd, POLLRDHUP);
    look("peer shut", fd);
    MUST(read(fd, &byte, 1));
    look("end read", fd);
    MUST(shutdown(fd, SHUT_WR));
    step("both shut");
    await(fd, 0);
    look("both shut", fd);

    int other = connected();
    MUST(shutdown(other, SHUT_RD));
    look("own SHUT_RD", other);
    step("SHUT_RD");
    await(other, 0);
    look("reset", other);
    step("reset seen");
    close(other);

    other = connected();
    MUST(shutdown(other, SHUT_WR));
    look("own SHUT_WR", other);
    step("own SHUT_WR");
    close(other);
}

static void passive(int fd)
{
    step("quiet");
    send_all(fd, "x", 1);
    step("taken");
    MUST(shutdown(fd, SHUT_WR));
    step("both shut");

    int other = connected();
    step("SHUT_RD");
    struct linger linger = {.l_onoff = 1};
    MUST(setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(other);
    step("reset seen");

    other = connected();
    step("own SHUT_WR");
    close(other);
}

EACH_SIDE(active, passive)
