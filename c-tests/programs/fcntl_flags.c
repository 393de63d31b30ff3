// fcntl: F_GETFL, F_SETFL, F_GETFD, F_SETFD, owner, and commands that do not fit; O_NONBLOCK takes effect at once.
#include "t.h"

static void active(int fd)
{
    char byte;
    say("flags %x", fcntl(fd, F_GETFL));
    CALL(fcntl(fd, F_SETFL, O_NONBLOCK));
    say("flags %x", fcntl(fd, F_GETFL));
    CALL(recv(fd, &byte, 1, 0));
    CALL(fcntl(fd, F_SETFL, O_NONBLOCK | O_RDONLY | O_CREAT));
    say("flags %x", fcntl(fd, F_GETFL));
    CALL(fcntl(fd, F_SETFL, 0));
    say("flags %x", fcntl(fd, F_GETFL));
    CALL(fcntl(fd, F_GETFD));
    CALL(fcntl(fd, F_SETFD, FD_CLOEXEC));
    CALL(fcntl(fd, F_GETFD));
    CALL(fcntl(fd, F_SETFD, 0));
    CALL(fcntl(fd, F_GETFD));
    CALL(fcntl(fd, F_SETOWN, 0));
    CALL(fcntl(fd, F_GETOWN));
    CALL(fcntl(fd, 9999));
    CALL(fcntl(-1, F_GETFL));
    CALL(fcntl(-1, F_SETFL, O_NONBLOCK));
    CALL(fcntl(-1, F_GETFD));
    int flagged = OPEN(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    say("flags %x, %x", fcntl(flagged, F_GETFL), fcntl(flagged, F_GETFD));
    CALL(lseek(fd, 0, SEEK_SET));
    CALL(ftruncate(fd, 0));
    CALL(fsync(fd));
    CALL(fcntl(fd, F_SETFL, O_NONBLOCK));
    step("send");
    await(fd, POLLIN);
    GOT(read(fd, &byte, 1), &byte);
    CALL(read(fd, &byte, 1));
}

static void passive(int fd)
{
    step("send");
    send_all(fd, "x", 1);
}

EACH_SIDE(active, passive)
