/*
 * A ping-pong over plain sockets that measures every round trip exactly, for the kernel's stack and for shunt alike.
 *
 *   pingpong server [options]              echoes what it reads, one peer at a time
 *   pingpong client ADDRESS [options]      prints p50, p99 and the rate
 *
 *   --spin      non-blocking calls in a loop instead of blocking ones
 *   --connect   a new connection for each round trip (the server closes first, so that no port of the client waits)
 *   --udp       datagrams, for a peer such as the floor's echo (client only)
 *   --port N --seconds S --size N
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "samples.h"

static int spin, per_connection, datagrams;
static size_t size = 64;
static unsigned char message[65536];

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

/* A spinning program has put its socket into non-blocking mode and simply asks again. */
static int try_again(ssize_t result)
{
	return result < 0 && (errno == EINTR || (spin && errno == EAGAIN));
}

/* Returns how many bytes of `size` came; fewer means that the peer has ended. */
static size_t receive(int fd)
{
	size_t got = 0;
	while (got < size) {
		ssize_t n = recv(fd, message + got, size - got, 0);
		if (try_again(n))
			continue;
		if (n < 0 && errno != ECONNRESET)
			give_up("recv");
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

static int transmit(int fd)
{
	size_t sent = 0;
	while (sent < size) {
		ssize_t n = send(fd, message + sent, size - sent, MSG_NOSIGNAL);
		if (try_again(n))
			continue;
		if (n <= 0)
			return -1;
		sent += (size_t)n;
	}
	return 0;
}

static void prepare(int fd)
{
	int on = 1;
	if (!datagrams)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (spin && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		give_up("fcntl");
}

static void serve(const struct sockaddr_in *address)
{
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0)
		give_up("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (const struct sockaddr *)address, sizeof *address) < 0)
		give_up("bind");
	if (listen(listener, 128) < 0)
		give_up("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			give_up("accept");
		prepare(fd);
		while (receive(fd) == size && transmit(fd) == 0 && !per_connection)
			;
		close(fd);
	}
}

static int open_connection(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, datagrams ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (fd < 0)
		give_up("socket");
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
		give_up("connect");
	prepare(fd);
	return fd;
}

/* The server's FIN, so that it is the server that closes first. */
static void await_end(int fd)
{
	unsigned char rest;
	while (try_again(recv(fd, &rest, 1, 0)))
		;
	close(fd);
}

static int measure(const struct sockaddr_in *address, unsigned seconds)
{
	struct samples samples;
	int fd = per_connection ? -1 : open_connection(address);
	unsigned warm_up = per_connection ? 0 : 1000;

	if (samples_start(&samples, 4000000))
		give_up("samples");
	uint64_t now = now_ns(), until = now + seconds * 1000000000ull;
	while (now < until) {
		uint64_t from = now_ns();
		if (per_connection)
			fd = open_connection(address);
		if (transmit(fd) < 0 || receive(fd) != size)
			return fprintf(stderr, "pingpong: the connection ended early\n"), 1;
		if (per_connection)
			await_end(fd);
		now = now_ns();
		if (warm_up && --warm_up == 0)
			samples.started = now;
		else if (!warm_up)
			samples_add(&samples, from, now);
	}
	if (samples_print(&samples))
		return fprintf(stderr, "pingpong: no round trip within %u s\n", seconds), 1;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "spin", no_argument, &spin, 1 },	    { "connect", no_argument, &per_connection, 1 },
		{ "udp", no_argument, &datagrams, 1 },	    { "port", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 't' }, { "size", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 }
	};
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(7007) };
	unsigned seconds = 2;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'p')
			address.sin_port = htons((uint16_t)atoi(optarg));
		else if (option == 't')
			seconds = (unsigned)atoi(optarg);
		else if (option == 'n')
			size = (size_t)atoi(optarg);
		else if (option != 0)
			return 2;
	}
	if (size < 1 || size > sizeof message)
		return fprintf(stderr, "pingpong: --size from 1 to %zu\n", sizeof message), 2;
	if (argc - optind == 1 && !strcmp(argv[optind], "server"))
		serve(&address);
	if (argc - optind != 2 || strcmp(argv[optind], "client") || inet_pton(AF_INET, argv[optind + 1], &address.sin_addr) != 1)
		return fprintf(stderr, "usage: pingpong server | client ADDRESS [options]\n"), 2;
	return measure(&address, seconds);
}
