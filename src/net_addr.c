/* net_addr.c: from a text to a connection or listener: "host:port", "[v6%zone]:port", ":port", unix
 * paths.
 *
 * What is numeric is parsed here and now; names, of hosts and services, are asked of getaddrinfo
 * on a pool thread. Dialling tries every address in the order that getaddrinfo gave (RFC 6724),
 * each with its share of the time that is left, as Go's dialSerial; the first error is the one
 * reported. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "blocking.h"
#include "net.h"

#define DIAL_SHARE_MIN (2 * RAMET_SECOND) /* of the time left, however many addresses there are */

typedef struct net_addr {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
} net_addr;

typedef struct net_lookup { /* what a text asks for, and what came of it */
    int family; /* AF_UNSPEC, AF_INET, AF_INET6 or AF_UNIX */
    bool listen;
    int port;   /* -1: `service` is to be looked up */
    char host[NI_MAXHOST], service[NI_MAXSERV];
    net_addr *addrs;
    int n;
    int error;
} net_lookup;

/* ------------------------------------------------------------------ parsing ---- */

static int net_parse_unix(net_lookup *q, const char *path) {
    net_addr a = {.un.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof a.un.sun_path) return -EINVAL;
    memcpy(a.un.sun_path, path, n);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    if (path[0] == '@') { /* Linux's abstract names begin with a NUL and do not end with one */
        a.un.sun_path[0] = 0;
        a.len--;
    }
    q->addrs = rm_malloc(sizeof a);
    if (!q->addrs) return -ENOMEM;
    q->addrs[0] = a;
    q->n = 1;
    return 0;
}

/* Split at the last colon; what is in brackets may have colons of its own. */
static int net_parse_host_port(net_lookup *q, const char *s) {
    const char *host = s, *end, *colon;
    if (*s == '[') {
        host = s + 1;
        end = strchr(host, ']');
        if (!end || end[1] != ':') return -EINVAL;
        colon = end + 1;
    } else {
        colon = end = strrchr(s, ':');
        /* "::1:80" is ambiguous */
        if (!colon || memchr(s, ':', (size_t)(colon - s))) return -EINVAL;
    }
    if (memchr(host, '[', (size_t)(end - host)) || memchr(host, ']', (size_t)(end - host)) || strpbrk(colon + 1, "[]:"))
        return -EINVAL;
    if ((size_t)(end - host) >= sizeof q->host || strlen(colon + 1) >= sizeof q->service) return -EINVAL;
    memcpy(q->host, host, (size_t)(end - host));
    strcpy(q->service, colon + 1);
    if (q->service[strspn(q->service, "0123456789")]) {
        q->port = -1;
        return 0;
    }
    if (strlen(q->service) > 5 || (q->port = atoi(q->service)) > 65535) return -EINVAL;
    return 0;
}

/* Append; the caller has made room. */
static void net_add_v4(net_lookup *q, struct in_addr a) {
    q->addrs[q->n++] = (net_addr){.len = sizeof(struct sockaddr_in),
                                  .in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)q->port), .sin_addr = a}};
}

static void net_add_v6(net_lookup *q, struct in6_addr a, uint32_t zone) {
    q->addrs[q->n++] = (net_addr){
        .len = sizeof(struct sockaddr_in6),
        .in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)q->port), .sin6_addr = a, .sin6_scope_id = zone}};
}

/* If the host is none, or a number: 0 or -errno. 1: it is a name. */
static int net_parse_numeric(net_lookup *q) {
    struct in_addr a4;
    struct in6_addr a6;
    char text[NI_MAXHOST], *zone;
    uint32_t scope = 0;
    if (q->port < 0) return 1;
    q->addrs = rm_malloc(2 * sizeof *q->addrs);
    if (!q->addrs) return -ENOMEM;
    if (!q->host[0]) { /* listen: all interfaces, IPv6 first, for both; dial: this machine */
        bool v4 = q->family != AF_INET6, v6 = q->family != AF_INET;
        if (q->listen) {
            if (v6) net_add_v6(q, in6addr_any, 0);
            if (v4) net_add_v4(q, (struct in_addr){htonl(INADDR_ANY)});
        } else {
            if (v4) net_add_v4(q, (struct in_addr){htonl(INADDR_LOOPBACK)});
            if (v6) net_add_v6(q, in6addr_loopback, 0);
        }
        return 0;
    }
    if (inet_pton(AF_INET, q->host, &a4) == 1) {
        if (q->family == AF_INET6) return -EINVAL;
        net_add_v4(q, a4);
        return 0;
    }
    strcpy(text, q->host);
    if ((zone = strchr(text, '%'))) {
        *zone++ = 0;
        if (!*zone) return -EINVAL;
        char *end;
        unsigned long n = strtoul(zone, &end, 10);
        scope = *end ? if_nametoindex(zone) : (uint32_t)n;
        if (!scope) return -EINVAL;
    }
    if (inet_pton(AF_INET6, text, &a6) == 1) {
        if (q->family == AF_INET) return -EINVAL;
        net_add_v6(q, a6, scope);
        return 0;
    }
    free(q->addrs);
    q->addrs = NULL;
    return zone ? -EINVAL : 1;
}

/* ------------------------------------------------------------------ looking up ---- */

static int net_lookup_error(int e) {
    switch (e) {
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY: /* the name has addresses, but none of this family */
#endif
        return -ENOENT;
    case EAI_AGAIN: /* no name server answers; -EAGAIN means something else here */
        return -EHOSTUNREACH;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SERVICE:
        return -EINVAL;
    case EAI_FAMILY:
        return -EAFNOSUPPORT;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    default:
        return -EIO;
    }
}

/* On a pool thread. */
static void *net_lookup_run(void *arg) {
    net_lookup *q = arg;
    struct addrinfo hints = {.ai_family = q->family, .ai_socktype = SOCK_STREAM}, *list, *a;
    if (q->listen) hints.ai_flags = AI_PASSIVE;
    int e = getaddrinfo(q->host[0] ? q->host : NULL, q->service, &hints, &list);
    if (e) {
        q->error = net_lookup_error(e);
        return NULL;
    }
    int n = 0;
    for (a = list; a; a = a->ai_next) n++;
    q->addrs = rm_malloc((size_t)n * sizeof *q->addrs);
    q->error = q->addrs ? 0 : -ENOMEM;
    for (a = list; a && q->addrs; a = a->ai_next)
        if (a->ai_addrlen <= sizeof(struct sockaddr_in6)) {
            q->addrs[q->n].len = a->ai_addrlen;
            memcpy(&q->addrs[q->n++].sa, a->ai_addr, a->ai_addrlen);
        }
    freeaddrinfo(list);
    if (!q->error && !q->n) q->error = -ENOENT;
    return NULL;
}

static void net_lookup_free(void *arg) {
    net_lookup *q = arg;
    free(q->addrs);
    free(q);
}

/* 0 and *out, which net_lookup_free frees; or -errno. */
static int net_resolve(rm_rt *rt, rm_g *g, const char *network, const char *address, bool listen, int64_t deadline,
                       net_lookup **out) {
    if (!network || !address) return -EINVAL;
    bool local = !strcmp(network, "unix");
    int family = local                      ? AF_UNIX
                 : !strcmp(network, "tcp")  ? AF_UNSPEC
                 : !strcmp(network, "tcp4") ? AF_INET
                 : !strcmp(network, "tcp6") ? AF_INET6
                                            : -1;
    if (family < 0) return -EINVAL;
    net_lookup *q = rm_calloc(1, sizeof *q);
    if (!q) return -ENOMEM;
    q->family = family;
    q->listen = listen;
    int e = local ? net_parse_unix(q, address) : net_parse_host_port(q, address);
    if (!e && !local && (e = net_parse_numeric(q)) == 1) {
        e = rm_blocking_until(rt, g, net_lookup_run, q, NULL, deadline, net_lookup_free);
        if (e) return e; /* q is the pool's */
        e = q->error;
    }
    if (e) net_lookup_free(q);
    else *out = q;
    return e;
}

/* ------------------------------------------------------------------ dial and listen ---- */

/* Two ends of a connection that met in one socket: a dialled port of this machine was ephemeral,
 * free, and chosen as our own (Go's selfConnect). */
static bool net_met_itself(const rm_conn *c) {
    net_addr a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.len = b.len = sizeof a.in6;
    if (rm_conn_local(c, &a.sa, &a.len) || rm_conn_remote(c, &b.sa, &b.len)) return false;
    return a.len == b.len && !memcmp(&a.sa, &b.sa, a.len);
}

int rm_net_dial(rm_rt *rt, rm_g *g, const char *network, const char *address, int64_t deadline, rm_conn **out) {
    net_lookup *q;
    int e = rm_check_cancel(g);
    if (!e) e = net_resolve(rt, g, network, address, false, deadline, &q);
    if (e) return e;
    int first = 0;
    for (int i = 0; i < q->n; i++) {
        net_addr *a = &q->addrs[i];
        int64_t until = deadline, now;
        if (deadline != RM_FOREVER && deadline > (now = rm_now())) {
            int64_t share = (deadline - now) / (q->n - i);
            if (share < DIAL_SHARE_MIN) share = DIAL_SHARE_MIN;
            if (share < deadline - now) until = now + share;
        }
        for (int again = 0;; again++) {
            e = rm_conn_connect(rt, g, &a->sa, a->len, SOCK_STREAM, until, out);
            if (e || a->sa.sa_family == AF_UNIX || again == 2 || !net_met_itself(*out)) break;
            rm_conn_unref(*out);
        }
        if (e == 0 || e == -ECANCELED) break;
        if (!first) first = e;
        if (e == -ETIMEDOUT && rm_now() >= deadline) break;
    }
    net_lookup_free(q);
    return e == 0 || e == -ECANCELED ? e : first;
}

int rm_net_listen(rm_rt *rt, rm_g *g, const char *network, const char *address, int backlog, rm_conn **out) {
    net_lookup *q;
    int e = rm_check_cancel(g);
    if (!e) e = net_resolve(rt, g, network, address, true, RM_FOREVER, &q);
    if (e) return e;
    /* ":port" has two candidates: both families at once, and IPv4 for a kernel without IPv6 */
    for (int i = 0; i < q->n; i++) {
        net_addr *a = &q->addrs[i];
        e = rm_conn_listen_sa(rt, &a->sa, a->len, SOCK_STREAM, backlog, q->family == AF_INET6, out);
        if (e != -EAFNOSUPPORT && e != -EADDRNOTAVAIL) break;
    }
    if (!e && q->family == AF_UNIX && q->addrs[0].un.sun_path[0]) (*out)->path = strdup(address);
    net_lookup_free(q);
    return e;
}
