// Start-up, printing and the side channel. See t.h.
#include "t.h"

#include <stdarg.h>

// A role that is not done by then hangs: no program needs more than a few seconds.
enum { LIMIT_SECONDS = 20 };

bool is_server;
void *volatile null_pointer;
void *volatile low_pointer = (void *)8;
volatile int minus_one = -1;

__attribute__((weak)) void extra(void) { die("this program has no extra role"); }

static void watchdog(int number)
{
    (void)number;
    static const char text[] = "watchdog: not done in time\n";
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
        _exit(98);
    _exit(99);
}

static void arm_watchdog(void)
{
    struct sigaction action = {.sa_handler = watchdog};
    sigaction(SIGALRM, &action, NULL);
    alarm(LIMIT_SECONDS);
}

int main(int count, char **arguments)
{
    arm_watchdog();
    const char *role = count > 1 ? arguments[1] : "";
    is_server = strcmp(role, "server") == 0;
    if (is_server)
        server();
    else if (strcmp(role, "client") == 0)
        client();
    else if (strcmp(role, "extra") == 0) {
        extra();
        return 0;
    } else
        die("usage: PROGRAM server|client|extra");
    // Neither end goes before the other has seen what it wanted to see.
    step("end");
    return 0;
}

// --- saying -----------------------------------------------------------------------------------------

// One write per line, past stdio: forked children and threads must not repeat or tear a buffer.
static void put(const char *format, va_list list)
{
    char line[1024];
    int length = vsnprintf(line, sizeof line - 1, format, list);
    if (length < 0)
        return;
    if (length > (int)sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(97);
}

void say(const char *format, ...)
{
    int saved = errno;
    va_list list;
    va_start(list, format);
    put(format, list);
    va_end(list);
    errno = saved;
}

void die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    put(format, list);
    va_end(list);
    _exit(96);
}

void say_bytes(const char *what, const void *bytes, long length)
{
    const unsigned char *at = bytes;
    char text[4 * 80 + 1] = "";
    size_t used = 0;
    if (length < 0)
        return;
    if (length > 80) {
        say("%s: %ld bytes, hash %016llx", what, length, (unsigned long long)hash(bytes, (size_t)length));
        return;
    }
    for (long i = 0; i < length; i++) {
        bool plain = at[i] >= ' ' && at[i] < 127;
        used += (size_t)snprintf(text + used, sizeof text - used, plain ? "%c" : "\\x%02x", at[i]);
    }
    say("%s: \"%s\"", what, text);
}

const char *error_name(int error)
{
    const char *name = error ? strerrorname_np(error) : "0";
    return name ? name : "unknown error";
}

// A successful call leaves errno alone; one that touches it is a difference a program can see.
static const char *stray_errno(int error)
{
    static char text[64];
    if (error == 0)
        return "";
    snprintf(text, sizeof text, " (and errno %s)", error_name(error));
    return text;
}

long t_call(const char *what, long value)
{
    int error = errno;
    if (value == -1)
        say("%s = -1 %s", what, error_name(error));
    else
        say("%s = %ld%s", what, value, stray_errno(error));
    errno = error;
    return value;
}

int t_descriptor(const char *what, long value)
{
    int error = errno;
    if (value < 0)
        say("%s = -1 %s", what, error_name(error));
    else
        say("%s = descriptor%s", what, stray_errno(error));
    errno = error;
    return (int)value;
}

long t_got(const char *what, long value, const void *buffer)
{
    t_call(what, value);
    if (value > 0)
        say_bytes("  bytes", buffer, value);
    return value;
}

long t_must(const char *what, int line, long value)
{
    if (value == -1)
        die("line %d: %s = -1 %s", line, what, error_name(errno));
    return value;
}

struct bit {
    uint32_t bit;
    const char *name;
};

static const char *bit_names(char *text, size_t size, const struct bit *bits, size_t count, uint32_t value)
{
    size_t used = 0;
    text[0] = 0;
    if (value == 0)
        return "none";
    for (size_t i = 0; i < count; i++) {
        if (!(value & bits[i].bit))
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "|" : "", bits[i].name);
        value &= ~bits[i].bit;
    }
    if (value)
        snprintf(text + used, size - used, "%s0x%x", used ? "|" : "", value);
    return text;
}

const char *poll_bits(int value)
{
    static char text[160];
    static const struct bit bits[] = {
        {POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},       {POLLERR, "ERR"},
        {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},     {POLLRDHUP, "RDHUP"},   {POLLRDNORM, "RDNORM"},
        {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"},
    };
    return bit_names(text, sizeof text, bits, sizeof bits / sizeof *bits, (uint32_t)(uint16_t)value);
}

const char *epoll_bits(uint32_t value)
{
    static char text[160];
    static const struct bit bits[] = {
        {EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},       {EPOLLOUT, "OUT"},       {EPOLLERR, "ERR"},
        {EPOLLHUP, "HUP"},       {EPOLLRDHUP, "RDHUP"},   {EPOLLRDNORM, "RDNORM"}, {EPOLLRDBAND, "RDBAND"},
        {EPOLLWRNORM, "WRNORM"}, {EPOLLWRBAND, "WRBAND"},
    };
    return bit_names(text, sizeof text, bits, sizeof bits / sizeof *bits, value);
}

// --- the two roles together -------------------------------------------------------------------------

static void side_send(const void *message, size_t length)
{
    while (send(SIDE, message, length, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            die("side channel: send: %s", error_name(errno));
}

static size_t side_receive(void *message, size_t size)
{
    ssize_t length;
    while ((length = recv(SIDE, message, size, 0)) < 0)
        if (errno != EINTR)
            die("side channel: recv: %s", error_name(errno));
    if (length == 0)
        die("side channel: the other role is gone");
    return (size_t)length;
}

void step(const char *name)
{
    char other[64] = "";
    side_send(name, strlen(name));
    side_receive(other, sizeof other - 1);
    if (strcmp(name, other) != 0)
        die("out of step: here %s, there %s", name, other);
}

void tell(long number) { side_send(&number, sizeof number); }

long hear(void)
{
    long number = 0;
    if (side_receive(&number, sizeof number) != sizeof number)
        die("side channel: no number");
    return number;
}

// --- processes ---------------------------------------------------------------------------------------

pid_t t_fork(void)
{
    pid_t child = fork();
    if (child < 0)
        die("fork: %s", error_name(errno));
    if (child == 0)
        alarm(LIMIT_SECONDS); // alarms are not inherited
    return child;
}

void reap(const char *who, pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid: %s", error_name(errno));
    if (WIFEXITED(status))
        say("%s: exited with %d", who, WEXITSTATUS(status));
    else
        say("%s: killed by SIG%s", who, sigabbrev_np(WTERMSIG(status)));
}

pid_t plain_child(void)
{
    pid_t child = t_fork();
    if (child != 0)
        return child;
    unsetenv("LD_PRELOAD");
    execl("/proc/self/exe", "plain", "extra", (char *)NULL);
    die("execl: %s", error_name(errno));
}
