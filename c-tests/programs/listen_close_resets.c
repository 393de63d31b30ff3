// Closing a listener resets the connections that nobody accepted, and leaves the accepted ones alone.
#include "t.h"

void server(void)
{
    int listening = listener(0, 8);
    step("listening");
    int kept = accept_one(listening);
    step("two more");
    await(listening, POLLIN);
    settle();
    CALL(close(listening));
    char byte;
    GOT(read(kept, &byte, 1), &byte);
    step("done");
}

void client(void)
{
    step("listening");
    int kept = connect_to(0), second = connect_to(0), third = connect_to(0);
    CALL(write(third, "lost", 4));
    step("two more");
    char byte;
    say("second: %s", poll_bits(await(second, POLLIN | POLLRDHUP)));
    CALL(read(second, &byte, 1));
    say("third: %s", poll_bits(await(third, POLLIN | POLLRDHUP)));
    CALL(read(third, &byte, 1));
    CALL(write(kept, "x", 1));
    step("done");
}
