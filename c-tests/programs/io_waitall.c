// MSG_WAITALL: over several segments, more than a window holds, and short at the end of the stream.
#include "t.h"

enum { BIG = 1500000 };

static void active(int fd)
{
    send_all(fd, "abc", 3);
    step("first half");
    settle();
    send_all(fd, "defgh", 5);
    step("second half");
    send_pattern(fd, BIG, 10007);
    send_all(fd, "tail", 4);
    CALL(shutdown(fd, SHUT_WR));
}

static void passive(int fd)
{
    char text[32], more[8];
    step("first half");
    GOT(recv(fd, text, 6, MSG_WAITALL), text);
    step("second half");
    struct iovec pieces[2] = {{text, 1}, {more, 1}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    CALL(recvmsg(fd, &message, MSG_WAITALL));
    say_bytes("g", text, 1);
    say_bytes("h", more, 1);
    char *big = malloc(BIG), *right = malloc(BIG);
    CALL(recv(fd, big, BIG, MSG_WAITALL));
    pattern(right, BIG, 0);
    say("bytes right: %s", memcmp(big, right, BIG) == 0 ? "yes" : "no");
    free(big);
    free(right);
    GOT(recv(fd, text, sizeof text, MSG_WAITALL), text);
    CALL(recv(fd, text, sizeof text, MSG_WAITALL));
}

EACH_SIDE(active, passive)
