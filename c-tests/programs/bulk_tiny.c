// 1 MB of pattern in writes of 1 to 97 bytes, read in pieces of other sizes.
#include "t.h"

enum { TOTAL = 1 << 20 };

static void active(int fd)
{
    char bytes[97];
    size_t size = 1;
    for (size_t done = 0; done < TOTAL; size = size % sizeof bytes + 1) {
        size_t now = TOTAL - done < size ? TOTAL - done : size;
        pattern(bytes, now, done);
        send_all(fd, bytes, now);
        done += now;
    }
}

static void passive(int fd) { receive_pattern(fd, TOTAL, 311); }

EACH_SIDE(active, passive)
