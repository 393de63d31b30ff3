// 8 MB in both directions at once over one non-blocking socket and one poll loop at each end.
#include "t.h"

enum { TOTAL = 8 << 20 };

static void both(int fd)
{
    static char out[30011], in[50021], right[50021];
    size_t sent = 0, received = 0;
    set_nonblocking(fd, true);
    while (sent < TOTAL || received < TOTAL) {
        int wanted = (sent < TOTAL ? POLLOUT : 0) | (received < TOTAL ? POLLIN : 0);
        int ready = await(fd, wanted);
        if (!(ready & wanted))
            die("sent %zu, received %zu: %s", sent, received, poll_bits(ready));
        if (ready & POLLOUT && sent < TOTAL) {
            size_t size = TOTAL - sent < sizeof out ? TOTAL - sent : sizeof out;
            pattern(out, size, sent);
            ssize_t now = write(fd, out, size);
            if (now < 0 && errno != EAGAIN)
                die("write: %s", error_name(errno));
            sent += now > 0 ? (size_t)now : 0;
        }
        if (ready & POLLIN) {
            ssize_t now = read(fd, in, sizeof in);
            if (now <= 0)
                die("read: %ld %s", (long)now, error_name(errno));
            pattern(right, (size_t)now, received);
            if (memcmp(in, right, (size_t)now) != 0)
                die("wrong bytes at %zu", received);
            received += (size_t)now;
        }
    }
    say("sent and received %zu", received);
}

EACH_SIDE(both, both)
