// accept with bad pointers and lengths: the error, and whether the connection is lost by it.
#include "t.h"

void server(void)
{
    int listening = listener(0, 8);
    set_nonblocking(listening, true);
    step("listening");
    step("connected");
    await(listening, POLLIN);
    settle();
    struct sockaddr_in peer;
    socklen_t length = (socklen_t)-1;
    OPEN(accept(listening, SA(peer), &length));
    length = sizeof peer;
    OPEN(accept(listening, (void *)8, &length));
    OPEN(accept(listening, SA(peer), NULL));
    OPEN(accept(listening, SA(peer), (void *)8));
    OPEN(accept(listening, NULL, (void *)8));
    int left = 0;
    while (accept(listening, NULL, NULL) >= 0)
        left++;
    say("left in the queue: %d", left);
    step("done");
}

void client(void)
{
    step("listening");
    for (int i = 0; i < 7; i++)
        connect_to(0);
    step("connected");
    step("done");
}
