/* The floor: what fan-out costs when nothing else is done.
 *
 * One epoll, accept, a fixed head for every GET; for every POST its body is sent, as it
 * came, to everyone who asked for the same number, in the order they came. The number is what the
 * last digits of the path say, below ROOMS. And for a GET of the article's clock, the second, each second since then.
 * No parser, no history, no slow readers: who cannot take a frame at once is simply not sent the rest. It
 * is not a server. It is what the kernel charges.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ROOMS 2048
#define CLOCKS 65536
#define SECOND 1000000000ll
#define SCRATCH (2 << 20)

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/x-ndjson\r\n"
    "Cache-Control: no-cache, no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n";
static const char CREATED[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

static struct room { int *members, count, capacity; } rooms[ROOMS];
static char scratch[SCRATCH];

/* Whoever was told the time longest ago is told it next: with one period for all, a ring is always in order. */
static struct clock { int64_t due_ns; int fd; } clocks[CLOCKS];
static int first_clock, clock_count;
static int64_t epoch_ns; /* of the monotonic clock, in Unix time */

static struct room *room_of(const char *request) {
    const char *end = strchr(strchr(request, ' ') + 1, ' '), *digits = end;
    while (isdigit((unsigned char)digits[-1])) digits--;
    return &rooms[atoi(digits) % ROOMS];
}

static void leave(int fd) {
    /* Its room keeps the number: the floor is measured while people stay, and after all have gone (see DELETE). */
    close(fd);
}

static void join(struct room *room, int fd) {
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? 2 * room->capacity : 16;
        room->members = realloc(room->members, room->capacity * sizeof(int));
    }
    room->members[room->count++] = fd;
    send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
}

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* The second that was due; and the next one goes to the end of the ring. */
static void tick(struct clock clock) {
    char text[128];
    int length = snprintf(text, sizeof text, "<script type=\"text/javascript\">comet.printServerTime(%lld);</script>",
                          (long long)((epoch_ns + clock.due_ns) / SECOND));
    if (clock_count == CLOCKS || send(clock.fd, text, length, MSG_NOSIGNAL) < 0) return;
    clock.due_ns += SECOND;
    clocks[(first_clock + clock_count++) % CLOCKS] = clock;
}

static void start_clock(int fd) {
    send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
    tick((struct clock){.due_ns = now_ns(CLOCK_MONOTONIC), .fd = fd});
}

/* Sends what is due, and has the alarm ring when the next is. */
static void tick_all(int alarm) {
    if (!clock_count) return;
    for (int64_t now = now_ns(CLOCK_MONOTONIC); clock_count && clocks[first_clock].due_ns <= now;) {
        struct clock due = clocks[first_clock];
        first_clock = (first_clock + 1) % CLOCKS, clock_count--;
        tick(due);
    }
    int64_t next = clock_count ? clocks[first_clock].due_ns : 0;
    struct itimerspec at = {.it_value = {next / SECOND, next % SECOND}};
    timerfd_settime(alarm, TFD_TIMER_ABSTIME, &at, NULL);
}

static void publish(int fd, struct room *room, ssize_t got) {
    char *body = strstr(scratch, "\r\n\r\n") + 4, *length = strcasestr(scratch, "content-length:");
    size_t bytes = strtoul(length + 15, NULL, 10);
    while (scratch + got < body + bytes) {
        ssize_t more = recv(fd, scratch + got, SCRATCH - 1 - got, 0);
        if (more > 0) got += more;
    }
    for (int i = 0; i < room->count; i++) send(room->members[i], body, bytes, MSG_NOSIGNAL);
    send(fd, CREATED, sizeof CREATED - 1, MSG_NOSIGNAL);
}

static void serve(int fd) {
    ssize_t got = recv(fd, scratch, SCRATCH - 1, 0);
    if (got <= 0) {
        if (got == 0) leave(fd);
        return;
    }
    scratch[got] = 0;
    struct room *room = room_of(scratch);
    if (scratch[0] == 'P')
        publish(fd, room, got);
    else if (scratch[0] == 'D')
        /* Forgets everybody: between two storms. */
        room->count = 0, send(fd, CREATED, sizeof CREATED - 1, MSG_NOSIGNAL);
    else if (strncmp(scratch, "GET /clock/", 11) == 0)
        start_clock(fd);
    else
        join(room, fd);
}

/* floor [PORT]: without one, any that is free. */
int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, 
                                  .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (void *)&address, length) || listen(listener, 65535)) return 1;
    getsockname(listener, (void *)&address, &length);
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener}, events[1024];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    int alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    event.data.fd = alarm;
    epoll_ctl(epoll, EPOLL_CTL_ADD, alarm, &event);
    epoch_ns = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    for (;;) {
        tick_all(alarm);
        int count = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == alarm) continue;
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
                event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = fd};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
