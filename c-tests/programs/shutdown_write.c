// Half-close: the peer reads to the end and goes on sending; our own writing is EPIPE, with SIGPIPE unless silenced.
#include "t.h"

static volatile sig_atomic_t pipes;
static void count(int number) { pipes += number == SIGPIPE; }

static void active(int fd)
{
    signal(SIGPIPE, count);
    pipes = 0;
    CALL(send(fd, "last words", 10, 0));
    CALL(shutdown(fd, SHUT_WR));
    CALL(shutdown(fd, SHUT_WR));
    CALL(write(fd, "x", 1));
    say("SIGPIPE %d", (int)pipes);
    CALL(send(fd, "x", 1, MSG_NOSIGNAL));
    say("SIGPIPE %d", (int)pipes);
    CALL(send(fd, "x", 1, 0));
    say("SIGPIPE %d", (int)pipes);
    step("closed for writing");
    char text[32];
    GOT(recv(fd, text, sizeof text, 0), text);
    step("answered");
    CALL(recv(fd, text, sizeof text, 0));
    CALL(recv(fd, text, sizeof text, 0));
}

static void passive(int fd)
{
    char text[32];
    step("closed for writing");
    GOT(recv(fd, text, 10, MSG_WAITALL), text);
    CALL(recv(fd, text, sizeof text, 0));
    CALL(recv(fd, text, sizeof text, 0));
    CALL(recv(fd, text, sizeof text, MSG_DONTWAIT));
    CALL(send(fd, "still here", 10, 0));
    step("answered");
    CALL(shutdown(fd, SHUT_WR));
}

EACH_SIDE(active, passive)
