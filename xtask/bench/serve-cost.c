/* A server whose clients say what to do: built for WASI, and as the first process of a small Linux.
 *
 * A request has 100 bytes: a letter, then a number of four bytes, low ones first. The answer has 200. `r`: no more.
 * `i`: so many bytes follow the request. `o`: so many bytes come in front of the answer. `e`: the server ends, after its
 * answer. Connections are served one after the other, without a look at the next one.
 */
enum { REQUEST = 100, ANSWER = 200, PIECE = 65536, PORT = 8080 };

static char piece[PIECE];

#ifdef __wasm__

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
struct part { char *start; unsigned len; };

IMPORT("sock_accept") int sock_accept(int, int, int *);
IMPORT("sock_recv") int sock_recv(int, const struct part *, int, int, unsigned *, int *);
IMPORT("sock_send") int sock_send(int, const struct part *, int, int, unsigned *);
IMPORT("fd_write") int fd_write(int, const struct part *, int, unsigned *);
IMPORT("fd_fdstat_set_flags") int fd_fdstat_set_flags(int, int);
IMPORT("fd_close") int fd_close(int);
IMPORT("proc_exit") _Noreturn void proc_exit(int);

/* The one listener is the first descriptor behind the standard ones. */
static int next_client(void) {
    int client;
    if (sock_accept(3, 0, &client))
        proc_exit(1);
    return client;
}

static long take(int client, unsigned len) {
    struct part part = {piece, len};
    unsigned count;
    int flags;
    return sock_recv(client, &part, 1, 0, &count, &flags) ? -1 : (long)count;
}

static long give(int client, unsigned len) {
    struct part part = {piece, len};
    unsigned count;
    return sock_send(client, &part, 1, 0, &count) ? -1 : (long)count;
}

static void leave(int client) { fd_close(client); }

static void begin(void) {
    /* So that accepting waits. */
    if (fd_fdstat_set_flags(3, 0))
        proc_exit(1);
    struct part part = {"ready\n", 6};
    unsigned count;
    fd_write(1, &part, 1, &count);
}

static _Noreturn void end(void) { proc_exit(0); }

#else

#include "linux.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int listener;

static int next_client(void) {
    int on = 1, client = accept(listener, NULL, NULL);
    if (client < 0 || setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
        die("accept");
    return client;
}

static long take(int client, unsigned len) { return recv(client, piece, len, 0); }
static long give(int client, unsigned len) { return send(client, piece, len, MSG_NOSIGNAL); }
static void leave(int client) { close(client); }

static struct sockaddr address(const char *text) {
    struct sockaddr_in ip = {.sin_family = AF_INET};
    struct sockaddr any;
    inet_aton(text, &ip.sin_addr);
    memcpy(&any, &ip, sizeof any);
    return any;
}

/* The address that QEMU's `user` network gives, and the way to all others. */
static void configure(void) {
    struct ifreq request = {.ifr_name = "eth0"};
    struct rtentry way = {.rt_flags = RTF_UP | RTF_GATEWAY};
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_addr = address("10.0.2.15");
    if (ioctl(any, SIOCSIFADDR, &request))
        die("address");
    request.ifr_addr = address("255.255.255.0");
    if (ioctl(any, SIOCSIFNETMASK, &request))
        die("mask");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(any, SIOCSIFFLAGS, &request))
        die("up");
    way.rt_dst = way.rt_genmask = address("0.0.0.0");
    way.rt_gateway = address("10.0.2.2");
    if (ioctl(any, SIOCADDRT, &way))
        die("route");
    close(any);
}

static void begin(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    load_modules();
    configure();
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 128))
        die("listen");
    puts("ready");
    fflush(stdout);
}

static _Noreturn void end(void) {
    reboot(RB_AUTOBOOT);
    _exit(1);
}

#endif

static int take_all(int client, unsigned len) {
    while (len) {
        long count = take(client, len < PIECE ? len : PIECE);
        if (count <= 0)
            return 0;
        len -= count;
    }
    return 1;
}

static int give_all(int client, unsigned len) {
    while (len) {
        long count = give(client, len < PIECE ? len : PIECE);
        if (count <= 0)
            return 0;
        len -= count;
    }
    return 1;
}

static void serve(int client) {
    /* A request that came in two pieces would be lost: its sender sends it in one, and nothing divides so few bytes. */
    while (take_all(client, REQUEST)) {
        const unsigned char *number = (const unsigned char *)piece + 1;
        char what = piece[0];
        unsigned len = number[0] | number[1] << 8 | number[2] << 16 | (unsigned)number[3] << 24;
        if (what == 'i' && !take_all(client, len))
            return;
        if (what == 'o' && !give_all(client, len))
            return;
        if (!give_all(client, ANSWER))
            return;
        if (what == 'e')
            end();
    }
}

static _Noreturn void serve_all(void) {
    begin();
    for (;;) {
        int client = next_client();
        serve(client);
        leave(client);
    }
}

#ifdef __wasm__
void _start(void) { serve_all(); }
#else
int main(void) { serve_all(); }
#endif
