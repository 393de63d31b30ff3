// The runtime of the comparison programs. A program is one file with two roles that run as two
// processes in two network namespaces; what they print must be the same on the kernel and on shunt.
// So everything observable is printed, and nothing that may differ between two runs: no times, ports,
// process or descriptor numbers, but relations between them.
#ifndef T_H
#define T_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

// The descriptor of the side channel: an AF_UNIX pair that the runner hands to both roles. It sits high
// so that the descriptors of the programs are the low ones, as in a real program.
enum { SIDE = 200 };

// What a program supplies. `extra` is for programs that start themselves again (see plain_child).
void server(void);
void client(void);
void extra(void);

extern bool is_server;

// --- saying -----------------------------------------------------------------------------------------

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Says what broke and ends the role with a failure: for what no test expects.
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Printable text as it is, anything longer than 80 bytes as length and hash.
void say_bytes(const char *what, const void *bytes, long length);

long t_call(const char *what, long value);
int t_descriptor(const char *what, long value);
long t_got(const char *what, long value, const void *buffer);

// The call itself as text, and what came of it: "listen(fd, 5) = 0", "read(fd, b, 1) = -1 EAGAIN".
#define CALL(call) (errno = 0, t_call(#call, (long)(call)))
// The same for a call that makes a descriptor, whose number is not printed.
#define OPEN(call) (errno = 0, t_descriptor(#call, (long)(call)))
// The same for a call that fills a buffer, whose bytes are printed too.
#define GOT(call, buffer) (errno = 0, t_got(#call, (long)(call), buffer))
// For the steps that only set the scene: silent unless they fail.
#define MUST(call) (errno = 0, t_must(#call, __LINE__, (long)(call)))
long t_must(const char *what, int line, long value);

// Names of bits; each answers from a static buffer of its own, good until its next call.
const char *poll_bits(int bits);
const char *epoll_bits(uint32_t bits);
const char *error_name(int error);

// Wrong arguments that the compiler cannot see and warn about.
extern void *volatile null_pointer;
extern void *volatile low_pointer; // in the page that is never mapped
extern volatile int minus_one;

// --- the two roles together -------------------------------------------------------------------------

// Both roles come here with the same name before either goes on.
void step(const char *name);
// A number for the other role: a port, a count.
void tell(long number);
long hear(void);

// Opens a connection and runs `active` at one end and `passive` at the other, first with the server as
// the active one, then with the client: both kinds of socket see the same treatment.
void each_side(void (*active)(int fd), void (*passive)(int fd));
#define EACH_SIDE(active, passive)                                                                      \
    void server(void) { each_side(active, passive); }                                                   \
    void client(void) { each_side(active, passive); }

// Lets `walk` do what it likes to the socket of each side, shows that the connection still works after it, then lets it
// loose on a fresh socket.
void walk_and_receive(int fd, void (*walk)(int fd));
void send_after_walk(int fd);
#define WALK_EACH_SIDE(walk)                                                                            \
    static void active(int fd) { walk_and_receive(fd, walk); }                                          \
    EACH_SIDE(active, send_after_walk)

// --- sockets ----------------------------------------------------------------------------------------

// Addresses of the rig. Each run of a program owns the ports port(0) to port(9).
in_port_t port(int n);
struct sockaddr_in server_at(int n);
struct sockaddr_in client_at(int n);
// An address of the rig's network that nobody has, another one in each run: the kernel remembers who did not answer.
struct sockaddr_in nobody_at(in_port_t port_number);
struct sockaddr_in at(const char *address, in_port_t port_number);
#define SA(address) ((struct sockaddr *)&(address))

int tcp_socket(void);
// A listener on the server's address and port(n), with SO_REUSEADDR as servers have it.
int listener(int n, int backlog);
int accept_one(int listening);
// A connection to port(n) of the server.
int connect_to(int n);
// One connection between the roles: the server's end or the client's.
int connected(void);
void set_option(int fd, int level, int name, int value);
int get_option(int fd, int level, int name);
// Sets an option that is an int and says what came of it and what it reads as afterwards.
void say_option(int fd, int level, const char *what, int name, int value);
void set_nonblocking(int fd, bool on);

// --- waiting (bounded, never printing how long) -------------------------------------------------------

// The events of poll() once one of `events` (or an error) is there; 0 and a printed line after 10 s.
int await(int fd, int events);
// Until `bytes` can be read at once.
void await_queued(int fd, int bytes);
// Until the peer has acknowledged everything.
void await_acknowledged(int fd);
// Long enough for anything that is under way to arrive; for showing that nothing does.
void settle(void);
long milliseconds(void);

// --- processes and data -----------------------------------------------------------------------------

pid_t t_fork(void);
// Says how the child ended.
void reap(const char *who, pid_t child);
// Starts this program again as role `extra`, without any preloaded library: a plain kernel program.
pid_t plain_child(void);

// Byte number `offset` of the pattern and the ones after it.
void pattern(void *buffer, size_t length, uint64_t offset);
uint64_t hash(const void *bytes, size_t length);
// Moves `total` pattern bytes with calls of `chunk` bytes; the reader checks each one and says the sum.
void send_pattern(int fd, size_t total, size_t chunk);
void receive_pattern(int fd, size_t total, size_t chunk);
// Sends or receives exactly this much, or dies.
void send_all(int fd, const void *bytes, size_t length);
void receive_all(int fd, void *buffer, size_t length);
// Two pages of which the second is not mapped; answers the end of the first.
char *edge_of_memory(void);

#endif
