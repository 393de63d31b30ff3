// A reader that stops for a while: the window closes, the sender waits, is let on again, and nothing is lost.
#include "t.h"

enum { TOTAL = 6 << 20 };

static void active(int fd) { send_pattern(fd, TOTAL, 60007); }

static void passive(int fd)
{
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 40000);
    settle();
    usleep(700000);
    static unsigned char bytes[8192], right[8192];
    size_t done = 0;
    while (done < TOTAL) {
        ssize_t now = recv(fd, bytes, done % 3 ? sizeof bytes : 511, 0);
        if (now <= 0)
            die("after %zu bytes: %ld %s", done, (long)now, error_name(errno));
        pattern(right, (size_t)now, done);
        if (memcmp(bytes, right, (size_t)now) != 0)
            die("wrong bytes at %zu", done);
        if (done / (1 << 20) != (done + (size_t)now) / (1 << 20))
            usleep(100000);
        done += (size_t)now;
    }
    say("%zu bytes, all right", done);
}

EACH_SIDE(active, passive)
