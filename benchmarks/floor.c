/* The floor of a client: it sends the same request over STREAMS connections, WAVES times over each,
 * reads what comes and stamps every read. Nothing is parsed: an answer has ended where its bytes end
 * with the last chunk of HTTP. One thread, epoll.
 *
 *   floor PORT STREAMS WAVES < body
 *
 * Prints, as JSON, the CPU time that it took, and the number of its reads and answers. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *END = "\r\n0\r\n\r\n";

typedef struct {
    int fd, left;
    char tail[7]; /* the last bytes read, as an end may come in parts */
} Stream;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Whether the answer ends with what was read. */
static int ends(Stream *s, const char *read, size_t size) {
    size_t room = sizeof s->tail, kept = size < room ? room - size : 0;
    memmove(s->tail, s->tail + room - kept, kept);
    memcpy(s->tail + kept, read + size - (room - kept), room - kept);
    return memcmp(s->tail, END, room) == 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    static char body[1 << 16], request[1 << 17], read_bytes[1 << 16];
    size_t body_size = fread(body, 1, sizeof body, stdin);
    int head = sprintf(request,
                       "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                       "content-type: application/json\r\ncontent-length: %zu\r\n\r\n",
                       body_size);
    memcpy(request + head, body, body_size);
    size_t size = (size_t)head + body_size;
    int streams = atoi(argv[2]), waves = atoi(argv[3]), open = streams;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Stream *all = calloc((size_t)streams, sizeof *all);
    size_t room = 1 << 20, reads = 0;
    int64_t *stamps = malloc(room * sizeof *stamps);
    long answers = 0;
    int poller = epoll_create1(0);
    double began_s = cpu_s();
    for (int k = 0; k < streams; k++) {
        all[k] = (Stream){.fd = socket(AF_INET, SOCK_STREAM, 0), .left = waves};
        if (connect(all[k].fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[k]};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[k].fd, &event);
        if (send(all[k].fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
    }
    while (open > 0) {
        struct epoll_event events[512];
        int count = epoll_wait(poller, events, 512, -1);
        for (int k = 0; k < count; k++) {
            Stream *s = events[k].data.ptr;
            ssize_t got = recv(s->fd, read_bytes, sizeof read_bytes, 0);
            if (got <= 0) fail("recv");
            if (reads == room) stamps = realloc(stamps, (room *= 2) * sizeof *stamps);
            stamps[reads++] = now_ns();
            if (!ends(s, read_bytes, (size_t)got)) continue;
            answers++;
            if (--s->left > 0) {
                if (send(s->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
            } else {
                close(s->fd);
                open--;
            }
        }
    }
    printf("{\"cpu_s\": %.6f, \"reads\": %zu, \"answers\": %ld, \"span_s\": %.3f}\n",
           cpu_s() - began_s, reads, answers, (double)(stamps[reads - 1] - stamps[0]) / 1e9);
    return 0;
}
