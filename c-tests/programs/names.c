// getsockname and getpeername: unbound, bound, connected, cut short, wrong lengths and pointers, after the end.
#include "t.h"

static void say_name(const char *what, int (*call)(int, struct sockaddr *restrict, socklen_t *restrict), int fd, socklen_t room)
{
    struct sockaddr_storage name;
    memset(&name, 0x5a, sizeof name);
    socklen_t length = room;
    errno = 0;
    int result = call(fd, SA(name), &length);
    if (result < 0) {
        say("%s, room %d: %s", what, (int)room, error_name(errno));
        return;
    }
    const struct sockaddr_in *ours = (struct sockaddr_in *)&name;
    const unsigned char *byte = (unsigned char *)&name;
    say("%s, room %d: length %u, family %d, address %s, padding %x, beyond %x", what, (int)room, length, ours->sin_family,
        inet_ntoa(ours->sin_addr), byte[15], byte[16]);
}

static void say_both(const char *what, int fd)
{
    say("%s", what);
    say_name("  getsockname", getsockname, fd, sizeof(struct sockaddr_in));
    say_name("  getpeername", getpeername, fd, sizeof(struct sockaddr_in));
}

static void active(int fd)
{
    for (int room = -1; room <= 20; room += room < 2 ? 1 : 6) {
        say_name("getsockname", getsockname, fd, (socklen_t)room);
        say_name("getpeername", getpeername, fd, (socklen_t)room);
    }
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    CALL(getsockname(fd, null_pointer, &length));
    CALL(getpeername(fd, null_pointer, &length));
    CALL(getsockname(fd, SA(name), null_pointer));
    CALL(getpeername(fd, SA(name), null_pointer));
    CALL(getsockname(-1, SA(name), &length));
    CALL(getpeername(-1, SA(name), &length));

    int fresh = tcp_socket();
    say_both("fresh", fresh);
    struct sockaddr_in any = at("0.0.0.0", 0);
    MUST(bind(fresh, SA(any), sizeof any));
    say_both("bound", fresh);
    MUST(listen(fresh, 1));
    say_both("listening", fresh);

    MUST(shutdown(fd, SHUT_WR));
    say_both("shut for writing", fd);
    step("shut");
    step("shut back");
    await(fd, POLLIN);
    say_both("at the end", fd);
    step("looked");
    int reset = connected();
    step("reset");
    await(reset, POLLIN);
    say_both("reset", reset);
}

static void passive(int fd)
{
    step("shut");
    await(fd, POLLRDHUP); // or both FINs cross on the way
    MUST(shutdown(fd, SHUT_WR));
    step("shut back");
    step("looked");
    int reset = connected();
    struct linger linger = {.l_onoff = 1};
    MUST(setsockopt(reset, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(reset);
    step("reset");
}

EACH_SIDE(active, passive)
