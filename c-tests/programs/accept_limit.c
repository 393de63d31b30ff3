// accept without a free descriptor: EMFILE, and the connection stays in the queue until there is one.
#include "t.h"

#include <sys/resource.h>

void server(void)
{
    int listening = listener(0, 8);
    step("listening");
    await(listening, POLLIN);
    int lowest = (int)MUST(open("/dev/null", O_RDONLY));
    close(lowest);
    struct rlimit limit, small;
    getrlimit(RLIMIT_NOFILE, &limit);
    small = limit;
    small.rlim_cur = (rlim_t)lowest;
    MUST(setrlimit(RLIMIT_NOFILE, &small));
    for (int i = 0; i < 3; i++)
        OPEN(accept(listening, NULL, NULL));
    say("still there: %s", poll_bits(await(listening, POLLIN)));
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = OPEN(accept(listening, NULL, NULL));
    char text[8];
    GOT(recv(fd, text, 5, MSG_WAITALL), text);
    send_all(fd, "late", 4);
}

void client(void)
{
    step("listening");
    int fd = connect_to(0);
    char text[8];
    send_all(fd, "hello", 5);
    GOT(recv(fd, text, 4, MSG_WAITALL), text);
}
