/* The load generator: opens WebSockets, feeds the server, and counts the frames of each connection.

   load PLAN PORT FEED_FD MODE [SECONDS [RATE]]

   PLAN is a file that bridge.bench.plan writes.  FEED_FD is the server's input.  Says "ready SECONDS" once every
   connection has joined, waits for a line on standard input, then, by MODE:

     flood SECONDS       feeds messages as fast as the server takes them
     pace SECONDS RATE   feeds RATE messages a second, each stamped with the time
     rest                feeds nothing: waits for a further line, or the end of input
     receive             feeds nothing: counts until every connection has what it expects

   and prints one line of JSON.  Exit code 1 if a connection got another number of frames than it should have. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 128              /* handshakes that may be under way */
#define PER_ADDRESS 20000        /* connections from one source address: a port each */
#define LIMIT_S 60.0             /* a run takes no longer */
#define STALL_S 15.0             /* without any progress for so long, the run has failed */
#define LINGER_S 0.25            /* for frames that nobody should get */
#define KEEPALIVE_S 2.0          /* time between two messages that only show that the feed lives */
#define FEED_BYTES 65536

enum state { CLOSED, CONNECTING, SHAKING, JOINING, READY };

struct connection {
    int fd;
    enum state state;
    uint32_t request_size, hello_size, skip;   /* skip: text frames until it has joined */
    const uint8_t *request, *hello;
    uint32_t heard;                            /* text frames while it joins */
    uint64_t expected, counted;
    uint8_t *carry;                            /* the beginning of a frame */
    uint32_t carried;
};

struct message { uint32_t group, size, stamp; const uint8_t *bytes; };
struct group { uint32_t size; const uint32_t *members; };

static struct connection *connections;
static uint32_t connection_count, group_count, message_count, keepalive_size;
static struct group *groups;
static struct message *messages;
static const uint8_t *keepalive;
static int loops, poll_fd, feed_fd, port;
static uint32_t opened, ready;
static uint64_t expected, counted, fed, pings;
static double first_s, last_s, moved_s;
static float *delays_us;
static size_t delay_count, delay_room;
static uint8_t buffer[1 << 20];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static const uint8_t *at;
static uint32_t number(void) { uint32_t n; memcpy(&n, at, 4); at += 4; return n; }
static const uint8_t *bytes(uint32_t size) { const uint8_t *p = at; at += size; return p; }

static void read_plan(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *plan = malloc((size_t)size + 1);
    if (fread(plan, 1, (size_t)size, file) != (size_t)size) fail(path);
    fclose(file);
    at = plan;
    loops = (int)number();
    keepalive_size = number();
    keepalive = bytes(keepalive_size);
    connection_count = number();
    connections = calloc(connection_count, sizeof *connections);
    for (uint32_t n = 0; n < connection_count; n++) {
        struct connection *c = &connections[n];
        c->fd = -1;
        c->skip = number();
        c->expected = number();
        c->request_size = number();
        c->request = bytes(c->request_size);
        c->hello_size = number();
        c->hello = bytes(c->hello_size);
        expected += c->expected;
    }
    group_count = number();
    groups = calloc(group_count + 1, sizeof *groups);
    for (uint32_t n = 0; n < group_count; n++) {
        groups[n].size = number();
        uint32_t *members = malloc(4 * (groups[n].size + 1));
        memcpy(members, bytes(4 * groups[n].size), 4 * groups[n].size);
        groups[n].members = members;
    }
    message_count = number();
    messages = calloc(message_count + 1, sizeof *messages);
    for (uint32_t n = 0; n < message_count; n++) {
        messages[n].group = number();
        messages[n].stamp = number();
        messages[n].size = number();
        messages[n].bytes = bytes(messages[n].size);
    }
}

static void watch(int fd, uint32_t events, uint64_t what, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = what};
    if (epoll_ctl(poll_fd, operation, fd, &event) < 0) fail("epoll_ctl");
}

static void open_next(void) {
    while (opened < connection_count && opened - ready < AT_ONCE) {
        struct connection *c = &connections[opened];
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        struct sockaddr_in from = {.sin_family = AF_INET};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + opened / PER_ADDRESS);
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (c->fd < 0) fail("socket (raise the limit of open files)");
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connection_count > PER_ADDRESS && bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) fail("connect");
        c->state = CONNECTING;
        watch(c->fd, EPOLLOUT, opened, EPOLL_CTL_ADD);
        opened++;
    }
}

static void send_whole(struct connection *c, const uint8_t *what, uint32_t size) {
    if (size && send(c->fd, what, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
}

static void joined(struct connection *c) {
    c->state = READY;
    ready++;
    moved_s = now_s();
    open_next();
}

static void note_delay(const uint8_t *payload, uint64_t size, double at_s) {
    const uint8_t *found = memmem(payload, size, "@@", 2);
    if (!found || found + 22 > payload + size) return;
    uint64_t sent_ns = strtoull((const char *)found + 2, NULL, 10);
    if (!sent_ns) return;
    if (delay_count == delay_room) {
        delay_room = delay_room ? 2 * delay_room : 1 << 16;
        delays_us = realloc(delays_us, delay_room * sizeof *delays_us);
    }
    delays_us[delay_count++] = (float)((at_s - (double)sent_ns / 1e9) * 1e6);
}

/* Takes whole frames; returns how many bytes they were. */
static size_t take_frames(struct connection *c, const uint8_t *data, size_t size, double at_s) {
    size_t taken = 0;
    while (size - taken >= 2) {
        const uint8_t *frame = data + taken;
        size_t head = 2;
        uint64_t length = frame[1] & 127;
        if (length == 126) {
            if (size - taken < 4) break;
            length = (uint64_t)frame[2] << 8 | frame[3];
            head = 4;
        } else if (length == 127) {
            if (size - taken < 10) break;
            length = 0;
            for (int n = 2; n < 10; n++) length = length << 8 | frame[n];
            head = 10;
        }
        if (size - taken < head + length) break;
        switch (frame[0]) {
        case 0xc1: /* compressed: counted, but no time of sending is found in it */
        case 0x81:
            if (c->state == JOINING) {
                if (++c->heard == c->skip) joined(c);
            } else {
                c->counted++;
                counted++;
                note_delay(frame + head, length, at_s);
            }
            break;
        case 0x89: {
            static const uint8_t pong[6] = {0x8a, 0x80};
            pings++;
            send_whole(c, pong, sizeof pong);
            break;
        }
        default:
            fprintf(stderr, "load: a frame that begins with %02x %.*s\n", frame[0], (int)length, frame + head);
            exit(1);
        }
        taken += head + length;
    }
    return taken;
}

static void keep(struct connection *c, const uint8_t *rest, size_t size) {
    if (size) {
        c->carry = realloc(c->carry, size);
        memcpy(c->carry, rest, size);
    } else if (c->carry) {
        free(c->carry);
        c->carry = NULL;
    }
    c->carried = (uint32_t)size;
}

static void readable(struct connection *c) {
    size_t size = c->carried;
    if (size) memcpy(buffer, c->carry, size);
    ssize_t got = recv(c->fd, buffer + size, sizeof buffer - size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        fprintf(stderr, "load: the server closed connection %ld after %lu frames\n", (long)(c - connections),
                (unsigned long)c->counted);
        exit(1);
    }
    double at_s = now_s();
    moved_s = at_s;
    size += (size_t)got;
    const uint8_t *data = buffer;
    if (c->state == SHAKING) {
        const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) {
            keep(c, data, size);
            return;
        }
        if (size < 12 || memcmp(data + 9, "101", 3)) {
            fprintf(stderr, "load: no WebSocket: %.*s\n", (int)(end - data), data);
            exit(1);
        }
        size -= (size_t)(end + 4 - data);
        data = end + 4;
        c->state = JOINING;
        send_whole(c, c->hello, c->hello_size);
        if (!c->skip) joined(c);
    }
    size_t taken = take_frames(c, data, size, at_s);
    if (size - taken || c->carry) keep(c, data + taken, size - taken);
}

static void happened(uint64_t what, uint32_t events) {
    struct connection *c = &connections[what];
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            errno = error;
            fail("connect");
        }
        c->state = SHAKING;
        watch(c->fd, EPOLLIN, what, EPOLL_CTL_MOD);
        send_whole(c, c->request, c->request_size);
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        readable(c);
    }
}

#define FEED UINT64_MAX
#define INPUT (UINT64_MAX - 1)
#define TIMER (UINT64_MAX - 2)

/* What has been handed to the feed and not been taken by it. */
static uint8_t pending[FEED_BYTES * 2];
static size_t pending_size, pending_at;

static int feed_is_empty(void) { return pending_at == pending_size; }

static int flush_feed(void) {
    while (pending_at < pending_size) {
        ssize_t sent = write(feed_fd, pending + pending_at, pending_size - pending_at);
        if (sent < 0) {
            if (errno == EAGAIN) return 0;
            fail("feed");
        }
        pending_at += (size_t)sent;
    }
    pending_at = pending_size = 0;
    return 1;
}

static int add_message(int stamped) {
    if (!loops && fed >= message_count) return 0;
    const struct message *m = &messages[fed % message_count];
    if (pending_size + m->size > sizeof pending) return 0;
    uint8_t *to = pending + pending_size;
    memcpy(to, m->bytes, m->size);
    if (stamped && m->stamp) {
        char text[21];
        snprintf(text, sizeof text, "%020llu", (unsigned long long)(now_s() * 1e9));
        memcpy(to + m->stamp, text, 20);
    }
    pending_size += m->size;
    const struct group *g = &groups[m->group];
    for (uint32_t n = 0; n < g->size; n++) connections[g->members[n]].expected++;
    expected += g->size;
    fed++;
    return 1;
}

static int by_size(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static double delay(double share) {
    if (!delay_count) return 0;
    size_t place = (size_t)(share * (double)delay_count);
    return delays_us[place < delay_count ? place : delay_count - 1];
}

static int wait_for_line(void) {
    char line[64];
    return read(0, line, sizeof line) > 0;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "load PLAN PORT FEED_FD flood|pace|rest|receive [SECONDS [RATE]]\n");
        return 2;
    }
    read_plan(argv[1]);
    port = atoi(argv[2]);
    feed_fd = atoi(argv[3]);
    const char *mode = argv[4];
    double seconds_fed = argc > 5 ? atof(argv[5]) : 0, rate = argc > 6 ? atof(argv[6]) : 0;
    int flood = !strcmp(mode, "flood"), pace = !strcmp(mode, "pace"), rest = !strcmp(mode, "rest");
    if (feed_fd >= 0) fcntl(feed_fd, F_SETFL, O_NONBLOCK);
    poll_fd = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(timer, EPOLLIN, TIMER, EPOLL_CTL_ADD);
    double started_s = now_s(), told_s = started_s, feeding_until_s = 0;
    int feeding = 0, going = 0, watching_feed = 0;
    moved_s = started_s;
    open_next();
    struct epoll_event events[512];
    for (;;) {
        double at_s = now_s();
        if (!going && ready == connection_count) {
            double took_s = at_s - started_s;
            if (!strcmp(mode, "receive")) {
                first_s = started_s;
            } else {
                printf("ready %.3f\n", took_s);
                fflush(stdout);
                if (rest) {
                    watch(0, EPOLLIN, INPUT, EPOLL_CTL_ADD);
                } else if (!wait_for_line()) {
                    return 0;
                }
            }
            going = 1;
            first_s = first_s ? first_s : now_s();
            moved_s = now_s();
            if (flood || pace) {
                feeding = 1;
                feeding_until_s = first_s + seconds_fed;
            }
            if (pace) {
                uint64_t every_ns = (uint64_t)(1e9 / rate);
                struct itimerspec spec = {.it_interval = {0, (long)every_ns}, .it_value = {0, (long)every_ns}};
                timerfd_settime(timer, 0, &spec, NULL);
            }
            continue;
        }
        if (feeding && at_s >= feeding_until_s) feeding = 0;
        if (feeding && flood) {
            /* A piece at a time, so that reading goes on. */
            if (flush_feed()) {
                while (feeding && pending_size < FEED_BYTES)
                    if (!add_message(0)) { feeding = 0; break; }
                flush_feed();
            }
        }
        if (keepalive_size && feed_fd >= 0 && feed_is_empty() && at_s - told_s > KEEPALIVE_S) {
            told_s = at_s;
            memcpy(pending, keepalive, keepalive_size);
            pending_size = keepalive_size;
            flush_feed();
        }
        if (!feed_is_empty()) flush_feed();
        int want_feed = feed_fd >= 0 && !feed_is_empty();
        if (want_feed != watching_feed) {
            if (want_feed) watch(feed_fd, EPOLLOUT, FEED, EPOLL_CTL_ADD);
            else epoll_ctl(poll_fd, EPOLL_CTL_DEL, feed_fd, NULL);
            watching_feed = want_feed;
        }
        if (going && !feeding && !rest && feed_is_empty() && counted >= expected) {
            if (!last_s) last_s = counted ? moved_s : at_s;
            if (at_s - last_s > LINGER_S) break;
        }
        if (!rest && (at_s - moved_s > STALL_S || (first_s && at_s - first_s > LIMIT_S))) {
            fprintf(stderr, "load: it does not end, nothing for %.1f s: %u of %u joined, %lu of %lu frames, feed %s\n",
                    at_s - moved_s, ready, connection_count, (unsigned long)counted, (unsigned long)expected, feed_is_empty() ? "empty" : "full");
            break;
        }
        int timeout_ms = feeding && flood && feed_is_empty() ? 0 : 50;
        int count = epoll_wait(poll_fd, events, 512, timeout_ms);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int n = 0; n < count; n++) {
            uint64_t what = events[n].data.u64;
            if (what == FEED) continue;
            if (what == INPUT) goto done;
            if (what == TIMER) {
                uint64_t due = 0;
                if (read(timer, &due, sizeof due) == sizeof due)
                    for (; due && feeding; due--) {
                        if (!feed_is_empty()) break; /* the server does not keep up: the delay shows it */
                        if (!add_message(1)) feeding = 0;
                        flush_feed();
                    }
                continue;
            }
            happened(what, events[n].events);
        }
    }
done:;
    uint32_t wrong = 0;
    for (uint32_t n = 0; n < connection_count; n++)
        wrong += connections[n].counted != connections[n].expected;
    if (rest) wrong = 0;
    qsort(delays_us, delay_count, sizeof *delays_us, by_size);
    double seconds = last_s > first_s ? last_s - first_s : 0;
    printf("{\"connections\":%u,\"fed\":%lu,\"expected\":%lu,\"counted\":%lu,\"wrong\":%u,\"pings\":%lu,\"seconds\":%.6f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           ready, (unsigned long)fed, (unsigned long)expected, (unsigned long)counted, wrong, (unsigned long)pings,
           seconds, delay(0.5), delay(0.99), delay(1.0));
    return wrong ? 1 : 0;
}
