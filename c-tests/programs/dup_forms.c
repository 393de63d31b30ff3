// dup, dup2, dup3 and F_DUPFD: which number they answer, which flags go along, and all name the same socket.
#include "t.h"

static void say_flags(const char *what, int fd)
{
    say("%s: FD_CLOEXEC %d, O_NONBLOCK %d", what, fcntl(fd, F_GETFD), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
}

static void active(int fd)
{
    int lowest = (int)MUST(open("/dev/null", O_RDWR));
    close(lowest);
    int by_dup = OPEN(dup(fd));
    say("lowest free number: %s", by_dup == lowest ? "yes" : "no");
    CALL(dup2(fd, 60));
    CALL(dup2(fd, fd) == fd ? 0 : -1);
    CALL(dup3(fd, 61, O_CLOEXEC));
    CALL(dup3(fd, fd, 0));
    CALL(dup3(fd, 62, O_NONBLOCK));
    CALL(fcntl(fd, F_DUPFD, 70));
    CALL(fcntl(fd, F_DUPFD, 70));
    CALL(fcntl(fd, F_DUPFD_CLOEXEC, 80));
    CALL(fcntl(fd, F_DUPFD, minus_one));
    CALL(dup(-1));
    CALL(dup2(-1, 63));
    CALL(dup2(fd, -1));
    CALL(dup2(fd, 1 << 30));
    say_flags("dup", by_dup);
    say_flags("dup3", 61);
    say_flags("F_DUPFD", 70);
    say_flags("F_DUPFD_CLOEXEC", 80);
    MUST(fcntl(60, F_SETFD, FD_CLOEXEC));
    say_flags("dup2 after F_SETFD", 60);
    say_flags("the first", fd);
    set_nonblocking(71, true);
    say_flags("the first after F_SETFL on another", fd);
    set_nonblocking(fd, false);
    set_option(70, IPPROTO_TCP, TCP_NODELAY, 1);
    say("TCP_NODELAY by another number: %d", get_option(fd, IPPROTO_TCP, TCP_NODELAY));

    const int all[] = {by_dup, 60, 61, 70, 71, 80, fd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CALL(write(all[i], "0123456" + i, 1));
    for (size_t i = 0; i + 1 < sizeof all / sizeof *all; i++)
        MUST(close(all[i]));
    CALL(write(60, "x", 1));
    char text[8];
    step("written");
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
}

static void passive(int fd)
{
    char text[8];
    GOT(recv(fd, text, 7, MSG_WAITALL), text);
    step("written");
    CALL(send(fd, "back", 4, 0));
}

EACH_SIDE(active, passive)
