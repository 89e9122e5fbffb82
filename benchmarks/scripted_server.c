/* An OpenAI-compatible server that knows nothing but its schedule: token k of a stream leaves
 * ttft + k * itl after its request came in whole. One thread, epoll, no JSON.
 *
 *   scripted_server PORT TTFT_MS ITL_MS
 *
 * Ends on SIGTERM and then prints, as JSON, how many chunks it sent and how late they were against
 * that schedule: the proof that the truth it stands for was true. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 16384
#define NS_PER_MS 1000000LL
#define BINS 100000 /* of 10 us each: lateness up to 1 s */

typedef struct {
    char *in;
    size_t in_size, in_room;
    char *out;
    size_t out_size, out_room;
    int open, streaming, chat, tokens, sent;
    int64_t due;
    uint32_t turn; /* tells a stream from an earlier one on the same descriptor */
} Connection;

typedef struct {
    int64_t due;
    int fd;
    uint32_t turn;
} Entry;

/* All streams keep one pace, so what is queued in order is due in order: no heap is needed. */
typedef struct {
    Entry entries[MAX_FD * 4];
    unsigned head, tail;
} Queue;

static Connection connections[MAX_FD];
static Queue first_tokens, next_tokens;
static int poller;
static int64_t ttft_ns, itl_ns;
static uint64_t late_bins[BINS + 1], first_bins[BINS + 1];
static volatile sig_atomic_t stopped;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void push(Queue *queue, int fd) {
    Connection *c = &connections[fd];
    queue->entries[queue->tail++ % (MAX_FD * 4)] = (Entry){c->due, fd, c->turn};
}

static Entry *peek(Queue *queue) {
    return queue->head == queue->tail ? NULL : &queue->entries[queue->head % (MAX_FD * 4)];
}

static void drop(int fd) {
    Connection *c = &connections[fd];
    c->open = c->streaming = 0;
    c->in_size = c->out_size = 0;
    c->turn++;
    close(fd);
}

static void want_write(int fd, int wanted) {
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

static void keep(Connection *c, const char *data, size_t size) {
    if (c->out_size + size > c->out_room) {
        c->out_room = (c->out_size + size) * 2;
        c->out = realloc(c->out, c->out_room);
    }
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

static void flush_out(int fd) {
    Connection *c = &connections[fd];
    ssize_t sent = send(fd, c->out, c->out_size, MSG_NOSIGNAL);
    if (sent > 0) {
        memmove(c->out, c->out + sent, c->out_size - (size_t)sent);
        c->out_size -= (size_t)sent;
        if (c->out_size == 0) want_write(fd, 0);
    } else if (errno != EAGAIN) {
        drop(fd);
    }
}

static void put(int fd, const char *data, size_t size) {
    Connection *c = &connections[fd];
    ssize_t sent = 0;
    if (c->out_size == 0) sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(fd);
    } else if (sent < (ssize_t)size) {
        if (sent < 0) sent = 0;
        if (c->out_size == 0) want_write(fd, 1);
        keep(c, data + sent, size - (size_t)sent);
    }
}

static size_t event_text(char *into, const Connection *c, int last) {
    static const char *head =
        "{\"id\":\"cmpl-00000000-0000-0000-0000-000000000000\",\"object\":\"%s\","
        "\"created\":1700000000,\"model\":\"simulated-model\",\"choices\":[{\"index\":0,%s,"
        "\"logprobs\":null,\"finish_reason\":%s,\"stop_reason\":null}]}";
    char json[512];
    int size = snprintf(json, sizeof json, head, c->chat ? "chat.completion.chunk" : "text_completion",
                        c->chat ? "\"delta\":{\"content\":\" word\"}" : "\"text\":\" word\"",
                        last ? "\"length\"" : "null");
    return (size_t)sprintf(into, "%x\r\ndata: %s\n\n\r\n", size + 8, json);
}

static void emit(int fd) {
    Connection *c = &connections[fd];
    char text[2048];
    int last = ++c->sent == c->tokens;
    size_t size = event_text(text, c, last);
    int64_t late = (now_ns() - c->due) / 10000;
    if (late > BINS) late = BINS;
    late_bins[late]++;
    if (c->sent == 1) first_bins[late]++;
    if (last) {
        char usage[512];
        int n = snprintf(usage, sizeof usage,
                         "data: {\"id\":\"cmpl-0\",\"object\":\"%s\",\"created\":1700000000,"
                         "\"model\":\"simulated-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":8,"
                         "\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n",
                         c->chat ? "chat.completion.chunk" : "text_completion", c->tokens,
                         c->tokens + 8);
        size += (size_t)sprintf(text + size, "%x\r\n%s\r\n0\r\n\r\n", n, usage);
        c->streaming = 0;
        c->turn++;
    } else {
        c->due += itl_ns;
        push(&next_tokens, fd);
    }
    put(fd, text, size);
}

/* The queue whose head is due first, or NULL when nothing is queued. */
static Queue *earliest(void) {
    Entry *a = peek(&first_tokens), *b = peek(&next_tokens);
    if (a == NULL && b == NULL) return NULL;
    return b == NULL || (a != NULL && a->due <= b->due) ? &first_tokens : &next_tokens;
}

/* In the order in which they are due, always, or the queues would lose theirs. */
static void emit_all_due(int64_t now) {
    Queue *queue;
    while ((queue = earliest()) != NULL && peek(queue)->due <= now) {
        Entry entry = *peek(queue);
        Connection *c = &connections[entry.fd];
        queue->head++;
        if (c->open && c->streaming && c->turn == entry.turn) emit(entry.fd);
    }
}

static void answer(int fd, const char *head, const char *body) {
    static const char *stream_head =
        "HTTP/1.1 200 OK\r\nserver: scripted\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        "transfer-encoding: chunked\r\n\r\n";
    static const char *models =
        "{\"object\":\"list\",\"data\":[{\"id\":\"simulated-model\",\"object\":\"model\","
        "\"created\":0,\"owned_by\":\"scripted\",\"max_model_len\":32768}]}";
    Connection *c = &connections[fd];
    if (strncmp(head, "POST", 4) != 0) {
        char text[1024];
        int size = sprintf(text,
                           "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                           "content-length: %zu\r\n\r\n%s", strlen(models), models);
        put(fd, text, (size_t)size);
        return;
    }
    const char *tokens = strstr(body, "\"max_tokens\"");
    if (tokens == NULL) tokens = strstr(body, "\"max_completion_tokens\"");
    if (tokens != NULL) tokens = strchr(tokens, ':');
    c->tokens = tokens != NULL ? atoi(tokens + 1) : 16;
    if (c->tokens < 1) c->tokens = 1;
    c->chat = memmem(head, 64, "/chat/", 6) != NULL;
    c->streaming = 1;
    c->sent = 0;
    c->due = now_ns() + ttft_ns;
    push(&first_tokens, fd);
    put(fd, stream_head, strlen(stream_head));
}

static void take(int fd) {
    Connection *c = &connections[fd];
    if (c->in_room - c->in_size < 65536) {
        c->in_room = c->in_room * 2 + 65536 * 2;
        c->in = realloc(c->in, c->in_room);
    }
    ssize_t got = recv(fd, c->in + c->in_size, 65535, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) drop(fd);
        return;
    }
    c->in_size += (size_t)got;
    c->in[c->in_size] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (end == NULL) return;
    char *length = strcasestr(c->in, "content-length:");
    size_t body = length != NULL && length < end ? (size_t)atol(length + 15) : 0;
    size_t whole = (size_t)(end - c->in) + 4 + body;
    if (c->in_size < whole) return;
    c->in_size = 0; /* nobody pipelines */
    answer(fd, c->in, end + 4);
}

static void take_connections(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd].open = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static double late_ms(const uint64_t *bins, double fraction) {
    uint64_t total = 0, seen = 0;
    for (int k = 0; k <= BINS; k++) total += bins[k];
    for (int k = 0; k <= BINS; k++)
        if ((seen += bins[k]) >= (uint64_t)(fraction * (double)total) && seen > 0) return k * 0.01;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    ttft_ns = (int64_t)(atof(argv[2]) * (double)NS_PER_MS);
    itl_ns = (int64_t)(atof(argv[3]) * (double)NS_PER_MS);
    signal(SIGTERM, stop);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0) {
        perror("listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    while (!stopped) {
        Queue *queue = earliest();
        int64_t left = queue == NULL ? 100 * NS_PER_MS : peek(queue)->due - now_ns();
        if (left < 0) left = 0;
        struct timespec wait = {.tv_sec = left / 1000000000LL, .tv_nsec = left % 1000000000LL};
        int count = epoll_pwait2(poller, events, 512, &wait, NULL);
        for (int k = 0; k < count; k++) {
            int fd = events[k].data.fd;
            if (fd == listener) {
                take_connections(listener);
                continue;
            }
            if (events[k].events & EPOLLOUT) flush_out(fd);
            if (connections[fd].open && (events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) take(fd);
        }
        emit_all_due(now_ns());
    }
    uint64_t chunks = 0;
    for (int bin = 0; bin <= BINS; bin++) chunks += late_bins[bin];
    printf("{\"chunks\": %llu, \"late_p50_ms\": %.2f, \"late_p99_ms\": %.2f, "
           "\"first_late_p99_ms\": %.2f}\n",
           (unsigned long long)chunks, late_ms(late_bins, 0.5), late_ms(late_bins, 0.99),
           late_ms(first_bins, 0.99));
    return 0;
}
