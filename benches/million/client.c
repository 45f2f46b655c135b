/* A million listeners: client CONNECTIONS [PORT].
 *
 * Opens so many streams of the channel "news" to a server on this machine, a thousand at a time, from source
 * addresses all over 127.0.0.0/8, 10,000 from each. Then publishes once and counts who hears it: everybody has to, once.
 * Prints "open SECONDS", waits for a line on standard input (somebody may want to look at the server's memory), publishes, and
 * prints "heard COUNT twice COUNT seconds SECONDS". Holds a descriptor and a bit for each connection and nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 1000
#define PER_ADDRESS 10000
#define PATIENCE_MS 300000

static const char SUBSCRIBE[] = "GET /channels/news?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char PUBLISH[] =
    "POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nConnection: close\r\n\r\n"
    "to a million at once";

static int *sockets, epoll, port = 80;
static unsigned char *heard;
static char scratch[1 << 16];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what, int nth) {
    printf("failed: %s, connection %d: %s\n", what, nth, strerror(errno));
    exit(1);
}

static int dial(int nth) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) fail("socket (descriptors?)", nth);
    /* Without a port of its own until it connects: the kernel then looks for a pair of addresses, not for a free port. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + nth / PER_ADDRESS)};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (void *)&source, sizeof source)) fail("bind", nth);
    if (connect(fd, (void *)&server, sizeof server)) fail("connect (ports?)", nth);
    return fd;
}

/* Waits until `wanted` more connections have had what ends with a line feed. Returns how many had it twice. */
static int hear(int wanted, int bit) {
    int twice = 0;
    struct epoll_event events[1024];
    while (wanted > 0) {
        int count = epoll_wait(epoll, events, 1024, PATIENCE_MS);
        if (count <= 0) {
            printf("failed: %d have heard nothing for %d s\n", wanted, PATIENCE_MS / 1000);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            int nth = events[i].data.fd;
            ssize_t got = recv(sockets[nth], scratch, sizeof scratch, MSG_DONTWAIT);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) fail("it ended", nth);
            if (scratch[got - 1] != '\n') fail("half a message", nth);
            if (heard[nth] & bit) twice++;
            else heard[nth] |= bit, wanted--;
        }
    }
    return twice;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1000;
    if (argc > 2) port = atoi(argv[2]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sockets = malloc(count * sizeof *sockets);
    heard = calloc(count, 1);
    epoll = epoll_create1(0);
    double began = now();
    for (int nth = 0; nth < count;) {
        int first = nth;
        for (; nth < count && nth < first + BATCH; nth++) {
            sockets[nth] = dial(nth);
            if (send(sockets[nth], SUBSCRIBE, sizeof SUBSCRIBE - 1, MSG_NOSIGNAL) < 0) fail("send", nth);
            struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = nth};
            epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[nth], &event);
        }
        hear(nth - first, 1);
    }
    printf("open %.1f\n", now() - began);
    fflush(stdout);
    if (!fgets(scratch, sizeof scratch, stdin)) return 1;
    int publisher = dial(count);
    began = now();
    if (send(publisher, PUBLISH, sizeof PUBLISH - 1, MSG_NOSIGNAL) < 0) fail("publish", count);
    int twice = hear(count, 2);
    double took = now() - began;
    int told = 0;
    for (int nth = 0; nth < count; nth++) told += heard[nth] >> 1 & 1;
    printf("heard %d twice %d seconds %.2f\n", told, twice, took);
    fflush(stdout);
    /* Everybody stays until somebody has looked once more. */
    return !fgets(scratch, sizeof scratch, stdin);
}
