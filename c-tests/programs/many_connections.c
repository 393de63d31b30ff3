// 200 connections open at once, each with its own bytes, answered in another order than they were opened.
#include "t.h"

enum { COUNT = 200 };
static int all[COUNT];

void server(void)
{
    int listening = listener(0, COUNT);
    step("listening");
    for (int i = 0; i < COUNT; i++)
        all[i] = accept_one(listening);
    step("connected");
    int right = 0;
    for (int i = COUNT - 1; i >= 0; i--) {
        uint32_t number;
        receive_all(all[i], &number, sizeof number);
        right += number == (uint32_t)i;
        number = ~number;
        send_all(all[i], &number, sizeof number);
    }
    say("in the order they were opened: %d", right);
    step("answered");
    step("all closed");
    int ended = 0;
    char byte;
    for (int i = 0; i < COUNT; i++)
        ended += recv(all[i], &byte, 1, 0) == 0;
    say("ended %d", ended);
}

void client(void)
{
    step("listening");
    for (int i = 0; i < COUNT; i++)
        all[i] = connect_to(0);
    step("connected");
    for (int i = 0; i < COUNT; i++) {
        uint32_t number = (uint32_t)i;
        send_all(all[i], &number, sizeof number);
    }
    int right = 0;
    for (int i = 0; i < COUNT; i++) {
        uint32_t number;
        receive_all(all[i], &number, sizeof number);
        right += number == ~(uint32_t)i;
    }
    say("answered right: %d", right);
    step("answered");
    for (int i = 0; i < COUNT; i++)
        close(all[i]);
    step("all closed");
}
