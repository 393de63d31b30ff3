// MSG_TRUNC on TCP throws bytes away without copying them, and touches no buffer.
#include "t.h"

static void active(int fd)
{
    send_all(fd, "0123456789", 10);
    step("sent");
    send_pattern(fd, 300000, 300000);
    send_all(fd, "end", 3);
}

static void passive(int fd)
{
    char text[16] = "untouched";
    step("sent");
    await_queued(fd, 10);
    CALL(recv(fd, text, 3, MSG_TRUNC));
    say("%s", text);
    CALL(recv(fd, NULL, 2, MSG_TRUNC));
    CALL(recv(fd, text, 2, MSG_TRUNC | MSG_PEEK));
    say("%s", text);
    GOT(recv(fd, text, 5, 0), text);
    CALL(recv(fd, NULL, 300000, MSG_TRUNC | MSG_WAITALL));
    GOT(recv(fd, text, 3, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
