// What send() took before the program ended arrives whole: after _exit at once, and after exit with a slow reader.
#include "t.h"

enum { BYTES = 700000 };

static void active(int fd)
{
    // So large a buffer that all of it is taken at once and the program is gone long before it is delivered.
    pid_t child = t_fork();
    if (child == 0) {
        static char much[BYTES];
        set_option(fd, SOL_SOCKET, SO_SNDBUF, 4 * BYTES);
        pattern(much, BYTES, 0);
        long taken = 0;
        while (taken < BYTES) {
            long now = send(fd, much + taken, (size_t)(BYTES - taken), MSG_DONTWAIT);
            if (now < 0)
                break;
            taken += now;
        }
        tell(taken);
        _exit(0);
    }
    close(fd);
    reap("sender", child);
    step("sender gone");
}

static void passive(int fd)
{
    static unsigned char got[BYTES], right[BYTES];
    long taken = hear(), done = 0, now = 0;
    step("sender gone");
    settle();
    while (done < taken && (now = recv(fd, got + done, (size_t)(taken - done), 0)) > 0)
        done += now;
    pattern(right, BYTES, 0);
    say("all that was taken: %s, right: %s", done == taken ? "yes" : "no", memcmp(got, right, (size_t)done) == 0 ? "yes" : "no");
    CALL(recv(fd, got, 1, 0));
}

EACH_SIDE(active, passive)
