/* The limit of the machine: a server that writes ready frames to plain sockets, and knows nothing else.

   plain GROUPS CONNECTIONS

   Line n of GROUPS names the users who get messages of group n.  A client says `GET /?user=N` and is in.  Messages come on standard
   input: size, group, payload, as 32-bit numbers of this machine and bytes.  Prints its port.

   What has been read of the input in one go is written to each connection in one send(), as the bridge does; a
   message that comes alone is written at once. */

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
#include <unistd.h>

#define INPUT_BYTES (512 * 1024)

struct connection { int fd; int blocked, dirty, user; uint8_t *out; size_t size, room; };
struct group { uint32_t size; uint32_t *users; };

static struct connection **by_user, **dirty;
static struct group *groups;
static uint32_t user_count, group_count, dirty_count;
static int poll_fd;
static uint8_t input[INPUT_BYTES];
static size_t input_size;

static void fail(const char *what) { perror(what); exit(2); }

static void watch(int fd, uint32_t events, void *what, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = what};
    if (epoll_ctl(poll_fd, operation, fd, &event) < 0) fail("epoll_ctl");
}

static void read_groups(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0) {
        groups = realloc(groups, (group_count + 1) * sizeof *groups);
        struct group *g = &groups[group_count++];
        g->size = 0;
        g->users = malloc(4 * (strlen(line) / 2 + 1));
        for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
            g->users[g->size++] = (uint32_t)atoi(word);
    }
    fclose(file);
}

static void write_out(struct connection *c) {
    size_t done = 0;
    while (done < c->size) {
        ssize_t sent = send(c->fd, c->out + done, c->size - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) fail("send");
        if (sent < 0) break;
        done += (size_t)sent;
    }
    c->size -= done;
    if (c->size) memmove(c->out, c->out + done, c->size);
    if (c->blocked != (c->size > 0)) {
        c->blocked = c->size > 0;
        watch(c->fd, EPOLLIN | (c->blocked ? EPOLLOUT : 0), c, EPOLL_CTL_MOD);
    }
}

static void append(struct connection *c, const uint8_t *bytes, size_t size) {
    if (c->size + size > c->room) {
        c->room = 2 * (c->size + size);
        c->out = realloc(c->out, c->room);
    }
    memcpy(c->out + c->size, bytes, size);
    c->size += size;
    if (!c->dirty) {
        c->dirty = 1;
        dirty[dirty_count++] = c;
    }
}

static void publish(uint32_t group, const uint8_t *payload, uint32_t size) {
    static uint8_t frame[65536 + 10];
    size_t head = 2;
    frame[0] = 0x81;
    if (size < 126) {
        frame[1] = (uint8_t)size;
    } else {
        frame[1] = 126;
        frame[2] = (uint8_t)(size >> 8);
        frame[3] = (uint8_t)size;
        head = 4;
    }
    memcpy(frame + head, payload, size);
    struct group *g = &groups[group];
    for (uint32_t n = 0; n < g->size; n++) {
        struct connection *c = by_user[g->users[n]];
        if (c) append(c, frame, head + size);
    }
}

static void read_input(void) {
    ssize_t got = read(0, input + input_size, sizeof input - input_size);
    if (got == 0) exit(0);
    if (got < 0) {
        if (errno == EAGAIN) return;
        fail("input");
    }
    input_size += (size_t)got;
    size_t at = 0;
    uint32_t head[2];
    while (input_size - at >= sizeof head) {
        memcpy(head, input + at, sizeof head);
        if (input_size - at < sizeof head + head[0]) break;
        publish(head[1], input + at + sizeof head, head[0]);
        at += sizeof head + head[0];
    }
    input_size -= at;
    memmove(input, input + at, input_size);
    for (uint32_t n = 0; n < dirty_count; n++) {
        dirty[n]->dirty = 0;
        if (!dirty[n]->blocked) write_out(dirty[n]);
    }
    dirty_count = 0;
}

static void accept_all(int listening) {
    for (;;) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EAGAIN) return;
            fail("accept");
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->user = -1;
        watch(fd, EPOLLIN, c, EPOLL_CTL_ADD);
    }
}

static void readable(struct connection *c) {
    char text[4096];
    ssize_t got = recv(c->fd, text, sizeof text - 1, 0);
    if (got <= 0) {
        if (c->user >= 0) by_user[c->user] = NULL;
        close(c->fd);
        c->fd = -1; /* not freed: it may be dirty */
        return;
    }
    text[got] = 0;
    char *user = strstr(text, "user=");
    if (c->user >= 0 || !user) return;
    c->user = atoi(user + 5);
    by_user[c->user] = c;
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    if (send(c->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) fail("send");
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    read_groups(argv[1]);
    user_count = (uint32_t)atoi(argv[2]);
    by_user = calloc(user_count, sizeof *by_user);
    dirty = calloc(user_count + 1, sizeof *dirty);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 2048) < 0) fail("listen");
    getsockname(listening, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    poll_fd = epoll_create1(0);
    watch(listening, EPOLLIN, &listening, EPOLL_CTL_ADD);
    watch(0, EPOLLIN, input, EPOLL_CTL_ADD);
    struct epoll_event events[512];
    for (;;) {
        int count = epoll_wait(poll_fd, events, 512, -1);
        for (int n = 0; n < count; n++) {
            void *what = events[n].data.ptr;
            if (what == &listening) {
                accept_all(listening);
            } else if (what == input) {
                read_input();
            } else {
                struct connection *c = what;
                if (c->fd >= 0 && events[n].events & EPOLLOUT) write_out(c);
                if (c->fd >= 0 && events[n].events & (EPOLLIN | EPOLLHUP)) readable(c);
            }
        }
    }
}
