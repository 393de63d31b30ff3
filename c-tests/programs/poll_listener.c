// poll on a listener: quiet, with connections waiting, after the last was taken, with the peer gone already.
#include "t.h"

static void look(const char *when, int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
    int ready = poll(&one, 1, 0);
    say("%s: %d ready, %s", when, ready, poll_bits(one.revents));
}

void server(void)
{
    int fresh = tcp_socket();
    struct sockaddr_in any = at("0.0.0.0", 0);
    MUST(bind(fresh, SA(any), sizeof any));
    look("bound", fresh);
    int listening = listener(0, 8);
    look("quiet", listening);
    step("listening");
    say("then: %s", poll_bits(await(listening, POLLIN)));
    step("two connected");
    settle();
    look("two waiting", listening);
    accept_one(listening);
    look("one waiting", listening);
    int second = accept_one(listening);
    look("none waiting", listening);
    step("both taken");
    step("third");
    await(listening, POLLIN);
    step("third gone");
    settle();
    look("third gone", listening);
    int third = OPEN(accept(listening, NULL, NULL));
    char text[8];
    GOT(read(third, text, sizeof text), text);
    CALL(read(third, text, sizeof text));
    look("second", second);
}

void client(void)
{
    step("listening");
    connect_to(0);
    connect_to(0);
    step("two connected");
    step("both taken");
    int third = connect_to(0);
    send_all(third, "gone", 4);
    step("third");
    close(third);
    step("third gone");
}
