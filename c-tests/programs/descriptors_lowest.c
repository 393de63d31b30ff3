// The lowest free number is what socket, dup and epoll answer; close_range, and EMFILE at the limit.
#include "t.h"

#include <sys/resource.h>

int close_range(unsigned first, unsigned last, int flags);

enum { COUNT = 5 };

// The numbers that the kernel hands out next.
static void find_free(int *numbers)
{
    for (int i = 0; i < COUNT; i++)
        numbers[i] = (int)MUST(open("/dev/null", O_RDONLY));
    for (int i = 0; i < COUNT; i++)
        close(numbers[i]);
}

static void active(int fd)
{
    int expected[COUNT];
    find_free(expected);
    int numbers[COUNT] = {tcp_socket(), (int)MUST(epoll_create1(0)), (int)MUST(dup(fd)), tcp_socket(), (int)MUST(open("/dev/null", O_RDONLY))};
    for (int i = 0; i < COUNT; i++)
        say("number %d: %s", i, numbers[i] == expected[i] ? "lowest" : "other");
    close(numbers[1]);
    say("gap filled: %s", tcp_socket() == numbers[1] ? "yes" : "no");
    CALL(close(numbers[0]));
    CALL(close(numbers[0]));
    for (int i = 0; i < COUNT; i++)
        close(numbers[i]);

    for (int i = 100; i < 106; i++)
        MUST(dup2(fd, i));
    CALL(close_range(101, 104, 0));
    for (int i = 100; i < 106; i++)
        say("%d: %s", i, fcntl(i, F_GETFD) < 0 ? "closed" : "open");
    CALL(close_range(105, 104, 0));
    CALL(close_range(100, 105, 1u << 30));
    CALL(write(105, "still ", 6));
    CALL(close_range(100, 105, 0));

    struct rlimit limit, small;
    getrlimit(RLIMIT_NOFILE, &limit);
    small = limit;
    small.rlim_cur = (rlim_t)expected[1] + 1;
    MUST(setrlimit(RLIMIT_NOFILE, &small));
    numbers[0] = OPEN(socket(AF_INET, SOCK_STREAM, 0));
    numbers[1] = OPEN(dup(fd));
    OPEN(socket(AF_INET, SOCK_STREAM, 0));
    OPEN(dup(fd));
    OPEN(epoll_create1(0));
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    close(numbers[0]);
    close(numbers[1]);
    CALL(send(fd, "alive", 5, 0));
}

static void passive(int fd)
{
    char text[16];
    GOT(recv(fd, text, 11, MSG_WAITALL), text);
}

EACH_SIDE(active, passive)
