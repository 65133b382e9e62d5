/* A crowd of clients: asks at a steady rate, holds each answer against what it must be, and asks again once, as
 * clients do. With a share of hostile packets among the queries.
 *
 *   pour ADDRESS PORT RATE SECONDS COUNT WINDOW HOSTILE SEED KIND…
 *
 * A KIND is `SHARE:NAME:RANGE:EXPECTED`. In the name `%` stands for a number below RANGE, or, where that is 0, for
 * letters that come only once. EXPECTED is `NXDOMAIN`, `ANY` (whatever it is), or addresses `A` or `A/B` of which one
 * is the answer; with RANGE the number is added to them.
 *
 * It ends after SECONDS, or after COUNT queries if that is not 0. At most WINDOW queries wait at a time: what would be
 * beyond is left out, and counted as late. HOSTILE of a thousand packets are hostile ones.
 *
 * Prints what came of it as JSON. A query that was not answered in PATIENCE seconds is asked again, and then lost. One
 * that was answered with a failure (SERVFAIL) is asked again as well, and then failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dice.h"

#define SOCKETS 8
#define IDS 65536
#define KINDS 8
#define PATIENCE 5.0
#define WAITING (1 << 19)

struct kind {
    double share;
    char before[200], after[200];
    unsigned range;
    int denied, any;
    uint32_t expected[2];
};

/* A query that was sent: enough to know its answer, and to send it again. */
struct asked {
    double first;
    uint32_t number, stamp;
    uint8_t kind, tries, open, failing;
};

static struct kind kinds[KINDS];
static int many;
static struct asked (*table)[IDS];
static int sockets[SOCKETS], hostile[2];
static uint64_t waiting, window;
static uint64_t sent, answered, again, failed, lost, late, wrong, crooked, replies, noise;
static double slowest;
static char said[5][1100];
static volatile sig_atomic_t over;

/* Queries by the moment at which they are looked at again. */
static struct due {
    double at;
    uint32_t stamp;
    uint16_t id;
    uint8_t socket;
} *queue;
static unsigned head, tail;

static void stop(int number) {
    (void)number;
    over = 1;
}

/* The question of a query, from the header's end; its length. */
static size_t question(unsigned char *out, const struct kind *kind, uint32_t number) {
    char text[512];
    if (kind->range)
        snprintf(text, sizeof text, "%s%u%s", kind->before, number, kind->after);
    else
        snprintf(text, sizeof text, "%s%08x%08x%s", kind->before, number * 2654435761u, number, kind->after);
    size_t at = 0;
    for (char *label = strtok(text, "."); label; label = strtok(NULL, ".")) {
        size_t length = strlen(label);
        out[at++] = length;
        memcpy(out + at, label, length);
        at += length;
    }
    memcpy(out + at, "\0\0\1\0\1", 5);
    return at + 5;
}

static size_t query(unsigned char *out, uint16_t id, const struct kind *kind, uint32_t number) {
    memcpy(out, (unsigned char[]){id >> 8, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 12);
    return 12 + question(out + 12, kind, number);
}

static void ask(int at, uint16_t id, double moment) {
    unsigned char packet[600];
    struct asked *one = &table[at][id];
    size_t length = query(packet, id, &kinds[one->kind], one->number);
    send(sockets[at], packet, length, MSG_DONTWAIT);
    queue[tail++ % WAITING] = (struct due){moment + PATIENCE, one->stamp, id, at};
}

static void ask_anew(double moment) {
    static uint32_t fresh, stamps;
    if (!fresh) fresh = state;
    static uint16_t ids[SOCKETS];
    double chance = (draw() >> 11) / 9007199254740992.0 * 100;
    int kind = 0;
    while (kind < many - 1 && chance >= kinds[kind].share) chance -= kinds[kind++].share;
    int at = draw() % SOCKETS;
    uint16_t id = ids[at]++;
    struct asked *one = &table[at][id];
    if (one->open || waiting >= window || tail - head >= WAITING - 1) {
        late++; /* too many wait already */
        return;
    }
    uint32_t number = kinds[kind].range ? draw() % kinds[kind].range : fresh++;
    *one = (struct asked){moment, number, ++stamps, kind, 1, 1, 0};
    ask(at, id, moment);
    sent++;
    waiting++;
}

static void tell(const char *what, const unsigned char *packet, size_t length) {
    if (wrong++ >= 5) return;
    char *out = said[wrong - 1];
    out += sprintf(out, "%s ", what);
    for (size_t at = 0; at < length && at < 500; at++) out += sprintf(out, "%02x", packet[at]);
}

static void once_more(int at, uint16_t id, double moment) {
    struct asked *one = &table[at][id];
    if (one->tries >= 2) {
        one->open = 0;
        waiting--;
        ++*(one->failing ? &failed : &lost);
        return;
    }
    static uint32_t stamps = 1u << 31;
    one->tries++;
    one->failing = 0;
    one->stamp = ++stamps;
    again++;
    ask(at, id, moment);
}

/* Holds an answer against what it must be. */
static void hear(int at, const unsigned char *packet, size_t length, double moment) {
    uint16_t id = length >= 2 ? packet[0] << 8 | packet[1] : 0;
    struct asked *one = &table[at][id];
    if (length < 12 || !(packet[2] & 0x80)) return tell("no answer", packet, length);
    if (!one->open) return; /* a second answer to what was asked twice */
    const struct kind *kind = &kinds[one->kind];
    unsigned char expected[600];
    size_t end = 12 + question(expected + 12, kind, one->number);
    if (length < end || memcmp(packet + 12, expected + 12, end - 12)) return tell("another question", packet, length);
    int rcode = packet[3] & 15;
    if (rcode == 2 && !kind->any) {
        one->failing = 1;
        return;
    }
    one->open = 0;
    waiting--;
    answered++;
    if (moment - one->first > slowest) slowest = moment - one->first;
    if (kind->any) return;
    if (kind->denied) {
        if (rcode != 3 || packet[7]) tell("no NXDOMAIN", packet, length);
        return;
    }
    uint32_t address, number = kind->range ? one->number : 0;
    if (rcode || packet[7] != 1 || length < end + 16) return tell("no address", packet, length);
    memcpy(&address, packet + end + 12, 4);
    address = ntohl(address);
    address -= number;
    if (address != kind->expected[0] && address != kind->expected[1]) tell("another address", packet, length);
}

/* A packet that no client sends. Those of hostile[1] must not be answered at all. */
static void attack(void) {
    unsigned char packet[4096] = {0};
    size_t length = query(packet, draw(), &kinds[draw() % many], draw() % 1000);
    int at = 0;
    uint64_t chance = draw();
    switch (crooked++ % 14) {
    case 0: /* garbage */
        length = 12 + chance % 500;
        for (size_t octet = 0; octet < length; octet++) packet[octet] = draw();
        packet[2] &= 0x7f;
        break;
    case 1: length = 13 + chance % (length - 13); break; /* cut */
    case 2: packet[2] |= 0x80, at = 1; break;             /* an answer */
    case 3: packet[2] |= (1 + chance % 15) << 3; break;   /* another opcode */
    case 4: length = 1500 + chance % 2500; break;         /* octets behind the end */
    case 5: packet[4] = 1 + chance % 255; break;          /* many questions */
    case 6: packet[5] = 0; break;                         /* none */
    case 7: packet[12] = 0xc0, packet[13] = 12; break;    /* a name that points at itself */
    case 8: packet[12] = 63; break;                       /* a label beyond the end */
    case 9: packet[7] = 1 + chance % 255; break;          /* answers that are not there */
    case 10: length = chance % 12, at = 1; break;         /* shorter than a header */
    case 11:                                              /* two OPT records */
        packet[11] = 2;
        for (int turn = 0; turn < 2; turn++, length += 11) memcpy(packet + length, "\0\0\x29\4\xd0\0\0\0\0\0\0", 11);
        break;
    case 12: /* an OPT record whose options end too early */
        packet[11] = 1;
        memcpy(packet + length, "\0\0\x29\4\xd0\0\0\0\0\0\5\0\x0a\0\x28\1", 16);
        length += 16;
        break;
    case 13: packet[length - 3] = 252 - chance % 4; break; /* a transfer and the like */
    }
    send(hostile[at], packet, length, MSG_DONTWAIT);
}

static int opened(const struct sockaddr_in *to) {
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 16 << 20;
    if (sock < 0 || connect(sock, (const struct sockaddr *)to, sizeof *to)) exit(1);
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return sock;
}

static void understand(char *text) {
    struct kind *kind = &kinds[many++];
    char *words[4] = {strtok(text, ":"), strtok(NULL, ":"), strtok(NULL, ":"), strtok(NULL, ":")};
    char *place = words[1] ? strchr(words[1], '%') : NULL;
    if (many >= KINDS || !words[3] || !place) exit(2);
    *place = 0;
    kind->share = atof(words[0]);
    strncpy(kind->before, words[1], sizeof kind->before - 1);
    strncpy(kind->after, place + 1, sizeof kind->after - 1);
    kind->range = atoi(words[2]);
    kind->denied = !strcmp(words[3], "NXDOMAIN");
    kind->any = !strcmp(words[3], "ANY");
    char *one = strtok(words[3], "/"), *other = strtok(NULL, "/");
    kind->expected[0] = ntohl(inet_addr(one));
    kind->expected[1] = ntohl(inet_addr(other ? other : one));
}

int main(int argc, char **argv) {
    if (argc < 10) return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_aton(argv[1], &to.sin_addr);
    double rate = atof(argv[3]), seconds = atof(argv[4]), bad = atof(argv[7]) / 1000;
    uint64_t count = atoll(argv[5]);
    window = atoll(argv[6]);
    state = atoll(argv[8]) * 2654435761u + 88172645463325252ULL;
    for (int at = 9; at < argc; at++) understand(argv[at]);
    table = calloc(SOCKETS, sizeof *table);
    queue = calloc(WAITING, sizeof *queue);
    if (!table || !queue) return 1;
    struct pollfd watched[SOCKETS + 2];
    for (int at = 0; at < SOCKETS; at++) watched[at].fd = sockets[at] = opened(&to);
    for (int at = 0; at < 2; at++) watched[SOCKETS + at].fd = hostile[at] = opened(&to);
    for (int at = 0; at < SOCKETS + 2; at++) watched[at].events = POLLIN;
    signal(SIGTERM, stop);
    double begun = now(), moment = begun, ends = begun + seconds;
    uint64_t due = 0;
    unsigned char packet[65536];
    while (moment < ends + 2 * PATIENCE + 1) {
        int done = over || moment >= ends || (count && sent >= count);
        if (done && !waiting) break;
        if (done && moment < ends) ends = moment;
        uint64_t wanted = done ? due : (uint64_t)((moment - begun) * rate);
        if (wanted - due > 2000) { /* this machine could not keep up: what is missed is not made good in one burst */
            late += wanted - due - 2000;
            due = wanted - 2000;
        }
        for (int turn = 0; due < wanted && turn < 256; turn++, due++) {
            if (bad > 0 && (draw() >> 11) / 9007199254740992.0 < bad)
                attack();
            else
                ask_anew(moment);
        }
        poll(watched, SOCKETS + 2, due < wanted ? 0 : 1);
        moment = now();
        for (int at = 0; at < SOCKETS + 2; at++) {
            if (!watched[at].revents) continue;
            for (int turn = 0; turn < 256; turn++) {
                ssize_t length = recv(watched[at].fd, packet, sizeof packet, MSG_DONTWAIT);
                if (length < 0) break;
                if (at < SOCKETS) {
                    hear(at, packet, length, moment);
                } else if (at > SOCKETS) {
                    tell("an answer to what is none", packet, length);
                } else {
                    replies++;
                    if (length < 12 || (!(packet[3] & 15) && packet[7])) noise++;
                }
            }
        }
        while (head != tail && queue[head % WAITING].at <= moment) {
            struct due one = queue[head++ % WAITING];
            struct asked *asked = &table[one.socket][one.id];
            if (asked->open && asked->stamp == one.stamp) once_more(one.socket, one.id, moment);
        }
    }
    printf("{\"seconds\": %.1f, \"sent\": %lu, \"answered\": %lu, \"again\": %lu, ", now() - begun, sent, answered, again);
    printf("\"failed\": %lu, \"lost\": %lu, \"late\": %lu, \"wrong\": %lu, ", failed, lost, late, wrong);
    printf("\"slowest\": %.3f, \"hostile\": %lu, \"replies\": %lu, ", slowest, crooked, replies);
    printf("\"served\": %lu, \"said\": [", noise);
    for (int at = 0; at < 5 && said[at][0]; at++) printf("%s\"%s\"", at ? ", " : "", said[at]);
    printf("]}\n");
    return 0;
}
