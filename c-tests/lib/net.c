// Sockets, waiting and data for the comparison programs. See t.h.
#include "t.h"

#include <linux/sockios.h>
#include <time.h>

enum { PATIENCE_MS = 10000, SETTLE_MS = 60 };

// The kernel queues data before it wakes those who wait: what poll() shows may take a moment to reach an epoll.
enum { AFTERMATH_US = 2000 };

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        die("%s is not set: start this with c-tests/run", name);
    return value;
}

in_port_t port(int n) { return (in_port_t)(atoi(from_environment("T_PORT")) + n); }

struct sockaddr_in at(const char *address, in_port_t port_number)
{
    struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(port_number)};
    if (inet_pton(AF_INET, address, &result.sin_addr) != 1)
        die("not an address: %s", address);
    return result;
}

struct sockaddr_in server_at(int n) { return at(from_environment("T_SERVER"), port(n)); }
struct sockaddr_in client_at(int n) { return at(from_environment("T_CLIENT"), port(n)); }

struct sockaddr_in nobody_at(in_port_t port_number)
{
    struct sockaddr_in address = at("10.99.0.100", port_number);
    address.sin_addr.s_addr = htonl(ntohl(address.sin_addr.s_addr) + port(0) / 10 % 150u);
    return address;
}

int tcp_socket(void) { return (int)MUST(socket(AF_INET, SOCK_STREAM, 0)); }

int listener(int n, int backlog)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(n);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    MUST(bind(fd, SA(address), sizeof address));
    MUST(listen(fd, backlog));
    return fd;
}

int accept_one(int listening) { return (int)MUST(accept(listening, NULL, NULL)); }

int connect_to(int n)
{
    int fd = tcp_socket();
    struct sockaddr_in address = server_at(n);
    MUST(connect(fd, SA(address), sizeof address));
    return fd;
}

int connected(void)
{
    int fd;
    if (is_server) {
        int listening = listener(0, 16);
        step("connected: listening");
        fd = accept_one(listening);
        MUST(close(listening));
    } else {
        step("connected: listening");
        fd = connect_to(0);
    }
    step("connected: done");
    return fd;
}

void each_side(void (*active)(int fd), void (*passive)(int fd))
{
    for (int round = 0; round < 2; round++) {
        bool mine = is_server == (round == 0);
        int fd = connected();
        say("-- %s is %s", is_server ? "server" : "client", mine ? "active" : "passive");
        (mine ? active : passive)(fd);
        step("round over");
        close(fd); // may be closed already: that is up to the program
        step("round closed");
    }
}

void walk_and_receive(int fd, void (*walk)(int fd))
{
    walk(fd);
    char text[8];
    step("walked");
    GOT(recv(fd, text, 7, MSG_WAITALL), text);
    say("-- fresh");
    walk(tcp_socket());
}

void send_after_walk(int fd)
{
    step("walked");
    CALL(send(fd, "works!!", 7, 0));
}

void set_option(int fd, int level, int name, int value)
{
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

int get_option(int fd, int level, int name)
{
    int value = 0;
    socklen_t length = sizeof value;
    MUST(getsockopt(fd, level, name, &value, &length));
    return value;
}

void say_option(int fd, int level, const char *what, int name, int value)
{
    const char *set = setsockopt(fd, level, name, &value, sizeof value) < 0 ? error_name(errno) : "done";
    int reads = 0x5a5a5a5a;
    socklen_t length = sizeof reads;
    if (getsockopt(fd, level, name, &reads, &length) < 0)
        say("%s set to %d: %s, reads %s", what, value, set, error_name(errno));
    else
        say("%s set to %d: %s, reads %d, length %u", what, value, set, reads, length);
}

void set_nonblocking(int fd, bool on)
{
    int flags = (int)MUST(fcntl(fd, F_GETFL));
    MUST(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

// --- waiting ------------------------------------------------------------------------------------------

int await(int fd, int events)
{
    struct pollfd one = {.fd = fd, .events = (short)events};
    int ready;
    do
        ready = poll(&one, 1, PATIENCE_MS);
    while (ready < 0 && errno == EINTR);
    if (ready < 1)
        say("await: no %s in time", poll_bits(events));
    usleep(AFTERMATH_US);
    if (one.revents & POLLERR) {
        // The kernel marks a reset in two moves, first the error, then the end; what lasts is what counts.
        settle();
        MUST(poll(&one, 1, 0));
    }
    return one.revents;
}

void await_queued(int fd, int bytes)
{
    int queued = 0;
    for (long end = milliseconds() + PATIENCE_MS; milliseconds() < end; usleep(1000)) {
        MUST(ioctl(fd, FIONREAD, &queued));
        if (queued >= bytes) {
            usleep(AFTERMATH_US);
            return;
        }
    }
    say("await_queued: %d of %d bytes in time", queued, bytes);
}

void await_acknowledged(int fd)
{
    int unsent = 0;
    for (long end = milliseconds() + PATIENCE_MS; milliseconds() < end; usleep(1000)) {
        MUST(ioctl(fd, SIOCOUTQ, &unsent));
        if (unsent == 0)
            return;
    }
    say("await_acknowledged: bytes left");
}

void settle(void) { usleep(SETTLE_MS * 1000); }

long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// --- data ---------------------------------------------------------------------------------------------

// Every byte depends on its whole offset, so a lost, doubled or swapped piece of any size shows.
static unsigned char pattern_byte(uint64_t offset)
{
    uint64_t word = (offset >> 3) * 0x9e3779b97f4a7c15ull + 0x1234567;
    word ^= word >> 29;
    return (unsigned char)(word >> ((offset & 7) * 8));
}

void pattern(void *buffer, size_t length, uint64_t offset)
{
    unsigned char *bytes = buffer;
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern_byte(offset + i);
}

uint64_t hash(const void *bytes, size_t length)
{
    const unsigned char *byte = bytes;
    uint64_t value = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < length; i++)
        value = (value ^ byte[i]) * 0x100000001b3ull;
    return value;
}

void send_all(int fd, const void *bytes, size_t length)
{
    const char *next = bytes;
    while (length > 0) {
        ssize_t sent = send(fd, next, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            die("send_all: %ld %s with %zu bytes left", (long)sent, error_name(errno), length);
        next += sent;
        length -= (size_t)sent;
    }
}

void receive_all(int fd, void *buffer, size_t length)
{
    char *next = buffer;
    while (length > 0) {
        ssize_t got = recv(fd, next, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("receive_all: %ld %s with %zu bytes missing", (long)got, error_name(errno), length);
        next += got;
        length -= (size_t)got;
    }
}

void send_pattern(int fd, size_t total, size_t chunk)
{
    char *buffer = malloc(chunk);
    for (size_t done = 0; done < total; done += chunk) {
        size_t now = total - done < chunk ? total - done : chunk;
        pattern(buffer, now, done);
        send_all(fd, buffer, now);
    }
    free(buffer);
}

void receive_pattern(int fd, size_t total, size_t chunk)
{
    unsigned char *buffer = malloc(chunk);
    size_t done = 0;
    while (done < total) {
        ssize_t got = recv(fd, buffer, total - done < chunk ? total - done : chunk, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("receive_pattern: %ld %s after %zu bytes", (long)got, error_name(errno), done);
        for (ssize_t i = 0; i < got; i++)
            if (buffer[i] != pattern_byte(done + (size_t)i))
                die("receive_pattern: wrong byte at %zu", done + (size_t)i);
        done += (size_t)got;
    }
    free(buffer);
    say("%zu pattern bytes, all right", total);
}

char *edge_of_memory(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || munmap(pages + page, page) < 0)
        die("edge_of_memory: %s", error_name(errno));
    return pages + page;
}
