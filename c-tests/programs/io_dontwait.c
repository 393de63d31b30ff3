// EAGAIN by MSG_DONTWAIT and by O_NONBLOCK; a full send buffer takes part of the bytes, and none of them is lost.
#include "t.h"

// Sends pieces of the pattern until none is taken any more; answers how much was sent in all.
static uint64_t fill(int fd, uint64_t sent, size_t piece)
{
    static char chunk[50001];
    for (;;) {
        pattern(chunk, piece, sent);
        ssize_t now = send(fd, chunk, piece, MSG_DONTWAIT);
        if (now < 0) {
            if (errno != EAGAIN)
                die("full: %s", error_name(errno));
            return sent;
        }
        sent += (uint64_t)now;
        if (sent > 1u << 30)
            die("never full");
    }
}

static void active(int fd)
{
    char byte;
    CALL(recv(fd, &byte, 1, MSG_DONTWAIT));
    uint64_t sent = fill(fd, 0, 50001);
    say("anything sent: %s", sent > 0 ? "yes" : "no");
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    // What is under way may still make room; then it is full for good.
    while (poll(&one, 1, 200) == 1)
        sent = fill(fd, sent, 50001);
    sent = fill(fd, sent, 1);
    set_nonblocking(fd, true);
    CALL(write(fd, "x", 1));
    CALL(send(fd, "x", 1, 0));
    CALL(read(fd, &byte, 1));
    set_nonblocking(fd, false);
    CALL(send(fd, "x", 1, MSG_DONTWAIT));
    tell((long)sent);
    say("then: %s", poll_bits(await(fd, POLLOUT)));
    step("drained");
    CALL(send(fd, "end", 3, MSG_DONTWAIT));
}

static void passive(int fd)
{
    long sent = hear();
    static unsigned char chunk[65536], right[65536];
    long done = 0;
    while (done < sent) {
        ssize_t now = recv(fd, chunk, sizeof chunk < (size_t)(sent - done) ? sizeof chunk : (size_t)(sent - done), 0);
        if (now <= 0)
            die("after %ld bytes: %s", done, error_name(errno));
        pattern(right, (size_t)now, (uint64_t)done);
        if (memcmp(chunk, right, (size_t)now) != 0)
            die("wrong bytes at %ld", done);
        done += now;
    }
    say("all bytes that were taken arrived");
    step("drained");
    GOT(recv(fd, chunk, 10, 0), chunk);
}

EACH_SIDE(active, passive)
