// select: the three sets in each state, the time left, EBADF and EINVAL, and descriptors that are not asked for.
#include "t.h"

static void look(const char *when, int fd)
{
    fd_set in, out, except;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&except);
    FD_SET(fd, &in);
    FD_SET(fd, &out);
    FD_SET(fd, &except);
    struct timeval none = {0};
    int ready = select(fd + 1, &in, &out, &except, &none);
    say("%s: %d ready,%s%s%s", when, ready, FD_ISSET(fd, &in) ? " in" : "", FD_ISSET(fd, &out) ? " out" : "",
        FD_ISSET(fd, &except) ? " except" : "");
}

static void active(int fd)
{
    look("fresh", tcp_socket());
    look("quiet", fd);
    step("quiet");
    await(fd, POLLIN);
    look("data", fd);
    step("looked");
    await(fd, POLLRDHUP);
    look("data and end", fd);
    char text[8];
    MUST(read(fd, text, sizeof text));
    look("end", fd);
    int other = connected();
    step("reset");
    await(other, 0);
    look("reset", other);

    fd_set in;
    FD_ZERO(&in);
    int closed = (int)MUST(dup(fd));
    close(closed);
    FD_SET(closed, &in);
    FD_SET(fd, &in);
    struct timeval none = {0};
    CALL(select(closed + 1, &in, NULL, NULL, &none));
    say("sets untouched: %s", FD_ISSET(closed, &in) && FD_ISSET(fd, &in) ? "yes" : "no");
    CALL(select(minus_one, &in, NULL, NULL, &none));
    CALL(select(0, NULL, NULL, NULL, &none));
    CALL(select(fd, &in, NULL, NULL, &none));
    say("beyond the limit is not looked at: %s", FD_ISSET(fd, &in) ? "kept" : "cleared");
    struct timeval bad = {.tv_sec = -1};
    CALL(select(0, NULL, NULL, NULL, &bad));
    CALL(select(fd + 1, (void *)8, NULL, NULL, &none));

    other = tcp_socket();
    MUST(listen(other, 1));
    FD_ZERO(&in);
    FD_SET(other, &in);
    struct timeval short_time = {.tv_usec = 60000};
    CALL(select(other + 1, &in, NULL, NULL, &short_time));
    say("time left: %s, set: %s", short_time.tv_sec || short_time.tv_usec ? "some" : "none", FD_ISSET(other, &in) ? "kept" : "cleared");
    FD_SET(fd, &in);
    struct timeval long_time = {.tv_sec = 9};
    CALL(select((fd > other ? fd : other) + 1, &in, NULL, NULL, &long_time));
    say("time left: %s", long_time.tv_sec >= 7 ? "most" : "little");
}

static void passive(int fd)
{
    step("quiet");
    send_all(fd, "x", 1);
    step("looked");
    MUST(shutdown(fd, SHUT_WR));
    int other = connected();
    struct linger linger = {.l_onoff = 1};
    MUST(setsockopt(other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(other);
    step("reset");
}

EACH_SIDE(active, passive)
