// A signal during a blocking connect: EINTR, and the attempt goes on by itself; with SA_RESTART it is resumed.
// Not accelerated: both (no TCP segment ever arrives)
#include "t.h"

static volatile sig_atomic_t signals;
static void count(int number) { signals += number == SIGUSR1; }

void server(void) {}

static void connect_under_signal(int flags)
{
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    signals = 0;
    struct sockaddr_in nobody = nobody_at(80);
    int fd = tcp_socket();
    pid_t child = t_fork();
    if (child == 0) {
        usleep(200000);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    CALL(connect(fd, SA(nobody), sizeof nobody));
    say("signals %d", (int)signals);
    waitpid(child, NULL, 0);
    set_nonblocking(fd, true);
    if (flags == 0)
        CALL(connect(fd, SA(nobody), sizeof nobody));
    close(fd);
}

void client(void)
{
    connect_under_signal(0);
    connect_under_signal(SA_RESTART);
}
