// 16 MB of pattern in writes of odd sizes, large and small, in each direction.
#include "t.h"

enum { TOTAL = 16 << 20 };

static void active(int fd)
{
    static const size_t sizes[] = {1, 1447, 1449, 65537, 3, 131071, 4095, 1048577};
    static char bytes[1048577];
    size_t done = 0;
    for (size_t i = 0; done < TOTAL; i++) {
        size_t size = sizes[i % (sizeof sizes / sizeof *sizes)];
        size_t now = TOTAL - done < size ? TOTAL - done : size;
        pattern(bytes, now, done);
        send_all(fd, bytes, now);
        done += now;
    }
}

static void passive(int fd) { receive_pattern(fd, TOTAL, 100003); }

EACH_SIDE(active, passive)
