// Small writes one after the other, with and without TCP_NODELAY: all arrive, and no call waits for a delayed ACK.
#include "t.h"

static void active(int fd)
{
    for (int nodelay = 0; nodelay < 2; nodelay++) {
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, nodelay);
        long begin = milliseconds();
        for (int i = 0; i < 2000; i++)
            send_all(fd, "word ", 5);
        say("sending did not crawl: %s", milliseconds() - begin < 2000 ? "yes" : "no");
        char byte;
        receive_all(fd, &byte, 1);
    }
    // Request and answer in turn: with no data under way Nagle has nothing to hold back.
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 0);
    long begin = milliseconds();
    for (int i = 0; i < 200; i++) {
        char byte;
        send_all(fd, "q", 1);
        receive_all(fd, &byte, 1);
    }
    say("asking did not crawl: %s", milliseconds() - begin < 3000 ? "yes" : "no");
}

static void passive(int fd)
{
    static char text[10000];
    for (int i = 0; i < 2; i++) {
        receive_all(fd, text, sizeof text);
        say_bytes("got", text, sizeof text);
        send_all(fd, "k", 1);
    }
    for (int i = 0; i < 200; i++) {
        receive_all(fd, text, 1);
        send_all(fd, "a", 1);
    }
}

EACH_SIDE(active, passive)
