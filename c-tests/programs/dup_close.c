// Closing one of two numbers of a socket changes nothing; closing the last one ends the connection, by dup2 too.
#include "t.h"

static void active(int fd)
{
    int twin = (int)MUST(dup(fd));
    char text[8];
    CALL(write(fd, "one", 3));
    CALL(close(fd));
    step("first closed");
    CALL(write(twin, "two", 3));
    GOT(recv(twin, text, 3, MSG_WAITALL), text);
    CALL(write(fd, "x", 1));
    CALL(recv(fd, text, 1, 0));
    int null = (int)MUST(open("/dev/null", O_RDWR));
    say("the number is used again: %s", null == fd ? "yes" : "no");
    CALL(dup2(null, twin) == twin ? 0 : -1);
    step("last closed");
    CALL(recv(twin, text, 1, 0));
    CALL(read(twin, text, 1));
    close(twin);
    close(null);
}

static void passive(int fd)
{
    char text[8];
    step("first closed");
    GOT(recv(fd, text, 6, MSG_WAITALL), text);
    CALL(recv(fd, text, 1, MSG_DONTWAIT));
    CALL(write(fd, "got", 3));
    step("last closed");
    CALL(recv(fd, text, 1, 0));
}

EACH_SIDE(active, passive)
