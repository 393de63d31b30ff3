// SO_RCVLOWAT: poll, select and a blocking recv wait for that many bytes; the end of the stream counts as enough.
#include "t.h"

static void look(const char *when, int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int ready = poll(&one, 1, 0);
    say("%s: %d %s", when, ready, poll_bits(one.revents));
}

static void active(int fd)
{
    char text[16];
    set_option(fd, SOL_SOCKET, SO_RCVLOWAT, 5);
    step("set");
    await_queued(fd, 3);
    look("three of five", fd);
    step("three seen");
    GOT(recv(fd, text, sizeof text, 0), text);
    look("taken", fd);
    step("taken");
    await_queued(fd, 2);
    GOT(recv(fd, text, sizeof text, MSG_DONTWAIT), text);
    step("end");
    say("end: %s", poll_bits(await(fd, POLLIN)));
}

static void passive(int fd)
{
    step("set");
    send_all(fd, "abc", 3);
    step("three seen");
    settle();
    send_all(fd, "defgh", 5);
    step("taken");
    send_all(fd, "ij", 2);
    step("end");
    MUST(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
